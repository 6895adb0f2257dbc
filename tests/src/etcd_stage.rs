//! A guarded etcd, people with the command line, and a clock.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};

use quorate_attest::id::ProposalId;
use quorate_proto::pb::v1::{Decision, DecisionState, MemberState};

use crate::deployment::{Adapter, Deployment, Holds, Options};
use crate::etcd::{self, Held, Load};
use crate::process::Process;
use crate::{journals, wait};

/// How long one step may take on a busy machine.
pub const WITHIN: Duration = Duration::from_secs(60);
/// Keys that are there before anything happens.
const KEYS: usize = 50;

/// What was reached, and how long after the clock started.
pub type Times = Vec<(&'static str, Duration)>;

/// A deployment with a load on it. What it waits for in vain panics with the facts.
#[derive(Debug)]
pub struct Stage {
    /// The deployment.
    pub deployment: Deployment,
    /// Who writes all the time.
    pub load: Load,
    /// The members that joined later.
    pub fresh: BTreeMap<String, Process>,
    /// What was noted.
    pub times: Times,
    begin: Instant,
}

impl Stage {
    /// Everything runs, and the load goes on. Silence counts after `grace_ms`.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start(grace_ms: u64) -> Self {
        let holds = Holds::Short { grace_ms };
        let options = Options { adapter: Adapter::Etcd, holds, ..Options::of(3) };
        let mut deployment = options.build();
        deployment.start_etcd().await;
        let urls: Vec<String> = deployment.seats.iter().map(etcd::Seat::client_url).collect();
        for key in 0..KEYS {
            let written = etcd::put(&urls[key % 3], &format!("before/{key}"), "x").await;
            assert!(written, "a key is written\n{}", deployment.logs());
        }
        let stage = Self::of(deployment);
        stage.load.goes_on(20, WITHIN).await;
        stage
    }

    /// A deployment that the caller has started, or not.
    #[must_use]
    pub fn of(deployment: Deployment) -> Self {
        let urls = deployment.seats.iter().map(etcd::Seat::client_url).collect();
        let (load, fresh, begin) = (Load::start(urls), BTreeMap::new(), Instant::now());
        Self { deployment, load, fresh, begin, times: Vec::new() }
    }

    /// Notes count from here.
    pub fn clock_starts(&mut self) {
        self.begin = Instant::now();
    }

    /// Notes that something was reached now.
    pub fn note(&mut self, what: &'static str) {
        self.times.push((what, self.begin.elapsed()));
    }

    /// Where a member serves clients.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        self.deployment.seat(name).client_url()
    }

    /// What a member holds at a revision, or at its newest one.
    pub async fn held(&self, name: &str, revision: Option<i64>) -> Held {
        let url = self.url(name);
        let what = format!("{name} says what it holds");
        wait::until(&what, WITHIN, async || etcd::held(&url, revision).await).await
    }

    /// Waits until coordinators believe these members to be in none of the good states.
    pub async fn suspected(&self, names: &[&str]) {
        let what = format!("{names:?} are suspected\n{}", self.deployment.logs());
        wait::until(&what, WITHIN, async || {
            let statuses = self.deployment.statuses().await;
            let clusters = statuses.values().next()?.clusters.clone();
            let members: Vec<_> = clusters.into_iter().flat_map(|one| one.members).collect();
            let bad = |name: &&str| {
                let found = members.iter().find(|member| member.member == **name);
                found.is_some_and(|member| member.state() != MemberState::Up)
            };
            names.iter().all(bad).then_some(())
        })
        .await;
    }

    /// kill -9 of the coordinators' leader, which starts again at once.
    ///
    /// # Panics
    /// There is none.
    pub async fn kill_leader(&mut self) {
        let leader = self.deployment.leader().await;
        self.deployment.kill_coordinators(&[leader]);
        self.deployment.coordinators.get_mut(&leader).expect("it").process.start();
    }

    /// The words of a declaration that survives with one and ends the others by attestation.
    #[must_use]
    pub fn declaration(&self, survivor: &str, dead: &[&str]) -> Vec<String> {
        let cluster = self.deployment.cluster.to_string();
        let mut words: Vec<String> =
            ["proposal", "create", "declare-dead"].map(str::to_owned).to_vec();
        words.push(format!("cluster:{cluster}"));
        words.extend(["--executor".to_owned(), survivor.to_owned()]);
        for param in ["method=force-new-cluster".to_owned(), format!("survivor={survivor}")] {
            words.extend(["--param".to_owned(), param]);
        }
        for member in dead {
            words.extend(["--param".to_owned(), format!("dead={member} attest:powered-off")]);
            words.extend(["--param".to_owned(), format!("identity={member} -")]);
        }
        words.extend(["--reason".to_owned(), "two of three machines are gone".to_owned()]);
        words.extend(["-o".to_owned(), "json".to_owned()]);
        words
    }

    /// The flags that confirm what cannot be undone, when `answering` members answer.
    #[must_use]
    pub fn irreversible(&self, answering: usize) -> Vec<String> {
        let cluster = &self.deployment.cluster;
        let number = answering.to_string();
        vec![format!("--confirm={cluster}"), "--expect-answering".to_owned(), number]
    }

    /// Runs a command as an operator.
    #[must_use]
    pub fn run(&self, operator: &str, words: &[String]) -> Output {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.deployment.quorate(operator, &words)
    }

    /// Runs a command until it succeeds: a leader may be away, a fact not there yet.
    ///
    /// # Panics
    /// It does not within a minute.
    pub async fn until_ok(&self, operator: &str, words: &[String]) -> serde_json::Value {
        let mut last = String::new();
        let done = wait::until_or(WITHIN, async || {
            let output = self.run(operator, words);
            last = String::from_utf8_lossy(&output.stderr).into_owned();
            output.status.success().then_some(output.stdout)
        })
        .await;
        let stdout = done.unwrap_or_else(|| {
            panic!("quorate {}: {last}\n{}", words.join(" "), self.deployment.logs())
        });
        serde_json::from_slice(&stdout).expect("JSON")
    }

    /// Opens a proposal and answers its id.
    ///
    /// # Panics
    /// It is not opened.
    pub async fn open(&self, words: &[String]) -> String {
        let answered = self.until_ok("o1", words).await;
        answered["proposal"]["id"].as_str().expect("an id").to_owned()
    }

    /// Approves; a proposal that was decided meanwhile, by this vote whose answer was lost or without
    /// it, has what it needs.
    ///
    /// # Panics
    /// It is not taken.
    pub async fn approve(&self, operator: &str, id: &str, confirm: &[String]) {
        let mut words = ["vote", "approve", id, "-o", "json"].map(str::to_owned).to_vec();
        words.extend(confirm.iter().cloned());
        let mut last = String::new();
        let done = wait::until_or(WITHIN, async || {
            let output = self.run(operator, &words);
            last = String::from_utf8_lossy(&output.stderr).into_owned();
            let decided = last.contains("PROPOSAL_CLOSED") && last.contains("has ended: decided");
            (output.status.success() || decided).then_some(())
        });
        assert!(done.await.is_some(), "{operator} approves {id}: {last}");
    }

    /// Waits until a proposal has become a decision, and answers its number.
    ///
    /// # Panics
    /// It does not become one.
    pub async fn decided(&self, id: &str) -> u64 {
        let id: ProposalId = id.parse().expect("an id");
        let first = self.deployment.operator("o1");
        let number = wait::until_or(WITHIN, async || {
            let found = first.proposal(&id).await.ok().flatten()?;
            (found.decision_number > 0).then_some(found.decision_number)
        });
        match number.await {
            Some(number) => number,
            None => {
                let found = first.proposal(&id).await;
                panic!("{id} was not decided: {found:#?}\n{}", self.deployment.logs())
            }
        }
    }

    /// The outcome of a decision, which must be `effective`.
    ///
    /// # Panics
    /// It is not within a minute.
    pub async fn effective(&self, number: u64) -> Decision {
        let first = self.deployment.operator("o1");
        let found = wait::until_or(WITHIN, async || {
            let found = first.decision(&self.deployment.cluster, number).await.ok()?;
            (found.state() == DecisionState::Effective).then_some(found)
        })
        .await;
        match found {
            Some(found) => found,
            None => {
                let found = first.decision(&self.deployment.cluster, number).await;
                panic!(
                    "decision {number} is not effective: {found:#?}\n{}\n{}",
                    self.deployment.logs(),
                    self.member_logs()
                )
            }
        }
    }

    fn member_logs(&self) -> String {
        let logs = self.deployment.members.values().map(|member| member.process.log_tail());
        logs.collect::<Vec<_>>().join("\n---\n")
    }

    /// Has a fresh member join by a decision that `executor` carries out.
    pub async fn join(&mut self, name: &str, executor: &str, seats: &[&str]) {
        let seats: Vec<_> = seats.iter().map(|name| self.deployment.seat(name)).collect();
        let fresh = self.deployment.fresh_etcd(name, &seats);
        self.join_as(name, executor, fresh).await;
    }

    /// The same with a process of the caller's making.
    ///
    /// # Panics
    /// It does not join.
    pub async fn join_as(&mut self, name: &str, executor: &str, mut process: Process) {
        let peer_url = self.deployment.seat(name).peer_url();
        let words = [
            "proposal",
            "create",
            "add-member",
            &format!("member:{name}"),
            "--executor",
            executor,
            "--param",
            &format!("peer-url={peer_url}"),
            "--reason",
            "a fresh machine takes the place of a dead one",
            "--confirm",
            "-o",
            "json",
        ];
        let id = self.open(&words.map(str::to_owned)).await;
        // The survivor's own observer is the other of the two voices it needs.
        self.approve("o1", &id, &["--confirm".to_owned()]).await;
        let number = self.decided(&id).await;
        let url = self.url(executor);
        let what = format!("{name} is a learner\n{}", self.deployment.logs());
        wait::until(&what, WITHIN, async || {
            let members = etcd::members(&url).await?;
            members.iter().any(|member| member.peer_urls.contains(&peer_url)).then_some(())
        })
        .await;
        process.start();
        self.fresh.insert(name.to_owned(), process);
        drop(self.effective(number).await);
    }

    /// How many permissions to start alone were consumed, by the agents' own journals, and how often
    /// gates have started a member alone, by the members' logs. Stops the agents.
    ///
    /// # Panics
    /// A journal cannot be read.
    pub fn started_alone(&mut self) -> (usize, usize) {
        let cluster = self.deployment.cluster.clone();
        let mut consumed = 0;
        for agent in self.deployment.agents.values_mut() {
            agent.process.kill();
            let journal = journals::open(&agent.folder, &agent.name, &cluster);
            let tokens: Vec<_> = journal.entries().map(|entry| entry.token).collect();
            consumed +=
                tokens.iter().filter(|token| journal.consumed(&cluster, **token).is_some()).count();
        }
        let logs = self.deployment.members.values().map(|member| member.process.log_text());
        let flagged = logs.map(|log| log.matches("starts alone under decision").count()).sum();
        (consumed, flagged)
    }
}
