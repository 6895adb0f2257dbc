//! Evidence: two signatures of one key that cannot both be honest (*sign-once*).
//!
//! Order-free, so that one equivocation makes one leaf: note A is the one whose text sorts first. A
//! proof that is merely missing is no evidence; every case needs two signatures that conflict by
//! their own words (R11).

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::agent_statement::{Finality, Report, Rollback};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature::{Cosignature, CosignatureError};
use crate::id::{Digest, Origin, ProposalId};
use crate::key::VerifierKey;
use crate::leaf::LeafError;
use crate::log_time::LogTime;
use crate::merkle::{ConsistencyError, Hash, Head, MAX_PROOF, verify_consistency};
use crate::note::Note;
use crate::number::Epoch;
use crate::text::{Statement, TextError, TextReader, TextWriter, words};
use crate::vote::Vote;

/// What was signed twice.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum EvidenceKind {
    /// Two votes of one validator on one proposal.
    Vote,
    /// Two terminal reports of one agent on one decision.
    Report,
    /// Two heads of one coordinator that are no two sizes of one log.
    Head,
}

words!(EvidenceKind { Vote => "vote", Report => "report", Head => "head" });

/// `quorate-evidence/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines and blocks of the grammar")]
pub struct Evidence {
    pub origin: Origin,
    pub epoch: Epoch,
    pub time: LogTime,
    pub kind: EvidenceKind,
    pub key: VerifierKey,
    /// For heads of unequal size: the root that head B's log has at the size of head A.
    pub prefix: Option<Hash>,
    /// That `prefix` at the size of A is consistent with head B.
    pub proof: Vec<Hash>,
    pub a: Note,
    pub b: Note,
}

/// Why two notes are no evidence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvidenceRefused {
    /// A statement of evidence cannot be read.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A head of evidence cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A head's line is not the key's.
    #[error(transparent)]
    Cosignature(#[from] CosignatureError),
    /// Not exactly one line, by the key named.
    #[error("a note of evidence must have exactly one line, by {key}")]
    Lines {
        /// The key named.
        key: String,
    },
    /// A statement's line is not the key's.
    #[error("the line of {key} is false")]
    BadSignature {
        /// The key named.
        key: String,
    },
    /// Note A does not sort before note B: equal texts are no evidence either.
    #[error("the notes of evidence are equal or out of order")]
    Order,
    /// The two statements are about different things.
    #[error("the two notes answer different questions: {what}")]
    OtherQuestion {
        /// Which line differs.
        what: &'static str,
    },
    /// A report that is not terminal may be followed by another one.
    #[error("only two terminal reports conflict")]
    NotTerminal,
    /// Prefix and proof belong to heads of unequal size only.
    #[error("`prefix` and `proof` belong to heads of unequal size, and only to them")]
    Proof,
    /// The heads do not conflict.
    #[error("the two heads can be of one log")]
    Consistent,
    /// The proof does not show that B's log has `prefix` there.
    #[error(transparent)]
    BadProof(#[from] ConsistencyError),
}

/// What is known once evidence holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Equivocation {
    /// That key's vote on that proposal does not count.
    Vote(ProposalId),
    /// That agent reported twice.
    Report,
    /// That coordinator signed two logs.
    Head,
}

impl Evidence {
    /// The first line.
    pub const FIRST_LINE: &'static str = "quorate-evidence/v1";

    /// Checks R11: one key, one question, two texts, and both signatures.
    ///
    /// # Errors
    /// The first thing that makes it no evidence.
    pub fn check(&self) -> Result<Equivocation, EvidenceRefused> {
        if self.a.text >= self.b.text && self.kind != EvidenceKind::Head {
            return Err(EvidenceRefused::Order);
        }
        match self.kind {
            EvidenceKind::Vote => self.check_votes(),
            EvidenceKind::Report => self.check_reports(),
            EvidenceKind::Head => self.check_heads(),
        }
    }

    /// What tells this equivocation from another: one leaf per key and question.
    pub fn question(&self) -> Digest {
        let subject = match self.kind {
            EvidenceKind::Vote => {
                Vote::parse(&self.a.text).map(|vote| vote.proposal.to_string()).unwrap_or_default()
            }
            EvidenceKind::Report => Report::parse(&self.a.text)
                .map(|report| format!("{} {}", report.cluster, report.number))
                .unwrap_or_default(),
            // One proof that a coordinator lied about an origin is enough.
            EvidenceKind::Head => self.origin.to_string(),
        };
        Digest::of(format!("{} {} {subject}", self.kind, self.key).as_bytes())
    }

