//! `inferadb-ledger`: membership and vault recovery of a ledger, believed by nobody's answer.
//!
//! | kind | target, parameters | call |
//! |--|--|--|
//! | `remove-member` | `member:<id>`, `node-id`, `alive yes` for one that answers | `LeaveCluster` at the leader |
//! | `add-member` | `member:<id>`, `node-id`, `address` | `JoinCluster` at the leader |
//! | `recover-vault` | `member:<own>`, `organization`, `vault` | `RecoverVault` at that node |
//!
//! `LeaveCluster` says success for ids that were never members, `RecoverVault` for a cluster of which
//! one node was rebuilt, and health says HEALTHY with nothing in it. So the witness is what *all*
//! nodes say of members, heights and state roots, and a vault that is gone afterwards is harm.

mod client;
mod cluster;
mod judge;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use serde::Deserialize;
use tokio::time::Instant;

use self::client::Client;
use self::cluster::{Cluster, Node, Vault, ask};
use self::judge::{done, floor, lost};
use super::child::Program;
use super::registry::{AdapterConfigError, Site, Table};
use super::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use crate::plan::Plan;
use crate::witness::Witness;

const POLL: Duration = Duration::from_millis(200);

/// One node: an entry of `nodes`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeConfig {
    /// Its member id.
    member: String,
    /// `http://host:port` of its gRPC.
    url: String,
}

/// The ledger: the table `[adapter.inferadb-ledger]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerConfig {
    /// Every node, those that are to join too.
    nodes: Vec<NodeConfig>,
    /// The user that version B wants to be told.
    #[serde(default)]
    caller: u64,
    /// A program that copies this node's data directory aside and ends with 0. Without it nothing is
    /// recovered: the call clears what it recovers.
    forensic_copy: Option<Vec<String>>,
    /// Milliseconds until a change shows on every node.
    #[serde(default = "verify_ms")]
    verify_ms: u64,
}

fn verify_ms() -> u64 {
    30_000
}

/// The adapter of a table.
pub(super) fn build(site: &Site<'_>, table: Table) -> Result<Arc<dyn Adapter>, AdapterConfigError> {
    let config: LedgerConfig = table.clone().read()?;
    let node = |node: NodeConfig| {
        let client =
            Client::new(&node.url).map_err(|why| table.refuse("nodes.url", &node.url, why))?;
        Ok(Node { member: node.member, client })
    };
    let nodes = config.nodes.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(LedgerAdapter {
        member: site.member.to_string(),
        nodes,
        caller: config.caller,
        forensic: config.forensic_copy.map(|command| Program { command, directory: None }),
        verify: Duration::from_millis(config.verify_ms),
    }))
}

#[derive(Debug)]
struct LedgerAdapter {
    member: String,
    nodes: Vec<Node>,
    caller: u64,
    forensic: Option<Program>,
    verify: Duration,
}

/// What is asked for, its parameters read.
#[derive(Debug, Clone)]
enum Wanted {
    Remove { id: u64, alive: bool },
    Add { id: u64, address: String },
    Recover { vault: Vault },
}

fn condition(name: &str, held: bool, fact: String) -> Precondition {
    Precondition { name: name.into(), held: if held { Held::Yes } else { Held::No }, fact }
}

fn wanted(action: &Action) -> Result<Wanted, PrepareRefused> {
    let refused = |key: &str, why: &str| PrepareRefused::ParamRefused {
        kind: action.kind,
        key: key.into(),
        why: why.into(),
    };
    let text = |key: &str| action.param(key).ok_or_else(|| refused(key, "it is missing"));
    let number = |key: &str| text(key)?.parse().map_err(|_| refused(key, "it is no number"));
    if action.kind == Kind::RemoveMember {
        return Ok(Wanted::Remove {
            id: number("node-id")?,
            alive: action.param("alive") == Some("yes"),
        });
    }
    if action.kind == Kind::AddMember {
        return Ok(Wanted::Add { id: number("node-id")?, address: text("address")?.to_owned() });
    }
    if action.kind == Kind::RecoverVault {
        let vault = Vault { organization: number("organization")?, slug: number("vault")? };
        return Ok(Wanted::Recover { vault });
    }
    Err(PrepareRefused::KindUnknown { kind: action.kind })
}

fn member(action: &Action) -> &str {
    let target = action.target.as_str();
    target.strip_prefix("member:").unwrap_or(target)
}

