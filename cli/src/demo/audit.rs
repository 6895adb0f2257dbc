//! The audit: each guarantee the story touches, checked from records that the demo did not write.
//!
//! Sources: the agents' journals (read with the agents' own reader after they have stopped), the
//! members' `starts` files, the exported log (verified against the charter pinned at the
//! beginning), and what the coordinators told while it ran.

use std::collections::{BTreeMap, BTreeSet};

use quorate_attest::certificate::{Trusted, verify_certificate};
use quorate_attest::charter::Charter;
use quorate_attest::evidence::EvidenceKind;
use quorate_attest::id::KeyName;
use quorate_attest::leaf::{Decision, Leaf};
use quorate_attest::merkle::{Frontier, Hash, leaf_hash};
use quorate_attest::number::LeafIndex;
use quorate_node::journal::{Entry, Journal, Owner, Phase};
use serde::Serialize;

use super::cluster::Cluster;
use super::story::Told;
use super::summary::Ending;
use crate::clock;
use crate::failure::{Failure, LocalReason, chain};
use crate::output::time::now_ms;
use crate::output::{Paper, Tone, View};
use crate::view::last;

/// The exported leaves as the audit needs them.
#[derive(Debug, Default)]
pub(super) struct Fold {
    frontier: Frontier,
    /// Root at each size.
    roots: BTreeMap<u64, Vec<u8>>,
    decisions: Vec<(u64, Hash, Decision)>,
    outcomes: Vec<(u64, KeyName)>,
    equivocators: Vec<KeyName>,
}

impl Fold {
    /// The next leaf.
    pub(super) fn leaf(&mut self, index: LeafIndex, leaf: &Leaf) {
        let hash = leaf_hash(&leaf.to_bytes());
        self.frontier.append(hash);
        let root = self.frontier.root().as_bytes().to_vec();
        self.roots.insert(self.frontier.size().get(), root);
        match leaf {
            Leaf::Decision(decision) => {
                self.decisions.push((index.get(), hash, decision.clone()));
            }
            Leaf::Outcome(outcome) => {
                self.outcomes.push((outcome.number.get(), outcome.agent.clone()));
            }
            Leaf::Evidence(evidence) if evidence.kind == EvidenceKind::Vote => {
                self.equivocators.push(evidence.key.name().clone());
            }
            Leaf::Evidence(_)
            | Leaf::Charter(_)
            | Leaf::Void(_)
            | Leaf::Override(_)
            | Leaf::Pause(_)
            | Leaf::Act(_)
            | Leaf::Incarnation(_) => {}
        }
    }

    /// Leaves of evidence against voters.
    pub(super) fn evidence(&self) -> usize {
        self.equivocators.len()
    }
}

/// One guarantee, and what was found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    guarantee: &'static str,
    holds: bool,
    found: String,
}

impl Finding {
    /// What was found, in words.
    pub(super) fn found(&self) -> &str {
        &self.found
    }
}

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    guarantees: Vec<Finding>,
}

impl Report {
    /// Whether every one holds.
    pub(super) fn holds(&self) -> bool {
        self.guarantees.iter().all(|finding| finding.holds)
    }

    /// One for each guarantee.
    pub(super) fn findings(&self) -> &[Finding] {
        &self.guarantees
    }

    /// The names of those that do not.
    pub(super) fn broken(&self) -> Vec<&'static str> {
        self.guarantees.iter().filter(|one| !one.holds).map(|one| one.guarantee).collect()
    }
}

impl View for Report {
    fn draw(&self, paper: &mut Paper) {
        paper.heading("Guarantees, checked from the journals, the members' records and the log");
        for finding in &self.guarantees {
            let (tone, sign) = if finding.holds { (Tone::Good, "✔") } else { (Tone::Bad, "✖") };
            let name = paper.tone(tone, format!("{sign} {:24}", finding.guarantee));
            paper.line(format_args!("  {name} {}", finding.found));
        }
    }
}

/// Verifies a certificate as an agent would, steps 1 to 6; who cosigned, who voted.
pub(super) fn certificate(
    bytes: &[u8],
    charter: &Charter,
) -> Result<(Vec<String>, Vec<String>), Failure> {
    let verified = verify_certificate(bytes, &Trusted::pin(charter.clone()), clock::now()?)
        .map_err(|error| Failure::local(LocalReason::GuaranteeBroken, chain(&error)))?;
    let cosigners = verified.verified.cosigned().keys();
    let votes = &verified.decision.votes.lines;
    Ok((
        cosigners.map(|name| last(name.as_str()).to_owned()).collect(),
        votes.iter().map(|line| last(&line.name).to_owned()).collect(),
    ))
}

/// Checks everything; an error only where a record cannot be read.
pub(super) fn check(cluster: &Cluster, told: &Told, ending: &Ending) -> Result<Report, Failure> {
    let journals = journals(cluster)?;
    Ok(Report {
        guarantees: vec![
            single_effect(cluster, told),
            authority(told, ending),
            token_monotone(&journals, ending),
            no_double_execution(&journals, told),
            acknowledged_never_lost(told, ending),
            log_append_only(told, ending),
            budget(told, ending),
            replay_equal(ending),
            sign_once(told, ending),
        ],
    })
}

