//! The lines of a charter that have several words.

use std::fmt::{self, Display, Formatter};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::id::{AdapterName, ClusterId, Digest, Domain, MemberId, PlaybookId, RuleName, Word};
use crate::key::VerifierKey;
use crate::log_time::Span;
use crate::operator_statement::Scope;
use crate::remediation::Class;
use crate::text::{decimal, or_word, unless, words};

/// A small count of people, voices or coordinators.
pub(super) fn count(word: &str) -> Option<u32> {
    decimal(word).and_then(|number| u32::try_from(number).ok())
}

/// Exactly `N` words with single blanks between them.
fn words<const N: usize>(value: &str) -> Option<[&str; N]> {
    let words: Vec<&str> = value.split(' ').collect();
    words.try_into().ok()
}

/// `operator <domain|-> <vkey>`: a person's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorLine {
    /// Only feeds the warnings of `doctor`: each operator is a voice of its own.
    pub domain: Option<Domain>,
    /// The key, of type 0x01.
    pub key: VerifierKey,
}

impl OperatorLine {
    pub(super) fn read(value: &str) -> Option<Self> {
        let [domain, key] = words(value)?;
        Some(Self { domain: unless("-", domain)?, key: key.parse().ok()? })
    }
}

impl Display for OperatorLine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", or_word(self.domain.as_ref(), "-"), self.key)
    }
}

/// What a member's gate answers when it cannot ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Gate {
    /// Start. Such a cluster can never declare a member dead.
    Open,
    /// Do not start: the default, which *dead-stays-dead* needs.
    Closed,
}

words!(Gate { Open => "open", Closed => "closed" });

/// `cluster <label> <adapter> open|closed`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the words of the line")]
pub struct ClusterLine {
    pub name: ClusterId,
    pub adapter: AdapterName,
    pub gate: Gate,
}

impl ClusterLine {
    pub(super) fn read(value: &str) -> Option<Self> {
        let [name, adapter, gate] = words(value)?;
        Some(Self {
            name: name.parse().ok()?,
            adapter: adapter.parse().ok()?,
            gate: gate.parse().ok()?,
        })
    }
}

impl Display for ClusterLine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.name, self.adapter, self.gate)
    }
}

/// `member <cluster> <member> <domain|->`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the words of the line")]
pub struct MemberLine {
    pub cluster: ClusterId,
    pub member: MemberId,
    /// Its failure domain: one voice for all observers in it. None: a voice of its own.
    pub domain: Option<Domain>,
}

impl MemberLine {
    pub(super) fn read(value: &str) -> Option<Self> {
        let [cluster, member, domain] = words(value)?;
        Some(Self {
            cluster: cluster.parse().ok()?,
            member: member.parse().ok()?,
            domain: unless("-", domain)?,
        })
    }
}

impl Display for MemberLine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let domain = or_word(self.domain.as_ref(), "-");
        write!(formatter, "{} {} {domain}", self.cluster, self.member)
    }
}

/// Whether an agent's key votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AgentMode {
    /// Votes from its own probes.
    Observer,
    /// Executes and reports, and never votes.
    Mute,
}

words!(AgentMode { Observer => "observer", Mute => "mute" });

/// `agent <cluster> <member> observer|mute <vkey>`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the words of the line")]
pub struct AgentLine {
    pub cluster: ClusterId,
    /// The member it runs beside.
    pub member: MemberId,
    pub mode: AgentMode,
    /// The key, of type 0x01.
    pub key: VerifierKey,
}

impl AgentLine {
    pub(super) fn read(value: &str) -> Option<Self> {
        let [cluster, member, mode, key] = words(value)?;
        Some(Self {
            cluster: cluster.parse().ok()?,
            member: member.parse().ok()?,
            mode: mode.parse().ok()?,
            key: key.parse().ok()?,
        })
    }
}

impl Display for AgentLine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {} {}", self.cluster, self.member, self.mode, self.key)
    }
}

/// `class <cluster|*> <class> <num>/<den> <min> <operators> <veto span> <start window span>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassLine {
    /// Which clusters.
    pub scope: Scope,
    /// Which class; never [`Class::Abandon`].
    pub class: Class,
    /// What it needs there.
    pub policy: ClassPolicy,
}

