//! Who has a voice, how many voices are needed, and how the votes stand.
//!
//! Pure functions over the charter and sets of key names. A failure domain is one voice, which
//! approves when more than half of its observers do; every operator is a voice of its own. A
//! name is in a set once, so no vote counts twice (*authority*), and a tally is lost only when no
//! vote still to come can change it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::charter::{Charter, ClassPolicy};
use crate::declaration::Declaration;
use crate::id::{ClusterId, Domain, KeyName, MemberId};
use crate::proposal::Proposal;
use crate::remediation::{Class, Kind};

/// k = ⌊(n + f) / 2⌋ + 1: two sets of k coordinators share more than f of them.
pub const fn coordinator_threshold(coordinators: u32, faults: u32) -> u32 {
    (coordinators + faults) / 2 + 1
}

/// How many distinct refusals void a decision: n − k + 1 + f. With that many, even if f refuse and
/// cosign too, fewer than k are left to cosign it.
pub const fn refusal_threshold(coordinators: u32, faults: u32) -> u32 {
    coordinators.saturating_sub(coordinator_threshold(coordinators, faults)) + 1 + faults
}

/// One voice of an electorate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Voice {
    /// All observers of one failure domain.
    Domain(Domain),
    /// One observer whose member has no domain.
    Observer(KeyName),
    /// One operator.
    Operator(KeyName),
}

impl Display for Voice {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => write!(formatter, "domain {domain}"),
            Self::Observer(name) | Self::Operator(name) => write!(formatter, "{name}"),
        }
    }
}

/// Who may approve one proposal, and how many must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Electorate {
    /// The class that set the numbers.
    pub class: Class,
    /// Those numbers.
    pub policy: ClassPolicy,
    /// The observers' voices, each with its observers.
    pub observers: BTreeMap<Voice, BTreeSet<KeyName>>,
    /// The operators, each a voice of its own.
    pub operators: BTreeSet<KeyName>,
    /// n: the voices of which the share is taken.
    pub voices: u32,
    /// The approvals needed.
    pub need: u32,
}

/// Who has no voice although the charter gives one.
#[derive(Debug, Clone, Copy)]
pub struct Silenced<'a> {
    /// Members tombstoned in the log: their observers left n and votes.
    pub tombstoned: &'a BTreeSet<MemberId>,
}

impl Silenced<'static> {
    /// Nobody.
    pub const NOBODY: Self = Self { tombstoned: &BTreeSet::new() };
}

impl Electorate {
    /// The electorate of a proposal; none if the charter has no such cluster.
    pub fn of_proposal(
        charter: &Charter,
        proposal: &Proposal,
        silenced: Silenced<'_>,
    ) -> Option<Self> {
        let mut out = silenced.tombstoned.clone();
        // Only a declaration's list takes voices away: its silence is checked, no other's is.
        if Declaration::declares(proposal) {
            let dead = proposal.params("dead");
            out.extend(dead.filter_map(|param| param.value.as_str().parse().ok()));
        }
        let target = proposal.target_member();
        Self::of(charter, &proposal.cluster, proposal.kind, target.as_ref(), &out)
    }

    /// The electorate of a kind of remediation on `target`, without the observers of `out`.
    pub fn of(
        charter: &Charter,
        cluster: &ClusterId,
        kind: Kind,
        target: Option<&MemberId>,
        out: &BTreeSet<MemberId>,
    ) -> Option<Self> {
        charter.cluster(cluster)?;
        let class = kind.class();
        let policy = charter.policy(cluster, class)?;
        let mut observers: BTreeMap<Voice, BTreeSet<KeyName>> = BTreeMap::new();
        if kind.has_probe() {
            // The target's own observer judges only what can do it no lasting harm.
            let own = target.filter(|_| class != Class::Local);
            for line in charter.observers(cluster) {
                if out.contains(&line.member) || own == Some(&line.member) {
                    continue;
                }
                let name = line.key.name().clone();
                let domain =
                    charter.member(cluster, &line.member).and_then(|line| line.domain.clone());
                let voice = domain.map_or_else(|| Voice::Observer(name.clone()), Voice::Domain);
                observers.entry(voice).or_default().insert(name);
            }
        }
        Some(Self::new(class, policy, observers, operators(charter)))
    }

    /// The electorate of a charter or an incarnation: the operators.
    pub fn of_charter(charter: &Charter) -> Option<Self> {
        let policy = charter.charter_policy()?;
        Some(Self::new(Class::Charter, policy, BTreeMap::new(), operators(charter)))
    }

    fn new(
        class: Class,
        policy: ClassPolicy,
        observers: BTreeMap<Voice, BTreeSet<KeyName>>,
        operators: BTreeSet<KeyName>,
    ) -> Self {
        let mut voices = observers.len();
        // Operators' approvals count everywhere, in n only where they must be heard, or are alone.
        match class {
            Class::Irreversible | Class::Charter | Class::Abandon => voices += operators.len(),
            Class::Cluster | Class::Local if observers.is_empty() => voices = operators.len(),
            Class::Cluster | Class::Local => {}
        }
        let voices = u32::try_from(voices).unwrap_or(u32::MAX);
        let need = policy.need(voices);
        Self { class, policy, observers, operators, voices, need }
    }

