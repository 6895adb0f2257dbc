//! What a charter must be before anybody may trust it.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{Charter, ClassLine, Gate};
use crate::id::{ClusterId, KeyName, MemberId};
use crate::key::{KeyType, VerifierKey};
use crate::log_time::Span;
use crate::operator_statement::Scope;
use crate::quorum::coordinator_threshold;
use crate::remediation::{Class, Kind};

/// Why a well-formed charter is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CharterError {
    /// Epoch 1 follows no charter, every other one does.
    #[error("epoch {epoch} and `previous` do not fit: only epoch 1 follows no charter")]
    Previous {
        /// The charter's epoch.
        epoch: u64,
    },
    /// n is not 3, 4, 5 or 7.
    #[error("{coordinators} coordinators: only 3, 4, 5 or 7 are supported")]
    Coordinators {
        /// How many there are.
        coordinators: u32,
    },
    /// f > ⌊(n − 1) / 3⌋.
    #[error("{coordinators} coordinators tolerate at most {max} liars, not {faults}")]
    Faults {
        /// n.
        coordinators: u32,
        /// f as written.
        faults: u32,
        /// The largest f.
        max: u32,
    },
    /// k is not ⌊(n + f) / 2⌋ + 1.
    #[error(
        "the threshold is {written}, but {coordinators} coordinators and {faults} liars need {needed}"
    )]
    Threshold {
        /// n.
        coordinators: u32,
        /// f.
        faults: u32,
        /// k as written.
        written: u32,
        /// k by the formula.
        needed: u32,
    },
    /// A span that must not be 0.
    #[error("{what} must be above 0")]
    ZeroSpan {
        /// Which line.
        what: &'static str,
    },
    /// A key of another type than its line asks for.
    #[error("the key of {name} is of type {found:?}, its line needs {expected:?}")]
    KeyType {
        /// Name of the key.
        name: KeyName,
        /// What its line asks for.
        expected: KeyType,
        /// What it is.
        found: KeyType,
    },
    /// A key that is not named by network, role and id, or a log key not named like the origin.
    #[error("the key {name} must be called {expected}")]
    KeyNameForm {
        /// Name of the key.
        name: KeyName,
        /// How it should be called.
        expected: String,
    },
    /// One public key in two lines: it would be two people.
    #[error("{first} and {second} are one public key")]
    SameKey {
        /// Name in the first line.
        first: KeyName,
        /// Name in the second line.
        second: KeyName,
    },
    /// Two keys of one name: it could not be said who signed.
    #[error("two keys are called {name}")]
    SameName {
        /// The name.
        name: KeyName,
    },
    /// More log keys than coordinators.
    #[error("{keys} log keys for {coordinators} coordinators: there is at most one each")]
    LogKeys {
        /// Log keys listed.
        keys: usize,
        /// n.
        coordinators: u32,
    },
    /// Two lines about one thing.
    #[error("two {key:?} lines are about {about}")]
    LineTwice {
        /// Key of the lines.
        key: &'static str,
        /// What both are about.
        about: String,
    },
    /// A line about a cluster that has none.
    #[error("a {key:?} line names the cluster {cluster}, which has no line")]
    UnknownCluster {
        /// Key of the line.
        key: &'static str,
        /// The cluster.
        cluster: ClusterId,
    },
    /// A cluster without members.
    #[error("the cluster {cluster} has no member")]
    NoMember {
        /// The cluster.
        cluster: ClusterId,
    },
    /// An agent beside nobody.
    #[error("{agent} runs beside {cluster}/{member}, which has no line")]
    UnknownMember {
        /// Key name of the agent.
        agent: KeyName,
        /// The cluster.
        cluster: ClusterId,
        /// The member.
        member: MemberId,
    },
    /// A class has no line for `*`: no default hides in code.
    #[error("the class {class} has no line for *")]
    ClassMissing {
        /// The class.
        class: Class,
    },
    /// The charter class for one cluster, or with spans.
    #[error("the charter class has one line, for *, with spans 0")]
    CharterClassForm,
    /// A charter class below its floor, which is more than half and at least 2.
    #[error("the charter class must need more than half of the operators and at least 2")]
    CharterClassWeak,
    /// A fraction that is no share, or a class that needs nobody.
    #[error(
        "the class {class} for {scope} has no meaningful share: {numerator}/{denominator}, min {min}"
    )]
    Share {
        /// The class.
        class: Class,
        /// Which clusters.
        scope: Scope,
        /// Of the fraction.
        numerator: u32,
        /// Of the fraction.
        denominator: u32,
        /// The least number.
        min: u32,
    },
    /// A class whose decisions could never start.
    #[error("the class {class} for {scope} has no start window")]
    NoStartWindow {
        /// The class.
        class: Class,
        /// Which clusters.
        scope: Scope,
    },
    /// With everybody present and approving it would still not be won.
    #[error("{kind} ({class}) on {} of {cluster} is unreachable: {have} approvals of {need}, {operators_have} operators of {operators_need}", target.as_ref().map_or("no member", MemberId::as_str))]
    Unreachable {
        /// The cluster.
        cluster: ClusterId,
        /// The class.
        class: Class,
        /// A kind of that class.
        kind: Kind,
        /// The member it would be about.
        target: Option<MemberId>,
        /// Approvals there are.
        have: u32,
        /// Approvals needed.
        need: u32,
        /// Operators there are.
        operators_have: u32,
        /// Operators needed.
        operators_need: u32,
    },
    /// The operators cannot change this charter with everybody present.
    #[error("the charter class is unreachable: {have} operators, {need} needed")]
    CharterUnreachable {
        /// Operators there are.
        have: u32,
        /// Operators needed.
        need: u32,
    },
}