/// What a class needs: `max(min, ⌊n·numerator/denominator⌋ + 1)` of n voices, of them `operators`
/// distinct operators, and the veto span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ClassPolicy {
    /// Of the fraction that must be exceeded.
    pub numerator: u32,
    /// Of the fraction that must be exceeded.
    pub denominator: u32,
    /// The least number of approvals, however few voices there are.
    pub min: u32,
    /// The least number of distinct operators among them.
    pub operators: u32,
    /// How long after the approval a veto still counts.
    pub veto: Span,
    /// How long after its not-before a decision may still be started.
    pub start: Span,
}

impl ClassPolicy {
    /// How many of `voices` must approve. The product cannot overflow: both factors are 32 bits.
    pub fn need(&self, voices: u32) -> u32 {
        let share =
            u64::from(voices) * u64::from(self.numerator) / u64::from(self.denominator.max(1));
        let over = u32::try_from(share).unwrap_or(u32::MAX).saturating_add(1);
        over.max(self.min)
    }
}

impl ClassLine {
    pub(super) fn read(value: &str) -> Option<Self> {
        let [scope, class, fraction, min, operators, veto, start] = words(value)?;
        let (numerator, denominator) = fraction.split_once('/')?;
        let class = class.parse().ok().filter(|class| *class != Class::Abandon)?;
        let policy = ClassPolicy {
            numerator: count(numerator)?,
            denominator: count(denominator)?,
            min: count(min)?,
            operators: count(operators)?,
            veto: veto.parse().ok()?,
            start: start.parse().ok()?,
        };
        Some(Self { scope: Scope::read(scope)?, class, policy })
    }
}

impl Display for ClassLine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { scope, class, policy } = self;
        let ClassPolicy { numerator, denominator, min, operators, veto, start } = policy;
        write!(
            formatter,
            "{scope} {class} {numerator}/{denominator} {min} {operators} {veto} {start}"
        )
    }
}

/// What a budget line limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Limited {
    /// All decisions of one cluster and class.
    Class(Class),
    /// All decisions on one target.
    Target,
    /// All decisions.
    Global,
}

impl Limited {
    fn read(word: &str) -> Option<Self> {
        match word {
            "target" => Some(Self::Target),
            "global" => Some(Self::Global),
            class => class
                .parse()
                .ok()
                .filter(|class| !matches!(class, Class::Abandon | Class::Charter))
                .map(Self::Class),
        }
    }
}

impl Display for Limited {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => write!(formatter, "{class}"),
            Self::Target => formatter.write_str("target"),
            Self::Global => formatter.write_str("global"),
        }
    }
}

/// `budget <cluster|*> <class|target|global> <burst> <period span> <cooldown span>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetLine {
    /// Which clusters.
    pub scope: Scope,
    /// What it limits there.
    pub limited: Limited,
    /// How much.
    pub limit: BudgetLimit,
}

/// `burst` decisions, one more every `period`, and `cooldown` of quiet after each completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(missing_docs, reason = "the fields are the words of the line")]
pub struct BudgetLimit {
    pub burst: u32,
    pub period: Span,
    pub cooldown: Span,
}

impl BudgetLine {
    pub(super) fn read(value: &str) -> Option<Self> {
        let [scope, limited, burst, period, cooldown] = words(value)?;
        let limit = BudgetLimit {
            burst: count(burst)?,
            period: period.parse().ok()?,
            cooldown: cooldown.parse().ok()?,
        };
        Some(Self { scope: Scope::read(scope)?, limited: Limited::read(limited)?, limit })
    }
}

impl Display for BudgetLine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let BudgetLimit { burst, period, cooldown } = self.limit;
        write!(formatter, "{} {} {burst} {period} {cooldown}", self.scope, self.limited)
    }
}

/// `rule <cluster|*> <label> <word>`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the words of the line")]
pub struct RuleLine {
    pub scope: Scope,
    pub rule: RuleName,
    pub value: Word,
}

impl RuleLine {
    pub(super) fn read(value: &str) -> Option<Self> {
        let [scope, rule, value] = words(value)?;
        Some(Self {
            scope: Scope::read(scope)?,
            rule: rule.parse().ok()?,
            value: value.parse().ok()?,
        })
    }
}

impl Display for RuleLine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.scope, self.rule, self.value)
    }
}

/// `playbook <label> <digest>`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the words of the line")]
pub struct PlaybookLine {
    pub playbook: PlaybookId,
    pub digest: Digest,
}

impl PlaybookLine {
    pub(super) fn read(value: &str) -> Option<Self> {
        let [playbook, digest] = words(value)?;
        Some(Self { playbook: playbook.parse().ok()?, digest: digest.parse().ok()? })
    }
}

impl Display for PlaybookLine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.playbook, self.digest)
    }
}
