//! The charter: who decides what, in numbers that are all written out.
//!
//! It is leaf 0, and every amendment is a leaf; agents pin it. Only operators change it, by the
//! threshold of the old *and* of the new one (*authority*). [`Charter::parse`] refuses a charter
//! that could not work or would weaken a guarantee; [`Charter::warnings`] says where the loss of
//! one person or member would make a class unreachable.

mod line;
mod reach;
mod validate;

use std::collections::BTreeMap;

pub use line::{
    AgentLine, AgentMode, BudgetLimit, BudgetLine, ClassLine, ClassPolicy, ClusterLine, Gate,
    Limited, MemberLine, OperatorLine, PlaybookLine, RuleLine,
};
pub use reach::{CharterWarning, Missing};
pub use validate::CharterError;

use crate::id::{CharterId, ClusterId, KeyName, MemberId, Origin, RuleName};
use crate::key::VerifierKey;
use crate::log_time::Span;
use crate::note::{KeyRing, SignatureLine};
use crate::number::Epoch;
use crate::operator_statement::Scope;
use crate::remediation::Class;
use crate::text::{Repeat, Statement, TextError, TextReader, TextWriter, borsh_as_text, unless};

/// Longest charter in bytes.
pub const CHARTER_BYTES_MAX: usize = 40_000;

