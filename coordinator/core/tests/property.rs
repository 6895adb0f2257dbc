//! Random histories against a naive model.
//!
//! The model knows nothing of leaves, words of budget or snapshots: sets of names, a list of times,
//! and the rules as a person would say them. After every entry both must agree on what is open,
//! what was decided and what ended. The world behind it restores the machine from its own snapshot
//! after every entry and replays the leaves, so equality of all that is checked at every step too.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Checked, Draft, World};
use proptest::prelude::*;
use quorate_attest::key::{KeyType, VerifierKey};
use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::number::DecisionNumber;
use quorate_attest::vote::Verdict;
use quorate_core::{Body, Command, LogId, Machine, Rejection};

const VOTERS: [&str; 7] = ["a", "b", "c", "d", "ana", "ben", "chen"];
const PROPOSALS: usize = 6;
const BURST: u64 = 2;
const PERIOD: u64 = 50_000;
const OPEN_FOR: u64 = 200_000;
const START: u64 = 600_000;
const SKEW: u64 = 2_000;

#[derive(Debug, Clone)]
enum Event {
    Open(usize),
    Vote(usize, usize, bool),
    Veto(usize, usize),
    /// The executor of whatever runs reports.
    Report(bool),
    /// After a while a person asks for a re-issue of whatever runs.
    Continue(u64),
    Pass(u64),
    /// The next leader's clock is behind.
    FallBack(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..PROPOSALS).prop_map(Event::Open),
        8 => (0..PROPOSALS, 0..VOTERS.len(), prop::bool::weighted(0.75))
            .prop_map(|(p, v, approve)| Event::Vote(p, v, approve)),
        1 => (0..PROPOSALS, 4..VOTERS.len()).prop_map(|(p, v)| Event::Veto(p, v)),
        4 => any::<bool>().prop_map(Event::Report),
        3 => (0..300_000_u64).prop_map(Event::Continue),
        3 => (1..60_000_u64).prop_map(Event::Pass),
        1 => (1..60_000_u64).prop_map(Event::FallBack),
    ]
}

#[derive(Debug, Clone, Default)]
struct Open {
    since: u64,
    order: usize,
    expires: u64,
    approvers: BTreeSet<usize>,
    rejecters: BTreeSet<usize>,
    struck: BTreeSet<usize>,
    approved: Option<u64>,
}

/// One number of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number {
    of: usize,
    continues: bool,
}

/// What a person would say must be so.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    events: usize,
    open: BTreeMap<usize, Open>,
    ended: BTreeMap<usize, &'static str>,
    /// The proposal of every number, the first one first.
    numbers: Vec<Number>,
    /// What runs, and until when somebody may start it.
    running: Option<(usize, u64)>,
    /// When the next unit of the budget would be exactly full again.
    full_at: u64,
    taken: Vec<u64>,
}

impl Model {
    /// Time passes: what ran out of it has ended before anything else is looked at.
    fn at(&mut self, now: u64) {
        self.events += 1;
        self.now = self.now.max(now);
        let over: Vec<usize> =
            self.open.iter().filter(|(_, o)| o.expires <= self.now).map(|(p, _)| *p).collect();
        for p in over {
            self.open.remove(&p);
            self.ended.insert(p, "expired");
        }
    }

    fn open(&mut self, p: usize, expires: u64) {
        if self.open.contains_key(&p) || self.ended.contains_key(&p) {
            return;
        }
        if expires < self.now + 1_000 {
            return;
        }
        let (since, order) = (self.now, self.events);
        self.open.insert(p, Open { since, order, expires, ..Open::default() });
    }

    fn vote(&mut self, p: usize, voter: usize, approve: bool) {
        let now = self.now;
        let Some(open) = self.open.get_mut(&p) else { return };
        let (same, other) = if approve {
            (&mut open.approvers, &mut open.rejecters)
        } else {
            (&mut open.rejecters, &mut open.approvers)
        };
        if open.struck.contains(&voter) {
            return;
        }
        if other.remove(&voter) {
            open.struck.insert(voter);
        } else {
            same.insert(voter);
        }
        // Two of four observers' voices, or operators in their place.
        if open.approvers.len() >= 2 {
            open.approved.get_or_insert(now);
        } else {
            open.approved = None;
        }
        let silent = VOTERS.len() - open.approvers.len() - open.rejecters.len() - open.struck.len();
        if open.approvers.len() + silent < 2 {
            self.open.remove(&p);
            self.ended.insert(p, "rejected");
        }
    }

    fn veto(&mut self, p: usize) {
        if self.open.remove(&p).is_some() {
            self.ended.insert(p, "vetoed");
        }
    }