/// The entries of each agent's journal, oldest first.
type Journals = Vec<(String, Vec<Entry>)>;

fn journals(cluster: &Cluster) -> Result<Journals, Failure> {
    let broken = |why: String| Failure::local(LocalReason::GuaranteeBroken, why);
    cluster
        .charter
        .agent
        .iter()
        .map(|line| {
            let name = last(line.key.name().as_str()).to_owned();
            let path = cluster.path().join(format!("agent-{name}")).join("data/journal.redb");
            let owner = Owner { name: line.key.name().clone(), cluster: line.cluster.clone() };
            let journal = Journal::open(&path, &owner)
                .map_err(|error| broken(format!("journal of {name}: {}", chain(&error))))?;
            let mut entries: Vec<Entry> = journal.entries().cloned().collect();
            entries.sort_by_key(|entry| entry.token);
            Ok((name, entries))
        })
        .collect()
}

fn finding(guarantee: &'static str, result: Result<String, String>) -> Finding {
    match result {
        Ok(found) => Finding { guarantee, holds: true, found },
        Err(found) => Finding { guarantee, holds: false, found },
    }
}

/// The members' own records: the victim was started twice in its life, everybody else once.
fn single_effect(cluster: &Cluster, told: &Told) -> Finding {
    let starts = cluster.starts();
    let wrong: Vec<String> = starts
        .iter()
        .enumerate()
        .filter(|(at, (_, starts))| *starts != if *at == told.victim { 2 } else { 1 })
        .map(|(_, (member, starts))| format!("{member} was started {starts} times"))
        .collect();
    let result = if wrong.is_empty() {
        let victim = starts.get(told.victim).map(|(name, _)| name.to_string()).unwrap_or_default();
        Ok(format!("{victim} was restarted exactly once, nobody else at all"))
    } else {
        Err(wrong.join(", "))
    };
    finding("single-effect", result)
}

/// Every decision in the log was judged by the verifier: votes, electorate, cosignatures.
fn authority(told: &Told, ending: &Ending) -> Finding {
    let counted = ending.fold.decisions.iter().map(|(_, _, one)| one.votes.lines.len());
    let votes: Vec<String> = counted.map(|count| count.to_string()).collect();
    let by_liar = ending.fold.decisions.iter().any(|(_, _, one)| {
        one.proposal.id().to_string() == told.bait
            || one.proposal.id().to_string() == told.ban
                && one.votes.lines.iter().any(|line| line.name == told.liar)
    });
    let result = if by_liar {
        Err(format!("{} decided its own case", last(&told.liar)))
    } else {
        Ok(format!(
            "{} decision(s) with {} votes, each verified again",
            votes.len(),
            votes.join(", ")
        ))
    };
    finding("authority", result)
}

/// Numbers rise by one in the log; what journals accepted are exactly such decisions, in that
/// order.
fn token_monotone(journals: &Journals, ending: &Ending) -> Finding {
    let numbers: Vec<u64> =
        ending.fold.decisions.iter().map(|(_, _, one)| one.number.get()).collect();
    let rises = numbers.iter().zip(1..).all(|(number, expected)| *number == expected);
    let known: BTreeMap<_, _> =
        ending.fold.decisions.iter().map(|(_, hash, one)| (one.token(), (*hash, one))).collect();
    let mut wrong = Vec::new();
    for (agent, entries) in journals {
        for pair in entries.windows(2) {
            if let [before, after] = pair
                && before.token >= after.token
            {
                wrong.push(format!("{agent}: {} after {}", after.token, before.token));
            }
        }
        for entry in entries {
            match known.get(&entry.token) {
                Some((hash, one)) if *hash == entry.leaf && one.proposal.id() == entry.proposal => {
                }
                Some(_) | None => wrong.push(format!("{agent}: {} is not in the log", entry.token)),
            }
        }
    }
    let result = match (rises, wrong.is_empty()) {
        (true, true) => {
            Ok(format!("tokens 1.1 to 1.{}, none out of order in any journal", numbers.len()))
        }
        (false, _) => Err(format!("the numbers are {numbers:?}")),
        (true, false) => Err(wrong.join(", ")),
    };
    finding("token-monotone", result)
}

