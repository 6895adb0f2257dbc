//! `ban-peer` and `unban-peer` on any list that a server keeps; each [`BanList`] says how it is read
//! and written.
//!
//! The witness is the whole list, because another person may change it at the same moment: a ban that
//! loses somebody else's entry is harmful, not effective. A write is believed when the list is read
//! back with it; where the server replaces the whole list, a write that another writer undid is made
//! again from the new list, under the same order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::id::Word;
use quorate_attest::remediation::Kind;
use tokio::time::Instant;

use super::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use crate::plan::Plan;
use crate::witness::{Measure, Witness};

const BANNED: &str = "banned";
const ALLOWED: &str = "allowed";
const PUBLICATION: &str = "publication";
/// How often one order writes again what another writer has undone.
const WRITES_MAX: u32 = 5;

/// The lists of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lists {
    /// Who is banned.
    pub(super) banned: BTreeSet<String>,
    /// Who is allowed, where the server keeps such a list and a ban takes from it.
    pub(super) allowed: Option<BTreeSet<String>>,
}

/// Where an entry is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// On the list.
    Banned,
    /// Not on it.
    Free,
}

/// Why a write has no good answer.
#[derive(Debug)]
pub(super) enum WriteFailed {
    /// The server said no.
    Refused(String),
    /// Nobody can tell whether it was written.
    Unknown(String),
}

/// What a publication through the server showed.
#[derive(Debug)]
pub(super) enum Shown {
    /// Nothing is configured to show it.
    NotAsked,
    /// Others still get through.
    Works(String),
    /// Others do not get through any more.
    ShutsOut(String),
    /// It could not be seen.
    Unseen(String),
}

/// A list of banned peers that a server keeps.
#[async_trait]
pub(super) trait BanList: Send + Sync + fmt::Debug {
    /// The system, and what it cannot do or show.
    fn about(&self) -> (String, Vec<String>);

    /// The entry that `target` names, or why it names none: to ban a key is not to ban a node.
    fn entry(&self, target: &Word) -> Result<String, String>;

    /// How long a write may take to show.
    fn patience(&self) -> Duration;

    /// The lists now.
    async fn read(&self) -> Result<Lists, String>;

    /// Writes one entry. `now` is the list just read; `before` is what a rollback restores.
    async fn write(
        &self,
        entry: &str,
        wanted: Wanted,
        now: &Lists,
        before: &Lists,
    ) -> Result<(), WriteFailed>;

    /// What else a probe sees of the server.
    async fn signals(&self) -> BTreeMap<String, Measure> {
        BTreeMap::new()
    }

    /// Whether it works, by a publication.
    async fn show(&self, _entry: &str, _wanted: Wanted) -> Shown {
        Shown::NotAsked
    }
}

/// Bans peers on a list.
#[derive(Debug, Clone)]
pub(super) struct BanAdapter<L> {
    list: L,
}

impl Lists {
    fn holds(&self, entry: &str, wanted: Wanted, before: &Self) -> bool {
        let had = |lists: &Self| lists.allowed.as_ref().is_some_and(|list| list.contains(entry));
        match wanted {
            Wanted::Banned => self.banned.contains(entry),
            Wanted::Free => !self.banned.contains(entry) && (!had(before) || had(self)),
        }
    }

    fn witness(&self) -> Witness {
        let allowed = self.allowed.as_ref().map_or(Measure::Absent, measure);
        Witness::default().with(BANNED, measure(&self.banned)).with(ALLOWED, allowed)
    }

    fn of(witness: &Witness) -> Option<Self> {
        let banned = serde_json::from_str(witness.get(BANNED).value()?).ok()?;
        let allowed = witness.get(ALLOWED).value();
        let allowed = allowed.map(serde_json::from_str).transpose().ok()?;
        Some(Self { banned, allowed })
    }
}

/// A list as one measurement; a JSON array, so that no entry can be taken for two.
fn measure(list: &BTreeSet<String>) -> Measure {
    Measure::Value(serde_json::Value::from_iter(list.iter().cloned()).to_string())
}

fn wanted(kind: Kind) -> Wanted {
    if kind == Kind::BanPeer { Wanted::Banned } else { Wanted::Free }
}

