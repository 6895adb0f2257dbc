//! A proposal: what is to be done, to what, by whom, on what evidence.
//!
//! Its id is the digest of its text, so a vote on the id is a vote on every word of it, the
//! charter's content included (*authority*). It is not signed: coordinators vouch for `proposer`.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::id::{
    CharterId, ClusterId, Digest, IncidentId, KeyName, MemberId, Nonce, Origin, ParamKey,
    ProposalId, Sentence, Word,
};
use crate::log_time::{LogTime, Span};
use crate::number::{DecisionNumber, Epoch};
use crate::remediation::Kind;
use crate::text::{
    Repeat, Statement, TextError, TextReader, TextWriter, UnknownWord, borsh_as_text,
};

/// Most executors and most parameters of one proposal.
pub const LIST_MAX: usize = 64;

/// The parameter that gives a decision a time to live, in milliseconds.
pub const TTL_PARAM: &str = "ttl-ms";

/// `quorate-proposal/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Proposal {
    pub origin: Origin,
    pub epoch: Epoch,
    /// The charter it was made under: an epoch number alone would not bind its content.
    pub charter: CharterId,
    pub cluster: ClusterId,
    /// What is recovered from; the steps of one incident's playbook share one budget unit.
    pub incident: IncidentId,
    pub kind: Kind,
    /// See [`Target`].
    pub target: Word,
    pub proposer: KeyName,
    /// Agents that carry it out; none exactly for an abandon.
    pub executor: Vec<KeyName>,
    pub param: Vec<Param>,
    /// Digest of the plan text that every agent computes for itself.
    pub plan: Digest,
    pub reason: Sentence,
    pub evidence: Vec<Digest>,
    /// Last log time before which a decision may be made of it.
    pub expires: LogTime,
    pub nonce: Nonce,
}

impl Proposal {
    /// The digest of the text, which votes name.
    pub fn id(&self) -> ProposalId {
        ProposalId(self.digest())
    }

    /// What the target word names.
    pub fn target(&self) -> Target {
        Target::of(&self.target)
    }

    /// The member the target names, if it names one.
    pub fn target_member(&self) -> Option<MemberId> {
        match self.target() {
            Target::Member(member) => Some(member),
            Target::Key(_) | Target::Decision(_) | Target::Other => None,
        }
    }

    /// The values of one parameter, in order.
    pub fn params<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Param> {
        self.param.iter().filter(move |param| param.key.as_str() == key)
    }

    /// The value of a parameter that occurs once.
    pub fn single(&self, key: &str) -> Option<&Param> {
        let mut found = self.param.iter().filter(|param| param.key.as_str() == key);
        found.next().filter(|_| found.next().is_none())
    }

    /// After what time the decision takes itself back: what `param ttl-ms` says, if it says one
    /// time above 0 and the kind has a way back.
    pub fn ttl(&self) -> Option<Span> {
        let param = self.single(TTL_PARAM).filter(|_| self.kind.may_end_by_itself())?;
        let ttl: Span = param.value.as_str().parse().ok()?;
        (param.extra.is_none() && ttl > Span::ZERO).then_some(ttl)
    }

    /// Whether it says a time to live that cannot be read, or none although it must.
    pub fn lacks_ttl(&self) -> bool {
        let says = self.params(TTL_PARAM).next().is_some();
        (says || self.kind.must_end_by_itself()) && self.ttl().is_none()
    }

    /// The plan's rollback: present exactly if `param rollback <digest>` is.
    pub fn rollback(&self) -> Option<Digest> {
        self.single("rollback").and_then(|param| param.value.as_str().parse().ok())
    }
}

impl Statement for Proposal {
    const FIRST_LINE: &'static str = "quorate-proposal/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("charter", self.charter)
            .line("cluster", &self.cluster)
            .line("incident", &self.incident)
            .line("kind", self.kind)
            .line("target", &self.target)
            .line("proposer", &self.proposer)
            .lines("executor", &self.executor)
            .lines("param", &self.param)
            .line("plan", self.plan)
            .line("reason", &self.reason)
            .lines("evidence", &self.evidence)
            .line("expires", self.expires)
            .line("nonce", self.nonce);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        let proposal = Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            charter: reader.value("charter")?,
            cluster: reader.value("cluster")?,
            incident: reader.value("incident")?,
            kind: reader.value("kind")?,
            target: reader.value("target")?,
            proposer: reader.value("proposer")?,
            executor: reader.values("executor", Repeat::up_to(LIST_MAX))?,
            param: reader.values("param", Repeat::up_to(LIST_MAX))?,
            plan: reader.value("plan")?,
            reason: reader.value("reason")?,
            evidence: reader.values("evidence", Repeat::FEW)?,
            expires: reader.value("expires")?,
            nonce: reader.value("nonce")?,
        };
        let rollbacks = proposal.params("rollback").count();
        if rollbacks > 0 && proposal.rollback().is_none() {
            return Err(TextError::Contradiction {
                key: "param",
                found: "rollback".to_owned(),
                why: "a plan has one rollback, named by its digest",
            });
        }
        Ok(proposal)
    }
}

borsh_as_text!(Proposal);

/// `param <label> <word>[ <word>]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the fields are the words of the line")]
pub struct Param {
    pub key: ParamKey,
    pub value: Word,
    pub extra: Option<Word>,
}

impl Param {
    /// A parameter of one word.
    pub fn new(key: ParamKey, value: Word) -> Self {
        Self { key, value, extra: None }
    }
}

impl Display for Param {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.key, self.value)?;
        match &self.extra {
            Some(extra) => write!(formatter, " {extra}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Param {
    type Err = UnknownWord;

    fn from_str(line: &str) -> Result<Self, UnknownWord> {
        let unknown = || UnknownWord { kind: "Param", word: line.chars().take(64).collect() };
        let mut words = line.split(' ');
        let mut next = || words.next();
        let key = next().and_then(|word| word.parse().ok()).ok_or_else(unknown)?;
        let value = next().and_then(|word| word.parse().ok()).ok_or_else(unknown)?;
        let extra = match next() {
            Some(word) => Some(word.parse().map_err(|_| unknown())?),
            None => None,
        };
        if next().is_some() {
            return Err(unknown());
        }
        Ok(Self { key, value, extra })
    }
}

/// What a target word names, as far as a rule depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `member:<member>`: its own observer has no voice, and cannot veto.
    Member(MemberId),
    /// `key:<key name>`: the key a `revoke-key` names; it cannot veto.
    Key(KeyName),
    /// `decision:<number>`: what an `abandon` gives up.
    Decision(DecisionNumber),
    /// Anything else: the adapter's business.
    Other,
}

impl Target {
    /// Reads a target word.
    pub fn of(word: &Word) -> Self {
        let Some((kind, rest)) = word.as_str().split_once(':') else { return Self::Other };
        let known = match kind {
            "member" => rest.parse().ok().map(Self::Member),
            "key" => rest.parse().ok().map(Self::Key),
            "decision" => rest.parse().ok().map(Self::Decision),
            _ => None,
        };
        known.unwrap_or(Self::Other)
    }
}