/// `quorate-charter/v1`.
///
/// Invariants of a parsed one: n, f and k fit; each public key once; each name once within its
/// kind; every class reachable for every cluster and target with everybody present.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines of the grammar")]
pub struct Charter {
    pub origin: Origin,
    pub epoch: Epoch,
    pub previous: Option<CharterId>,
    /// f: how many lying coordinators are tolerated.
    pub faults: u32,
    /// k: how many cosignatures make a certificate, `⌊(n+f)/2⌋ + 1`.
    pub threshold: u32,
    /// How far two honest clocks may be apart.
    pub skew: Span,
    /// How old a head may be for a start.
    pub max_age: Span,
    /// Keys of type 0x04, named `<network>/coordinator/<id>`.
    pub coordinator: Vec<VerifierKey>,
    /// Keys of type 0x01 named like the origin, for other tools. They give no authority.
    pub log: Vec<VerifierKey>,
    pub operator: Vec<OperatorLine>,
    pub cluster: Vec<ClusterLine>,
    pub member: Vec<MemberLine>,
    pub agent: Vec<AgentLine>,
    pub class: Vec<ClassLine>,
    pub budget: Vec<BudgetLine>,
    pub rule: Vec<RuleLine>,
    pub playbook: Vec<PlaybookLine>,
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole<'a> {
    /// A person.
    Operator(&'a OperatorLine),
    /// An agent that votes.
    Observer(&'a AgentLine),
    /// An agent that does not.
    Mute(&'a AgentLine),
}

impl Charter {
    /// The digest of the text, which proposals name.
    pub fn id(&self) -> CharterId {
        CharterId(self.digest())
    }

    /// n, the number of coordinators.
    pub fn coordinators(&self) -> u32 {
        u32::try_from(self.coordinator.len()).unwrap_or(u32::MAX)
    }

    /// The Raft node id of a coordinator: the decimal id its key is named by.
    pub fn node_id(&self, key: &KeyName) -> Option<u64> {
        let prefix = format!("{}/coordinator/", self.origin.network);
        key.as_str().strip_prefix(&prefix).and_then(crate::text::decimal)
    }

    /// The line of a cluster.
    pub fn cluster(&self, cluster: &ClusterId) -> Option<&ClusterLine> {
        self.cluster.iter().find(|line| line.name == *cluster)
    }

    /// The members of a cluster.
    pub fn members<'a>(&'a self, cluster: &'a ClusterId) -> impl Iterator<Item = &'a MemberLine> {
        self.member.iter().filter(move |line| line.cluster == *cluster)
    }

    /// The line of one member.
    pub fn member(&self, cluster: &ClusterId, member: &MemberId) -> Option<&MemberLine> {
        self.member.iter().find(|line| line.cluster == *cluster && line.member == *member)
    }

    /// The agents of a cluster, mute ones too.
    pub fn agents<'a>(&'a self, cluster: &'a ClusterId) -> impl Iterator<Item = &'a AgentLine> {
        self.agent.iter().filter(move |line| line.cluster == *cluster)
    }

    /// The agents of a cluster that vote.
    pub fn observers<'a>(&'a self, cluster: &'a ClusterId) -> impl Iterator<Item = &'a AgentLine> {
        self.agents(cluster).filter(|line| line.mode == AgentMode::Observer)
    }

    /// The agent of that key name.
    pub fn agent(&self, name: &KeyName) -> Option<&AgentLine> {
        self.agent.iter().find(|line| line.key.name() == name)
    }

    /// The operator of that key name.
    pub fn operator(&self, name: &KeyName) -> Option<&OperatorLine> {
        self.operator.iter().find(|line| line.key.name() == name)
    }

    /// Whose key of type 0x01 that name is.
    pub fn role(&self, name: &KeyName) -> Option<KeyRole<'_>> {
        if let Some(operator) = self.operator(name) {
            return Some(KeyRole::Operator(operator));
        }
        self.agent(name).map(|line| match line.mode {
            AgentMode::Observer => KeyRole::Observer(line),
            AgentMode::Mute => KeyRole::Mute(line),
        })
    }

    /// The operator whose line it is.
    pub fn operator_of_line(&self, line: &SignatureLine) -> Option<&VerifierKey> {
        self.operator.iter().map(|operator| &operator.key).find(|key| names(key, line))
    }

    /// The agent whose line it is, mute ones too.
    pub fn agent_of_line(&self, line: &SignatureLine) -> Option<&VerifierKey> {
        self.agent.iter().map(|agent| &agent.key).find(|key| names(key, line))
    }

    /// The validator of a cluster whose line it is: an operator, or an observer there.
    pub fn validator_of_line(
        &self,
        cluster: &ClusterId,
        line: &SignatureLine,
    ) -> Option<&VerifierKey> {
        let observers = self
            .agent
            .iter()
            .filter(|agent| agent.cluster == *cluster && agent.mode == AgentMode::Observer);
        let observer = || observers.map(|agent| &agent.key).find(|key| names(key, line));
        self.operator_of_line(line).or_else(observer)
    }

    /// The keys of everybody who votes on anything: operators and observers.
    pub fn validator_keys(&self) -> impl Iterator<Item = &VerifierKey> {
        let observers = self.agent.iter().filter(|line| line.mode == AgentMode::Observer);
        let operators = self.operator.iter().map(|line| &line.key);
        operators.chain(observers.map(|line| &line.key))
    }

    /// The coordinators' keys. A ring of a parsed charter cannot fail: each key occurs once.
    pub fn coordinator_ring(&self) -> KeyRing {
        ring(self.coordinator.iter())
    }

    /// The operators' keys.
    pub fn operator_ring(&self) -> KeyRing {
        ring(self.operator.iter().map(|line| &line.key))
    }

    /// The agents' keys, mute ones too.
    pub fn agent_ring(&self) -> KeyRing {
        ring(self.agent.iter().map(|line| &line.key))
    }

    /// What a class needs in a cluster: the cluster's own line, else the line for `*`.
    ///
    /// [`Class::Abandon`] is in no charter: two operators, and the start window of `cluster`.
    pub fn policy(&self, cluster: &ClusterId, class: Class) -> Option<ClassPolicy> {
        if class == Class::Abandon {
            let start = self.policy(cluster, Class::Cluster)?.start;
            return Some(ClassPolicy {
                numerator: 0,
                denominator: 1,
                min: 2,
                operators: 2,
                veto: Span::ZERO,
                start,
            });
        }
        let find = |scope: &Scope| {
            self.class.iter().find(|line| line.class == class && line.scope == *scope)
        };
        find(&Scope::Cluster(cluster.clone())).or_else(|| find(&Scope::All)).map(|line| line.policy)
    }

    /// What the charter class needs.
    pub fn charter_policy(&self) -> Option<ClassPolicy> {
        self.class.iter().find(|line| line.class == Class::Charter).map(|line| line.policy)
    }

    /// The limit on something in a cluster: the cluster's own line, else the line for `*`.
    pub fn budget(&self, cluster: &ClusterId, limited: Limited) -> Option<BudgetLimit> {
        let find = |scope: &Scope| {
            self.budget.iter().find(|line| line.limited == limited && line.scope == *scope)
        };
        find(&Scope::Cluster(cluster.clone())).or_else(|| find(&Scope::All)).map(|line| line.limit)
    }

    /// The value of a rule in a cluster: the cluster's own line, else the line for `*`.
    pub fn rule(&self, cluster: &ClusterId, rule: &str) -> Option<&crate::id::Word> {
        let find = |scope: &Scope| {
            let mut lines = self.rule.iter();
            lines.find(|line| line.rule.as_str() == rule && line.scope == *scope)
        };
        find(&Scope::Cluster(cluster.clone())).or_else(|| find(&Scope::All)).map(|line| &line.value)
    }

    /// The names of all rules set for a cluster.
    pub fn rules(&self, cluster: &ClusterId) -> BTreeMap<&RuleName, &crate::id::Word> {
        let of = |scope: &Scope| *scope == Scope::All || *scope == Scope::Cluster(cluster.clone());
        // `*` sorts first, so a cluster's own line replaces it.
        self.rule.iter().filter(|line| of(&line.scope)).map(|l| (&l.rule, &l.value)).collect()
    }
}

fn names(key: &VerifierKey, line: &SignatureLine) -> bool {
    key.id() == line.key_id && key.name().as_str() == line.name
}

fn ring<'a>(keys: impl Iterator<Item = &'a VerifierKey>) -> KeyRing {
    // A parsed charter has each public key and each validator's name once, so this is never empty
    // for that reason; a charter built by hand with doubles verifies nothing.
    KeyRing::new(keys.cloned()).unwrap_or_default()
}

impl Statement for Charter {
    const FIRST_LINE: &'static str = "quorate-charter/v1";
    const BYTES_MAX: usize = CHARTER_BYTES_MAX;

