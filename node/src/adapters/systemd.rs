//! `systemd`: `restart` of the member's unit and `restart-dependency` of what it needs, over D-Bus.
//!
//! Witness: `ActiveState`, `MainPID`, `ExecMainStartTimestamp`, `NRestarts`, and whether a probe is
//! answered. That a job was queued proves nothing: a restart is effective with another start, one and
//! the same process through the stability window, no restart counted in it, and an answered probe. A
//! unit that is `active` after half a minute may be a crash loop between two crashes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use serde::Deserialize;
use tokio::time::Instant;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::registry::{AdapterConfigError, Site, Table};
use super::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use crate::plan::Plan;
use crate::probe::{Probe, Reading};
use crate::witness::{Measure, Witness};

const MANAGER: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const POLL: Duration = Duration::from_millis(100);
/// How long one look at the unit may take.
const LOOK: Duration = Duration::from_secs(3);

/// What a member needs besides itself: a table `[adapter.systemd.dependency.NAME]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DependencyConfig {
    /// Its unit.
    unit: String,
    /// How it shows that it works.
    probe: Option<String>,
}

/// The units: the table `[adapter.systemd]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SystemdConfig {
    /// D-Bus address of the manager; the system bus if it is not given.
    #[serde(default = "system_bus")]
    address: String,
    /// The member's own unit.
    unit: Option<String>,
    /// What the member needs, by name.
    #[serde(default)]
    dependency: BTreeMap<String, DependencyConfig>,
    /// Milliseconds within which a restarted unit must be active and answer.
    #[serde(default = "start_ms")]
    start_ms: u64,
    /// Milliseconds for which it then must stay so.
    #[serde(default = "stable_ms")]
    stable_ms: u64,
}

fn system_bus() -> String {
    "unix:path=/run/dbus/system_bus_socket".into()
}

fn start_ms() -> u64 {
    30_000
}

fn stable_ms() -> u64 {
    30_000
}

/// One unit that may be restarted.
#[derive(Debug, Clone)]
struct Unit {
    name: String,
    probe: Option<Probe>,
}

/// The adapter of a table.
pub(super) fn build(site: &Site<'_>, table: Table) -> Result<Arc<dyn Adapter>, AdapterConfigError> {
    let config: SystemdConfig = table.clone().read()?;
    if config.unit.is_none() && config.dependency.is_empty() {
        return Err(table.refuse("unit", "", "neither a unit nor a dependency is named"));
    }
    let mut units = BTreeMap::new();
    if let Some(name) = config.unit {
        let unit = Unit { name, probe: site.probe.own.clone() };
        units.insert(format!("member:{}", site.member), unit);
    }
    for (name, DependencyConfig { unit, probe }) in config.dependency {
        let parse = |probe: String| {
            probe.parse().map_err(|why| table.refuse("dependency.probe", probe, format!("{why}")))
        };
        let probe = probe.map(parse).transpose()?;
        units.insert(format!("dependency:{name}"), Unit { name: unit, probe });
    }
    if let Some(unit) = units.values().find(|unit| !unit.name.ends_with(".service")) {
        return Err(table.refuse("unit", &unit.name, "only a .service has a process to look at"));
    }
    Ok(Arc::new(SystemdAdapter {
        address: config.address,
        units,
        start: Duration::from_millis(config.start_ms),
        stable: Duration::from_millis(config.stable_ms),
    }))
}

#[derive(Debug)]
struct SystemdAdapter {
    address: String,
    units: BTreeMap<String, Unit>,
    start: Duration,
    stable: Duration,
}

/// What the manager and the probe say of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    active: String,
    pid: u32,
    started: u64,
    restarts: u32,
    /// `None` without a probe.
    answers: Option<Reading>,
}

impl State {
    fn works(&self) -> bool {
        self.active == "active" && self.pid != 0 && self.answers.is_none_or(|r| r == Reading::Up)
    }

    fn witness(&self) -> Witness {
        let value = |value: String| Measure::Value(value);
        let answers = match self.answers {
            None => Measure::Absent,
            Some(Reading::Unreachable) => Measure::Unreachable,
            Some(reading) => value(reading.word().into()),
        };
        Witness::default()
            .with("active", value(self.active.clone()))
            .with("pid", value(self.pid.to_string()))
            .with("started", value(self.started.to_string()))
            .with("restarts", value(self.restarts.to_string()))
            .with("answers", answers)
    }
}

/// Why the manager has not answered.
#[derive(Debug)]
enum BusFailed {
    /// It answered with an error.
    Said(String),
    /// Nobody answered.
    Silent(String),
}

