//! Opening a proposal.
//!
//! Opening decides nothing: a proposal that a rule holds back opens and waits. What can never
//! become a decision is refused at the door.

use quorate_attest::declaration::{Declaration, DeclarationRefused};
use quorate_attest::history::{LeafRefused, RungNotDue, judge_proposal};
use quorate_attest::id::{KeyName, ProposalId};
use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::text::Statement;

use crate::judge;
use crate::ledger::{Bars, question};
use crate::outcome::{Ending, Novelty, Outcome};
use crate::proposal::{
    OPEN_FOR_MAX, OPEN_FOR_MIN, OPEN_PER_CLUSTER, OPEN_PER_PROPOSER, OpenProposal,
};
use crate::rejection::{Lift, Rejection, RuleRefused};
use crate::rule::{self, Circumstances, Need, Scene, rule_name};
use crate::step::Step;

/// Who opens a proposal.
enum Opener {
    Operator,
    Automation,
}

impl Step<'_> {
    /// Opens a proposal, or finds it open.
    pub(crate) fn open(&mut self, proposal: Proposal) -> Result<Outcome, Rejection> {
        let proposal = canonical(proposal)?;
        let id = proposal.id();
        if self.state.open.contains_key(&id) {
            return self.opened(id, Novelty::Repeated);
        }
        self.check_in_force(&proposal.origin, proposal.epoch)?;
        if self.ledger()?.history().ended(&id).is_some() {
            return Err(self.closed(id));
        }
        self.check_text(&proposal)?;
        let opener = self.opener(&proposal)?;
        if let Opener::Automation = opener {
            if let Some(first) = self.same_question(&proposal) {
                return self.opened(first, Novelty::Repeated);
            }
            self.check_bars(&proposal)?;
        }
        self.check_expiry(&proposal)?;
        self.check_parties(&proposal, id)?;
        self.check_limits(&proposal)?;
        let need = self.need(&proposal, id)?;
        let (now, order) = (self.now(), self.state.applied.index);
        self.state.open.insert(id, OpenProposal::new(proposal, now, order, need));
        self.opened(id, Novelty::New)
    }

    fn opened(&self, proposal: ProposalId, novelty: Novelty) -> Result<Outcome, Rejection> {
        let open = self.state.open.get(&proposal).ok_or_else(|| self.closed(proposal))?;
        let standing = judge::standing(self.state, open, self.now())
            .ok_or(Rejection::UnknownProposal { proposal })?;
        Ok(Outcome::Opened { proposal, novelty, standing })
    }

    /// What the text alone shows: the charter it names, its cluster, executors and declaration.
    fn check_text(&self, proposal: &Proposal) -> Result<(), Rejection> {
        let ledger = self.ledger()?;
        let charter = ledger.charter();
        let want = ledger.history().charter_id();
        if proposal.charter != want {
            return Err(Rejection::CharterMismatch { have: proposal.charter, want });
        }
        if charter.cluster(&proposal.cluster).is_none() {
            let names = charter.cluster.iter().map(|line| line.name.as_str());
            return Err(unknown(proposal.cluster.as_str(), names));
        }
        if let Some(member) = proposal.target_member()
            && proposal.kind != Kind::AddMember
            && charter.member(&proposal.cluster, &member).is_none()
        {
            let names = charter.members(&proposal.cluster).map(|line| line.member.as_str());
            return Err(unknown(member.as_str(), names));
        }
        judge_proposal(charter, want, proposal).map_err(|refused| text_refused(proposal, refused))
    }

    /// Who opens it, and whether they may.
    fn opener(&self, proposal: &Proposal) -> Result<Opener, Rejection> {
        let charter = self.charter()?;
        let name = &proposal.proposer;
        if charter.operator(name).is_some() {
            return Ok(Opener::Operator);
        }
        let Some(agent) = charter.agent(name) else {
            return Err(self.unknown_validator(name.as_str()));
        };
        if agent.cluster != proposal.cluster {
            return Err(not_admitted(name, "agents of this cluster, and operators"));
        }
        if !proposal.kind.may_be_automatic() {
            return Err(not_admitted(name, "operators: automation never opens this kind"));
        }
        Ok(Opener::Automation)
    }

    /// The automatic proposal of this cluster, kind and target that is open already.
    fn same_question(&self, proposal: &Proposal) -> Option<ProposalId> {
        let asked = question(proposal);
        let charter = self.charter().ok()?;
        self.state
            .open
            .iter()
            .find(|(_, open)| {
                charter.agent(&open.proposal().proposer).is_some()
                    && question(open.proposal()) == asked
            })
            .map(|(id, _)| *id)
    }

    /// Automation does not ask again what was answered, until an operator has looked.
    fn check_bars(&self, proposal: &Proposal) -> Result<(), Rejection> {
        let bars = self.ledger()?.bars();
        if let Some(answered) = bars.bars(&question(proposal)) {
            return Err(Rejection::from(RuleRefused {
                rule: rule_name("no-reopening"),
                cluster: proposal.cluster.clone(),
                proposal: Some(answered),
                facts: vec![("answered".to_owned(), answered.to_string())],
                next_allowed: None,
                lifted_by: Lift::Acknowledgement,
            }));
        }
        if bars.is_full(&proposal.cluster) {
            return Err(Rejection::Overloaded {
                cluster: proposal.cluster.clone(),
                limit: Bars::MAX as u64,
                next_allowed: LogTime::MAX,
            });
        }
        Ok(())
    }

    fn check_expiry(&self, proposal: &Proposal) -> Result<(), Rejection> {
        let charter = self.charter()?;
        let now = self.now();
        let veto = charter
            .policy(&proposal.cluster, proposal.kind.class())
            .map_or(Span::ZERO, |policy| policy.veto);
        let decided = now.saturating_add(veto);
        let min = charter.earliest_start(proposal, decided).saturating_add(OPEN_FOR_MIN);
        let max = now.saturating_add(OPEN_FOR_MAX);
        let have = proposal.expires;
        if min <= have && have <= max {
            return Ok(());
        }
        Err(Rejection::ExpiryOutOfRange { have, min, max })
    }

    /// Nobody in it is dead, and no rule refuses it for good.
    fn check_parties(&self, proposal: &Proposal, id: ProposalId) -> Result<(), Rejection> {
        let ledger = self.ledger()?;
        if Declaration::declares(proposal)
            && let Some(decision) = declared_before(ledger, proposal)
        {
            return Err(Rejection::AlreadyDeclared { cluster: proposal.cluster.clone(), decision });
        }
        if let Some(rejection) = judge::dead_parties(ledger, proposal).into_iter().next() {
            return Err(rejection);
        }
        self.check_rung(proposal, id)?;
        let scene = self.scene_of(proposal, id)?;
        match rule::refusals_at_the_door(&scene).into_iter().next() {
            Some(rejection) => Err(rejection),
            None => Ok(()),
        }
    }

    /// An attempt that was made already, or whose turn never comes, would only keep the next one of
    /// its target from being opened. One that waits for its pause may open.
    fn check_rung(&self, proposal: &Proposal, id: ProposalId) -> Result<(), Rejection> {
        let why = match self.ledger()?.history().rung_due(proposal, self.now()) {
            Ok(()) | Err(RungNotDue::Pause { .. }) => return Ok(()),
            Err(why) => why,
        };
        let incident = ("incident".to_owned(), proposal.incident.to_string());
        Err(Rejection::from(RuleRefused {
            rule: rule_name("ladder"),
            cluster: proposal.cluster.clone(),
            proposal: Some(id),
            facts: vec![incident, ("why".to_owned(), why.to_string())],
            next_allowed: None,
            lifted_by: Lift::Nothing,
        }))
    }

    fn check_limits(&self, proposal: &Proposal) -> Result<(), Rejection> {
        let next = |mine: &dyn Fn(&OpenProposal) -> bool| {
            let open = self.state.open.values().filter(|open| mine(open));
            open.map(|open| open.proposal().expires).min().unwrap_or(LogTime::MAX)
        };
        if self.state.open_by(&proposal.proposer) >= OPEN_PER_PROPOSER {
            return Err(Rejection::CallerLimited {
                proposer: proposal.proposer.clone(),
                limit: OPEN_PER_PROPOSER as u64,
                next_allowed: next(&|open| open.proposal().proposer == proposal.proposer),
            });
        }
        if self.state.open_in(&proposal.cluster) >= OPEN_PER_CLUSTER {
            return Err(Rejection::Overloaded {
                cluster: proposal.cluster.clone(),
                limit: OPEN_PER_CLUSTER as u64,
                next_allowed: next(&|open| open.proposal().cluster == proposal.cluster),
            });
        }
        Ok(())
    }

    fn need(&self, proposal: &Proposal, id: ProposalId) -> Result<Need, Rejection> {
        Ok(rule::need(&self.scene_of(proposal, id)?))
    }

    /// The scene of a proposal that is not open yet.
    fn scene_of<'s>(
        &'s self,
        proposal: &'s Proposal,
        id: ProposalId,
    ) -> Result<Scene<'s>, Rejection> {
        Ok(Scene {
            ledger: self.ledger()?,
            observations: &self.state.observations,
            outages: self.ledger()?.outages(),
            proposal,
            id,
            circumstances: Circumstances::default(),
            now: self.now(),
        })
    }

    /// Ends what has run out of time, before anything else is looked at (*veto-final*).
    pub(crate) fn expire(&mut self) {
        let now = self.now();
        let over: Vec<ProposalId> = self
            .state
            .open
            .iter()
            .filter(|(_, open)| open.proposal().expires <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            // A void by expiry needs nothing but the time, which has come.
            let ended = self.end(id, VoidCause::Expired, "-", None);
            debug_assert!(ended.is_ok(), "{ended:?}");
        }
    }

    /// Ends an open proposal without effect: its one leaf is a void.
    pub(super) fn end(
        &mut self,
        id: ProposalId,
        cause: VoidCause,
        detail: &str,
        veto: Option<quorate_attest::signed::Signed<quorate_attest::vote::Veto>>,
    ) -> Result<(Ending, quorate_attest::number::LeafIndex), Rejection> {
        let open = self.state.open.get(&id).ok_or_else(|| self.closed(id))?;
        let leaf =
            Leaf::Void(super::decide::void(self.ledger()?, self.now(), open, cause, detail, veto));
        let index = self.append(&leaf)?;
        self.state.open.remove(&id);
        Ok((super::ending_of(cause), index))
    }
}

