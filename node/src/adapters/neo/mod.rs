//! `neo`: a Neo N3 node and its validators, by JSON-RPC.
//!
//! * `force-view-change` (target `member:<validator>`, parameter `height`): no call forces a view
//!   anywhere, and nothing here ever makes or signs a message. The stuck validator's own agent restarts
//!   that validator's consensus, which a live majority must be there to answer.
//! * `restart`, as the process supervisor does it, effective only if the height grows too.
//! * `reset-peers`: stop, move the peer store away, start; effective with peers and the network's height.
//!
//! The only trace of a view is a finished block: (height − primary) mod N. So what is verified is that
//! the height moved, and that no node has another block at the height of the witness.

mod chain;
mod conditions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use serde::Deserialize;
use tokio::time::Instant;

use self::chain::{Chain, Node, NodeConfig};
use super::child::Program;
use super::registry::{AdapterConfigError, Site, Table};
use super::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, ProcessAdapter, Verdict,
};
use crate::plan::Plan;
use crate::probe::HttpAddress;
use crate::witness::{Measure, Witness};

const HEIGHT: &str = "height";
const HASH: &str = "hash";
const PEERS: &str = "peers";
/// How often heights are asked while something is waited for.
const POLL: Duration = Duration::from_millis(250);

/// Which node program it is: it decides how consensus is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Variant {
    /// SIGUSR2 recreates the consensus service. It forgets a Commit, so one that has committed at this
    /// height is never restarted.
    NeoGo,
    /// The process is restarted; it saves its context before it commits.
    NeoRs,
}

/// The node: the table `[adapter.neo]`. Its process is `[member_process]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NeoConfig {
    program: Variant,
    /// Every validator, and any other node to compare with.
    nodes: Vec<NodeConfig>,
    /// Gets `{"height": H}`, answers `{"committed": true or false}`. neo-go cannot be asked itself.
    committed: Option<Vec<String>>,
    /// Milliseconds without a block that are a stall; 14 block times if it is not given.
    stall_ms: Option<u64>,
    /// Milliseconds that verifying waits for the height to move.
    #[serde(default = "verify_ms")]
    verify_ms: u64,
    /// The peer store that `reset-peers` moves away, if the program keeps one.
    peer_store: Option<PathBuf>,
}

fn verify_ms() -> u64 {
    90_000
}

/// The adapter of a table.
pub(super) fn build(site: &Site<'_>, table: Table) -> Result<Arc<dyn Adapter>, AdapterConfigError> {
    let config: NeoConfig = table.clone().read()?;
    let Some(process) = site.process else {
        let why = "the node's process is not this agent's: add the table [member_process]";
        return Err(table.refuse("program", format!("{:?}", config.program), why));
    };
    let node = |node: NodeConfig| {
        let rpc = node.rpc.strip_prefix("http://").and_then(HttpAddress::parse);
        let rpc = rpc.ok_or_else(|| table.refuse("nodes.rpc", &node.rpc, "no http://host:port"))?;
        let NodeConfig { member, p2p, validator, .. } = node;
        Ok(Node { member, rpc, p2p, validator })
    };
    let nodes = config.nodes.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
    let (cluster, member) = (site.cluster.as_str(), site.member.as_str());
    if !nodes.iter().any(|node| node.member == member) {
        return Err(table.refuse("nodes", member, "this agent's own member is not among them"));
    }
    let own = site.probe.own.clone();
    Ok(Arc::new(NeoAdapter {
        member: member.to_owned(),
        process: ProcessAdapter::new(cluster, member, process.clone(), own),
        program: config.program,
        nodes,
        committed: config.committed.map(|command| Program { command, directory: None }),
        stall: config.stall_ms.map(Duration::from_millis),
        verify: Duration::from_millis(config.verify_ms),
        peer_store: config.peer_store.map(|store| site.path(&store)),
    }))
}

#[derive(Debug)]
struct NeoAdapter {
    member: String,
    process: ProcessAdapter,
    program: Variant,
    nodes: Vec<Node>,
    committed: Option<Program>,
    stall: Option<Duration>,
    verify: Duration,
    peer_store: Option<PathBuf>,
}