    fn write(&self, writer: &mut TextWriter) {
        let previous =
            self.previous.map_or_else(|| "none".to_owned(), |previous| previous.to_string());
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("previous", previous)
            .line("faults", self.faults)
            .line("threshold", self.threshold)
            .line("skew", self.skew)
            .line("max-age", self.max_age)
            .lines("coordinator", &self.coordinator)
            .lines("log", &self.log)
            .lines("operator", &self.operator)
            .lines("cluster", &self.cluster)
            .lines("member", &self.member)
            .lines("agent", &self.agent)
            .lines("class", &self.class)
            .lines("budget", &self.budget)
            .lines("rule", &self.rule)
            .lines("playbook", &self.playbook);
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, TextError> {
        let charter = Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            previous: reader.value_with("previous", |word| unless("none", word))?,
            faults: reader.value_with("faults", line::count)?,
            threshold: reader.value_with("threshold", line::count)?,
            skew: reader.value("skew")?,
            max_age: reader.value("max-age")?,
            coordinator: reader.values("coordinator", Repeat::SOME)?,
            log: reader.values("log", Repeat::FEW)?,
            operator: reader.values_with("operator", Repeat::SOME, OperatorLine::read)?,
            cluster: reader.values_with("cluster", Repeat::SOME, ClusterLine::read)?,
            member: reader.values_with("member", Repeat::SOME, MemberLine::read)?,
            agent: reader.values_with("agent", Repeat::SOME, AgentLine::read)?,
            class: reader.values_with("class", Repeat::SOME, ClassLine::read)?,
            budget: reader.values_with("budget", Repeat::SOME, BudgetLine::read)?,
            rule: reader.values_with("rule", Repeat::up_to(RULES_MAX), RuleLine::read)?,
            playbook: reader.values_with("playbook", Repeat::up_to(64), PlaybookLine::read)?,
        };
        charter.validate()?;
        Ok(charter)
    }
}

/// Most `rule` lines of a charter: 16 would not do for several clusters.
const RULES_MAX: usize = 256;

borsh_as_text!(Charter);