    /// How the votes stand. `equivocators` do not count, whatever they said.
    pub fn tally(
        &self,
        approvers: &BTreeSet<KeyName>,
        rejecters: &BTreeSet<KeyName>,
        equivocators: &BTreeSet<KeyName>,
    ) -> Tally {
        let votes = Votes { approvers, rejecters, equivocators };
        let mut approved = BTreeSet::new();
        let mut missing = BTreeSet::new();
        for (voice, members) in &self.observers {
            match votes.of_voice(members) {
                Standing::For => drop(approved.insert(voice.clone())),
                Standing::Open => drop(missing.insert(voice.clone())),
                Standing::Against => {}
            }
        }
        let mut operators = (0, 0);
        for name in &self.operators {
            let voice = Voice::Operator(name.clone());
            match votes.of_key(name) {
                Standing::For => {
                    operators.0 += 1;
                    approved.insert(voice);
                }
                Standing::Open => {
                    operators.1 += 1;
                    missing.insert(voice);
                }
                Standing::Against => {}
            }
        }
        self.result(approved, missing, operators)
    }

    fn result(
        &self,
        approved: BTreeSet<Voice>,
        missing: BTreeSet<Voice>,
        (operators_have, operators_missing): (u32, u32),
    ) -> Tally {
        let have = u32::try_from(approved.len()).unwrap_or(u32::MAX);
        let reachable = have.saturating_add(u32::try_from(missing.len()).unwrap_or(u32::MAX));
        let result = if have >= self.need && operators_have >= self.policy.operators {
            TallyResult::Won
        } else if reachable < self.need
            || operators_have.saturating_add(operators_missing) < self.policy.operators
        {
            TallyResult::Lost
        } else {
            TallyResult::Pending
        };
        Tally {
            result,
            have,
            need: self.need,
            voices: self.voices,
            operators_have,
            operators_need: self.policy.operators,
            approved,
            missing,
        }
    }

    /// The tally if everybody present approved: a class is reachable if that is won.
    pub fn everybody(&self) -> Tally {
        let mut all = self.operators.clone();
        all.extend(self.observers.values().flatten().cloned());
        self.tally(&all, &BTreeSet::new(), &BTreeSet::new())
    }

    /// Whether a key has a voice here, alone or in its domain.
    pub fn has(&self, name: &KeyName) -> bool {
        self.operators.contains(name) || self.observers.values().any(|voice| voice.contains(name))
    }
}

fn operators(charter: &Charter) -> BTreeSet<KeyName> {
    charter.operator.iter().map(|line| line.key.name().clone()).collect()
}

/// What one voice has said so far.
enum Standing {
    For,
    Open,
    Against,
}

struct Votes<'a> {
    approvers: &'a BTreeSet<KeyName>,
    rejecters: &'a BTreeSet<KeyName>,
    equivocators: &'a BTreeSet<KeyName>,
}

impl Votes<'_> {
    fn of_key(&self, name: &KeyName) -> Standing {
        if self.equivocators.contains(name) || self.rejecters.contains(name) {
            // Both at once is equivocation too, proven or not: it never counts as an approval.
            return Standing::Against;
        }
        if self.approvers.contains(name) { Standing::For } else { Standing::Open }
    }

    /// More than half of the observers of a domain speak for it.
    fn of_voice(&self, members: &BTreeSet<KeyName>) -> Standing {
        let mut approving = 0;
        let mut open = 0;
        for name in members {
            match self.of_key(name) {
                Standing::For => approving += 1,
                Standing::Open => open += 1,
                Standing::Against => {}
            }
        }
        if approving * 2 > members.len() {
            Standing::For
        } else if (approving + open) * 2 > members.len() {
            Standing::Open
        } else {
            Standing::Against
        }
    }
}

/// Where a vote stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum TallyResult {
    /// More votes can decide it.
    Pending,
    /// Enough approvals, operators among them.
    Won,
    /// No vote still to come can win it.
    Lost,
}

/// The votes on one proposal, counted.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Tally {
    /// Pending, won or lost.
    pub result: TallyResult,
    /// Voices that approve.
    pub have: u32,
    /// Approvals needed.
    pub need: u32,
    /// n, of which the share was taken.
    pub voices: u32,
    /// Operators that approve.
    pub operators_have: u32,
    /// Operators needed among the approvals.
    pub operators_need: u32,
    /// Who approves.
    pub approved: BTreeSet<Voice>,
    /// Whose approval is still possible.
    pub missing: BTreeSet<Voice>,
}

impl Tally {
    /// Whether enough approve.
    pub fn is_won(&self) -> bool {
        self.result == TallyResult::Won
    }

    /// Whether it can no longer be won.
    pub fn is_lost(&self) -> bool {
        self.result == TallyResult::Lost
    }
}
