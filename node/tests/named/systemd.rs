//! `systemd` against a STUB bus: a D-Bus server with systemd's manager, one unit, and its ways to
//! deceive: a job that is queued and never run, a unit that is active between two crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{Adapter, Held, PrepareRefused};
use tokio::net::UnixListener;
use zbus::connection::Builder;
use zbus::{Guid, OwnedObjectPath, interface};

use crate::common::action;
use crate::common::adapter::{SOON, configured, order, prepare, try_prepare};

/// STAND-IN unit.
#[derive(Debug, Default)]
struct Unit {
    active: AtomicBool,
    pid: AtomicU32,
    started: AtomicU64,
    restarts: AtomicU32,
    jobs: AtomicU32,
    /// Jobs are queued and never run.
    stuck: AtomicBool,
    /// After a start it crashes and is restarted again, as `Restart=always` does.
    loops: AtomicBool,
    denies: AtomicBool,
    hangs: AtomicBool,
}

impl Unit {
    fn start(&self) {
        self.active.store(true, SeqCst);
        self.pid.fetch_add(1, SeqCst);
        self.started.fetch_add(1_000, SeqCst);
    }
}

struct Bus;

#[interface(name = "org.freedesktop.DBus")]
impl Bus {
    fn hello(&self) -> String {
        ":1.1".into()
    }
}

struct Manager(Arc<Unit>);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn load_unit(&self, _name: String) -> OwnedObjectPath {
        OwnedObjectPath::try_from("/unit").expect("a path")
    }

    async fn restart_unit(&self, name: String, mode: String) -> zbus::fdo::Result<OwnedObjectPath> {
        assert_eq!((name.as_str(), mode.as_str()), ("postgresql.service", "replace"));
        if self.0.denies.load(SeqCst) {
            return Err(zbus::fdo::Error::AccessDenied("polkit".into()));
        }
        self.0.jobs.fetch_add(1, SeqCst);
        if self.0.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if !self.0.stuck.load(SeqCst) {
            self.0.start();
        }
        if self.0.loops.load(SeqCst) {
            let unit = Arc::clone(&self.0);
            drop(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    unit.restarts.fetch_add(1, SeqCst);
                    unit.start();
                }
            }));
        }
        Ok(OwnedObjectPath::try_from("/job/1").expect("a path"))
    }
}

struct UnitPage(Arc<Unit>);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl UnitPage {
    #[zbus(property)]
    fn load_state(&self) -> String {
        "loaded".into()
    }

    #[zbus(property)]
    fn active_state(&self) -> String {
        if self.0.active.load(SeqCst) { "active".into() } else { "failed".into() }
    }
}

struct ServicePage(Arc<Unit>);

#[interface(name = "org.freedesktop.systemd1.Service")]
impl ServicePage {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        if self.0.active.load(SeqCst) { self.0.pid.load(SeqCst) } else { 0 }
    }

    #[zbus(property)]
    fn exec_main_start_timestamp(&self) -> u64 {
        self.0.started.load(SeqCst)
    }

    #[zbus(property, name = "NRestarts")]
    fn n_restarts(&self) -> u32 {
        self.0.restarts.load(SeqCst)
    }
}

struct Site {
    unit: Arc<Unit>,
    adapter: Arc<dyn Adapter>,
    _directory: tempfile::TempDir,
}

async fn site() -> Site {
    let directory = tempfile::tempdir().expect("directory");
    let socket = directory.path().join("bus");
    let unit = Arc::new(Unit::default());
    let listener = UnixListener::bind(&socket).expect("bind");
    let served = Arc::clone(&unit);
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let unit = Arc::clone(&served);
            drop(tokio::spawn(async move {
                let guid = Guid::generate();
                let stream = stream.into_std().expect("a socket");
                let connection = Builder::unix_stream(stream)
                    .server(guid)
                    .p2p()
                    .serve_at("/org/freedesktop/DBus", Bus)
                    .serve_at("/org/freedesktop/systemd1", Manager(unit.clone()))
                    .serve_at("/unit", UnitPage(unit.clone()))
                    .serve_at("/unit", ServicePage(unit))
                    .build()
                    .await;
                if let Ok(connection) = connection {
                    connection.closed().await;
                }
            }));
        }
    }));
    let table = format!(
        "[adapter.systemd]\naddress = \"unix:path={}\"\nstart_ms = 1000\nstable_ms = 600\n\
         [adapter.systemd.dependency.postgresql]\nunit = \"postgresql.service\"",
        socket.display()
    );
    let adapter = configured(Kind::RestartDependency, &table);
    Site { unit, adapter, _directory: directory }
}

