//! The parts of a playbook, after they were checked.

use std::fmt;

use quorate_attest::id::{AdapterName, Digest, FactKey, ParamKey, PlaybookId, Sentence};
use quorate_attest::ladder::{Rto, Severity};
use quorate_attest::log_time::Span;
use quorate_attest::proposal::Param;
use quorate_attest::remediation::{Class, Kind};

use super::refused::Place;

/// A fixed list of words: each reads back as itself, and anything else is refused with the list.
macro_rules! listed {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$each:meta])* $variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$each])* $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            pub(super) const WHAT: &'static str = $what;

            /// The word in the file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            pub(super) fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }

            pub(super) fn known() -> String {
                let words: Vec<_> = Self::ALL.iter().map(|one| one.as_str()).collect();
                words.join(", ")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }
    };
}

listed! {
    /// Where a signal comes from.
    Source, "source of signals" {
        /// The agents' own probes.
        Agents => "agents",
        /// An alert, which opens a draft.
        Alert => "alert",
        /// A person says so.
        Operator => "operator",
        /// Something anybody can verify: two signatures, a forged event.
        Evidence => "evidence",
        /// A time of day or year.
        Schedule => "schedule",
    }
}

listed! {
    /// Whether one signal is enough.
    Matching, "way to match signals" {
        /// Any of them.
        Any => "any",
        /// All of them.
        All => "all",
    }
}

listed! {
    /// What the ladder's targets are.
    TargetKind, "kind of target" {
        /// `member:<name>`.
        Member => "member",
        /// `peer:<name>`: a peer of the guarded system.
        Peer => "peer",
        /// `key:<name>`.
        Key => "key",
        /// `vault:<name>`.
        Vault => "vault",
        /// `region:<name>`.
        Region => "region",
        /// `dependency:<name>`.
        Dependency => "dependency",
        /// `archive:<name>`: a log, backup or data set.
        Archive => "archive",
        /// The cluster as a whole.
        Cluster => "cluster",
    }
}

listed! {
    /// Which recorded end of the step before opens a step.
    Opens, "end that opens a step" {
        /// It was carried out and changed nothing.
        Ineffective => "ineffective",
        /// It failed, did harm, or was refused by its own precondition.
        Failed => "failed",
        /// It was not decided, or not reported, in time.
        Deadline => "deadline",
        /// It had its effect: the next part of one procedure.
        Effective => "effective",
    }
}

listed! {
    /// A machine check that must pass before an incident is closed.
    Check, "closing check" {
        /// All nodes healthy and reporting.
        MembersHealthy => "members-healthy",
        /// A leader is elected.
        LeaderElected => "leader-elected",
        /// All objects, vaults and heights are there.
        DataAccessible => "data-accessible",
        /// Integrity equal to the baseline, or better.
        IntegrityBaseline => "integrity-baseline",
        /// A write succeeds.
        WriteSucceeds => "write-succeeds",
        /// A read succeeds.
        ReadSucceeds => "read-succeeds",
        /// Metrics flow.
        MetricsFlowing => "metrics-flowing",
        /// Alerts are resolved.
        AlertsResolved => "alerts-resolved",
        /// The incident is documented.
        IncidentDocumented => "incident-documented",
        /// The process lives and was not started again within its window.
        ProcessStable => "process-stable",
        /// RPC answers.
        RpcAnswers => "rpc-answers",
        /// The height grows.
        HeightGrows => "height-grows",
        /// There are peers.
        PeersConnected => "peers-connected",
        /// The height is the other nodes'.
        HeightEquals => "height-equals",
        /// What the witness counted is there, and not less.
        WitnessHolds => "witness-holds",
        /// State roots agree on every replica.
        RootsEqual => "roots-equal",
        /// Exactly one side accepts writes.
        OneWritable => "one-writable",
        /// What was banned is refused, and not stored.
        BanRefused => "ban-refused",
        /// What was not banned is accepted.
        ControlAccepted => "control-accepted",
        /// Storage proofs succeed as often as promised.
        ProofsSucceed => "proofs-succeed",
        /// No shard lists the isolated node.
        ShardsMoved => "shards-moved",
        /// Every entry was replayed, and the state hash is the expected one.
        ReplayEqual => "replay-equal",
        /// Every observer reaches every member.
        MatrixComplete => "matrix-complete",
        /// Everything queued has arrived, once.
        BacklogDrained => "backlog-drained",
        /// The old key signs nothing that counts.
        KeyVoid => "key-void",
        /// Free space is above its threshold.
        SpaceFree => "space-free",
        /// The limits are in force.
        LimitsInForce => "limits-in-force",
    }
}

