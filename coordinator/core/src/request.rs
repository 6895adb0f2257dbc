//! Requests: the same question asked again gets the first answer.
//!
//! A client that lost the answer asks again under the same id. Only successes are remembered: a
//! refusal leaves nothing behind, so asking again later is a new question. The memory is bounded in
//! log time and in number; beyond it, the statements themselves still make a repetition harmless.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_attest::id::{Digest, KeyName};
use quorate_attest::log_time::{LogTime, Span};

use crate::command::Request;
use crate::outcome::Outcome;
use crate::rejection::Rejection;

/// How long an answer is remembered, in log time.
pub(crate) const WINDOW: Span = Span::from_secs(600);
/// How many answers are remembered; the oldest goes first.
pub(crate) const MAX: usize = 4_096;

#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Answer {
    digest: Digest,
    time: LogTime,
    outcome: Outcome,
}

type Id = (KeyName, [u8; 16]);

/// The answers of the last ten minutes of log time.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Requests {
    answers: BTreeMap<Id, Answer>,
    /// Oldest first. Log time never falls, so the order of time is the order of arrival.
    by_age: BTreeMap<(LogTime, Id), ()>,
}

impl Requests {
    /// The first answer to this request, if it is remembered.
    pub(crate) fn answer(&self, request: &Request) -> Result<Option<&Outcome>, Rejection> {
        match self.answers.get(&(request.caller.clone(), request.id)) {
            Some(answer) if answer.digest == request.digest => Ok(Some(&answer.outcome)),
            Some(_) => Err(Rejection::RequestIdReused { id: request.id }),
            None => Ok(None),
        }
    }

    /// Remembers an answer.
    pub(crate) fn remember(&mut self, request: Request, outcome: Outcome, now: LogTime) {
        let id = (request.caller, request.id);
        self.by_age.insert((now, id.clone()), ());
        self.answers.insert(id, Answer { digest: request.digest, time: now, outcome });
        while self.answers.len() > MAX {
            self.forget_oldest();
        }
    }

    /// Forgets what is older than the window.
    pub(crate) fn forget(&mut self, now: LogTime) {
        while let Some(((time, _), ())) = self.by_age.first_key_value() {
            if now.since(*time) <= WINDOW {
                break;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(((_, id), ())) = self.by_age.pop_first() {
            self.answers.remove(&id);
        }
    }

    /// How many answers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// What must hold: both maps speak of the same answers.
    pub(crate) fn is_consistent(&self) -> bool {
        self.answers.len() == self.by_age.len()
            && self.answers.len() <= MAX
            && self
                .answers
                .iter()
                .all(|(id, answer)| self.by_age.contains_key(&(answer.time, id.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: u32) -> Request {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&id.to_be_bytes());
        let caller = "net/operator/ana".parse().unwrap();
        Request { id: bytes, caller, digest: Digest::of(&bytes) }
    }

    fn at(ms: u64) -> LogTime {
        LogTime::new(1_790_000_000_000 + ms).unwrap()
    }

    #[test]
    fn the_memory_is_bounded_in_number_and_the_oldest_goes_first() {
        let mut requests = Requests::default();
        for id in 0..5_000 {
            requests.remember(request(id), Outcome::Ticked, at(u64::from(id)));
        }
        assert_eq!(requests.len(), MAX);
        assert!(requests.is_consistent());
        assert_eq!(requests.answer(&request(0)), Ok(None));
        assert_eq!(requests.answer(&request(4_999)), Ok(Some(&Outcome::Ticked)));
    }

    #[test]
    fn an_answer_is_remembered_through_the_window_and_no_longer() {
        let mut requests = Requests::default();
        requests.remember(request(1), Outcome::Ticked, at(0));
        requests.forget(at(WINDOW.get()));
        assert_eq!(requests.len(), 1);
        let other = Request { digest: Digest::of(b"other"), ..request(1) };
        assert_eq!(requests.answer(&other), Err(Rejection::RequestIdReused { id: other.id }));
        requests.forget(at(WINDOW.get() + 1));
        assert!(requests.is_empty());
    }
}