impl LedgerAdapter {
    async fn ask(&self, deadline: Duration) -> Cluster<'_> {
        ask(&self.nodes, self.caller, deadline.min(Duration::from_secs(4))).await
    }

    fn conditions(&self, action: &Action, wanted: &Wanted, now: &Cluster<'_>) -> Vec<Precondition> {
        let leader = now.leader();
        let members = leader.map(|(_, says)| says.members.clone()).unwrap_or_default();
        let known = condition(
            "leader-known",
            leader.is_some(),
            leader.map_or("no leader that all name and that answers".into(), |(node, _)| {
                node.member.clone()
            }),
        );
        let target = now.of(member(action));
        match wanted {
            Wanted::Remove { id, alive } => vec![
                known,
                condition("is-member", members.contains_key(id), format!("members {members:?}")),
                floor(&members, Some(*id), now),
                condition(
                    "target-silent",
                    target.is_none() || *alive,
                    format!("answers: {}", target.is_some()),
                ),
                // The name and the number that were voted on must mean one node.
                condition(
                    "target-is-id",
                    target.is_none_or(|(_, says)| says.id == *id),
                    format!("{:?} is {id}", target.map(|(_, says)| says.id)),
                ),
            ],
            Wanted::Add { id, .. } => vec![
                known,
                condition(
                    "is-no-member",
                    !members.contains_key(id),
                    format!("members {members:?}"),
                ),
                floor(&members, None, now),
                condition(
                    "node-waits",
                    target.is_some_and(|(_, says)| says.id == *id),
                    format!("{:?} answers as {id}", target.map(|(_, says)| says.id)),
                ),
            ],
            Wanted::Recover { vault } => {
                let agreed = now.agreed(*vault);
                let own = target.and_then(|(_, says)| says.tips.get(vault));
                let differs = agreed.as_ref().zip(own).is_some_and(|(agreed, own)| agreed != own);
                let says_so = target.is_some_and(|(_, says)| says.diverged.contains(vault));
                vec![
                    condition("majority-agrees", agreed.is_some(), format!("{agreed:?}")),
                    condition("replica-differs", differs || says_so, format!("{own:?}")),
                    condition(
                        "forensic-copy",
                        self.forensic.is_some(),
                        "the program that copies the data directory aside".into(),
                    ),
                ]
            }
        }
    }

    async fn call(&self, wanted: &Wanted, now: &Cluster<'_>, order: &Order) -> Execution {
        let deadline = order.deadline;
        let leader = now.leader().map(|(node, _)| &node.client);
        let said = match (wanted, leader) {
            (Wanted::Remove { id, .. }, Some(leader)) => {
                leader.leave(*id, deadline).await.map(|said| (said.success, said.message))
            }
            (Wanted::Add { id, address }, Some(leader)) => {
                leader.join(*id, address, deadline).await.map(|said| (said.success, said.message))
            }
            (Wanted::Remove { .. } | Wanted::Add { .. }, None) => {
                return Execution::new(Answer::RefusedPrecondition, "no leader");
            }
            (Wanted::Recover { vault }, _) => return self.recover(*vault, now, order).await,
        };
        answer(said)
    }

    async fn recover(&self, vault: Vault, now: &Cluster<'_>, order: &Order) -> Execution {
        let refused = |why: String| Execution::new(Answer::RefusedPrecondition, why);
        let (Some((own, _)), Some(copy)) = (now.of(&self.member), &self.forensic) else {
            return refused("this node does not answer, or nothing copies its data".into());
        };
        let input = format!("{{\"member\":\"{}\",\"vault\":\"{vault}\"}}", self.member);
        let copied =
            copy.call(input.into_bytes(), Some(&order.proposal), order.deadline, &order.stop);
        if let Err(failure) = copied.await {
            return refused(format!("no forensic copy: {failure}"));
        }
        let said = own.client.recover(vault, order.deadline).await;
        answer(said.map(|said| (said.success, said.message)))
    }

    async fn run(&self, prepared: &Prepared, order: &Order) -> Execution {
        let refused = |why: String| Execution::new(Answer::RefusedPrecondition, why);
        let wanted = match wanted(&prepared.action) {
            Ok(wanted) => wanted,
            Err(why) => return refused(why.to_string()),
        };
        if matches!(wanted, Wanted::Recover { .. }) && member(&prepared.action) != self.member {
            return refused(format!("this agent runs beside member:{}", self.member));
        }
        let now = self.ask(order.deadline).await;
        if prepared.unmet().is_none() && done(&wanted, &now) {
            return Execution::new(Answer::AlreadyApplied, "every node that answers says so");
        }
        let conditions = self.conditions(&prepared.action, &wanted, &now);
        if let Some(unmet) = conditions.iter().find(|one| one.held != Held::Yes) {
            return refused(format!("{}: {}", unmet.name, unmet.fact));
        }
        tokio::select! {
            () = order.stop.cancelled() => Execution::new(Answer::Unknown, "abandoned"),
            execution = self.call(&wanted, &now, order) => execution,
        }
    }

    fn judge(&self, prepared: &Prepared, wanted: &Wanted, now: &Cluster<'_>) -> (Effect, String) {
        let removed = match wanted {
            Wanted::Remove { .. } => Some(member(&prepared.action)),
            Wanted::Add { .. } | Wanted::Recover { .. } => None,
        };
        if now.live().all(|(node, _)| Some(node.member.as_str()) == removed) {
            return (Effect::Inconclusive, "no node answers".into());
        }
        if let Some(lost) = lost(&prepared.witness, removed, now) {
            return (Effect::Harmful, lost);
        }
        let silent = now.nodes.iter().filter(|(node, says)| {
            says.is_err()
                && prepared.witness.get(&format!("members:{}", node.member)).value().is_some()
        });
        let silent: Vec<_> = silent
            .map(|(node, _)| node.member.as_str())
            .filter(|member| Some(*member) != removed)
            .collect();
        if !done(wanted, now) {
            return (
                Effect::Ineffective,
                format!("not so on every node; leader {:?}", now.leader().map(|l| &l.0.member)),
            );
        }
        if !silent.is_empty() {
            return (Effect::Inconclusive, format!("{silent:?} answered before and do not now"));
        }
        (Effect::Effective, "members, heights and roots are as they should be on every node".into())
    }
}

