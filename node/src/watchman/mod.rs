//! The watchman: one task that owns what this agent believes of the members, and acts on it by
//! signed words alone: observations, votes, and proposals to restart.
//!
//! It never waits for the network: each call runs beside it and comes back as a `News`. So a dead
//! coordinator delays one answer, not the next probe.

mod automatic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorate_attest::agent_statement::{Fact, Observe};
use quorate_attest::id::{ClusterId, KeyName, MemberId, ProposalId, Word};
use quorate_attest::key::NoteSigner;
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::number::Sequence;
use quorate_attest::proposal::Proposal;
use quorate_attest::vote::{Verdict, Vote};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::adapters::Adapters;
use crate::clock::Clock;
use crate::config::Automation;
use crate::detect::{Agreement, Change, Liveness, PeerFact, Settings};
use crate::journal::{JournalClosed, JournalFault, JournalHandle};
use crate::observe::{Attention, Observer, facts};
use crate::playbook::Shelf;
use crate::probe::Reading;
use crate::quorum::{Asked, OpenProposal, Quorum, Stage};
use crate::trust::View;
use crate::vote::{Ballot, Bench, Guard};

/// How long an adapter may take to judge a proposal.
const MEASURE: Duration = Duration::from_secs(5);

/// Everything the watchman needs.
pub struct Watchman {
    /// Key name of this agent.
    pub name: KeyName,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its member.
    pub member: MemberId,
    /// Signs observations and, through the guard, votes.
    pub signer: Arc<NoteSigner>,
    /// Sign-once for votes.
    pub guard: Guard,
    /// The journal: observation numbers and evidence.
    pub journal: JournalHandle,
    /// What this agent can do, and judge.
    pub adapters: Adapters,
    /// The coordinators.
    pub quorum: Arc<dyn Quorum>,
    /// What the verified log says.
    pub view: watch::Receiver<View>,
    /// The own member, once this agent has stopped it for its tombstone.
    pub stopped: watch::Receiver<Option<MemberId>>,
    /// Now.
    pub clock: Clock,
    /// When failures become a suspicion.
    pub settings: Settings,
    /// How often it looks around.
    pub interval: Duration,
    /// The playbooks it has.
    pub shelf: Shelf,
    /// Whether it opens proposals.
    pub automation: Automation,
}

/// The watchman must stop: the journal failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchmanHalt {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The journal is closed.
    #[error(transparent)]
    Closed(#[from] JournalClosed),
}

/// What comes back from the network.
enum News {
    Proposals(Result<Vec<OpenProposal>, Asked>),
    Facts(Result<Vec<PeerFact>, Asked>),
    Published(usize),
    Voted { proposal: ProposalId, done: Done },
    Opened { question: Question },
}

/// What was asked: a target, and which attempt of which step; none outside a playbook.
type Question = (Word, Option<(u32, u32)>);

/// Whether a vote is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Yes,
    AskAgain,
}

/// What the watchman believes and has under way.
struct Beliefs {
    liveness: Liveness,
    agreement: Agreement,
    observer: Observer,
    open: Vec<OpenProposal>,
    /// Votes that are acknowledged, or refused for good.
    voted: BTreeSet<ProposalId>,
    /// Votes and openings under way.
    voting: BTreeSet<ProposalId>,
    opening: BTreeMap<Question, LogTime>,
    asking: Asking,
    publishing: Asking,
}

/// Whether a call is under way; one of each kind at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    No,
    Yes,
}

