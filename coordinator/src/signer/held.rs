//! Vetoes and observations this coordinator holds itself: what a leader cannot withhold.
//!
//! Operators and agents send them to every coordinator. They were verified at the door; here they
//! are kept, bounded, for the check before a cosignature.

use std::collections::{BTreeMap, btree_map::Entry};

use quorate_attest::{
    agent_statement::Observe,
    charter::Charter,
    history::{History, effect_of_veto},
    id::{KeyName, ProposalId},
    leaf::Decision,
    signed::Signed,
    vote::Veto,
};

/// Vetoes kept of one operator; its oldest go first. It may come before the proposal, which a
/// leader could hold back until it is decided, so the number is all that bounds them.
const OF_OPERATOR_MAX: usize = 256;
/// Vetoes kept of one agent: those of its own proposals, of which 8 may be open.
const OF_AGENT_MAX: usize = 16;

/// What is held.
#[derive(Debug, Default)]
pub struct Held {
    /// One line of one signer each, with the order in which they came.
    vetoes: BTreeMap<(ProposalId, KeyName), (u64, Signed<Veto>)>,
    came: u64,
    observations: BTreeMap<KeyName, Signed<Observe>>,
}

impl Held {
    /// Keeps the verified lines of a veto, each for itself: one that does not count must not stand
    /// before one that does. Answers whether anything is new.
    pub fn veto(&mut self, veto: &Signed<Veto>, charter: &Charter) -> bool {
        let mut is_new = false;
        for line in &veto.lines {
            let Ok(signer) = line.name.parse::<KeyName>() else { continue };
            let max = if charter.operator(&signer).is_some() {
                OF_OPERATOR_MAX
            } else if charter.agent(&signer).is_some() {
                OF_AGENT_MAX
            } else {
                continue;
            };
            let key = (veto.statement.proposal, signer.clone());
            let Entry::Vacant(place) = self.vetoes.entry(key) else { continue };
            self.came += 1;
            place.insert((self.came, Signed::new(veto.statement.clone(), vec![line.clone()])));
            self.crowd_out(&signer, max);
            is_new = true;
        }
        is_new
    }

    fn crowd_out(&mut self, signer: &KeyName, max: usize) {
        let of_signer = || self.vetoes.iter().filter(|((_, name), _)| name == signer);
        if of_signer().count() > max
            && let Some(oldest) = of_signer().min_by_key(|(_, (came, _))| *came)
        {
            let oldest = oldest.0.clone();
            self.vetoes.remove(&oldest);
        }
    }

    /// Forgets vetoes of proposals for which `is_over` holds: nothing can be refused for them.
    pub fn forget(&mut self, is_over: impl Fn(&ProposalId) -> bool) {
        self.vetoes.retain(|(proposal, _), _| !is_over(proposal));
    }

    /// Keeps an agent's newest observation; answers whether it is newer than what was held.
    pub fn observe(&mut self, observe: Signed<Observe>) -> bool {
        let agent = observe.statement.agent.clone();
        let newer = self
            .observations
            .get(&agent)
            .is_none_or(|held| held.statement.sequence < observe.statement.sequence);
        if newer {
            self.observations.insert(agent, observe);
        }
        newer
    }

    /// Whether a held veto ends this decision: one that counts, or its proposer's own, who withdraws.
    /// Whoever could veto it when it was made still can: the charter of its own epoch says.
    ///
    /// None stands against an abandon, not even a withdrawal: it takes no slot, so no void could
    /// resolve its refusal, and nothing would be certified any more. Until it is decided the machine
    /// takes the withdrawal.
    pub fn vetoes_against(&self, history: &History, decision: &Decision) -> bool {
        let proposal = &decision.proposal;
        let (charter, id) = (charter_of(history, decision), proposal.id());
        proposal.kind.takes_slot()
            && self
                .vetoes
                .keys()
                .filter(|(vetoed, _)| *vetoed == id)
                .any(|(_, signer)| effect_of_veto(charter, proposal, signer).is_some())
    }

    /// Every veto held, the newest first.
    pub fn vetoes(&self) -> impl Iterator<Item = &Signed<Veto>> {
        let mut vetoes: Vec<_> = self.vetoes.values().collect();
        vetoes.sort_unstable_by_key(|(came, _)| std::cmp::Reverse(*came));
        vetoes.into_iter().map(|(_, veto)| veto)
    }