    fn check_votes(&self) -> Result<Equivocation, EvidenceRefused> {
        self.check_no_proof()?;
        let (a, b) = (self.statement::<Vote>(&self.a)?, self.statement::<Vote>(&self.b)?);
        same("origin", &a.origin, &b.origin)?;
        same("epoch", &a.epoch, &b.epoch)?;
        same("proposal", &a.proposal, &b.proposal)?;
        Ok(Equivocation::Vote(a.proposal))
    }

    fn check_reports(&self) -> Result<Equivocation, EvidenceRefused> {
        self.check_no_proof()?;
        let (a, b) = (self.statement::<Report>(&self.a)?, self.statement::<Report>(&self.b)?);
        same("origin", &a.origin, &b.origin)?;
        same("cluster", &a.cluster, &b.cluster)?;
        same("number", &a.number, &b.number)?;
        same("agent", &a.agent, &b.agent)?;
        // Without the plan at hand `harmful` counts as not terminal: harmful, then the rollback's
        // report, is what an honest agent signs.
        let terminal = |report: &Report| report.finality(Rollback::ToCome) == Finality::Terminal;
        if !terminal(&a) || !terminal(&b) {
            return Err(EvidenceRefused::NotTerminal);
        }
        Ok(Equivocation::Report)
    }

    fn check_heads(&self) -> Result<Equivocation, EvidenceRefused> {
        let (a, b) = (self.head(&self.a)?, self.head(&self.b)?);
        same("origin", &a.origin, &b.origin)?;
        if a.size == b.size {
            if self.prefix.is_some() || !self.proof.is_empty() {
                return Err(EvidenceRefused::Proof);
            }
            if self.a.text == self.b.text {
                return Err(EvidenceRefused::Consistent);
            }
            return if self.a.text < self.b.text {
                Ok(Equivocation::Head)
            } else {
                Err(EvidenceRefused::Order)
            };
        }
        if a.size > b.size {
            return Err(EvidenceRefused::Order);
        }
        let prefix = self.prefix.ok_or(EvidenceRefused::Proof)?;
        if prefix == a.root {
            return Err(EvidenceRefused::Consistent);
        }
        let older = Head { size: a.size, root: prefix };
        verify_consistency(&older, &b.head(), &self.proof)?;
        Ok(Equivocation::Head)
    }

    fn check_no_proof(&self) -> Result<(), EvidenceRefused> {
        if self.prefix.is_some() || !self.proof.is_empty() {
            return Err(EvidenceRefused::Proof);
        }
        Ok(())
    }

    /// Reads a statement whose one line is the key's.
    fn statement<S: Statement>(&self, note: &Note) -> Result<S, EvidenceRefused> {
        let [line] = note.lines.as_slice() else {
            return Err(EvidenceRefused::Lines { key: self.key.name().to_string() });
        };
        if !line.signs_text(&self.key, &note.text) {
            return Err(EvidenceRefused::BadSignature { key: self.key.name().to_string() });
        }
        Ok(S::parse(&note.text)?)
    }

    /// Reads a head whose one line is the key's cosignature.
    fn head(&self, note: &Note) -> Result<Checkpoint, EvidenceRefused> {
        let [line] = note.lines.as_slice() else {
            return Err(EvidenceRefused::Lines { key: self.key.name().to_string() });
        };
        let checkpoint = Checkpoint::parse(&note.text)?;
        Cosignature::from_line(line)?.verify(&self.key, &checkpoint)?;
        Ok(checkpoint)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, LeafError> {
        let mut blocks = crate::leaf::Blocks::split(text)?;
        let header = blocks.next("the header")?;
        let a = blocks.note("note A")?;
        let b = blocks.note("note B")?;
        blocks.finish()?;
        let mut reader = TextReader::start(&header, Self::FIRST_LINE)?;
        let evidence = Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            time: reader.value("time")?,
            kind: reader.value("kind")?,
            key: reader.value("key")?,
            prefix: reader.optional_with("prefix", |hash| hash.parse().ok())?,
            proof: reader.ordered("proof", MAX_PROOF)?,
            a,
            b,
        };
        reader.finish()?;
        Ok(evidence)
    }

    pub(crate) fn to_text(&self) -> String {
        let mut writer = TextWriter::start(Self::FIRST_LINE);
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("time", self.time)
            .line("kind", self.kind)
            .line("key", &self.key);
        if let Some(prefix) = self.prefix {
            writer.line("prefix", prefix);
        }
        for hash in &self.proof {
            writer.line("proof", hash);
        }
        format!("{}\n{}\n{}", writer.finish(), self.a, self.b)
    }
}

fn same<V: PartialEq>(what: &'static str, a: &V, b: &V) -> Result<(), EvidenceRefused> {
    if a == b { Ok(()) } else { Err(EvidenceRefused::OtherQuestion { what }) }
}
