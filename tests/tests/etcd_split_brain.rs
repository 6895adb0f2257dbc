//! Two survivors that cannot see each other: exactly one of them ever starts alone (*one-survivor*).
//!
//! Five real etcd members, each on a machine of its own network; three die, the other two are cut from
//! each other. The control shows what is prevented: forced by hand, both lead, with one cluster id.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use quorate_tests::deployment::{Adapter, Holds, Options};
use quorate_tests::etcd::{self, Seat};
use quorate_tests::etcd_stage::{Stage, WITHIN};
use quorate_tests::namespaces::Namespaces;
use quorate_tests::process::{Process, Spec, code_of};
use quorate_tests::{ports, wait};

fn machines(test: &str) -> Option<Arc<Namespaces>> {
    if !etcd::is_installed(test) {
        return None;
    }
    match Namespaces::new(5) {
        Ok(machines) => Some(Arc::new(machines)),
        Err(why) => {
            eprintln!("{test}: LEFT OUT, no network namespaces here: {why}");
            None
        }
    }
}

/// Looks at both survivors all the time and counts when both lead.
struct Sampler {
    stop: Arc<AtomicBool>,
    samples: Arc<AtomicUsize>,
    both: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Sampler {
    fn start(urls: [String; 2]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (samples, both) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (ended, count, seen) = (Arc::clone(&stop), Arc::clone(&samples), Arc::clone(&both));
        let task = tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let (one, other) = tokio::join!(etcd::leads(&urls[0]), etcd::leads(&urls[1]));
                count.fetch_add(1, Ordering::Relaxed);
                seen.fetch_add(usize::from(one && other), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { stop, samples, both, task }
    }

    /// How many samples there were, and in how many both led.
    async fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.task.await);
        (self.samples.load(Ordering::Relaxed), self.both.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd-server, iproute2 and root; .ci/run installs them and runs this"]
async fn of_two_survivors_that_cannot_see_each_other_one_starts_alone() {
    let Some(machines) = machines("etcd_split_brain") else { return };
    let options = Options {
        adapter: Adapter::Etcd,
        holds: Holds::Short { grace_ms: 2_000 },
        members: 5,
        machines: Some(Arc::clone(&machines)),
        ..Options::of(3)
    };
    let mut deployment = options.build();
    deployment.start_etcd().await;
    let mut stage = Stage::of(deployment);
    stage.load.goes_on(20, WITHIN).await;
    machines.cut(3, 4);
    let dead = ["n1", "n2", "n3"];
    for name in dead {
        stage.deployment.members.get_mut(name).expect("it").kill();
    }
    stage.suspected(&dead).await;
    let sampler = Sampler::start([stage.url("n4"), stage.url("n5")]);

    // The one that holds more survives; the other one is fenced, and that has to be said how.
    let heights = [stage.held("n4", None).await.revision, stage.held("n5", None).await.revision];
    let (one, other) = if heights[0] >= heights[1] { ("n4", "n5") } else { ("n5", "n4") };
    let confirm = stage.irreversible(2);
    let mut declare = stage.declaration(one, &dead);
    let height = format!("height={one} {}", heights[0].max(heights[1]));
    declare.extend(["--param".to_owned(), height]);
    declare.extend(confirm.iter().cloned());
    let fenced = |how: &str| {
        let mut words = declare.clone();
        words.extend(["--param".to_owned(), format!("fenced={other}{how}")]);
        words.extend(["--param".to_owned(), format!("identity={other} -")]);
        words
    };
    let refused = stage.run("o1", &fenced(""));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    // The command line refuses it before the coordinators do.
    assert_eq!(code_of(refused.status), 2, "{said}");
    assert!(said.contains(&format!("fenced {other}")), "{said}");

    let id = stage.open(&fenced(" attest:its-agent-stops-it")).await;
    for operator in ["o1", "o2", "o3"] {
        stage.approve(operator, &id, &confirm).await;
    }
    let number = stage.decided(&id).await;
    drop(stage.effective(number).await);
    let url = stage.url(one);
    assert!(etcd::leads(&url).await, "{one} leads");
    assert!(etcd::status(&stage.url(other)).await.is_none(), "its agent has stopped {other}");

    // Whoever comes back, in whatever order, is refused.
    for name in [other, "n3", "n1", "n2", other] {
        let member = stage.deployment.members.get_mut(name).expect("it");
        member.process.start();
        let code = code_of(member.process.ended(WITHIN).await);
        // By its gate, or by its agent that found it starting.
        assert!(code == 7 || code == 128 + 15, "{name}: {code}\n{}", member.process.log_tail());
    }
    assert!(etcd::put(&url, "after", "x").await, "{one} takes writes");
    let (samples, both) = sampler.end().await;
    assert_eq!(both, 0, "of {samples} samples, both led in so many");
    assert!(samples > 20, "{samples}");
    assert_eq!(stage.started_alone(), (1, 1));
    eprintln!("etcd_split_brain: {one} survived, {samples} samples, never two leaders");
    stage.load.end().await;
}

/// The same without Quorate: the split brain, which no cluster id shows.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd-server, iproute2 and root; .ci/run installs them and runs this"]
async fn without_quorate_both_survivors_lead_with_one_cluster_id() {
    let Some(machines) = machines("etcd_split_brain, control") else { return };
    let root = tempfile::tempdir().expect("a directory");
    let port = ports::block(2);
    let seat = |at: u8| Seat {
        name: format!("n{at}"),
        host: machines.address(at),
        client: port,
        peer: port + 1,
        data: root.path().join(format!("n{at}")),
    };
    let seats: Vec<Seat> = (0..5).map(seat).collect();
    let all: Vec<&Seat> = seats.iter().collect();
    let process = |at: u8, more: &[&str]| {
        let seat = &seats[usize::from(at)];
        let mut arguments = machines.on(at);
        arguments.extend(seat.command(&all, "new"));
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        Process::new(Spec {
            name: seat.name.clone(),
            program: PathBuf::from(arguments.remove(0)),
            arguments,
            environment: Vec::new(),
            log: seat.data.with_extension("log"),
        })
    };
    let mut members: Vec<Process> = (0..5).map(|at| process(at, &[])).collect();
    members.iter_mut().for_each(Process::start);
    let urls = [seats[3].client_url(), seats[4].client_url()];
    for url in &urls {
        wait::until("a leader", WITHIN, async || etcd::has_leader(url).await.then_some(())).await;
    }
    assert!(etcd::put(&urls[0], "k", "x").await, "a write");
    machines.cut(3, 4);
    members.iter_mut().for_each(Process::kill);
    let mut ids = Vec::new();
    let mut forced: Vec<Process> =
        [3, 4].map(|at| process(at, &["--force-new-cluster"])).into_iter().collect();
    forced.iter_mut().for_each(Process::start);
    for url in &urls {
        wait::until("it leads", WITHIN, async || etcd::leads(url).await.then_some(())).await;
        assert!(etcd::put(url, "k", url).await, "each takes writes of its own");
        ids.push(etcd::status(url).await.expect("a status").header.expect("a header").cluster_id);
    }
    let mut both = true;
    for url in &urls {
        both &= etcd::leads(url).await;
    }
    assert!(both && ids[0] == ids[1], "two leaders, one cluster id: {ids:?}");
    eprintln!("etcd_split_brain, control: two leaders, cluster id {:x} both", ids[0]);
}