impl Charter {
    /// Checks everything that [`Charter::parse`](crate::text::Statement::parse) promises.
    ///
    /// # Errors
    /// The first thing found.
    pub fn validate(&self) -> Result<(), CharterError> {
        self.check_numbers()?;
        self.check_keys()?;
        self.check_roster()?;
        self.check_classes()?;
        self.check_reach()
    }

    fn check_numbers(&self) -> Result<(), CharterError> {
        let first = self.epoch.get() == 1;
        if first != self.previous.is_none() {
            return Err(CharterError::Previous { epoch: self.epoch.get() });
        }
        let (coordinators, faults) = (self.coordinators(), self.faults);
        if !matches!(coordinators, 3 | 4 | 5 | 7) {
            return Err(CharterError::Coordinators { coordinators });
        }
        let max = (coordinators - 1) / 3;
        if faults > max {
            return Err(CharterError::Faults { coordinators, faults, max });
        }
        let needed = coordinator_threshold(coordinators, faults);
        // Follow from the formula for every n and f above; asserted where the table is tested.
        debug_assert!(needed <= coordinators - faults && 2 * needed - coordinators > faults);
        if self.threshold != needed {
            let written = self.threshold;
            return Err(CharterError::Threshold { coordinators, faults, written, needed });
        }
        if self.skew == Span::ZERO {
            return Err(CharterError::ZeroSpan { what: "skew" });
        }
        if self.max_age == Span::ZERO {
            return Err(CharterError::ZeroSpan { what: "max-age" });
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), CharterError> {
        if self.log.len() > self.coordinator.len() {
            let (keys, coordinators) = (self.log.len(), self.coordinators());
            return Err(CharterError::LogKeys { keys, coordinators });
        }
        let log_name = self.origin.key_name();
        for key in &self.log {
            check_type(key, KeyType::Note)?;
            if *key.name() != log_name {
                let (name, expected) = (key.name().clone(), log_name.to_string());
                return Err(CharterError::KeyNameForm { name, expected });
            }
        }
        let mut publics = BTreeMap::new();
        for key in self.log.iter().chain(self.named_keys().map(|(_, _, key)| key)) {
            if let Some(first) = publics.insert(key.public().clone(), key.name().clone()) {
                return Err(CharterError::SameKey { first, second: key.name().clone() });
            }
        }
        let mut names = BTreeSet::new();
        for (role, key_type, key) in self.named_keys() {
            check_type(key, key_type)?;
            self.check_name(role, key)?;
            if !names.insert(key.name()) {
                return Err(CharterError::SameName { name: key.name().clone() });
            }
        }
        Ok(())
    }

    fn named_keys(&self) -> impl Iterator<Item = (&'static str, KeyType, &VerifierKey)> {
        let coordinators =
            self.coordinator.iter().map(|key| ("coordinator", KeyType::Cosignature, key));
        let operators = self.operator.iter().map(|line| ("operator", KeyType::Note, &line.key));
        let agents = self.agent.iter().map(|line| ("agent", KeyType::Note, &line.key));
        coordinators.chain(operators).chain(agents)
    }

    /// `<network>/<role>/<id>`: the name says the role, so no key has two.
    fn check_name(&self, role: &'static str, key: &VerifierKey) -> Result<(), CharterError> {
        let network = &self.origin.network;
        let id = key.name().as_str().strip_prefix(&format!("{network}/{role}/"));
        let fits = match role {
            "coordinator" => self.node_id(key.name()).is_some_and(|id| id > 0),
            _ => id.is_some_and(|id| id.parse::<MemberId>().is_ok()),
        };
        if fits {
            return Ok(());
        }
        let expected = format!("{network}/{role}/<id>");
        Err(CharterError::KeyNameForm { name: key.name().clone(), expected })
    }

    fn check_roster(&self) -> Result<(), CharterError> {
        once("cluster", self.cluster.iter().map(|line| line.name.to_string()))?;
        once("member", self.member.iter().map(|line| format!("{}/{}", line.cluster, line.member)))?;
        once("agent", self.agent.iter().map(|line| format!("{}/{}", line.cluster, line.member)))?;
        once("class", self.class.iter().map(|line| format!("{} {}", line.scope, line.class)))?;
        once("budget", self.budget.iter().map(|line| format!("{} {}", line.scope, line.limited)))?;
        once("rule", self.rule.iter().map(|line| format!("{} {}", line.scope, line.rule)))?;
        once("playbook", self.playbook.iter().map(|line| line.playbook.to_string()))?;
        for line in &self.member {
            self.check_cluster("member", &line.cluster)?;
        }
        for line in &self.agent {
            self.check_cluster("agent", &line.cluster)?;
            if self.member(&line.cluster, &line.member).is_none() {
                return Err(CharterError::UnknownMember {
                    agent: line.key.name().clone(),
                    cluster: line.cluster.clone(),
                    member: line.member.clone(),
                });
            }
        }
        let scopes = (self.class.iter().map(|line| ("class", &line.scope)))
            .chain(self.budget.iter().map(|line| ("budget", &line.scope)))
            .chain(self.rule.iter().map(|line| ("rule", &line.scope)));
        for (key, scope) in scopes {
            if let Scope::Cluster(cluster) = scope {
                self.check_cluster(key, cluster)?;
            }
        }
        for line in &self.cluster {
            if self.members(&line.name).next().is_none() {
                return Err(CharterError::NoMember { cluster: line.name.clone() });
            }
        }
        Ok(())
    }

    fn check_cluster(&self, key: &'static str, cluster: &ClusterId) -> Result<(), CharterError> {
        match self.cluster(cluster) {
            Some(_) => Ok(()),
            None => Err(CharterError::UnknownCluster { key, cluster: cluster.clone() }),
        }
    }

    fn check_classes(&self) -> Result<(), CharterError> {
        for class in Class::IN_CHARTER {
            let has_default =
                self.class.iter().any(|line| line.class == class && line.scope == Scope::All);
            if !has_default {
                return Err(CharterError::ClassMissing { class });
            }
        }
        self.class.iter().try_for_each(check_class)
    }

    /// Whether members of that cluster may be declared dead at all: its gates fail closed.
    pub fn fails_closed(&self, cluster: &ClusterId) -> bool {
        self.cluster(cluster).is_some_and(|line| line.gate == Gate::Closed)
    }
}

fn check_class(line: &ClassLine) -> Result<(), CharterError> {
    let (class, policy) = (line.class, line.policy);
    let scope = line.scope.clone();
    if policy.denominator == 0 || policy.numerator >= policy.denominator || policy.min == 0 {
        let (numerator, denominator, min) = (policy.numerator, policy.denominator, policy.min);
        return Err(CharterError::Share { class, scope, numerator, denominator, min });
    }
    if class != Class::Charter {
        return if policy.start == Span::ZERO {
            Err(CharterError::NoStartWindow { class, scope })
        } else {
            Ok(())
        };
    }
    if scope != Scope::All || policy.veto != Span::ZERO || policy.start != Span::ZERO {
        return Err(CharterError::CharterClassForm);
    }
    let half = u64::from(policy.numerator) * 2 >= u64::from(policy.denominator);
    if !half || policy.min < 2 {
        return Err(CharterError::CharterClassWeak);
    }
    Ok(())
}

fn check_type(key: &VerifierKey, expected: KeyType) -> Result<(), CharterError> {
    let found = key.key_type();
    if found == expected {
        return Ok(());
    }
    Err(CharterError::KeyType { name: key.name().clone(), expected, found })
}

fn once(key: &'static str, about: impl Iterator<Item = String>) -> Result<(), CharterError> {
    let mut seen = BTreeSet::new();
    for about in about {
        if !seen.insert(about.clone()) {
            return Err(CharterError::LineTwice { key, about });
        }
    }
    Ok(())
}
