//! What agents sign: facts they saw, claims before they start, reports when they are done.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::id::{
    ClusterId, Digest, FactKey, JournalInstance, KeyName, Nonce, Origin, ProposalId, Word,
};
use crate::log_time::LogTime;
use crate::number::{DecisionNumber, Epoch, Sequence};
use crate::text::{
    Repeat, Statement, TextError, TextReader, TextWriter, UnknownWord, borsh_as_text, or_word,
    words, zero_or,
};

/// `quorate-observe/v1`: facts one agent saw at one time. Never a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Observe {
    pub origin: Origin,
    pub epoch: Epoch,
    pub cluster: ClusterId,
    pub agent: KeyName,
    /// Rises with every observation of this agent, so that an old one cannot follow a new one.
    pub sequence: Sequence,
    pub observed: LogTime,
    /// At least one.
    pub fact: Vec<Fact>,
}

impl Statement for Observe {
    const FIRST_LINE: &'static str = "quorate-observe/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("cluster", &self.cluster)
            .line("agent", &self.agent)
            .line("sequence", self.sequence)
            .line("observed", self.observed)
            .lines("fact", &self.fact);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        Ok(Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            cluster: reader.value("cluster")?,
            agent: reader.value("agent")?,
            sequence: reader.value("sequence")?,
            observed: reader.value("observed")?,
            fact: reader.values("fact", Repeat::SOME)?,
        })
    }
}

borsh_as_text!(Observe);

/// `fact <label> <word>[ <word>]`, for instance `fact member n2 unreachable`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the fields are the words of the line")]
pub struct Fact {
    pub key: FactKey,
    pub value: Word,
    pub extra: Option<Word>,
}

impl Display for Fact {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.key, self.value)?;
        match &self.extra {
            Some(extra) => write!(formatter, " {extra}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Fact {
    type Err = UnknownWord;

    fn from_str(line: &str) -> Result<Self, UnknownWord> {
        let unknown = || UnknownWord { kind: "Fact", word: line.chars().take(64).collect() };
        let words: Vec<&str> = line.split(' ').collect();
        let (key, value, extra) = match words.as_slice() {
            [key, value] => (*key, *value, None),
            [key, value, extra] => (*key, *value, Some(*extra)),
            _ => return Err(unknown()),
        };
        Ok(Self {
            key: key.parse().map_err(|_| unknown())?,
            value: value.parse().map_err(|_| unknown())?,
            extra: extra.map(str::parse).transpose().map_err(|_| unknown())?,
        })
    }
}

/// `quorate-claim/v1`: the agent's right to start one decision, recorded before it does.
///
/// Signed, so that no coordinator can claim in an agent's place. Never a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Claim {
    pub origin: Origin,
    pub epoch: Epoch,
    pub cluster: ClusterId,
    pub number: DecisionNumber,
    pub agent: KeyName,
    /// The life of the agent's journal: a clone or a re-made disk has another one.
    pub instance: JournalInstance,
    /// The journal's newest entry: a restored disk has a lower one.
    pub sequence: Sequence,
    /// Drawn at random once per agent process: tells a repeated question from a second process on
    /// a copy of the disk, whose instance and sequence are equal (*no-double-execution*).
    pub nonce: Nonce,
}

impl Statement for Claim {
    const FIRST_LINE: &'static str = "quorate-claim/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("cluster", &self.cluster)
            .line("number", self.number)
            .line("agent", &self.agent)
            .line("instance", self.instance)
            .line("sequence", self.sequence)
            .line("nonce", self.nonce);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        Ok(Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            cluster: reader.value("cluster")?,
            number: reader.value("number")?,
            agent: reader.value("agent")?,
            instance: reader.value("instance")?,
            sequence: reader.value("sequence")?,
            nonce: reader.value("nonce")?,
        })
    }
}

borsh_as_text!(Claim);

/// What came back from executing. An adapter never trusts it: see [`Effect`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum Answer {
    Applied,
    AlreadyApplied,
    RefusedStaleFence,
    RefusedPrecondition,
    Failed,
    Unknown,
}

words!(Answer {
    Applied => "applied",
    AlreadyApplied => "already-applied",
    RefusedStaleFence => "refused-stale-fence",
    RefusedPrecondition => "refused-precondition",
    Failed => "failed",
    Unknown => "unknown",
});

/// What the agent measured afterwards, against the witness taken before.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum Effect {
    Effective,
    Ineffective,
    Harmful,
    Inconclusive,
    None,
}

words!(Effect {
    Effective => "effective",
    Ineffective => "ineffective",
    Harmful => "harmful",
    Inconclusive => "inconclusive",
    None => "none",
});

/// Whether anything is still to come from the executor after a report (R10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// The executor is done.
    Terminal,
    /// The effect is harmful and the plan's rollback is still to be ordered.
    RollbackDue,
    /// The slot stays taken and no leaf is made.
    Open,
}

/// `quorate-report/v1`: what one executor did and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Report {
    pub origin: Origin,
    /// The decision's epoch.
    pub epoch: Epoch,
    pub cluster: ClusterId,
    pub number: DecisionNumber,
    pub proposal: ProposalId,
    pub agent: KeyName,
    pub answer: Answer,
    pub effect: Effect,
    pub witness: Digest,
    pub evidence: Vec<Digest>,
    /// None if it never started.
    pub started: Option<LogTime>,
    pub finished: LogTime,
}

impl Report {
    /// R10. `rollback_to_come`: whether the plan names a rollback that was not ordered yet.
    pub fn finality(&self, rollback: Rollback) -> Finality {
        match (self.answer, self.effect) {
            (Answer::Unknown, _) | (_, Effect::Inconclusive) => Finality::Open,
            (_, Effect::Effective | Effect::Ineffective | Effect::None) => Finality::Terminal,
            (_, Effect::Harmful) => match rollback {
                Rollback::ToCome => Finality::RollbackDue,
                Rollback::NoneOrOrdered => Finality::Terminal,
            },
        }
    }
}

/// Whether a rollback can still be ordered for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// The plan names one, and this decision did not order it.
    ToCome,
    /// The plan names none, or this decision is the one that orders it.
    NoneOrOrdered,
}

impl Statement for Report {
    const FIRST_LINE: &'static str = "quorate-report/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("cluster", &self.cluster)
            .line("number", self.number)
            .line("proposal", self.proposal)
            .line("agent", &self.agent)
            .line("answer", self.answer)
            .line("effect", self.effect)
            .line("witness", self.witness)
            .lines("evidence", &self.evidence)
            .line("started", or_word(self.started.as_ref(), "0"))
            .line("finished", self.finished);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        Ok(Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            cluster: reader.value("cluster")?,
            number: reader.value("number")?,
            proposal: reader.value("proposal")?,
            agent: reader.value("agent")?,
            answer: reader.value("answer")?,
            effect: reader.value("effect")?,
            witness: reader.value("witness")?,
            evidence: reader.values("evidence", Repeat::FEW)?,
            started: reader.value_with("started", zero_or)?,
            finished: reader.value("finished")?,
        })
    }
}

borsh_as_text!(Report);