    /// The same goes on under the next number, once nobody can start it by any honest clock.
    fn go_on(&mut self) {
        if let Some((of, _)) = self.running.filter(|(_, expires)| self.now > expires + SKEW) {
            self.running = Some((of, self.now + START));
            self.numbers.push(Number { of, continues: true });
        }
    }

    /// The oldest approval goes first, if nothing runs and the budget has a unit.
    fn settle(&mut self) {
        while self.running.is_none() {
            let full_at = self.full_at.max(self.now) + PERIOD;
            if full_at > self.now + BURST * PERIOD {
                return;
            }
            let oldest = self
                .open
                .iter()
                .filter_map(|(p, open)| Some((open.approved?, open.since, open.order, *p)))
                .min();
            let Some((_, _, _, p)) = oldest else { return };
            self.full_at = full_at;
            self.taken.push(self.now);
            let until = self.open.remove(&p).expect("open").expires;
            self.ended.insert(p, "decided");
            self.numbers.push(Number { of: p, continues: false });
            self.running = Some((p, until.min(self.now + START)));
        }
    }
}

fn alias(p: usize) -> String {
    format!("p{p}")
}

struct Both {
    world: World,
    model: Model,
}

impl Both {
    fn new() -> Self {
        let budget = format!("budget * local {BURST} {PERIOD} 0");
        let mut world = World::founded(Checked::Everything, &[&budget]);
        // Time to fall back to.
        world.now = 500_000;
        Self { world, model: Model::default() }
    }

    fn step(&mut self, event: &Event) {
        match *event {
            Event::Open(p) => {
                let name = alias(p);
                if !self.world.proposals.contains_key(&name) {
                    let mut draft = Draft::new("drill", &format!("lab-{p}"), "ana");
                    draft.incident = format!("incident-{p}");
                    draft.expires = OPEN_FOR;
                    let nonce = u8::try_from(p).expect("few");
                    let proposal = self.world.draft(&draft, nonce);
                    self.world.proposals.insert(name.clone(), proposal);
                }
                let proposal = self.world.proposals[&name].clone();
                let expires = proposal.expires.get() - common::START;
                self.both(Body::Open(proposal), |model| model.open(p, expires));
            }
            Event::Vote(p, voter, approve) => {
                if self.world.proposals.contains_key(&alias(p)) {
                    let verdict = if approve { Verdict::Approve } else { Verdict::Reject };
                    let body = self.world.vote(&alias(p), verdict, &[VOTERS[voter]]);
                    self.both(body, |model| model.vote(p, voter, approve));
                }
            }
            Event::Veto(p, voter) => {
                if self.world.proposals.contains_key(&alias(p)) {
                    let body = self.world.veto(&alias(p), VOTERS[voter]);
                    self.both(body, |model| model.veto(p));
                }
            }
            Event::Report(well) => {
                if let Some((p, _)) = self.model.running {
                    let (answer, effect) =
                        if well { ("applied", "effective") } else { ("failed", "none") };
                    let number = self.model.numbers.len() as u64;
                    let body = self.world.report(&alias(p), "a", number, answer, effect);
                    self.both(body, |model| model.running = None);
                }
            }
            Event::Continue(ms) => {
                self.world.now += ms;
                if let Ok(number) = DecisionNumber::new(self.model.numbers.len() as u64) {
                    let cluster = "c".parse().expect("a cluster");
                    self.both(Body::Continue { cluster, number }, Model::go_on);
                }
            }
            Event::Pass(ms) => {
                self.world.now += ms;
                self.both(Body::Tick, |_| {});
            }
            Event::FallBack(ms) => {
                self.world.now = self.world.now.saturating_sub(ms);
                self.both(Body::Tick, |_| {});
            }
        }
    }

    fn both(&mut self, body: Body, model: impl FnOnce(&mut Model)) {
        self.world.apply(body);
        self.model.at(self.world.now);
        model(&mut self.model);
        self.model.settle();
        self.agree();
    }