/// `success:false` is an answer; no answer is unknown.
fn answer(said: Result<(bool, String), String>) -> Execution {
    match said {
        Ok((true, message)) => {
            Execution::new(Answer::Applied, format!("it says success {message}"))
        }
        Ok((false, message)) => Execution::new(Answer::Failed, message),
        Err(why) => Execution::new(Answer::Unknown, why),
    }
}

#[async_trait]
impl Adapter for LedgerAdapter {
    fn describe(&self) -> Description {
        let mut kinds = vec![Kind::AddMember, Kind::RemoveMember];
        if self.forensic.is_some() {
            kinds.push(Kind::RecoverVault);
        }
        let gaps = vec![
            "GetVault.status, GetTip.block_hash, CheckIntegrity's chain_break and the quorum metric \
             are no evidence"
                .to_owned(),
            "the archived state root is compared, it is not computed anew".to_owned(),
            "no test write is made: that a vault takes writes is not shown".to_owned(),
            "LeaveCluster and JoinCluster cannot be fenced: between the check and the call another \
             administrator may act"
                .to_owned(),
        ];
        Description {
            system: "inferadb ledger (A, B by GetNodeInfo)".into(),
            judges: kinds.clone(),
            kinds,
            gaps,
        }
    }

    async fn probe(&self, _action: &Action, deadline: Duration) -> Observation {
        let witness = self.ask(deadline).await.witness();
        let signals = witness.iter().map(|(name, measure)| (name.to_owned(), measure.clone()));
        Observation { signals: signals.collect() }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        let wanted = wanted(action)?;
        if !self.nodes.iter().any(|node| node.member == member(action)) {
            let (target, why) = (action.target.to_string(), "no such node is configured".into());
            return Err(PrepareRefused::TargetRefused { target, why });
        }
        let now = self.ask(deadline).await;
        if now.live().next().is_none() {
            return Err(PrepareRefused::NoWitness { why: "no node answers".into() });
        }
        let preconditions = self.conditions(action, &wanted, &now);
        let witness = now.witness();
        Ok(Prepared { action: action.clone(), plan: plan.clone(), witness, preconditions })
    }

    async fn execute(&self, prepared: &Prepared, order: &Order) -> Execution {
        self.run(prepared, order).await
    }

    async fn verify(&self, prepared: &Prepared, deadline: Duration) -> Verdict {
        let wanted = match wanted(&prepared.action) {
            Ok(wanted) => wanted,
            Err(why) => {
                let (effect, after) = (Effect::Inconclusive, Witness::default());
                return Verdict { effect, after, difference: why.to_string() };
            }
        };
        let end = Instant::now() + self.verify.min(deadline);
        loop {
            let now = self.ask(deadline).await;
            let (effect, difference) = self.judge(prepared, &wanted, &now);
            // Replicas that are a block apart agree a moment later; what is lost stays lost.
            if effect == Effect::Effective || Instant::now() >= end {
                return Verdict { effect, after: now.witness(), difference };
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn rollback(&self, _prepared: &Prepared, _order: &Order) -> Execution {
        let why = "the way back is another decision: add-member, or the forensic copy";
        Execution::new(Answer::RefusedPrecondition, why)
    }
}