impl From<zbus::Error> for BusFailed {
    fn from(error: zbus::Error) -> Self {
        let said = matches!(error, zbus::Error::MethodError(..) | zbus::Error::FDO(_));
        if said { Self::Said(error.to_string()) } else { Self::Silent(error.to_string()) }
    }
}

impl BusFailed {
    fn text(self) -> String {
        match self {
            Self::Said(why) | Self::Silent(why) => why,
        }
    }
}

/// Within the deadline, or silent.
async fn within<T>(
    deadline: Duration,
    asked: impl Future<Output = Result<T, BusFailed>>,
) -> Result<T, BusFailed> {
    let late = |_| Err(BusFailed::Silent(format!("no answer in {} ms", deadline.as_millis())));
    tokio::time::timeout(deadline, asked).await.unwrap_or_else(late)
}

/// One property, as it is now: nothing is cached.
async fn property<T>(
    bus: &Connection,
    path: &OwnedObjectPath,
    interface: &str,
    name: &str,
) -> Result<T, BusFailed>
where
    T: TryFrom<OwnedVariant, Error: std::fmt::Display>,
{
    let properties = Some("org.freedesktop.DBus.Properties");
    let answer =
        bus.call_method(Some(MANAGER), path, properties, "Get", &(interface, name)).await?;
    let value: OwnedVariant = answer.body().deserialize()?;
    T::try_from(value).map_err(|why| BusFailed::Silent(format!("{name}: {why}")))
}

impl SystemdAdapter {
    fn unit(&self, action: &Action) -> Result<&Unit, PrepareRefused> {
        if !matches!(action.kind, Kind::Restart | Kind::RestartDependency) {
            return Err(PrepareRefused::KindUnknown { kind: action.kind });
        }
        let target = action.target.to_string();
        let own = target.starts_with("member:") == (action.kind == Kind::Restart);
        self.units.get(&target).filter(|_| own).ok_or_else(|| {
            let why = format!("{} restarts {:?}", action.kind, self.units.keys());
            PrepareRefused::TargetRefused { target, why }
        })
    }

    async fn bus(&self) -> Result<Connection, BusFailed> {
        let builder = zbus::connection::Builder::address(self.address.as_str());
        Ok(builder.build().await?)
    }

    async fn look(&self, unit: &Unit) -> Result<State, BusFailed> {
        let asked = async {
            let bus = self.bus().await?;
            let manager = Some("org.freedesktop.systemd1.Manager");
            let call =
                bus.call_method(Some(MANAGER), MANAGER_PATH, manager, "LoadUnit", &unit.name);
            let path: OwnedObjectPath = call.await?.body().deserialize()?;
            let loaded: String = property(&bus, &path, UNIT, "LoadState").await?;
            if loaded != "loaded" {
                return Err(BusFailed::Said(format!("{} is {loaded}", unit.name)));
            }
            Ok(State {
                active: property(&bus, &path, UNIT, "ActiveState").await?,
                pid: property(&bus, &path, SERVICE, "MainPID").await?,
                started: property(&bus, &path, SERVICE, "ExecMainStartTimestamp").await?,
                restarts: property(&bus, &path, SERVICE, "NRestarts").await?,
                answers: None,
            })
        };
        let state = within(LOOK, asked).await?;
        let answers = match &unit.probe {
            None => None,
            Some(probe) => Some(probe.read(LOOK).await),
        };
        Ok(State { answers, ..state })
    }

    async fn restart(&self, unit: &Unit) -> Result<OwnedObjectPath, BusFailed> {
        let bus = self.bus().await?;
        let manager = Some("org.freedesktop.systemd1.Manager");
        let wanted = (unit.name.as_str(), "replace");
        let call = bus.call_method(Some(MANAGER), MANAGER_PATH, manager, "RestartUnit", &wanted);
        Ok(call.await?.body().deserialize()?)
    }

    async fn run(&self, unit: &Unit, prepared: &Prepared, order: &Order) -> Execution {
        let now = match within(order.deadline, self.look(unit)).await {
            Ok(now) => now,
            Err(failed) => return Execution::new(Answer::RefusedPrecondition, failed.text()),
        };
        if now.works() {
            // Proof by what runs: another start than the one of the witness.
            let other = prepared.witness.get("started").value() != Some(&now.started.to_string());
            let answer = if other { Answer::AlreadyApplied } else { Answer::RefusedPrecondition };
            return Execution::new(answer, format!("{} works: {now:?}", unit.name));
        }
        let restarted = tokio::select! {
            () = order.stop.cancelled() => return Execution::new(Answer::Unknown, "abandoned"),
            restarted = within(order.deadline, self.restart(unit)) => restarted,
        };
        match restarted {
            Ok(job) => Execution::new(Answer::Applied, format!("job {job:?} was queued")),
            Err(BusFailed::Said(why)) => Execution::new(Answer::Failed, why),
            Err(BusFailed::Silent(why)) => Execution::new(Answer::Unknown, why),
        }
    }

