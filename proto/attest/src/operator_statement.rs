//! What operators sign besides votes: overrides, acts, pauses, incarnations. Each is a leaf, so
//! that replay and cosigners can justify what follows from it.

use std::fmt::{self, Display, Formatter};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::id::{
    CharterId, ClusterId, IncidentId, JournalInstance, KeyName, Nonce, Origin, ProposalId,
    RuleName, Sentence, Word,
};
use crate::log_time::{LogTime, Span};
use crate::merkle::Hash;
use crate::number::{Epoch, FencingToken, TreeSize};
use crate::text::{
    Statement, TextError, TextReader, TextWriter, borsh_as_text, or_word, unless, words, zero_or,
};

/// The longest an override lasts: one hour.
pub const OVERRIDE_MAX: Span = Span::from_millis(3_600_000);

/// `quorate-override/v1`: lifts one rule for one proposal (R13).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Override {
    pub origin: Origin,
    pub epoch: Epoch,
    pub cluster: ClusterId,
    pub rule: RuleName,
    /// The one proposal it covers; never a cluster.
    pub scope: ProposalId,
    pub reason: Sentence,
    /// Its end, and the last log time at which it may be appended.
    pub expires: LogTime,
    pub nonce: Nonce,
}

impl Override {
    /// Whether it is in force: it covers the last hour before its expiry, however far ahead that
    /// is, so no text can make it last longer.
    pub fn in_force(&self, at: LogTime) -> bool {
        at <= self.expires && self.expires <= at.saturating_add(OVERRIDE_MAX)
    }

    /// How many distinct operators it needs, or none if no number is enough.
    pub fn operators_needed(rule: &RuleName) -> Option<u32> {
        match rule.as_str() {
            "one-survivor" | "tombstone" | "dead-stays-dead" | "fail-closed" | "ladder" => None,
            "quorum-floor" | "partition-not-death" => Some(2),
            _ => Some(1),
        }
    }
}

impl Statement for Override {
    const FIRST_LINE: &'static str = "quorate-override/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("cluster", &self.cluster)
            .line("rule", &self.rule)
            .line("scope", self.scope)
            .line("reason", &self.reason)
            .line("expires", self.expires)
            .line("nonce", self.nonce);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        Ok(Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            cluster: reader.value("cluster")?,
            rule: reader.value("rule")?,
            scope: reader.value("scope")?,
            reason: reader.value("reason")?,
            expires: reader.value("expires")?,
            nonce: reader.value("nonce")?,
        })
    }
}

borsh_as_text!(Override);

/// What one operator may do alone.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum ActKind {
    Ack,
    Close,
    ResetBreaker,
    Enrol,
}

words!(ActKind {
    Ack => "ack",
    Close => "close",
    ResetBreaker => "reset-breaker",
    Enrol => "enrol",
});

/// `quorate-act/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Act {
    pub origin: Origin,
    pub epoch: Epoch,
    pub cluster: ClusterId,
    pub act: ActKind,
    /// See [`Act::subject`].
    pub subject: Word,
    pub reason: Sentence,
    /// The last log time at which it may be appended.
    pub expires: LogTime,
    pub nonce: Nonce,
}

/// What the subject of an act names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Automation may open that kind and target again.
    Proposal(ProposalId),
    /// The cooldown after that decision ends.
    Decision(FencingToken),
    /// That incident is closed, where its checklist did not pass by machine.
    Incident(IncidentId),
    /// The breaker of that target is reset.
    Target(Word),
    /// That agent's journal begins anew.
    Journal {
        /// The agent's key name.
        agent: KeyName,
        /// The new journal's instance.
        instance: JournalInstance,
    },
}

impl Act {
    /// What the act is about, or none if the word does not fit the act.
    pub fn subject(&self) -> Option<Subject> {
        let word = self.subject.as_str();
        match self.act {
            ActKind::Ack => match word.parse() {
                Ok(proposal) => Some(Subject::Proposal(proposal)),
                Err(_) => word.parse().ok().map(Subject::Decision),
            },
            ActKind::Close => word.parse().ok().map(Subject::Incident),
            ActKind::ResetBreaker => Some(Subject::Target(self.subject.clone())),
            ActKind::Enrol => {
                let (agent, instance) = word.split_once('+')?;
                let (agent, instance) = (agent.parse().ok()?, instance.parse().ok()?);
                Some(Subject::Journal { agent, instance })
            }
        }
    }
}

