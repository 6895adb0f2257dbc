//! Operators' texts that become leaves as they are: overrides, acts, pauses.

use quorate_attest::id::{Digest, KeyName, Origin};
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::note::SignatureLine;
use quorate_attest::number::{Epoch, LeafIndex};
use quorate_attest::operator_statement::{Act, Automation, OVERRIDE_MAX, Override, Pause, Subject};
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement;

use crate::outcome::{Novelty, Outcome};
use crate::proposal::OPEN_FOR_MAX;
use crate::rejection::{Lift, Rejection, RuleRefused};
use crate::step::Step;

/// What every operators' text has.
struct Envelope<'s> {
    origin: &'s Origin,
    epoch: Epoch,
    expires: LogTime,
    /// The latest expiry allowed, from now.
    lasts: Span,
    /// Distinct operators needed.
    need: u32,
}

impl Step<'_> {
    /// Lifts one rule for one proposal: on record before the first counted vote.
    pub(crate) fn record_override(
        &mut self,
        signed: Signed<Override>,
    ) -> Result<Outcome, Rejection> {
        let statement = &signed.statement;
        if let Some(index) = self.recorded(&signed) {
            return Ok(Outcome::Recorded { index, novelty: Novelty::Repeated });
        }
        let Some(need) = Override::operators_needed(&statement.rule) else {
            return Err(no_override(statement, "override", "there is none for this rule"));
        };
        let envelope = Envelope {
            origin: &statement.origin,
            epoch: statement.epoch,
            expires: statement.expires,
            lasts: OVERRIDE_MAX,
            need,
        };
        self.check_envelope(&signed, &envelope)?;
        let voted = self.state.open.get(&statement.scope).is_some_and(|open| open.has_votes());
        if voted {
            // The votes were cast on the rules as they stood; a new proposal may be voted anew.
            return Err(no_override(statement, "votes", "it must come before the first of them"));
        }
        let digest = statement.digest();
        let expires = statement.expires;
        self.record(digest, expires, Leaf::Override(signed))
    }

    /// Records an operator's act.
    pub(crate) fn record_act(&mut self, signed: Signed<Act>) -> Result<Outcome, Rejection> {
        if let Some(index) = self.recorded(&signed) {
            return Ok(Outcome::Recorded { index, novelty: Novelty::Repeated });
        }
        let statement = &signed.statement;
        let envelope = Envelope {
            origin: &statement.origin,
            epoch: statement.epoch,
            expires: statement.expires,
            lasts: OPEN_FOR_MAX,
            need: 1,
        };
        self.check_envelope(&signed, &envelope)?;
        let (digest, expires) = (statement.digest(), statement.expires);
        let subject = statement.subject();
        let outcome = self.record(digest, expires, Leaf::Act(signed))?;
        if let Some(Subject::Journal { agent, instance }) = subject {
            // A new journal counts its observations anew.
            self.state.claims.enrol(&agent, instance);
            self.state.observations.forget(&agent);
        }
        Ok(outcome)
    }

    /// Records a pause, or its end.
    pub(crate) fn record_pause(&mut self, signed: Signed<Pause>) -> Result<Outcome, Rejection> {
        if let Some(index) = self.recorded(&signed) {
            return Ok(Outcome::Recorded { index, novelty: Novelty::Repeated });
        }
        let statement = &signed.statement;
        let envelope = Envelope {
            origin: &statement.origin,
            epoch: statement.epoch,
            expires: statement.expires,
            lasts: OPEN_FOR_MAX,
            need: 1,
        };
        self.check_envelope(&signed, &envelope)?;
        self.check_lifts(&signed)?;
        let (digest, expires) = (statement.digest(), statement.expires);
        self.record(digest, expires, Leaf::Pause(signed))
    }

    /// A resume that would leave every pause as it is says whose they are instead of doing nothing.
    fn check_lifts(&self, signed: &Signed<Pause>) -> Result<(), Rejection> {
        let history = self.ledger()?.history();
        let holders: Vec<&KeyName> =
            history.pause_holders(&signed.statement.cluster, self.now()).collect();
        let own = |line: &SignatureLine| holders.iter().any(|name| name.as_str() == line.name);
        let [line] = signed.lines.as_slice() else { return Ok(()) };
        if signed.statement.automation == Automation::Paused || holders.is_empty() || own(line) {
            return Ok(());
        }
        let holders: Vec<&str> = holders.iter().map(|name| name.as_str()).collect();
        Err(Rejection::RoleNotAllowed {
            name: line.name.clone(),
            admits: format!("{}, who paused it; two operators together", holders.join(" ")),
        })
    }

    /// The leaf that this text made already.
    fn recorded<S: Statement>(&self, signed: &Signed<S>) -> Option<LeafIndex> {
        self.state.recorded.get(&signed.statement.digest()).map(|(_, index)| *index)
    }

    fn check_envelope<S>(
        &self,
        signed: &Signed<S>,
        envelope: &Envelope<'_>,
    ) -> Result<(), Rejection> {
        self.check_in_force(envelope.origin, envelope.epoch)?;
        let (have, min) = (envelope.expires, self.now());
        let max = min.saturating_add(envelope.lasts);
        if have < min || have > max {
            return Err(Rejection::ExpiryOutOfRange { have, min, max });
        }
        let signers = self.operators(signed)?;
        if signers < envelope.need {
            return Err(Rejection::RoleNotAllowed {
                name: format!("{signers} operators"),
                admits: format!("{} operators", envelope.need),
            });
        }
        Ok(())
    }

    /// How many distinct operators signed; nobody else may have.
    fn operators<S>(&self, signed: &Signed<S>) -> Result<u32, Rejection> {
        let charter = self.charter()?;
        let mut names = std::collections::BTreeSet::<&KeyName>::new();
        for line in &signed.lines {
            match charter.operator_of_line(line) {
                Some(key) => drop(names.insert(key.name())),
                None if charter.agent_of_line(line).is_some() => {
                    let (name, admits) = (line.name.clone(), "operators".to_owned());
                    return Err(Rejection::RoleNotAllowed { name, admits });
                }
                None => return Err(self.unknown_validator(&line.name)),
            }
        }
        Ok(u32::try_from(names.len()).unwrap_or(u32::MAX))
    }

    fn record(
        &mut self,
        digest: Digest,
        expires: LogTime,
        leaf: Leaf,
    ) -> Result<Outcome, Rejection> {
        let index = self.append(&leaf)?;
        let now = self.now();
        self.state.recorded.retain(|_, (until, _)| *until >= now);
        self.state.recorded.insert(digest, (expires, index));
        Ok(Outcome::Recorded { index, novelty: Novelty::New })
    }
}

fn no_override(statement: &Override, name: &str, why: &str) -> Rejection {
    Rejection::from(RuleRefused {
        rule: statement.rule.clone(),
        cluster: statement.cluster.clone(),
        proposal: Some(statement.scope),
        facts: vec![(name.to_owned(), why.to_owned())],
        next_allowed: None,
        lifted_by: Lift::Nothing,
    })
}
