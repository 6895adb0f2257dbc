//! What has to hold before anything is restarted.

use std::time::Duration;

use quorate_attest::remediation::Kind;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::chain::Chain;
use super::{Action, HEIGHT, Held, NeoAdapter, Precondition, PrepareRefused, Variant};

/// Three views of dBFT: block time × (2 + 4 + 8).
const STALL_BLOCKS: u32 = 14;

fn condition(name: &str, held: bool, fact: String) -> Precondition {
    Precondition { name: name.into(), held: if held { Held::Yes } else { Held::No }, fact }
}

impl NeoAdapter {
    /// What has to hold before a validator's consensus is restarted.
    fn stalled(&self, chain: &Chain<'_>, height: u64) -> Vec<Precondition> {
        let (needed, live) = (chain.needed(), chain.live().count());
        let says = chain.live().next().map(|(_, says)| (says.validators, says.block_ms));
        let (on_chain, block_ms) = says.unwrap_or_default();
        let block = Duration::from_millis(block_ms);
        let stall = self.stall.unwrap_or(block * STALL_BLOCKS);
        let configured = chain.validators();
        let stalled = chain.stalled(height, stall);
        let connected = chain.connected();
        let restore = format!("{live} of {needed} live; restore validators {:?}", chain.silent());
        let roster = format!("{configured} configured, {on_chain} on the chain");
        let still = format!(
            "{stalled} of {needed} at height {height} for {} ms; highest {:?}",
            stall.as_millis(),
            chain.height()
        );
        let known = usize::try_from(on_chain).is_ok_and(|on_chain| on_chain == configured);
        let highest = chain.height() == Some(height);
        vec![
            condition("validators-live", live >= needed, restore),
            condition("roster-known", known, roster),
            condition(
                "validators-connected",
                connected >= needed,
                format!("{connected} of {needed} connected with each other"),
            ),
            condition("height-unchanged", stalled >= needed && highest, still),
        ]
    }

    /// Whether this validator has committed at the height after `height`. Unknown is a refusal.
    async fn not_committed(&self, height: u64, deadline: Duration) -> Precondition {
        let name = "not-committed";
        match (self.program, &self.committed) {
            (Variant::NeoRs, _) => {
                condition(name, true, "it saves its context before it commits".into())
            }
            (Variant::NeoGo, None) => {
                let fact = "nobody can tell: neo.committed is not configured".into();
                Precondition { name: name.into(), held: Held::Unknown, fact }
            }
            (Variant::NeoGo, Some(program)) => {
                let input = json!({ "height": height }).to_string().into_bytes();
                let answered = program.call(input, None, deadline, &CancellationToken::new()).await;
                let says = answered.map_err(|failure| failure.to_string()).and_then(|answer| {
                    serde_json::from_slice::<Value>(&answer).map_err(|e| e.to_string())
                });
                match says.map(|says| says["committed"].as_bool()) {
                    Ok(Some(committed)) => {
                        condition(name, !committed, format!("committed: {committed}"))
                    }
                    Ok(None) => {
                        let fact = "its answer has no committed".into();
                        Precondition { name: name.into(), held: Held::Unknown, fact }
                    }
                    Err(fact) => Precondition { name: name.into(), held: Held::Unknown, fact },
                }
            }
        }
    }

    /// Whether this node alone has lost the others.
    fn alone(&self, chain: &Chain<'_>) -> Vec<Precondition> {
        let own = chain.of(&self.member);
        let peers = own.map_or(0, |says| says.connected.len());
        let (ours, highest) = (own.map(|says| says.height), chain.height());
        vec![
            condition("no-peers", peers == 0, format!("{peers} peers")),
            condition(
                "others-go-on",
                highest > ours,
                format!(
                    "own height {ours:?}, highest {highest:?}; if nobody's grows it is a stall"
                ),
            ),
        ]
    }

    pub(super) async fn conditions(
        &self,
        action: &Action,
        chain: &Chain<'_>,
        deadline: Duration,
    ) -> Result<Vec<Precondition>, PrepareRefused> {
        if action.kind == Kind::ResetPeers {
            return Ok(self.alone(chain));
        }
        let refused = |why: &str| PrepareRefused::ParamRefused {
            kind: action.kind,
            key: HEIGHT.into(),
            why: why.into(),
        };
        let height = action.param(HEIGHT).ok_or_else(|| refused("it is missing"))?;
        let height = height.parse().map_err(|_| refused("it is no height"))?;
        let mut conditions = self.stalled(chain, height);
        // Only the validator's own agent can know, and it is asked again before the effect.
        if self.is_own(action) {
            conditions.push(self.not_committed(height, deadline).await);
        }
        Ok(conditions)
    }
}