/// One journal shows the restart as done, once; no journal shows an action under way or unknown.
fn no_double_execution(journals: &Journals, told: &Told) -> Finding {
    let mut started: BTreeMap<String, usize> = BTreeMap::new();
    let mut open = Vec::new();
    for (agent, entries) in journals {
        for entry in entries {
            if entry.started.is_some() {
                *started.entry(entry.proposal.to_string()).or_default() += 1;
            }
            if entry.phase.is_under_way() {
                open.push(format!("{agent}: {} is {:?}", entry.token, entry.phase));
            }
        }
    }
    let done = journals
        .iter()
        .flat_map(|(_, entries)| entries)
        .any(|entry| entry.token.number.get() == told.restart && entry.phase == Phase::Done);
    let twice: Vec<&String> =
        started.iter().filter(|(_, count)| **count > 1).map(|(id, _)| id).collect();
    let result = match (done, open.is_empty(), twice.is_empty()) {
        (true, true, true) => Ok("each started action is done in exactly one journal".to_owned()),
        (false, _, _) => Err("no journal shows the restart as done".to_owned()),
        (true, false, _) => Err(open.join(", ")),
        (true, true, false) => Err(format!("started twice: {twice:?}")),
    };
    finding("no-double-execution", result)
}

/// What was acknowledged before the leader was killed is there afterwards, unchanged.
fn acknowledged_never_lost(told: &Told, ending: &Ending) -> Finding {
    let mut lost = Vec::new();
    let in_log: BTreeSet<(u64, String, u64)> = ending
        .fold
        .decisions
        .iter()
        .map(|(index, _, one)| (one.number.get(), one.token().to_string(), *index))
        .collect();
    told.observer.look(|seen| {
        lost.extend(seen.told.difference(&in_log).map(|one| format!("decision {}", one.1)));
        let ban = seen.proposals.get(&told.ban);
        let now = ban.map(super::observer::approvers).unwrap_or_default();
        let decided = in_log.iter().any(|(number, _, _)| *number > told.restart);
        if !decided {
            lost.extend(
                told.ban_approved_by.difference(&now).map(|name| format!("vote of {name}")),
            );
        }
    });
    if ending.verified.history.size().get() < told.size_before_kill {
        lost.push(format!("leaves up to {}", told.size_before_kill));
    }
    if !ending.fold.outcomes.iter().any(|(number, _)| *number == told.restart) {
        lost.push("the outcome of the restart".to_owned());
    }
    let result = if lost.is_empty() {
        Ok("every vote, decision and outcome acknowledged is still there".to_owned())
    } else {
        Err(format!("lost: {}", lost.join(", ")))
    };
    finding("acknowledged-never-lost", result)
}

/// Every head ever shown is a beginning of the exported log.
fn log_append_only(told: &Told, ending: &Ending) -> Finding {
    let mut wrong = Vec::new();
    let count = told.observer.look(|seen| {
        for (size, roots) in &seen.heads {
            let matches = roots.iter().all(|root| ending.fold.roots.get(size) == Some(root));
            if !matches && *size <= ending.verified.history.size().get() {
                wrong.push(size.to_string());
            }
        }
        seen.heads.len()
    });
    let result = match (wrong.is_empty(), count) {
        (true, 0) => Err("no head was seen".to_owned()),
        (true, count) => Ok(format!("{count} heads seen, all consistent with the final one")),
        (false, _) => Err(format!("other roots at sizes {}", wrong.join(", "))),
    };
    finding("log-append-only", result)
}

/// The global budget allows one act in ten minutes: the ban was not decided before its time.
fn budget(told: &Told, ending: &Ending) -> Finding {
    let early: Vec<u64> = ending
        .fold
        .decisions
        .iter()
        .filter(|(_, _, one)| {
            one.number.get() > told.restart && one.time.get() < told.ban_next_allowed
        })
        .map(|(_, _, one)| one.number.get())
        .collect();
    let result = if !early.is_empty() {
        Err(format!("decisions {early:?} came before the budget allowed them"))
    } else if now_ms() < told.ban_next_allowed && ending.fold.decisions.len() != 1 {
        Err(format!("{} decisions, the budget allows one", ending.fold.decisions.len()))
    } else {
        Ok("one unit, taken by the restart; the ban waits for its time".to_owned())
    };
    finding("budget", result)
}

/// The exported log, replayed here, gives the hash that the coordinators have.
fn replay_equal(ending: &Ending) -> Finding {
    let other: Vec<String> = ending
        .ledgers
        .iter()
        .filter(|(_, hash)| *hash != ending.replayed)
        .map(|(id, hash)| format!("c{id} has {hash}"))
        .collect();
    let result = match (ending.ledgers.len(), other.is_empty()) {
        (0, _) => Err("no coordinator had the size of the export".to_owned()),
        (count, true) => Ok(format!("{count} coordinators have the hash that the log gives here")),
        (_, false) => Err(format!("{}, the log gives {}", other.join(", "), ending.replayed)),
    };
    finding("replay-equal", result)
}

/// Who signed two verdicts has given evidence against itself.
fn sign_once(told: &Told, ending: &Ending) -> Finding {
    let result = match ending.fold.equivocators.as_slice() {
        [one] if one.as_str() == told.liar => {
            Ok(format!("leaf {} convicts {}, and nobody else", told.evidence, last(&told.liar)))
        }
        others => Err(format!("evidence against {others:?}, expected against {}", told.liar)),
    };
    finding("sign-once", result)
}
