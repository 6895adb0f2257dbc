//! An idle quorum costs nothing: no Raft entry, hardly any processor time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quorate_tests::deployment::{Deployment, Options, Pace};
use quorate_tests::{binary, proc, wait};

/// How long it is watched.
const IDLE: Duration = Duration::from_secs(30);
/// Most of one core, in percent. What an idle coordinator really uses is a measurement (it is printed
/// here, and bench/README.md has the figures: under one percent). A test on somebody's machine only
/// catches a loop that never rests.
fn share_max() -> f64 {
    if binary::is_optimised() { 3.0 } else { 12.0 }
}

async fn applied(deployment: &Deployment) -> BTreeMap<u64, u64> {
    let statuses = deployment.statuses().await.into_iter();
    statuses.map(|(id, status)| (id, status.read.unwrap_or_default().applied_index)).collect()
}

fn cpu(deployment: &Deployment) -> BTreeMap<u64, Duration> {
    let running = deployment.coordinators.iter();
    running.map(|(id, one)| (*id, proc::cpu_time(one.process.pid().expect("it runs")))).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "watches for 30 s on a quiet machine; run by .ci/run"]
async fn an_idle_quorum_appends_nothing_and_rests() {
    for coordinators in [3, 4] {
        an_idle_quorum(coordinators).await;
    }
}

async fn an_idle_quorum(coordinators: u16) {
    let mut deployment = Options { pace: Pace::AsInit, ..Options::of(coordinators) }.build();
    deployment.start().await;
    // Agents report once that their members are up; then nothing changes any more.
    let mut last = (BTreeMap::new(), Instant::now());
    wait::until("the first facts are in", Duration::from_secs(60), async || {
        let now = applied(&deployment).await;
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_secs(5)).then_some(())
    })
    .await;

    let (before, used, begin) = (applied(&deployment).await, cpu(&deployment), Instant::now());
    tokio::time::sleep(IDLE).await;
    let (after, spent, elapsed) = (applied(&deployment).await, cpu(&deployment), begin.elapsed());
    let mut shares = BTreeMap::new();
    for (id, spent) in &spent {
        let used = spent.saturating_sub(used[id]);
        let share = used.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
        let pid = deployment.coordinators[id].process.pid().expect("it runs");
        let mib = proc::resident_bytes(pid) / (1 << 20);
        eprintln!(
            "coordinator {id} of {coordinators}: {share:.2} % of a core over {elapsed:.1?}, {mib} MiB \
             resident, applied index {} then {}",
            before[id], after[id]
        );
        shares.insert(*id, share);
    }
    assert_eq!(before.len(), usize::from(coordinators), "everybody answers");
    assert_eq!(before, after, "an idle quorum appended to Raft\n{}", deployment.logs());
    let most = share_max();
    let is_cheap = shares.values().all(|share| *share < most);
    assert!(is_cheap, "over {most} % of a core: {shares:?}");
}