impl NeoAdapter {
    fn witness(&self, chain: &Chain<'_>) -> Witness {
        let height = chain.height();
        let top = chain.nodes.iter().filter_map(|(_, says)| says.as_ref());
        let top = top.filter(|says| Some(says.height) == height).min_by_key(|says| &says.hash);
        let value = |text: Option<String>| text.map_or(Measure::Unreachable, Measure::Value);
        let peers = chain.of(&self.member).map(|says| says.connected.len().to_string());
        let own = chain.of(&self.member).map(|says| says.height.to_string());
        let expected = height.zip(u64::try_from(chain.validators()).ok().filter(|n| *n > 0));
        let witness = Witness::default()
            .with(HEIGHT, value(height.map(|height| height.to_string())))
            .with(HASH, value(top.map(|says| says.hash.clone())))
            .with("primary", value(top.map(|says| says.primary.to_string())))
            .with("own-height", value(own))
            .with("next-primary-view-0", value(expected.map(|(h, n)| ((h + 1) % n).to_string())))
            .with(PEERS, value(peers));
        chain.nodes.iter().fold(witness, |witness, (node, says)| {
            let height = says.as_ref().map(|says| says.height.to_string());
            witness.with(&format!("height:{}", node.member), value(height))
        })
    }

    fn is_own(&self, action: &Action) -> bool {
        action.target.as_str() == format!("member:{}", self.member)
    }

    async fn act(&self, kind: Kind) -> Result<String, (Answer, String)> {
        let supervisor = self.process.supervisor();
        let unknown = |failure: super::SupervisorError| (Answer::Unknown, failure.to_string());
        let running = supervisor.find();
        if kind == Kind::ForceViewChange && self.program == Variant::NeoGo {
            let running = running.ok_or((Answer::RefusedPrecondition, "it does not run".into()))?;
            supervisor.tell(running, rustix::process::Signal::USR2).map_err(unknown)?;
            return Ok(format!("SIGUSR2 to {}", running.text()));
        }
        if let Some(running) = running {
            supervisor.stop(running).await.map_err(unknown)?;
        }
        if kind == Kind::ResetPeers
            && let Some(store) = &self.peer_store
        {
            move_away(store).map_err(|e| (Answer::Unknown, format!("{}: {e}", store.display())))?;
        }
        let started = supervisor.start().await.map_err(unknown)?;
        Ok(format!("started {}", started.text()))
    }

    async fn run(&self, prepared: &Prepared, order: &Order) -> Execution {
        let refused = |why: String| Execution::new(Answer::RefusedPrecondition, why);
        if !self.is_own(&prepared.action) {
            return refused(format!("this agent runs beside member:{}", self.member));
        }
        let chain = chain::ask(&self.nodes, order.deadline.min(ask_within())).await;
        match self.conditions(&prepared.action, &chain, ask_within()).await {
            Err(why) => return refused(why.to_string()),
            Ok(conditions) => {
                if let Some(unmet) = conditions.iter().find(|one| one.held != Held::Yes) {
                    return refused(format!("{}: {}", unmet.name, unmet.fact));
                }
            }
        }
        let acted = tokio::select! {
            () = order.stop.cancelled() => return Execution::new(Answer::Unknown, "abandoned"),
            acted = tokio::time::timeout(order.deadline, self.act(prepared.action.kind)) => acted,
        };
        match acted {
            Err(_) => Execution::new(Answer::Unknown, "the deadline passed"),
            Ok(Ok(done)) => Execution::new(Answer::Applied, done),
            Ok(Err((answer, why))) => Execution::new(answer, why),
        }
    }

    /// Another block at the witness's height on any node is a fork.
    async fn forked(&self, before: &Witness, deadline: Duration) -> Option<String> {
        let height: u64 = before.get(HEIGHT).value()?.parse().ok()?;
        let hash = before.get(HASH).value()?;
        for node in &self.nodes {
            let found = tokio::time::timeout(deadline, node.hash_at(height)).await.ok().flatten();
            if let Some(found) = found.filter(|found| found != hash) {
                return Some(format!("{} has {found} at height {height}, not {hash}", node.member));
            }
        }
        None
    }

    fn judge(&self, kind: Kind, before: &Witness, chain: &Chain<'_>) -> (Effect, String) {
        let height = before.get(HEIGHT).value().and_then(|height| height.parse::<u64>().ok());
        let Some(height) = height else {
            return (Effect::Inconclusive, "the witness has no height".into());
        };
        let highest = chain.height();
        let Some(own) = chain.of(&self.member) else {
            let silent = "this node's RPC does not answer".to_owned();
            return (
                if highest.is_some() { Effect::Ineffective } else { Effect::Inconclusive },
                silent,
            );
        };
        let says =
            format!("height {height} before, own {} and highest {highest:?} after", own.height);
        let live = chain.live().count();
        if kind == Kind::ForceViewChange && live < chain.needed() {
            return (Effect::Inconclusive, format!("{live} validators answer; {says}"));
        }
        let answering = chain.nodes.iter().filter(|(_, says)| says.is_some()).count();
        let in_step = answering > 1 && Some(own.height) == highest;
        let good = if kind == Kind::ForceViewChange {
            chain.live().filter(|(_, says)| says.height > height).count() >= chain.needed()
        } else if kind == Kind::ResetPeers {
            !own.connected.is_empty() && in_step
        } else {
            in_step || own.height > height
        };
        (if good { Effect::Effective } else { Effect::Ineffective }, says)
    }