impl Watchman {
    /// Watches until `stop`. `readings` come from the probes.
    ///
    /// # Errors
    /// [`WatchmanHalt`] if the journal fails.
    pub async fn run(
        self,
        mut readings: mpsc::Receiver<(MemberId, Reading)>,
        stop: CancellationToken,
    ) -> Result<(), WatchmanHalt> {
        let (tell, mut news) = mpsc::channel(64);
        let mut beliefs = Beliefs {
            liveness: Liveness::new(self.settings),
            agreement: Agreement::default(),
            observer: Observer::new(self.settings.freshness),
            open: Vec::new(),
            voted: BTreeSet::new(),
            voting: BTreeSet::new(),
            opening: BTreeMap::new(),
            asking: Asking::No,
            publishing: Asking::No,
        };
        let mut round = tokio::time::interval(self.interval);
        round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = round.tick() => {
                    self.ask(&mut beliefs, &tell);
                    self.publish(&mut beliefs, &tell).await?;
                }
                Some((member, reading)) = readings.recv() => {
                    let change = beliefs.liveness.observe(&member, reading, self.clock.now());
                    if change == Change::New {
                        tracing::info!(%member, reading = reading.word(), "seen");
                        self.publish(&mut beliefs, &tell).await?;
                    }
                }
                Some(news) = news.recv() => self.take(&mut beliefs, news, &tell).await?,
            }
        }
    }

    /// Asks for the open proposals, and for the others' facts if there is something to agree on.
    fn ask(&self, beliefs: &mut Beliefs, tell: &mpsc::Sender<News>) {
        if beliefs.asking == Asking::Yes {
            return;
        }
        beliefs.asking = Asking::Yes;
        let (quorum, cluster) = (Arc::clone(&self.quorum), self.cluster.clone());
        let suspects = !beliefs.liveness.suspicions(self.clock.now()).is_empty();
        let tell = tell.clone();
        beside(async move {
            let proposals = quorum.proposals(&cluster).await;
            if suspects {
                let facts = quorum.facts(&cluster).await;
                let _stopped = tell.send(News::Facts(facts)).await;
            }
            let _stopped = tell.send(News::Proposals(proposals)).await;
        });
    }

    async fn take(
        &self,
        beliefs: &mut Beliefs,
        news: News,
        tell: &mpsc::Sender<News>,
    ) -> Result<(), WatchmanHalt> {
        match news {
            News::Facts(Ok(facts)) => {
                facts.into_iter().for_each(|fact| beliefs.agreement.take(fact))
            }
            News::Facts(Err(asked)) => tracing::debug!(%asked, "no facts"),
            News::Proposals(answered) => {
                beliefs.asking = Asking::No;
                match answered {
                    Ok(open) => {
                        let known: BTreeSet<_> =
                            open.iter().map(|open| open.proposal.id()).collect();
                        beliefs.voted.retain(|id| known.contains(id));
                        beliefs.open = open;
                        self.vote_on_all(beliefs, tell).await?;
                        self.open_what_is_agreed(beliefs, tell);
                    }
                    Err(asked) => tracing::debug!(%asked, "no proposals"),
                }
            }
            News::Published(taken) => {
                beliefs.publishing = Asking::No;
                if taken == 0 {
                    // Nobody has it: it is due again.
                    beliefs.observer = Observer::new(self.settings.freshness);
                }
            }
            News::Voted { proposal, done } => {
                beliefs.voting.remove(&proposal);
                if done == Done::Yes {
                    beliefs.voted.insert(proposal);
                }
            }
            News::Opened { question } => {
                // Not again at once, whatever came of it: the machine has its reasons.
                let pause = Span::from_secs(automatic::REOPEN_SECONDS);
                beliefs.opening.insert(question, self.clock.now().saturating_add(pause));
            }
        }
        Ok(())
    }

    /// Signs the facts that are due and hands them to every coordinator.
    async fn publish(
        &self,
        beliefs: &mut Beliefs,
        tell: &mpsc::Sender<News>,
    ) -> Result<(), WatchmanHalt> {
        let now = self.clock.now();
        // While somebody is suspected the others' agreement rests on fresh facts too.
        let calm = beliefs.open.is_empty() && beliefs.liveness.suspicions(now).is_empty();
        let attention = if calm { Attention::Idle } else { Attention::Open };
        let stopped = self.stopped.borrow().clone();
        let facts: Vec<Fact> = facts(beliefs.liveness.readings(now), stopped.as_ref());
        let due = beliefs.observer.is_due(&facts, attention, now);
        if !due || beliefs.publishing == Asking::Yes {
            return Ok(());
        }
        let view = self.view.borrow().clone();
        let Some(history) = view.history() else { return Ok(()) };
        // No lower than the newest certified time, in milliseconds: whatever a lying leader told the
        // others was this agent's number, they take none above the log's time, so that the next
        // head's time is above it.
        let from = view.head().map_or(0, |head| head.as_of().to_log_time().get());
        let number = self.journal.with(move |journal| journal.next_observation(from)).await??;
        let Ok(sequence) = Sequence::new(number) else { return Ok(()) };
        let observe = self.signer.signed(Observe {
            origin: history.origin().clone(),
            epoch: history.epoch(),
            cluster: self.cluster.clone(),
            agent: self.name.clone(),
            sequence,
            observed: now,
            fact: facts.clone(),
        });
        beliefs.observer.sent(facts, now);
        beliefs.publishing = Asking::Yes;
        let (quorum, tell) = (Arc::clone(&self.quorum), tell.clone());
        beside(async move {
            let taken = quorum.observe(&observe).await;
            let _stopped = tell.send(News::Published(taken)).await;
        });
        Ok(())
    }

    async fn vote_on_all(
        &self,
        beliefs: &mut Beliefs,
        tell: &mpsc::Sender<News>,
    ) -> Result<(), WatchmanHalt> {
        let voting: Vec<Proposal> = beliefs
            .open
            .iter()
            .filter(|open| open.stage == Stage::Voting)
            .map(|open| open.proposal.clone())
            .collect();
        for proposal in voting {
            let id = proposal.id();
            if beliefs.voted.contains(&id) || beliefs.voting.contains(&id) {
                continue;
            }
            if self.approves(beliefs, &proposal).await? {
                beliefs.voting.insert(id);
                self.cast(&proposal, tell);
            }
        }
        Ok(())
    }

    /// Whether this observer's own evidence is for it.
    async fn approves(&self, beliefs: &Beliefs, proposal: &Proposal) -> Result<bool, WatchmanHalt> {
        let ballot = {
            let view = self.view.borrow().clone();
            let Some(history) = view.history() else { return Ok(false) };
            if view.alarm().is_some() {
                return Ok(false);
            }
            let (name, cluster) = (&self.name, &self.cluster);
            let (liveness, agreement) = (&beliefs.liveness, &beliefs.agreement);
            let (freshness, shelf) = (self.settings.freshness, &self.shelf);
            let now = self.clock.now();
            Bench { history, name, cluster, liveness, agreement, freshness, shelf, now }
                .judge(proposal)
        };
        match ballot {
            Ok(Ballot::Approve) => Ok(true),
            Ok(Ballot::ByEvidence(member)) => {
                let evidence = proposal.evidence.clone();
                let known = self.journal.with(move |journal| {
                    evidence.iter().any(|leaf| journal.evidence(leaf) == Some(member.as_str()))
                });
                Ok(known.await?)
            }
            Ok(Ballot::ByAdapter(action)) => Ok(self.adapter_approves(proposal, &action).await),
            Err(abstains) => {
                tracing::debug!(proposal = %proposal.id(), %abstains, "no vote");
                Ok(false)
            }
        }
    }

    /// Kinds that only an adapter can judge: its own `prepare`, its own preconditions, now.
    async fn adapter_approves(
        &self,
        proposal: &Proposal,
        action: &crate::adapters::Action,
    ) -> bool {
        let Ok(adapter) = self.adapters.of(action.kind) else { return false };
        if !adapter.describe().judges.contains(&action.kind) {
            return false;
        }
        let view = self.view.borrow().clone();
        let line = view.history().and_then(|history| history.charter().cluster(&self.cluster));
        let Some(line) = line else { return false };
        let plan = crate::plan::plan_of(&line.adapter, action);
        let prepared = tokio::time::timeout(MEASURE, adapter.prepare(action, &plan, MEASURE)).await;
        match prepared {
            Ok(Ok(prepared)) => {
                prepared.plan.digest == proposal.plan
                    && !prepared.preconditions.is_empty()
                    && prepared.unmet().is_none()
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Signs through the guard, durably, then submits. The same bytes again after a crash.
    fn cast(&self, proposal: &Proposal, tell: &mpsc::Sender<News>) {
        let vote = Vote::on(proposal, Verdict::Approve);
        let (guard, signer) = (self.guard.clone(), Arc::clone(&self.signer));
        let (quorum, tell, id) = (Arc::clone(&self.quorum), tell.clone(), proposal.id());
        beside(async move {
            let signed = tokio::task::spawn_blocking(move || guard.sign_vote(&signer, vote)).await;
            let done = match signed {
                Ok(Ok(signed)) => match quorum.vote(&signed).await {
                    Ok(()) => Done::Yes,
                    Err(Asked::Declined(declined)) => {
                        tracing::info!(proposal = %id, %declined, "the vote was declined");
                        Done::Yes
                    }
                    Err(Asked::Unanswered(_)) => Done::AskAgain,
                },
                Ok(Err(refused)) => {
                    tracing::error!(proposal = %id, %refused, "not signed");
                    Done::Yes
                }
                Err(_) => Done::AskAgain,
            };
            let _stopped = tell.send(News::Voted { proposal: id, done }).await;
        });
    }
}

/// Runs a call beside the watchman; its result comes back as news.
fn beside(call: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(call));
}