impl<L: BanList> BanAdapter<L> {
    pub(super) fn new(list: L) -> Self {
        Self { list }
    }

    async fn read(&self, deadline: Duration) -> Result<Lists, String> {
        tokio::time::timeout(deadline, self.list.read())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", deadline.as_millis())))
    }

    /// Changes the list and says what came of it. Only what is read back is `Applied`.
    async fn run(
        &self,
        entry: &str,
        wanted: Wanted,
        before: Option<&Lists>,
        order: &Order,
    ) -> Execution {
        let mut begun = false;
        let changed = tokio::select! {
            () = order.stop.cancelled() => Err("abandoned before the answer".to_owned()),
            changed = tokio::time::timeout(
                order.deadline,
                self.change(entry, wanted, before, &mut begun),
            ) => changed.map_err(|_| "no answer within the deadline".to_owned()),
        };
        match changed {
            Ok(execution) => execution,
            Err(why) if begun => Execution::new(Answer::Unknown, why),
            Err(why) => Execution::new(Answer::RefusedPrecondition, why),
        }
    }

    async fn change(
        &self,
        entry: &str,
        wanted: Wanted,
        before: Option<&Lists>,
        begun: &mut bool,
    ) -> Execution {
        let mut now = match self.list.read().await {
            Ok(lists) => lists,
            Err(why) => return Execution::new(Answer::RefusedPrecondition, why),
        };
        let before = before.cloned().unwrap_or_else(|| now.clone());
        if now.holds(entry, wanted, &before) {
            return Execution::new(Answer::AlreadyApplied, "the list is as wanted");
        }
        for write in 1..=WRITES_MAX {
            *begun = true;
            match self.list.write(entry, wanted, &now, &before).await {
                Ok(()) => {}
                Err(WriteFailed::Refused(why)) => return Execution::new(Answer::Failed, why),
                Err(WriteFailed::Unknown(why)) => return Execution::new(Answer::Unknown, why),
            }
            match self.shows(entry, wanted, &now, &before).await {
                Ok(lists) if lists.holds(entry, wanted, &before) => {
                    return Execution::new(Answer::Applied, format!("written {write} times"));
                }
                // Somebody else's write replaced ours: again, from what the list is now.
                Ok(lists) => now = lists,
                Err(why) => return Execution::new(Answer::Unknown, why),
            }
        }
        Execution::new(Answer::Unknown, format!("undone by another writer {WRITES_MAX} times"))
    }

    /// The list once a write shows in it, or another's does, or the patience is over.
    async fn shows(
        &self,
        entry: &str,
        wanted: Wanted,
        old: &Lists,
        before: &Lists,
    ) -> Result<Lists, String> {
        let end = Instant::now() + self.list.patience();
        loop {
            let lists = self.list.read().await?;
            if lists.holds(entry, wanted, before) || lists != *old || Instant::now() >= end {
                return Ok(lists);
            }
            tokio::time::sleep(self.list.patience() / 8).await;
        }
    }

    /// Waits as long as the server may take, then judges by the list and by what it lets through.
    async fn judge(&self, prepared: &Prepared, entry: &str, deadline: Duration) -> Verdict {
        let wanted = wanted(prepared.action.kind);
        let before = Lists::of(&prepared.witness);
        let end = Instant::now() + self.list.patience().min(deadline);
        let mut after = self.read(deadline).await;
        while let (Ok(lists), Some(before)) = (&after, &before)
            && !lists.holds(entry, wanted, before)
            && Instant::now() < end
        {
            tokio::time::sleep(self.list.patience() / 8).await;
            after = self.read(deadline).await;
        }
        let (before, after) = match (before, after) {
            (Some(before), Ok(after)) => (before, after),
            (_, Err(why)) => {
                return inconclusive(Witness::default().with(BANNED, Measure::Unreachable), why);
            }
            (None, Ok(after)) => {
                return inconclusive(after.witness(), "the witness cannot be read".to_owned());
            }
        };
        let lost: Vec<_> = before.banned.difference(&after.banned).collect();
        let lost: Vec<_> = lost.into_iter().filter(|lost| *lost != entry).collect();
        let witness = after.witness();
        if !after.holds(entry, wanted, &before) {
            let difference = format!("{entry} is not as wanted: {wanted:?}");
            return Verdict { effect: Effect::Ineffective, after: witness, difference };
        }
        if !lost.is_empty() {
            let difference = format!("other entries were lost: {lost:?}");
            return Verdict { effect: Effect::Harmful, after: witness, difference };
        }
        let listed = format!("{} listed before, {} after", before.banned.len(), after.banned.len());
        let shown = tokio::time::timeout(deadline, self.list.show(entry, wanted)).await;
        let shown = shown.unwrap_or_else(|_| Shown::Unseen("no answer within the deadline".into()));
        by_publication(shown, witness, listed)
    }
}