    /// Waits for another start that works, then for the stability window.
    async fn stays(
        &self,
        unit: &Unit,
        before: &Witness,
        deadline: Duration,
    ) -> Result<(Effect, State, String), String> {
        let begin = Instant::now() + self.start.min(deadline);
        let first = loop {
            let now = self.look(unit).await.map_err(BusFailed::text)?;
            let other = before.get("started").value() != Some(&now.started.to_string());
            if other && now.works() {
                break now;
            }
            if Instant::now() >= begin {
                let broke =
                    before.get("active").value() == Some("active") && now.active != "active";
                let effect = if broke { Effect::Harmful } else { Effect::Ineffective };
                let why = if other { "it does not work" } else { "it was never started anew" };
                return Ok((effect, now, why.to_owned()));
            }
            tokio::time::sleep(POLL).await;
        };
        let end = Instant::now() + self.stable.min(deadline);
        loop {
            let now = self.look(unit).await.map_err(BusFailed::text)?;
            let same =
                (now.pid, now.started, now.restarts) == (first.pid, first.started, first.restarts);
            if !same || now.active != "active" {
                let why = format!("not stable: {first:?}, then {now:?}");
                return Ok((Effect::Ineffective, now, why));
            }
            if Instant::now() >= end {
                let effect = if now.works() { Effect::Effective } else { Effect::Ineffective };
                let why = format!("process {} since {}", now.pid, now.started);
                return Ok((effect, now, why));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[async_trait]
impl Adapter for SystemdAdapter {
    fn describe(&self) -> Description {
        let has = |prefix: &str| self.units.keys().any(|target| target.starts_with(prefix));
        let kinds = [(Kind::Restart, "member:"), (Kind::RestartDependency, "dependency:")];
        let kinds: Vec<_> =
            kinds.into_iter().filter(|(_, prefix)| has(prefix)).map(|(kind, _)| kind).collect();
        let mut gaps =
            vec!["a queued job cannot be fenced; systemd may also act by itself".to_owned()];
        let blind = self.units.iter().filter(|(_, unit)| unit.probe.is_none());
        gaps.extend(
            blind.map(|(target, _)| format!("{target} has no probe: active is all it shows")),
        );
        Description { system: "systemd".into(), judges: kinds.clone(), kinds, gaps }
    }

    async fn probe(&self, action: &Action, deadline: Duration) -> Observation {
        let Ok(unit) = self.unit(action) else { return Observation { signals: BTreeMap::new() } };
        let witness = within(deadline, self.look(unit)).await.map(|state| state.witness());
        let witness = witness.unwrap_or_default();
        let signals = witness.iter().map(|(name, measure)| (name.to_owned(), measure.clone()));
        Observation { signals: signals.collect() }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        let unit = self.unit(action)?;
        let state = within(deadline, self.look(unit)).await;
        let state = state.map_err(|failed| PrepareRefused::NoWitness { why: failed.text() })?;
        let condition = Precondition {
            name: "not-working".into(),
            held: if state.works() { Held::No } else { Held::Yes },
            fact: format!("{}: {state:?}", unit.name),
        };
        Ok(Prepared {
            action: action.clone(),
            plan: plan.clone(),
            witness: state.witness(),
            preconditions: vec![condition],
        })
    }

    async fn execute(&self, prepared: &Prepared, order: &Order) -> Execution {
        match self.unit(&prepared.action) {
            Ok(unit) => self.run(unit, prepared, order).await,
            Err(why) => Execution::new(Answer::RefusedPrecondition, why.to_string()),
        }
    }

    async fn verify(&self, prepared: &Prepared, deadline: Duration) -> Verdict {
        let inconclusive = |difference: String| Verdict {
            effect: Effect::Inconclusive,
            after: Witness::default(),
            difference,
        };
        let unit = match self.unit(&prepared.action) {
            Ok(unit) => unit,
            Err(why) => return inconclusive(why.to_string()),
        };
        match self.stays(unit, &prepared.witness, deadline).await {
            Ok((effect, state, difference)) => {
                Verdict { effect, after: state.witness(), difference }
            }
            Err(why) => inconclusive(why),
        }
    }

    async fn rollback(&self, _prepared: &Prepared, _order: &Order) -> Execution {
        Execution::new(Answer::RefusedPrecondition, "a restart has no way back")
    }
}