/// What a signal must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Says of itself that it does not work, or does not answer.
    Down,
    /// Does not answer. Never a proof of death.
    Unreachable,
    /// Is not there; not the same as zero.
    Absent,
    /// Is there.
    Present,
    /// Compares as a decimal number or a word.
    Compares {
        /// How.
        with: Comparison,
        /// With what: a decimal number, or for equality any word.
        value: String,
    },
}

listed! {
    /// How a signal's value is compared.
    Comparison, "condition" {
        /// At least.
        AtLeast => ">=",
        /// At most.
        AtMost => "<=",
        /// Differs.
        Differs => "!=",
        /// Above.
        Above => ">",
        /// Below.
        Below => "<",
        /// Equal.
        Equals => "=",
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => formatter.write_str("down"),
            Self::Unreachable => formatter.write_str("unreachable"),
            Self::Absent => formatter.write_str("absent"),
            Self::Present => formatter.write_str("present"),
            Self::Compares { with, value } => write!(formatter, "{with} {value}"),
        }
    }
}

/// One signal: what is measured, what it must be, for how long, and by how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its name; the agents' own reading of a member is `member`.
    pub name: FactKey,
    /// What it must be.
    pub is: Condition,
    /// For how long without a break.
    pub lasting: Span,
    /// How many observers must see it themselves.
    pub observers: u32,
    pub(super) observers_at: Place,
}

/// When the playbook begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detect {
    /// Who notices.
    pub source: Source,
    /// Whether one signal is enough.
    pub matching: Matching,
    /// At least one.
    pub signals: Vec<Signal>,
}

/// One step of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name within the playbook.
    pub name: ParamKey,
    /// What is done.
    pub kind: Kind,
    /// The kind's class.
    pub class: Class,
    /// Whether agents may open it. Everything else is opened by a person.
    pub automatic: bool,
    /// How often it is tried: 1 to 10, the first time included.
    pub attempts: u32,
    /// The least time between the end of an attempt and the next decision.
    pub pause: Span,
    /// How long one attempt may take until it is decided, and then until it is reported.
    pub deadline: Span,
    /// Which step's end opens it, by its place from 0; none for the first.
    pub after: Option<usize>,
    /// Which ends of that step do.
    pub on: Vec<Opens>,
    /// Parameters of every proposal of this step.
    pub params: Vec<Param>,
    /// Parameters that only the incident knows and a person fills in.
    pub needs: Vec<ParamKey>,
}

/// When an incident is worse than it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rise {
    /// Up to which severity.
    pub to: Severity,
    /// After how long.
    pub after: Option<Span>,
    /// On which fact.
    pub when: Option<FactKey>,
}

/// How bad it is, and how soon people must react.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urgency {
    /// At the beginning.
    pub level: Severity,
    /// Until somebody has looked.
    pub first_response: Span,
    /// Until it is over.
    pub resolution: Span,
    /// What makes it worse.
    pub rise: Vec<Rise>,
}

/// A checked playbook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playbook {
    /// The row it answers, such as `s35`.
    pub id: PlaybookId,
    /// SHA-256 of the file's bytes: what the charter pins.
    pub digest: Digest,
    /// For people.
    pub title: Sentence,
    /// The system it is written for; `any` for every one.
    pub system: AdapterName,
    /// What its steps act on.
    pub target: TargetKind,
    /// When it begins.
    pub detect: Detect,
    /// The ladder, weakest first; empty exactly if it only records.
    pub steps: Vec<Step>,
    /// What is measured before each step.
    pub witness: Vec<FactKey>,
    /// What must pass before the incident is closed.
    pub closing: Vec<Check>,
    /// How long after a success the same trouble is the same incident.
    pub quiet: Span,
    /// How bad it is.
    pub urgency: Urgency,
    /// The recovery time promised, if one is.
    pub rto: Option<Rto>,
    /// Who is asked, nearest first.
    pub people: Vec<ParamKey>,
    /// The evidence file's name, with `<cluster>`, `<number>`, `<kind>`, `<date>`.
    pub evidence: String,
    /// More files that the row's own rules demand.
    pub evidence_also: Vec<String>,
}