    async fn progress(&self, prepared: &Prepared, deadline: Duration) -> Verdict {
        let end = Instant::now() + self.verify.min(deadline);
        loop {
            let chain = chain::ask(&self.nodes, ask_within().min(deadline)).await;
            let (effect, difference) = self.judge(prepared.action.kind, &prepared.witness, &chain);
            let after = self.witness(&chain);
            if effect == Effect::Effective || Instant::now() >= end {
                return match self.forked(&prepared.witness, ask_within()).await {
                    Some(difference) => Verdict { effect: Effect::Harmful, after, difference },
                    None => Verdict { effect, after, difference },
                };
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// How long one round of questions may take.
fn ask_within() -> Duration {
    Duration::from_secs(3)
}

/// Moved, not deleted: an operator may look at it.
fn move_away(store: &std::path::Path) -> std::io::Result<()> {
    let mut name = store.as_os_str().to_owned();
    name.push(".quorate-moved");
    match std::fs::rename(store, PathBuf::from(name)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}

#[async_trait]
impl Adapter for NeoAdapter {
    fn describe(&self) -> Description {
        let kinds = vec![Kind::ForceViewChange, Kind::ResetPeers, Kind::Restart];
        let gaps = vec![
            "no RPC shows a view or forces one: a view is seen only in a finished block".to_owned(),
            "a stall is told by the time that the newest block carries".to_owned(),
            "whether neo-go has committed at a height is the word of neo.committed".to_owned(),
        ];
        Description { system: "neo n3".into(), judges: kinds.clone(), kinds, gaps }
    }

    async fn probe(&self, _action: &Action, deadline: Duration) -> Observation {
        let witness = self.witness(&chain::ask(&self.nodes, deadline).await);
        let signals = witness.iter().map(|(name, measure)| (name.to_owned(), measure.clone()));
        Observation { signals: signals.collect::<BTreeMap<_, _>>() }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        let refused = |why: &str| PrepareRefused::TargetRefused {
            target: action.target.to_string(),
            why: why.into(),
        };
        let chain = chain::ask(&self.nodes, deadline.min(ask_within())).await;
        let witness = self.witness(&chain);
        if action.kind == Kind::Restart {
            let prepared = self.process.prepare(action, plan, deadline).await?;
            let both = witness.iter().chain(prepared.witness.iter());
            let both = both.map(|(name, measure)| (name.to_owned(), measure.clone())).collect();
            return Ok(Prepared { witness: both, ..prepared });
        }
        if !matches!(action.kind, Kind::ForceViewChange | Kind::ResetPeers) {
            return Err(PrepareRefused::KindUnknown { kind: action.kind });
        }
        let member = action.target.as_str().strip_prefix("member:");
        let node = self.nodes.iter().find(|node| Some(node.member.as_str()) == member);
        let Some(node) = node else { return Err(refused("no such node is configured")) };
        if action.kind == Kind::ForceViewChange && !node.validator {
            return Err(refused("it is no validator"));
        }
        if action.kind == Kind::ResetPeers && node.member != self.member {
            return Err(refused("only its own agent sees its peers"));
        }
        let preconditions = self.conditions(action, &chain, deadline.min(ask_within())).await?;
        Ok(Prepared { action: action.clone(), plan: plan.clone(), witness, preconditions })
    }

    async fn execute(&self, prepared: &Prepared, order: &Order) -> Execution {
        if prepared.action.kind == Kind::Restart {
            return self.process.execute(prepared, order).await;
        }
        self.run(prepared, order).await
    }

    async fn verify(&self, prepared: &Prepared, deadline: Duration) -> Verdict {
        if prepared.action.kind == Kind::Restart {
            let up = self.process.verify(prepared, deadline).await;
            if up.effect != Effect::Effective {
                return up;
            }
        }
        self.progress(prepared, deadline).await
    }

    async fn rollback(&self, _prepared: &Prepared, _order: &Order) -> Execution {
        Execution::new(Answer::RefusedPrecondition, "a restarted consensus has no way back")
    }
}
