//! Why a member may not start: what, why, since when, who can change it, and the command.

use std::io;

use quorate_attest::certificate::OutsideWindow;
use quorate_attest::id::{ClusterId, Digest, MemberId};
use quorate_attest::log_time::{CosignTime, LogTime};
use quorate_attest::number::{DecisionNumber, FencingToken};
use thiserror::Error;

use super::state::NotKnown;
use crate::trust::Standing;

/// Why the gate is closed. Nothing was started and nothing was touched.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The member is tombstoned (*dead-stays-dead*).
    #[error(
        "{member} of {cluster} was declared dead or fenced by decision {decision}{}: it does not start again",
        since(*dead_since)
    )]
    DeclaredDead {
        /// The cluster.
        cluster: ClusterId,
        /// The member.
        member: MemberId,
        /// The declaration.
        decision: DecisionNumber,
        /// Since when its agent has known it.
        dead_since: Option<LogTime>,
    },
    /// The data directory is a dead member's, whatever name it is started under.
    #[error(
        "the data directory has identity {identity}, which decision {decision} of {cluster} declared dead: \
         nobody starts on it"
    )]
    DeadIdentity {
        /// The cluster.
        cluster: ClusterId,
        /// What it says of itself.
        identity: Digest,
        /// The declaration.
        decision: DecisionNumber,
    },
    /// The member was re-admitted, but not here.
    #[error("{member} was re-admitted on {what} {wanted} and nowhere else; here it is {found}")]
    NotReadmittedHere {
        /// The member.
        member: MemberId,
        /// `host`, `directory` or `empty directory`.
        what: &'static str,
        /// What the re-admission names.
        wanted: String,
        /// What is here.
        found: String,
    },
    /// The charter has no such member: it was removed, or the configuration is wrong.
    #[error("the charter in force has no member {member} of {cluster}")]
    NotMember {
        /// The cluster.
        cluster: ClusterId,
        /// The member.
        member: MemberId,
    },
    /// Nothing is known, and the cluster's gates fail closed.
    #[error("nothing is known of the log, and the gates of {cluster} fail closed: {source}")]
    NothingKnown {
        /// The cluster.
        cluster: ClusterId,
        /// Why.
        source: NotKnown,
    },
    /// What is known is too old, and the cluster's gates fail closed.
    #[error(
        "the newest head known here was cosigned at {}; {cluster} allows {max_age} and its gates fail closed",
        as_of.utc()
    )]
    Stale {
        /// The cluster.
        cluster: ClusterId,
        /// How fresh the head is.
        as_of: CosignTime,
        /// The charter's max-age, in words.
        max_age: String,
    },
    /// The log contradicts itself.
    #[error("the log contradicts itself: {alarm}")]
    Alarm {
        /// The two heads.
        alarm: String,
    },
    /// The agent could not write down what it knows: this gate may know less than it.
    #[error("the agent could not write down what it knows: {why}")]
    AgentFailed {
        /// Why.
        why: String,
    },
    /// A declaration is being carried out, and only it may start this member.
    #[error("decision {token} is being carried out: until it is over, only it starts {member}")]
    Reserved {
        /// The member.
        member: MemberId,
        /// The declaration.
        token: FencingToken,
    },
    /// A start alone is offered, and something of it does not hold (*one-survivor*).
    #[error("the member may not start alone: {0}")]
    Alone(#[from] AloneRefused),
    /// The place cannot be looked at or marked.
    #[error("the member's data directory cannot be judged: {source}")]
    Place {
        /// Why.
        source: io::Error,
    },
}

/// Why a start alone is refused. Always fail-closed.
#[derive(Debug, Error)]
pub enum AloneRefused {
    /// The certificate does not hold.
    #[error("its certificate is refused at step {step}: {why}")]
    Certificate {
        /// Which step of the verification.
        step: u8,
        /// Why.
        why: String,
    },
    /// Of another log, or another life of it.
    #[error("its certificate is of another log: {why}")]
    Origin {
        /// Which.
        why: String,
    },
    /// It declares nobody dead, or another cluster's members.
    #[error("decision {token} is no declaration for {cluster}")]
    NoDeclaration {
        /// The decision.
        token: FencingToken,
        /// The cluster.
        cluster: ClusterId,
    },
    /// Another member is the survivor.
    #[error("decision {token} names {survivor} as the survivor, not {member}")]
    Named {
        /// The decision.
        token: FencingToken,
        /// Who is named.
        survivor: MemberId,
        /// Who asks.
        member: MemberId,
    },
    /// A start alone under this or a higher token was made before.
    #[error("decision {token} is not above {used}, under which this member started alone before")]
    Used {
        /// The decision.
        token: FencingToken,
        /// The highest used.
        used: FencingToken,
    },
    /// Too early, too late, or of an older epoch.
    #[error(transparent)]
    Window(#[from] OutsideWindow),
    /// The head is too old.
    #[error("the newest head known here is too old for it, of {}", as_of.utc())]
    Head {
        /// How fresh it is.
        as_of: CosignTime,
    },
    /// The log does not show it as under way by this agent.
    #[error("the log says {standing:?} of decision {token}")]
    Standing {
        /// The decision.
        token: FencingToken,
        /// What the log says.
        standing: Standing,
    },
    /// The agent took it back, or another gate took it.
    #[error("the permission of decision {token} is gone: {why}")]
    Gone {
        /// The decision.
        token: FencingToken,
        /// Why.
        why: String,
    },
    /// The command line has no way to start alone.
    #[error("this gate was started without --alone-argument and a command")]
    NoArgument,
    /// The command does not exist; nothing was taken for it.
    #[error("there is no program {program} to start")]
    NoProgram {
        /// The program.
        program: String,
    },
    /// The record of earlier starts alone cannot be read: it may hold any token.
    #[error("what was used before cannot be read: {source}")]
    Unreadable {
        /// Why.
        source: io::Error,
    },
    /// The use could not be written down, so nothing is started.
    #[error("the use of decision {token} cannot be written down: {source}")]
    Record {
        /// The decision.
        token: FencingToken,
        /// Why.
        source: io::Error,
    },
}

impl AloneRefused {
    /// One word for scripts: the `why` of `START_ALONE_REFUSED`.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        match self {
            Self::Certificate { .. } => "certificate",
            Self::Origin { .. } => "origin",
            Self::NoDeclaration { .. } => "declaration",
            Self::Named { .. } => "named",
            Self::Used { .. } => "used",
            Self::Window(OutsideWindow::Expired { .. }) => "expired",
            Self::Window(OutsideWindow::NotYet { .. }) => "window",
            Self::Window(OutsideWindow::OtherEpoch { .. }) => "epoch",
            Self::Head { .. } => "head",
            Self::Standing { .. } => "token",
            Self::Gone { .. } => "claim",
            Self::NoArgument => "argument",
            Self::NoProgram { .. } => "program",
            Self::Unreadable { .. } | Self::Record { .. } => "record",
        }
    }
}

fn since(known: Option<LogTime>) -> String {
    known.map_or_else(String::new, |at| format!(", known here since {}", at.utc()))
}
