//! One entry being applied: the parts of `Machine::apply`, a file per command.
//!
//! A step changes the state and collects effects. Every part checks first and changes afterwards,
//! so a rejection leaves nothing behind; the one exception is equivocation, which is refused *and*
//! leaves its evidence.

mod agents;
mod amend;
mod ballot;
mod decide;
mod open;
mod operators;
mod refuse;
mod report;

use std::collections::BTreeMap;

use quorate_attest::charter::Charter;
use quorate_attest::history::{End, LeafRefused};
use quorate_attest::id::{ClusterId, IncidentId, KeyName, Origin, ProposalId};
use quorate_attest::ladder::Severity;
use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::log_time::LogTime;
use quorate_attest::note::SignatureLine;
use quorate_attest::number::{Epoch, LeafIndex};
use quorate_attest::signed::{Signatures, Signed};

use crate::command::{MachineVersion, Request};
use crate::effect::{Alarm, Effect};
use crate::ledger::{Ledger, LedgerRefused};
use crate::outcome::{Ending, Outcome};
use crate::rejection::Rejection;
use crate::state::State;

/// An entry on its way.
pub(crate) struct Step<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) effects: Vec<Effect>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(state: &'a mut State) -> Self {
        Self { state, effects: Vec::new() }
    }

    pub(crate) fn check_version(&self, have: MachineVersion) -> Result<(), Rejection> {
        let want = self.state.versions.in_force();
        if have == want { Ok(()) } else { Err(Rejection::VersionNotInForce { have, want }) }
    }

    /// The answer this request got before, if it is remembered.
    pub(crate) fn remembered(&mut self, request: &Request) -> Result<Option<Outcome>, Rejection> {
        self.state.requests.forget(self.state.time);
        Ok(self.state.requests.answer(request)?.cloned())
    }

    /// Remembers the answer to a request; a refusal leaves nothing behind.
    pub(crate) fn remember(
        &mut self,
        request: Option<Request>,
        outcome: Result<Outcome, Rejection>,
    ) -> Result<Outcome, Rejection> {
        let outcome = outcome?;
        if let Some(request) = request {
            self.state.requests.remember(request, outcome.clone(), self.state.time);
        }
        Ok(outcome)
    }

    fn now(&self) -> LogTime {
        self.state.time
    }

    fn ledger(&self) -> Result<&Ledger, Rejection> {
        self.state.ledger.as_ref().ok_or(Rejection::NotFounded)
    }

    fn charter(&self) -> Result<&Charter, Rejection> {
        self.ledger().map(Ledger::charter)
    }

    /// The text is of this log.
    fn check_origin(&self, origin: &Origin) -> Result<(), Rejection> {
        let charter = self.charter()?;
        if *origin == charter.origin {
            return Ok(());
        }
        let (have, want) = (origin.clone(), charter.origin.clone());
        Err(Rejection::WrongOrigin { have, want })
    }

    /// The text is of this log, and of the epoch in force.
    fn check_in_force(&self, origin: &Origin, epoch: Epoch) -> Result<(), Rejection> {
        self.check_origin(origin)?;
        let charter = self.charter()?;
        if epoch != charter.epoch {
            return Err(Rejection::EpochMismatch { have: epoch, want: charter.epoch });
        }
        Ok(())
    }

    /// Judges and appends a leaf, and hands it to the store.
    fn append(&mut self, leaf: &Leaf) -> Result<LeafIndex, Rejection> {
        let ledger = self.state.ledger.as_mut().ok_or(Rejection::NotFounded)?;
        let before = escalated(ledger);
        let index = ledger.append(leaf, Signatures::Trust).map_err(refused)?;
        self.effects.push(Effect::Leaf { index, bytes: leaf.to_bytes() });
        for ((cluster, incident), severity) in escalated(ledger) {
            if !before.contains_key(&(cluster.clone(), incident.clone())) {
                let alarm = Alarm::Escalated { cluster, incident, severity };
                self.effects.push(Effect::Raise(alarm));
            }
        }
        self.tidy();
        Ok(index)
    }

    /// Ends what belonged to decisions that no longer hold a slot.
    fn tidy(&mut self) {
        let Some(ledger) = &self.state.ledger else { return };
        let holds = |cluster: &ClusterId, number| {
            ledger.running(cluster).is_some_and(|running| running.has(number))
        };
        self.state.claims.retain_held(holds);
        self.state.stuck.retain(|(cluster, number)| holds(cluster, *number));
        self.state.decided_on.retain(|cluster, grounds| holds(cluster, grounds.number()));
        self.state.refusals.retain(|leaf| {
            ledger
                .all_running()
                .any(|(cluster, _)| ledger.slot(cluster).is_some_and(|slot| slot.leaf == leaf))
        });
    }

    /// How a proposal that is not open ended.
    fn closed(&self, proposal: ProposalId) -> Rejection {
        let ended = self.state.ledger.as_ref().and_then(|ledger| ledger.history().ended(&proposal));
        match ended {
            Some(ended) => Rejection::ProposalClosed { proposal, ending: ending(ended.end) },
            None => Rejection::UnknownProposal { proposal },
        }
    }

    fn unknown_validator(&self, name: &str) -> Rejection {
        match self.charter() {
            Ok(charter) => {
                Rejection::UnknownValidator { name: name.to_owned(), epoch: charter.epoch }
            }
            Err(rejection) => rejection,
        }
    }

    /// The one agent that signed, if the text names it and the charter knows it for the cluster.
    fn agent_signed<S>(
        &self,
        signed: &Signed<S>,
        agent: &KeyName,
        cluster: &ClusterId,
    ) -> Result<(), Rejection> {
        let charter = self.charter()?;
        let line = one_line(&signed.lines)?;
        let key = charter.agent_of_line(line).ok_or_else(|| self.unknown_validator(&line.name))?;
        if key.name() != agent {
            let (name, owner) = (key.name().to_string(), agent.to_string());
            return Err(Rejection::NotYours { name, owner });
        }
        match charter.agent(agent) {
            Some(line) if line.cluster == *cluster => Ok(()),
            Some(line) => Err(Rejection::NotYours {
                name: agent.to_string(),
                owner: line.cluster.to_string(),
            }),
            None => Err(self.unknown_validator(agent.as_str())),
        }
    }
}

