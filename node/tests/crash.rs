//! A crash at every step: a real child process is killed with SIGKILL, the same disk is opened by
//! the next one. The effect happens at most once, and what happened is found by probing.

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use common::name;
use common::scene::{Play, Stage, die};
use common::world::World;
use quorate_attest::agent_statement::{Answer, Claim, Effect, Observe, Report};
use quorate_attest::id::{ClusterId, ProposalId};
use quorate_attest::number::DecisionNumber;
use quorate_attest::proposal::Proposal;
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signed;
use quorate_attest::vote::Vote;
use quorate_node::detect::PeerFact;
use quorate_node::execute::Settled;
use quorate_node::quorum::{Asked, ClaimRefused, Claimed, OpenProposal, Quorum};
use quorate_node::report::{Reporter, Round};

const DIRECTORY: &str = "QUORATE_TEST_CRASH_DIRECTORY";
const POINT: &str = "QUORATE_TEST_CRASH_POINT";

/// Where the process is killed.
const POINTS: [(&str, Play, usize); 8] = [
    ("while it prepares, after `accepted`", Play::DieInPrepare, 1),
    ("before its claim arrives", Play::Works, 1),
    ("after its claim arrived", Play::Works, 0),
    ("after `started`, before the effect", Play::DieBeforeEffect, 0),
    ("after the effect, before its answer", Play::DieAfterEffect, 1),
    ("while it verifies, before `done`", Play::DieInVerify, 1),
    ("after `done`, before the report left", Play::Works, 1),
    ("after the report left, before its acknowledgement", Play::Works, 1),
];

/// STAND-IN for the coordinators whose memory is a directory, so that it outlives the agent.
#[derive(Debug, Clone)]
struct OnDisk {
    directory: PathBuf,
    point: Option<usize>,
}

impl OnDisk {
    fn die_at(&self, point: usize) {
        if self.point == Some(point) {
            die();
        }
    }
}

#[async_trait]
impl Quorum for OnDisk {
    async fn certificate(&self, _: &ClusterId, _: DecisionNumber) -> Result<Vec<u8>, Asked> {
        unreachable!("the test hands the certificate over itself")
    }

    async fn claim(&self, claim: &Signed<Claim>) -> Result<Claimed, ClaimRefused> {
        self.die_at(1);
        let file = self.directory.join("claim");
        let known = fs::read(&file).ok();
        if let Some(known) = known {
            // The same bytes are the same process asking again.
            let same = known == claim.to_bytes();
            return Ok(if same { Claimed::Fresh } else { Claimed::Held });
        }
        fs::write(&file, claim.to_bytes()).expect("write");
        self.die_at(2);
        Ok(Claimed::Fresh)
    }

    async fn report(&self, note: &[u8]) -> Result<(), Asked> {
        self.die_at(6);
        let mut reports = fs::read(self.directory.join("reports")).unwrap_or_default();
        reports.extend(note);
        reports.push(0);
        fs::write(self.directory.join("reports"), reports).expect("write");
        self.die_at(7);
        Ok(())
    }

    async fn observe(&self, _: &Signed<Observe>) -> usize {
        0
    }

    async fn vote(&self, _: &Signed<Vote>) -> Result<(), Asked> {
        Ok(())
    }

    async fn open(&self, proposal: &Proposal) -> Result<ProposalId, Asked> {
        Ok(proposal.id())
    }

    async fn proposals(&self, _: &ClusterId) -> Result<Vec<OpenProposal>, Asked> {
        Ok(Vec::new())
    }

    async fn facts(&self, _: &ClusterId) -> Result<Vec<PeerFact>, Asked> {
        Ok(Vec::new())
    }
}

/// One life of the agent: takes the order, carries it out, reports. It may not survive.
async fn live(directory: &Path, play: Play, point: Option<usize>) {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart, "member:n1", &["n1"], &[]);
    let index = world.decide(&proposal, None);
    let quorum = Arc::new(OnDisk { directory: directory.to_owned(), point });
    let stage = Stage::new(directory, &world, play, Arc::clone(&quorum) as Arc<dyn Quorum>);
    let settled = stage.executor.carry_out(&world.certificate(index)).await.expect("no halt");
    assert!(
        matches!(settled, Settled::Reported(_) | Settled::Known(_)),
        "it was not settled: {settled:?}"
    );
    let journal = stage.executor.journal.clone();
    let reporter = Reporter::new(name("n1"), journal, quorum, stage.executor.view.clone());
    assert_eq!(reporter.send_pending().await.expect("a round"), Round::AllDelivered);
    drop(reporter);
    stage.close();
}

#[test]
#[ignore = "the helper process of the crash test, which starts it; it does nothing by itself"]
fn helper_process() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let point: Option<usize> = std::env::var(POINT).ok().and_then(|point| point.parse().ok());
    let play = point.map_or(Play::Works, |point| POINTS[point].1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(live(Path::new(&directory), play, point));
}

fn run(directory: &Path, point: Option<usize>) -> std::process::ExitStatus {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command
        .args(["--exact", "helper_process", "--ignored", "--test-threads", "1"])
        .env(DIRECTORY, directory)
        .env_remove(POINT)
        .stdout(std::process::Stdio::null());
    if let Some(point) = point {
        command.env(POINT, point.to_string());
    }
    command.status().expect("the helper")
}

fn reports(directory: &Path) -> Vec<Signed<Report>> {
    let bytes = fs::read(directory.join("reports")).unwrap_or_default();
    let notes = bytes.split(|byte| *byte == 0).filter(|note| !note.is_empty());
    notes.map(|note| Signed::parse(note).expect("a report")).collect()
}

#[test]
fn whatever_step_is_cut_the_effect_happens_at_most_once_and_the_outcome_is_found() {
    for (point, (what, _, effects)) in POINTS.iter().enumerate() {
        let directory = tempfile::tempdir().expect("directory");
        let killed = run(directory.path(), Some(point));
        assert_eq!(killed.signal(), Some(9), "{what}: the fault happened");
        // The next life, and one more that finds nothing left to do.
        assert!(run(directory.path(), None).success(), "{what}: the second life");
        assert!(run(directory.path(), None).success(), "{what}: the third life");
        let target =
            common::scene::Target { effects: directory.path().join("effects"), play: Play::Works };
        assert_eq!(target.count(), *effects, "{what}: effects");
        let reports = reports(directory.path());
        let last = &reports.last().expect("a report").statement;
        let texts: std::collections::BTreeSet<Vec<u8>> =
            reports.iter().map(Signed::to_bytes).collect();
        assert_eq!(texts.len(), 1, "{what}: one text, however often it was sent");
        let wanted = match (point, effects) {
            (2 | 3, _) => (Answer::Failed, Effect::Ineffective),
            (4 | 5, _) => (Answer::AlreadyApplied, Effect::Effective),
            _ => (Answer::Applied, Effect::Effective),
        };
        assert_eq!((last.answer, last.effect), wanted, "{what}");
    }
}

#[test]
fn the_control_run_without_a_crash_has_one_effect_and_one_report() {
    let directory = tempfile::tempdir().expect("directory");
    assert!(run(directory.path(), None).success());
    assert_eq!(reports(directory.path()).len(), 1);
    let effects = directory.path().join("effects");
    assert_eq!(common::scene::Target { effects, play: Play::Works }.count(), 1);
}
