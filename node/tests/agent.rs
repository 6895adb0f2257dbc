//! The whole agent, as it is started from its files, over mutual TLS, with a real member process.
//! The three coordinators are STAND-INS that answer from one memory; their log is judged and cosigned.

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::fake::Fake;
use common::scene::journal_owner;
use common::world::{CLUSTER, NETWORK, World, agent_secret, note_signer};
use common::{instance, name, token};
use quorate_attest::agent_statement::{Answer, Effect, Observe};
use quorate_attest::log_time::LogTime;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_node::journal::{Journal, Phase};
use quorate_node::{Agent, AgentError, Config, Running};
use quorate_proto::authority::{Authority, VALIDITY_DEFAULT};
use quorate_proto::identity::{Identity, Role};
use quorate_proto::key_file;
use tokio::sync::Mutex;

fn now() -> LogTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    LogTime::new(u64::try_from(since.as_millis()).expect("small")).expect("a time")
}

/// The files of agent n1, as `quorate init` lays them out.
fn files(directory: &Path, world: &World, authority: &Authority, addresses: &[String]) -> Config {
    let write = |file: &str, text: &str| fs::write(directory.join(file), text).expect("write");
    let network = NETWORK.parse().expect("a network");
    let identity = Identity::new(network, Role::Agent, "n1").expect("an identity");
    let issued = authority.issue(&identity, VALIDITY_DEFAULT).expect("a certificate");
    write("tls.pem", issued.certificate_pem());
    key_file::create_secret(&directory.join("tls.key"), issued.key_pem().as_bytes()).expect("key");
    write("ca.pem", authority.certificate_pem());
    fs::write(directory.join("charter.leaf"), world.charter.to_bytes()).expect("write");
    let vkey = note_signer("agent", "n1").vkey().clone();
    key_file::create(&directory.join("vote.pem"), &agent_secret("n1"), &vkey).expect("key");
    fs::create_dir(directory.join("data")).expect("data");
    let journal = quorate_node::config::journal_path(&directory.join("data"));
    drop(Journal::create(&journal, &journal_owner(), instance()).expect("a journal"));
    let endpoints: Vec<String> = addresses
        .iter()
        .enumerate()
        .map(|(at, address)| format!("{{ id = {}, address = \"{address}\" }}", at + 1))
        .collect();
    let text = format!(
        "name = \"{}\"\ncluster = \"{CLUSTER}\"\nmember = \"n1\"\ndata_dir = \"data\"\n\
         charter = \"charter.leaf\"\nvote_key = \"vote.pem\"\nendpoints = [{}]\n\
         [tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nca = \"ca.pem\"\n\
         [probe]\ninterval_ms = 100\ntimeout_ms = 500\nfailures = 3\nfreshness_ms = 2000\n\
         [member_process]\ncommand = [\"/bin/sleep\", \"300\"]\npid_file = \"member.pid\"\n\
         stable_ms = 300\nstart_ms = 1000\nstop_grace_ms = 300\n",
        name("n1"),
        endpoints.join(", ")
    );
    write("agent.toml", &text);
    Config::load(&directory.join("agent.toml")).expect("a configuration")
}