/// The incidents that people are asked about.
fn escalated(ledger: &Ledger) -> BTreeMap<(ClusterId, IncidentId), Severity> {
    let incidents = ledger.history().incidents();
    incidents
        .filter_map(|(cluster, id, incident)| {
            Some(((cluster.clone(), id.clone()), incident.escalated?.severity))
        })
        .collect()
}

fn one_line(lines: &[SignatureLine]) -> Result<&SignatureLine, Rejection> {
    match lines {
        [line] => Ok(line),
        lines => Err(Rejection::Malformed {
            field: "signature".to_owned(),
            why: format!("it has {} lines, it must have one", lines.len()),
        }),
    }
}

fn ending(end: End) -> Ending {
    match end {
        End::Decided(_) => Ending::Decided,
        End::Void(cause) => ending_of(cause),
    }
}

fn ending_of(cause: VoidCause) -> Ending {
    match cause {
        VoidCause::Rejected => Ending::Rejected,
        VoidCause::Vetoed => Ending::Vetoed,
        VoidCause::Withdrawn => Ending::Withdrawn,
        VoidCause::Expired => Ending::Expired,
        VoidCause::Superseded => Ending::Superseded,
        VoidCause::Epoch => Ending::Epoch,
    }
}

/// The rejection of a leaf that the ledger does not take.
fn refused(refused: LedgerRefused) -> Rejection {
    match refused {
        LedgerRefused::Leaf(refused) => leaf_refused(&refused),
        LedgerRefused::Held(mut held) => match held.pop() {
            Some(rejection) => rejection,
            None => Rejection::LeafRefused { rule: "budget".to_owned(), why: String::new() },
        },
        LedgerRefused::Number(refused) => {
            Rejection::Malformed { field: "charter".to_owned(), why: refused.to_string() }
        }
    }
}

fn leaf_refused(refused: &LeafRefused) -> Rejection {
    // The name of the variant is stable enough to search for; the sentence has the facts.
    let debug = format!("{refused:?}");
    let rule = debug.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
    Rejection::LeafRefused { rule, why: refused.to_string() }
}