impl Statement for Act {
    const FIRST_LINE: &'static str = "quorate-act/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("cluster", &self.cluster)
            .line("act", self.act)
            .line("subject", &self.subject)
            .line("reason", &self.reason)
            .line("expires", self.expires)
            .line("nonce", self.nonce);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        let act = Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            cluster: reader.value("cluster")?,
            act: reader.value("act")?,
            subject: reader.value("subject")?,
            reason: reader.value("reason")?,
            expires: reader.value("expires")?,
            nonce: reader.value("nonce")?,
        };
        if act.subject().is_none() {
            return Err(TextError::Contradiction {
                key: "subject",
                found: act.subject.to_string(),
                why: "an act of this kind has another subject",
            });
        }
        Ok(act)
    }
}

borsh_as_text!(Act);

/// Whether automation may start what it has not started.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum Automation {
    Paused,
    Running,
}

words!(Automation { Paused => "paused", Running => "running" });

/// All clusters (`*`) or one. Sorts as the grammar does: `*` first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Scope {
    /// `*`.
    All,
    /// One guarded cluster.
    Cluster(ClusterId),
}

impl Scope {
    /// Reads `*` or a cluster.
    pub(crate) fn read(word: &str) -> Option<Self> {
        unless("*", word).map(|cluster| cluster.map_or(Self::All, Self::Cluster))
    }
}

impl Display for Scope {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("*"),
            Self::Cluster(cluster) => write!(formatter, "{cluster}"),
        }
    }
}

/// `quorate-pause/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Pause {
    pub origin: Origin,
    pub epoch: Epoch,
    pub cluster: Scope,
    pub automation: Automation,
    /// When a pause ends by itself; none: until a `running` statement.
    pub until: Option<LogTime>,
    pub reason: Sentence,
    /// The last log time at which it may be appended.
    pub expires: LogTime,
    pub nonce: Nonce,
}

impl Statement for Pause {
    const FIRST_LINE: &'static str = "quorate-pause/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("cluster", &self.cluster)
            .line("automation", self.automation)
            .line("until", or_word(self.until.as_ref(), "0"))
            .line("reason", &self.reason)
            .line("expires", self.expires)
            .line("nonce", self.nonce);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        Ok(Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            cluster: reader.value_with("cluster", Scope::read)?,
            automation: reader.value("automation")?,
            until: reader.value_with("until", zero_or)?,
            reason: reader.value("reason")?,
            expires: reader.value("expires")?,
            nonce: reader.value("nonce")?,
        })
    }
}

borsh_as_text!(Pause);

/// `quorate-incarnation/v1`: the log goes on under a new origin, after the quorum was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct IncarnationStatement {
    /// The new origin: the old counter plus one.
    pub origin: Origin,
    /// The epoch of the charter it names: the old one plus one.
    pub epoch: Epoch,
    pub old_origin: Origin,
    /// How many leaves are kept.
    pub size: TreeSize,
    /// Root of the kept leaves.
    pub root: Hash,
    /// The charter in the next leaf.
    pub charter: CharterId,
    pub reason: Sentence,
}

impl Statement for IncarnationStatement {
    const FIRST_LINE: &'static str = "quorate-incarnation/v1";

    fn write(&self, writer: &mut TextWriter) {
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("old-origin", &self.old_origin)
            .line("size", self.size)
            .line("root", self.root)
            .line("charter", self.charter)
            .line("reason", &self.reason);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        Ok(Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            old_origin: reader.value("old-origin")?,
            size: reader.value("size")?,
            root: reader.value("root")?,
            charter: reader.value("charter")?,
            reason: reader.value("reason")?,
        })
    }
}

borsh_as_text!(IncarnationStatement);
