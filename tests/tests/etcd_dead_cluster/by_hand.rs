//! The same without Quorate: what a person with a shell does, typing at the speed of this program.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use quorate_tests::etcd::{self, Seat};
use quorate_tests::etcd_stage::WITHIN;
use quorate_tests::process::{Process, Spec};
use quorate_tests::scenario::copy_folder;
use quorate_tests::{ports, wait};

fn process(seat: &Seat, command: &[String]) -> Process {
    Process::new(Spec {
        name: seat.name.clone(),
        program: PathBuf::from(&command[0]),
        arguments: command[1..].to_vec(),
        environment: Vec::new(),
        log: seat.data.with_extension("log"),
    })
}

/// From the order to stop the survivor to the first write of the cluster of one.
pub(crate) async fn measured() -> Duration {
    let root = tempfile::tempdir().expect("a directory");
    let first = ports::block(6);
    let seats: Vec<Seat> = (0..3)
        .map(|at| Seat {
            name: format!("h{at}"),
            host: "127.0.0.1".to_owned(),
            client: first + at,
            peer: first + 3 + at,
            data: root.path().join(format!("h{at}")),
        })
        .collect();
    let voters: Vec<&Seat> = seats.iter().collect();
    let mut members: Vec<Process> =
        seats.iter().map(|seat| process(seat, &seat.command(&voters, "new"))).collect();
    members.iter_mut().for_each(Process::start);
    let url = seats[0].client_url();
    wait::until("a leader", WITHIN, async || etcd::has_leader(&url).await.then_some(())).await;
    for key in 0..50 {
        assert!(etcd::put(&url, &format!("k{key}"), "x").await, "a write");
    }
    members[1].kill();
    members[2].kill();
    let begin = Instant::now();
    let _status = members[0].stop(WITHIN).await;
    copy_folder(&seats[0].data, &root.path().join("copy"));
    let mut command = seats[0].command(&voters, "new");
    command.push("--force-new-cluster".to_owned());
    members[0] = process(&seats[0], &command);
    members[0].start();
    wait::until("a write", WITHIN, async || etcd::put(&url, "after", "x").await.then_some(()))
        .await;
    begin.elapsed()
}