fn started(directory: &Path) -> Option<i32> {
    let text = fs::read_to_string(directory.join("member.pid")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "it never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn stop(running: Running) {
    running.stopper().cancel();
    running.ended().await.expect("an orderly end");
}

/// Kills the member that the test has started, also when it fails.
struct Reaper(std::path::PathBuf);

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(pid) = started(&self.0).and_then(rustix::process::Pid::from_raw) {
            let _sent = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// A member is found by its cluster and name, so that two tests with a running n1 would find each
/// other's: they take turns.
static ONE_MEMBER: Mutex<()> = Mutex::const_new(());

struct Deployment {
    directory: tempfile::TempDir,
    fake: Fake,
    config: Config,
}

async fn deployment() -> Deployment {
    let directory = tempfile::tempdir().expect("directory");
    let mut world = World::new();
    world.now = now();
    let authority = Authority::new(&NETWORK.parse().expect("a network")).expect("an authority");
    let fake = Fake::new(world);
    let mut addresses = Vec::new();
    for id in 1..=3 {
        let identity =
            Identity::coordinator(NETWORK.parse().expect("a network"), id).expect("an identity");
        let material = authority.material(&identity).expect("TLS");
        addresses.push(fake.listen(&material).await);
    }
    let config = {
        let world = fake.world.lock().await;
        files(directory.path(), &world, &authority, &addresses)
    };
    Deployment { directory, fake, config }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certified_restart_is_carried_out_once_by_an_agent_started_from_its_files() {
    let _turn = ONE_MEMBER.lock().await;
    let Deployment { directory, fake, config } = deployment().await;
    let _reaper = Reaper(directory.path().to_owned());
    let running = Agent::start(config.clone()).await.expect("it starts");
    until("it believes leaf 0", async || running.view().borrow().history().map(|_| ())).await;
    until("it says that its member is down", async || {
        let told = fake.memory.0.lock().await;
        let facts = told.observations.iter().flat_map(|sent| &sent.statement.fact);
        facts.map(ToString::to_string).find(|fact| fact == "member n1 down")
    })
    .await;
    // Its numbers begin at the certified time: nobody can have put a higher one into its place.
    let certified = running.view().borrow().head().map(|head| head.as_of().to_log_time().get());
    let first = fake.memory.0.lock().await.observations.first().map(|sent| sent.statement.sequence);
    assert!(first.map(|sequence| sequence.get()) >= certified, "{first:?} {certified:?}");
    assert_eq!(started(directory.path()), None, "nothing starts without a decision");
    fake.change(|world| {
        world.now = now();
        let proposal = world.proposal(Kind::Restart, "member:n1", &["n1"], &[]);
        world.decide(&proposal, None);
    })
    .await;
    let report =
        until("its report arrives", async || fake.memory.0.lock().await.reports.first().cloned())
            .await;
    let outcome = (report.statement.answer, report.statement.effect);
    assert_eq!(outcome, (Answer::Applied, Effect::Effective));
    let pid = started(directory.path()).expect("the member runs");
    until("the slot is free again", async || {
        let view = running.view().borrow().clone();
        let cluster = CLUSTER.parse().expect("a cluster");
        view.history()?.cluster(&cluster)?.slot().is_none().then_some(())
    })
    .await;
    stop(running).await;

    // The next life believes what was pinned and does nothing again.
    let believed = fake.world.lock().await.history.size().get();
    fake.watched_from.lock().await.clear();
    let running = Agent::start(config.clone()).await.expect("it starts again");
    until("it watches on", async || (fake.watched_from.lock().await.len() == 3).then_some(()))
        .await;
    assert_eq!(*fake.watched_from.lock().await, [believed; 3], "from where its belief ends");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(fake.memory.0.lock().await.reports.len(), 1);
    assert_eq!(started(directory.path()), Some(pid), "the same process");
    stop(running).await;
    let journal = Journal::open(&config.journal(), &journal_owner()).expect("the journal");
    let entry = journal.entry(&CLUSTER.parse().expect("a cluster"), token(1)).expect("the entry");
    assert_eq!(entry.phase, Phase::Done);
}

/// The first observation the coordinators were sent that says `fact`.
async fn says(fake: &Fake, fact: &str) -> Option<Signed<Observe>> {
    let told = fake.memory.0.lock().await;
    let says =
        |sent: &&Signed<Observe>| sent.statement.fact.iter().any(|said| said.to_string() == fact);
    told.observations.iter().find(says).cloned()
}

/// Whether a process still runs; one that only waits to be reaped does not.
fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_of_a_tombstoned_member_stops_it_and_signs_that_it_did() {
    let _turn = ONE_MEMBER.lock().await;
    let Deployment { directory, fake, config } = deployment().await;
    let _reaper = Reaper(directory.path().to_owned());
    let running = Agent::start(config).await.expect("it starts");
    until("it believes leaf 0", async || running.view().borrow().history().map(|_| ())).await;
    until("it says that its member is down", async || says(&fake, "member n1 down").await).await;
    fake.change(|world| {
        world.now = now();
        let proposal = world.proposal(Kind::Restart, "member:n1", &["n1"], &[]);
        world.decide(&proposal, None);
    })
    .await;
    let report =
        until("its report arrives", async || fake.memory.0.lock().await.reports.first().cloned())
            .await;
    let outcome = (report.statement.answer, report.statement.effect);
    assert_eq!(outcome, (Answer::Applied, Effect::Effective));
    let pid = started(directory.path()).expect("the member runs");
    assert!(runs(pid));
    until("it says that its member is up", async || says(&fake, "member n1 up").await).await;
    assert!(says(&fake, "stopped n1").await.is_none(), "nobody has declared it dead");
    fake.change(|world| {
        world.now = now();
        world.declare_dead("n2");
    })
    .await;
    let said = until("it says that it stopped", async || says(&fake, "stopped n1").await).await;
    assert!(!runs(pid), "stopped before it is said");
    let ring = fake.world.lock().await.charter.statement.agent_ring();
    said.verify(&ring).expect("signed by the agent");
    assert_eq!(said.statement.agent, name("n1"));
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_in_doubt_is_in_doubt_after_a_restart_until_it_is_accounted_for() {
    let Deployment { directory: _kept, fake, config } = deployment().await;
    let running = Agent::start(config.clone()).await.expect("it starts");
    until("it believes leaf 0", async || running.view().borrow().history().map(|_| ())).await;
    let in_doubt = async |running: &Running| running.view().borrow().alarm().map(|_| ());
    let mut truth = Vec::new();
    fake.change(|world| {
        world.now = now();
        let mut liar = World::new();
        liar.now = world.now;
        for (world, target) in [(&mut *world, "member:n2"), (&mut liar, "member:n3")] {
            let proposal = world.proposal(Kind::Restart, target, &[&target[7..]], &[]);
            world.decide(&proposal, None);
        }
        // A true head, and under it a leaf that is not the log's.
        truth = std::mem::replace(&mut world.leaves, liar.leaves);
    })
    .await;
    until("it doubts", async || in_doubt(&running).await).await;
    stop(running).await;
    let journal = Journal::open(&config.journal(), &journal_owner()).expect("the journal");
    let doubted = journal.doubted().cloned().expect("written down");
    assert_eq!(journal.alarm(), None, "no alarm before the coordinators had their time");
    drop(journal);

    let running = Agent::start(config.clone()).await.expect("it starts again");
    let alarm = running.view().borrow().alarm().cloned().expect("it doubts from the first moment");
    assert_eq!(alarm.heads(), &doubted);
    // The log as it is accounts for the head.
    fake.change(|world| world.leaves = truth).await;
    until("it believes again", async || in_doubt(&running).await.is_none().then_some(())).await;
    assert_eq!(running.view().borrow().history().map(|history| history.size().get()), Some(2));
    stop(running).await;
    let journal = Journal::open(&config.journal(), &journal_owner()).expect("the journal");
    assert_eq!((journal.doubted(), journal.alarm()), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_its_journal_or_with_a_cut_one_starts_nothing() {
    let Deployment { directory: _kept, config, .. } = deployment().await;
    let whole = fs::read(config.journal()).expect("read");
    fs::write(config.journal(), &whole[..whole.len() / 2]).expect("write");
    let cut = Agent::start(config.clone()).await.err().expect("refused");
    assert!(matches!(cut, AgentError::Journal(_)), "{cut}");
    fs::remove_file(config.journal()).expect("remove");
    let missing = Agent::start(config.clone()).await.err().expect("refused");
    assert!(matches!(missing, AgentError::Journal(_)), "{missing}");
    assert!(!config.journal().exists(), "a start makes none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_another_key_or_identity_does_not_start() {
    let Deployment { directory, config, .. } = deployment().await;
    let other = directory.path().join("other.pem");
    let vkey = note_signer("agent", "n2").vkey().clone();
    key_file::create(&other, &agent_secret("n2"), &vkey).expect("key");
    let wrong = Config { vote_key: other, ..config.clone() };
    let refused = Agent::start(wrong).await.err().expect("refused");
    assert!(matches!(refused, AgentError::OtherKey { .. }), "{refused}");
    let wrong = Config { name: name("n2"), ..config };
    let refused = Agent::start(wrong).await.err().expect("refused");
    assert!(matches!(refused, AgentError::OtherIdentity { .. }), "{refused}");
}
