//! The ladder of a playbook's file: its steps, each checked where it stands.

use quorate_attest::ladder::{ATTEMPTS_MAX, STEPS_MAX};
use quorate_attest::log_time::Span;
use quorate_attest::proposal::Param;
use quorate_attest::remediation::Kind;

use super::read::{Paper, Read, SHORTEST};
use super::schema::{self, Text};
use super::{Opens, Step, Why};

/// How long a step that another follows must have, all attempts together.
const STEP_MIN: Span = Span::from_secs(60);

impl Paper<'_> {
    pub(super) fn steps(&self, file: &schema::File) -> Read<Vec<Step>> {
        match (file.record_only, file.step.is_empty()) {
            (false, true) => return Err(self.refuse("step", file.id.span(), Why::EmptyLadder)),
            (true, false) => return Err(self.refuse("step", file.id.span(), Why::RecordOnly)),
            (true, true) | (false, false) => {}
        }
        let names: Vec<&str> = file.step.iter().map(|step| step.name.get_ref().as_str()).collect();
        if let Some(step) = file.step.get(STEPS_MAX as usize) {
            let (min, max) = ("1 step".to_owned(), format!("{STEPS_MAX} steps"));
            return Err(self.refuse("step", step.name.span(), Why::OutOfRange { min, max }));
        }
        let steps = file.step.iter().enumerate();
        let steps: Vec<Step> =
            steps.map(|(at, step)| self.step(at, step, &names)).collect::<Read<_>>()?;
        self.check_lengths(&steps, file)?;
        Ok(steps)
    }

    fn step(&self, at: usize, step: &schema::Step, names: &[&str]) -> Read<Step> {
        let key = |name: &str| format!("step.{}.{name}", at + 1);
        if names.iter().take(at).any(|name| name == step.name.get_ref()) {
            return Err(self.refuse(&key("name"), step.name.span(), Why::Twice));
        }
        let known = || Kind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        let kind: Kind =
            self.word(&key("kind"), &step.kind, ("kind", known), |word| word.parse().ok())?;
        if step.class.get_ref() != kind.class().as_str() {
            let why = Why::ClassDiffers { kind, expected: kind.class() };
            return Err(self.refuse(&key("class"), step.class.span(), why));
        }
        if step.automatic && !kind.may_be_automatic() {
            let why = Why::NeverAutomatic { kind, class: kind.class() };
            return Err(self.refuse(&key("automatic"), step.kind.span(), why));
        }
        if let Some(need) = step.needs.first().filter(|_| step.automatic) {
            return Err(self.refuse(&key("needs"), need.span(), Why::NeedsPerson));
        }
        let (after, on) = self.opening(at, step, names)?;
        let pause = step.pause.as_ref();
        let pause = pause.map(|text| self.time(&key("pause"), text, Span::ZERO)).transpose()?;
        Ok(Step {
            name: self.parse(&key("name"), &step.name)?,
            kind,
            class: kind.class(),
            automatic: step.automatic,
            attempts: self.number(&key("attempts"), &step.attempts, ATTEMPTS_MAX)?,
            pause: pause.unwrap_or(Span::ZERO),
            deadline: self.time(&key("deadline"), &step.deadline, SHORTEST)?,
            after,
            on,
            params: self.params(&key("params"), step)?,
            needs: self.list(&key("needs"), &step.needs, |key, text| self.parse(key, text))?,
        })
    }

    /// What opens a step: the recorded end of a step above it. By default the failure, in any form,
    /// of the one directly above.
    fn opening(
        &self,
        at: usize,
        step: &schema::Step,
        names: &[&str],
    ) -> Read<(Option<usize>, Vec<Opens>)> {
        let key = |name: &str| format!("step.{}.{name}", at + 1);
        let on = match &step.on {
            Some(on) => self.list(&key("on"), on, |key, text| {
                self.word(key, text, (Opens::WHAT, Opens::known), Opens::of)
            })?,
            None if at == 0 => Vec::new(),
            None => vec![Opens::Ineffective, Opens::Failed, Opens::Deadline],
        };
        if at > 0 && on.is_empty() {
            return Err(self.refuse(&key("on"), step.name.span(), Why::Empty));
        }
        let Some(after) = &step.after else {
            if let Some(first) = step.on.as_ref().and_then(|on| on.first()).filter(|_| at == 0) {
                let why = Why::Unreadable("nothing stands above the first step".to_owned());
                return Err(self.refuse(&key("on"), first.span(), why));
            }
            return Ok((at.checked_sub(1), on));
        };
        let place = names.iter().position(|name| name == after.get_ref());
        match place {
            Some(place) if place < at => Ok((Some(place), on)),
            Some(_) => {
                let (step, after_name) = (step.name.get_ref().clone(), after.get_ref().clone());
                let why = Why::Cycle { step, after: after_name };
                Err(self.refuse(&key("after"), after.span(), why))
            }
            None => {
                let why = Why::Unknown { what: "step", known: names.join(", ") };
                Err(self.refuse(&key("after"), after.span(), why))
            }
        }
    }

    fn params(&self, key: &str, step: &schema::Step) -> Read<Vec<Param>> {
        let param = |(name, value): (&String, &Text)| {
            let line = format!("{name} {}", value.get_ref());
            line.parse::<Param>().map_err(|_| {
                let why = "a parameter is a label with one word, or two with one blank between";
                self.refuse(&format!("{key}.{name}"), value.span(), Why::Unreadable(why.to_owned()))
            })
        };
        step.params.iter().map(param).collect()
    }

    /// A step that another follows must have had time to show that it failed.
    fn check_lengths(&self, steps: &[Step], file: &schema::File) -> Read<()> {
        for (at, step) in steps.iter().enumerate() {
            let followed = steps.iter().any(|next| {
                next.after == Some(at) && next.on.iter().any(|on| *on != Opens::Effective)
            });
            let times = u64::from(step.attempts);
            let whole = step
                .deadline
                .get()
                .saturating_mul(times)
                .saturating_add(step.pause.get().saturating_mul(times.saturating_sub(1)));
            if followed && whole < STEP_MIN.get() {
                let why = Why::StepTooShort {
                    have: Span::from_millis(whole).words().to_string(),
                    min: STEP_MIN.words().to_string(),
                };
                let span = file.step.get(at).map_or(0..0, |step| step.deadline.span());
                return Err(self.refuse(&format!("step.{}.deadline", at + 1), span, why));
            }
        }
        Ok(())
    }
}