/// A proposal built by hand may hold lists out of order: what is kept is what its text says.
fn canonical(proposal: Proposal) -> Result<Proposal, Rejection> {
    Proposal::parse(&proposal.text()).map_err(|error| Rejection::Malformed {
        field: "proposal".to_owned(),
        why: error.to_string(),
    })
}

/// The decision that declared the same members dead, with the same survivor.
fn declared_before(
    ledger: &crate::ledger::Ledger,
    proposal: &Proposal,
) -> Option<quorate_attest::number::DecisionNumber> {
    let declaration = Declaration::of(ledger.charter(), proposal).ok()??;
    let former = ledger.survivor(&proposal.cluster)?;
    let dead = ledger.tombstoned(&proposal.cluster);
    let same = former.member == declaration.survivor
        && declaration.ended().all(|member| dead.contains(member));
    same.then_some(former.token.number)
}

fn not_admitted(name: &KeyName, admits: &str) -> Rejection {
    Rejection::RoleNotAllowed { name: name.to_string(), admits: admits.to_owned() }
}

fn text_refused(proposal: &Proposal, refused: LeafRefused) -> Rejection {
    let malformed =
        |field: &str, why: String| Rejection::Malformed { field: field.to_owned(), why };
    if let LeafRefused::ExecutorUnknown { executor, .. } = &refused {
        return Rejection::UnknownTarget { name: executor.to_string(), nearest: None };
    }
    let why = refused.to_string();
    if let LeafRefused::ParamElsewhere { .. } | LeafRefused::TimeToLive { .. } = &refused {
        return malformed("param", why);
    }
    let LeafRefused::Declaration(declaration) = refused else { return malformed("executor", why) };
    match declaration {
        // The same answer as a member without a stop, a proof or an attestation.
        DeclarationRefused::BadParam { param } => Rejection::from(RuleRefused {
            rule: rule_name("partition-not-death"),
            cluster: proposal.cluster.clone(),
            proposal: Some(proposal.id()),
            facts: vec![("missing".to_owned(), param)],
            next_allowed: None,
            lifted_by: Lift::Nothing,
        }),
        DeclarationRefused::GateOpen => Rejection::from(RuleRefused {
            rule: rule_name("fail-closed"),
            cluster: proposal.cluster.clone(),
            proposal: Some(proposal.id()),
            facts: vec![("gate".to_owned(), "open".to_owned())],
            next_allowed: None,
            lifted_by: Lift::Nothing,
        }),
        DeclarationRefused::Survivors { .. }
        | DeclarationRefused::Twice { .. }
        | DeclarationRefused::Identity { .. }
        | DeclarationRefused::NotRoster { .. }
        | DeclarationRefused::NobodyDead => malformed("roster", why),
        DeclarationRefused::Readmission { .. } | DeclarationRefused::ReadmitsOther { .. } => {
            malformed("param", why)
        }
    }
}

fn unknown<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Rejection {
    let nearest = names.min_by_key(|known| distance(name, known)).map(ToOwned::to_owned);
    Rejection::UnknownTarget { name: name.to_owned(), nearest }
}

/// Levenshtein's distance: names are at most 63 letters.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, y) in b.bytes().enumerate() {
            let (left, above) = (row[j], row[j + 1]);
            row[j + 1] = (diagonal + usize::from(x != y)).min(left + 1).min(above + 1);
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_nearest_name_has_the_fewest_changed_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("neo-1", "neo-1"), 0);
        assert_eq!(distance("neo-l", "neo-1"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