    /// The newest observation of every agent.
    pub fn observations(&self) -> impl Iterator<Item = &Signed<Observe>> {
        self.observations.values()
    }
}

/// The charter a decision was made under. If that is forgotten nobody may start the decision any
/// more, and the one in force has to do.
pub(super) fn charter_of<'a>(history: &'a History, decision: &Decision) -> &'a Charter {
    history.charter_of_epoch(decision.epoch).unwrap_or(history.charter())
}

#[cfg(test)]
mod tests {
    use quorate_attest::{proposal::Proposal, remediation::Kind};

    use super::{
        super::fixture::{agent, amended, charter, decision, history, operator, proposal, veto},
        *,
    };

    fn is_against(held: &Held, proposal: &Proposal) -> bool {
        held.vetoes_against(&history(), &decision(proposal, 1))
    }

    #[test]
    fn a_veto_that_does_not_count_hides_none_that_does() {
        let (charter, proposal) = (charter(), proposal(&operator("ana"), 1));
        let mut held = Held::default();
        assert!(held.veto(&veto(&proposal, &[&agent("n1")]), &charter));
        assert!(!is_against(&held, &proposal), "an agent's, of somebody else's proposal");
        assert!(held.veto(&veto(&proposal, &[&operator("bob")]), &charter));
        assert!(is_against(&held, &proposal));
        assert!(!held.veto(&veto(&proposal, &[&operator("bob")]), &charter), "known");
    }

    #[test]
    fn a_proposer_withdraws_its_own_proposal_and_strangers_say_nothing() {
        let (charter, own) = (charter(), proposal(&agent("n1"), 1));
        let mut held = Held::default();
        assert!(!held.veto(&veto(&own, &[&operator("zoe")]), &charter), "of nobody");
        assert!(held.veto(&veto(&own, &[&agent("n1")]), &charter));
        assert!(is_against(&held, &own));
        assert!(!is_against(&held, &proposal(&agent("n1"), 2)), "another proposal");
    }

    #[test]
    fn nothing_stands_against_an_abandon_because_no_void_could_follow() {
        let charter = charter();
        let abandon = Proposal {
            kind: Kind::Abandon,
            target: "decision:1".parse().unwrap(),
            executor: Vec::new(),
            ..proposal(&operator("ana"), 1)
        };
        let mut held = Held::default();
        assert!(held.veto(&veto(&abandon, &[&operator("bob")]), &charter));
        assert!(!is_against(&held, &abandon), "an abandon ignores vetoes");
        assert!(held.veto(&veto(&abandon, &[&operator("ana")]), &charter));
        assert!(!is_against(&held, &abandon), "its own proposer comes too late");
    }

    #[test]
    fn an_agent_withdraws_what_it_proposed_for_its_own_member() {
        let (charter, own) = (charter(), proposal(&agent("n3"), 1));
        let mut held = Held::default();
        assert!(held.veto(&veto(&own, &[&agent("n3")]), &charter));
        assert!(is_against(&held, &own));
    }

    #[test]
    fn memory_is_bounded_per_signer_and_nobody_crowds_out_another() {
        let charter = charter();
        let first = proposal(&operator("ana"), 0);
        let mut held = Held::default();
        held.veto(&veto(&first, &[&operator("bob")]), &charter);
        for nonce in 0..100 {
            held.veto(&veto(&proposal(&operator("ana"), nonce), &[&agent("n2")]), &charter);
        }
        assert_eq!(held.vetoes().count(), OF_AGENT_MAX + 1);
        assert!(is_against(&held, &first), "the operator's is still there");
        let newest = proposal(&operator("ana"), 99).id();
        assert_eq!(held.vetoes().next().map(|veto| veto.statement.proposal), Some(newest));
        held.forget(|proposal| *proposal == first.id());
        assert!(!is_against(&held, &first), "it is over");
    }

    #[test]
    fn whoever_could_veto_when_it_was_decided_still_can_under_another_charter() {
        let decided = decision(&proposal(&operator("ana"), 1), 1);
        let mut held = Held::default();
        assert!(held.veto(&veto(&decided.proposal, &[&operator("cyd")]), &charter()));
        let after = amended(|charter| {
            charter
                .operator
                .retain(|line| line.key.name().as_str() != "quorate.test/net/operator/cyd")
        });
        assert!(after.charter().operator(operator("cyd").vkey().name()).is_none());
        assert!(held.vetoes_against(&after, &decided));
    }
}