fn by_publication(shown: Shown, after: Witness, listed: String) -> Verdict {
    let (effect, seen) = match shown {
        Shown::NotAsked => {
            return Verdict { effect: Effect::Effective, after, difference: listed };
        }
        Shown::Works(seen) => (Effect::Effective, seen),
        Shown::ShutsOut(seen) => (Effect::Harmful, seen),
        Shown::Unseen(seen) => (Effect::Inconclusive, seen),
    };
    let after = after.with(PUBLICATION, Measure::Value(seen.clone()));
    Verdict { effect, after, difference: format!("{listed}; {seen}") }
}

fn inconclusive(after: Witness, difference: String) -> Verdict {
    Verdict { effect: Effect::Inconclusive, after, difference }
}

#[async_trait]
impl<L: BanList> Adapter for BanAdapter<L> {
    fn describe(&self) -> Description {
        let (system, gaps) = self.list.about();
        // That the list can be read is no reason to ban anybody.
        let (kinds, judges) = (vec![Kind::BanPeer, Kind::UnbanPeer], Vec::new());
        Description { system, kinds, judges, gaps }
    }

    async fn probe(&self, _action: &Action, deadline: Duration) -> Observation {
        let (lists, signals) =
            tokio::join!(self.read(deadline), tokio::time::timeout(deadline, self.list.signals()));
        let mut signals = signals.unwrap_or_default();
        let banned = lists.map_or(Measure::Unreachable, |lists| measure(&lists.banned));
        signals.insert(BANNED.to_owned(), banned);
        Observation { signals }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        if !matches!(action.kind, Kind::BanPeer | Kind::UnbanPeer) {
            return Err(PrepareRefused::KindUnknown { kind: action.kind });
        }
        let target = action.target.to_string();
        self.list
            .entry(&action.target)
            .map_err(|why| PrepareRefused::TargetRefused { target, why })?;
        let lists = self.read(deadline).await.map_err(|why| PrepareRefused::NoWitness { why })?;
        let fact = format!("{} banned", lists.banned.len());
        let readable = Precondition { name: "list-readable".into(), held: Held::Yes, fact };
        Ok(Prepared {
            action: action.clone(),
            plan: plan.clone(),
            witness: lists.witness(),
            preconditions: vec![readable],
        })
    }

    async fn execute(&self, prepared: &Prepared, order: &Order) -> Execution {
        match self.list.entry(&prepared.action.target) {
            Ok(entry) => self.run(&entry, wanted(prepared.action.kind), None, order).await,
            Err(why) => Execution::new(Answer::RefusedPrecondition, why),
        }
    }

    async fn verify(&self, prepared: &Prepared, deadline: Duration) -> Verdict {
        match self.list.entry(&prepared.action.target) {
            Ok(entry) => self.judge(prepared, &entry, deadline).await,
            Err(why) => inconclusive(Witness::default(), why),
        }
    }

    async fn rollback(&self, prepared: &Prepared, order: &Order) -> Execution {
        let entry = match self.list.entry(&prepared.action.target) {
            Ok(entry) => entry,
            Err(why) => return Execution::new(Answer::RefusedPrecondition, why),
        };
        // It only restores: what was listed before, by whomever, stays listed.
        let Some(before) = Lists::of(&prepared.witness) else {
            return Execution::new(Answer::RefusedPrecondition, "the witness cannot be read");
        };
        let back = if before.banned.contains(&entry) { Wanted::Banned } else { Wanted::Free };
        self.run(&entry, back, Some(&before), order).await
    }
}