const TARGET: &str = "dependency:postgresql";

#[tokio::test]
async fn a_failed_unit_is_restarted_once_and_stays() {
    let site = site().await;
    let prepared = prepare(&*site.adapter, Kind::RestartDependency, TARGET).await;
    assert_eq!(prepared.unmet(), None, "{prepared:?}");
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Effective, "{verdict:?}");
    let again = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(again.answer, Answer::AlreadyApplied, "{again:?}");
    assert_eq!(site.unit.jobs.load(SeqCst), 1);
}

#[tokio::test]
async fn a_unit_that_works_is_left_alone() {
    let site = site().await;
    site.unit.start();
    let prepared = prepare(&*site.adapter, Kind::RestartDependency, TARGET).await;
    assert_eq!(prepared.unmet().map(|unmet| unmet.held), Some(Held::No));
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::RefusedPrecondition, "{executed:?}");
    assert_eq!(site.unit.jobs.load(SeqCst), 0);
}

/// A queued job, and `active` at every look: the naive answers.
#[tokio::test]
async fn a_job_that_never_runs_and_a_crash_loop_are_ineffective() {
    for (stuck, loops) in [(true, false), (false, true)] {
        let site = site().await;
        site.unit.stuck.store(stuck, SeqCst);
        site.unit.loops.store(loops, SeqCst);
        let prepared = prepare(&*site.adapter, Kind::RestartDependency, TARGET).await;
        let executed = site.adapter.execute(&prepared, &order(SOON)).await;
        assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
        assert_eq!(site.unit.active.load(SeqCst), loops);
        let verdict = site.adapter.verify(&prepared, SOON).await;
        assert_eq!(verdict.effect, Effect::Ineffective, "{verdict:?}");
    }
}

#[tokio::test]
async fn a_manager_that_refuses_has_done_nothing_and_one_that_hangs_is_unknown() {
    let site = site().await;
    let prepared = prepare(&*site.adapter, Kind::RestartDependency, TARGET).await;
    site.unit.denies.store(true, SeqCst);
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Failed, "{executed:?}");
    site.unit.denies.store(false, SeqCst);
    site.unit.hangs.store(true, SeqCst);
    let executed = site.adapter.execute(&prepared, &order(Duration::from_secs(2))).await;
    assert_eq!(executed.answer, Answer::Unknown, "{executed:?}");
    assert_eq!(site.unit.jobs.load(SeqCst), 1, "asked once");
    for wrong in ["dependency:redis", "member:n1"] {
        let refused = try_prepare(&*site.adapter, &action(Kind::RestartDependency, wrong)).await;
        assert!(matches!(refused, Err(PrepareRefused::TargetRefused { .. })), "{wrong}");
    }
}

/// Where PID 1 is systemd and this user may restart units, a transient one is restarted for real.
#[tokio::test]
async fn a_real_unit_is_restarted_where_there_is_a_systemd() {
    if !std::path::Path::new("/run/systemd/system").exists() {
        println!("left out: PID 1 is no systemd here");
        return;
    }
    let unit = format!("quorate-test-{}.service", std::process::id());
    let run = |arguments: &[&str]| {
        let ran = std::process::Command::new(arguments[0]).args(&arguments[1..]).status();
        ran.is_ok_and(|status| status.success())
    };
    let started = run(&[
        "systemd-run",
        "--quiet",
        "--unit",
        &unit,
        "--property=Restart=no",
        "--remain-after-exit",
        "/bin/sh",
        "-c",
        "sleep 300",
    ]);
    if !started {
        println!("left out: this user may not start units");
        return;
    }
    let table = format!(
        "[adapter.systemd]\nstart_ms = 5000\nstable_ms = 1000\n\
         [adapter.systemd.dependency.real]\nunit = \"{unit}\""
    );
    let adapter = configured(Kind::RestartDependency, &table);
    assert!(run(&["systemctl", "kill", "--signal=KILL", &unit]));
    let prepared = prepare(&*adapter, Kind::RestartDependency, "dependency:real").await;
    let executed = adapter.execute(&prepared, &order(SOON)).await;
    let verdict = adapter.verify(&prepared, SOON).await;
    run(&["systemctl", "stop", &unit]);
    assert_eq!(
        (executed.answer, verdict.effect),
        (Answer::Applied, Effect::Effective),
        "{verdict:?}"
    );
}