    fn agree(&self) {
        let state = self.world.machine.state();
        let open: BTreeSet<_> = state.open().keys().copied().collect();
        let expected: BTreeSet<_> =
            self.model.open.keys().map(|p| self.world.id(&alias(*p))).collect();
        assert_eq!(open, expected, "what is open");
        for (p, open) in &self.model.open {
            let have = &state.open()[&self.world.id(&alias(*p))];
            assert_eq!(have.voters(Verdict::Approve).len(), open.approvers.len());
            assert_eq!(have.voters(Verdict::Reject).len(), open.rejecters.len());
            assert_eq!(have.approved().map(|at| at.get() - common::START), open.approved);
        }
        let (mut decided, mut ended) = (Vec::new(), BTreeMap::new());
        for bytes in &self.world.leaves {
            match Leaf::parse(bytes).expect("a leaf") {
                Leaf::Decision(decision) => {
                    let (number, id) = (decided.len() as u64 + 1, decision.proposal.id());
                    assert_eq!(decision.number.get(), number, "token-monotone");
                    let continues = decision.continues.map(DecisionNumber::get);
                    assert!(continues.is_none_or(|former| former + 1 == number), "token-monotone");
                    decided.push((id, continues.is_some()));
                    let before = ended.insert(id, "decided");
                    let expected = continues.map(|_| "decided");
                    assert_eq!(before, expected, "veto-final");
                }
                Leaf::Void(void) => {
                    let how = match void.cause {
                        VoidCause::Rejected => "rejected",
                        VoidCause::Vetoed | VoidCause::Withdrawn => "vetoed",
                        VoidCause::Expired => "expired",
                        VoidCause::Superseded | VoidCause::Epoch => "other",
                    };
                    assert!(ended.insert(void.proposal.id(), how).is_none(), "veto-final");
                }
                Leaf::Charter(_)
                | Leaf::Outcome(_)
                | Leaf::Evidence(_)
                | Leaf::Override(_)
                | Leaf::Pause(_)
                | Leaf::Act(_)
                | Leaf::Incarnation(_) => {}
            }
        }
        let numbers = self.model.numbers.iter();
        let expected: Vec<_> =
            numbers.map(|at| (self.world.id(&alias(at.of)), at.continues)).collect();
        assert_eq!(decided, expected, "what was decided, in order");
        let expected: BTreeMap<_, _> =
            self.model.ended.iter().map(|(p, how)| (self.world.id(&alias(*p)), *how)).collect();
        assert_eq!(ended, expected, "how what ended did");
    }

    /// budget: no window holds more units than the rate.
    fn check_windows(&self) {
        let taken = &self.model.taken;
        for (i, from) in taken.iter().enumerate() {
            for (j, to) in taken.iter().enumerate().skip(i) {
                let units = (j - i + 1) as u64;
                assert!(units <= BURST + (to - from) / PERIOD, "{taken:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_does_what_the_naive_model_says(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut both = Both::new();
        for event in &events {
            both.step(event);
        }
        both.check_windows();
    }

    /// Bytes from anywhere are refused, never a panic.
    #[test]
    fn no_bytes_make_a_snapshot_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in 0_usize..4000,
        flip in 1_u8..,
    ) {
        prop_assert!(Machine::restore(&bytes).is_err());
        let mut good = founded().snapshot();
        let at = at % good.len();
        good[at] ^= flip;
        // A flipped byte is refused, or it is one of the few that mean another valid state.
        if let Ok(machine) = Machine::restore(&good) {
            prop_assert_eq!(machine.snapshot(), good);
        }
    }
}

fn founded() -> Machine {
    World::founded(Checked::Quickly, &[]).machine
}

#[test]
fn a_second_charter_key_under_another_name_founds_nothing() {
    let world = World::new(Checked::Everything);
    let mut charter = world.first_charter();
    let mut double = charter.statement.operator[0].clone();
    let public = double.key.public().clone();
    double.key = VerifierKey::new(common::key_name("operator", "dora"), KeyType::Note, public);
    charter.statement.operator.push(double);
    let command = Command::internal(world.time(), Body::Found(charter));
    // No entry can carry it, and no leader can apply it.
    assert!(Command::decode(&command.encode()).is_err());
    let applied = Machine::new().apply(LogId { term: 1, index: 1 }, command);
    assert!(matches!(applied.outcome, Err(Rejection::Malformed { .. })), "{:?}", applied.outcome);
    assert!(applied.effects.is_empty());
}

#[test]
fn a_thousand_repetitions_of_a_vote_change_nothing_and_need_no_entry() {
    let mut world = World::founded(Checked::Quickly, &[]);
    let proposal = world.draft(&Draft::new("drill", "lab", "ana"), 1);
    world.proposals.insert("p".to_owned(), proposal.clone());
    assert!(world.apply(Body::Open(proposal)).is_worth_an_entry());
    let vote = world.vote("p", Verdict::Approve, &["a"]);
    assert!(world.apply(vote.clone()).is_worth_an_entry());
    let hash = world.machine.ledger_hash();
    let first = world.machine.consider(world.time(), &vote);
    assert!(!first.is_worth_an_entry());
    for _ in 0..1_000 {
        assert_eq!(world.machine.consider(world.time(), &vote), first);
    }
    assert_eq!(world.machine.ledger_hash(), hash);
    let stranger = world.vote("p", Verdict::Approve, &["x"]);
    assert!(!world.machine.consider(world.time(), &stranger).is_worth_an_entry());
}
