//! `ban-list`: `ban-peer` and `unban-peer` through an HTTP endpoint of the member itself.
//!
//! The endpoint is a list: `GET url` answers `{"banned": ["peer", ..]}`, `PUT url/peer` adds one,
//! `DELETE url/peer` takes one off. The witness is the whole list, because another person may change
//! it at the same moment: a ban that loses somebody else's entry is harmful, not effective.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use serde::Deserialize;

use super::registry::{AdapterConfigError, Site, Table};
use super::{
    Action, Adapter, Description, Execution, Held, Observation, Order, Precondition,
    PrepareRefused, Prepared, Verdict,
};
use crate::plan::Plan;
use crate::probe::{HttpAddress, ProbeAddressInvalid, request};
use crate::witness::{Measure, Witness};

const BANNED: &str = "banned";

/// The member's ban list: the table `[adapter.ban-list]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpBanConfig {
    /// `http://host:port/path` of the list.
    pub url: String,
}

/// The adapter of a table.
pub(super) fn build(_: &Site<'_>, table: Table) -> Result<Arc<dyn Adapter>, AdapterConfigError> {
    let config: HttpBanConfig = table.clone().read()?;
    let adapter = HttpBanAdapter::new(&config)
        .map_err(|refused| table.refuse("url", &config.url, refused.to_string()))?;
    Ok(Arc::new(adapter))
}

/// Bans peers through the member's own endpoint.
#[derive(Debug, Clone)]
pub struct HttpBanAdapter {
    list: HttpAddress,
}

#[derive(Deserialize)]
struct BanList {
    banned: BTreeSet<String>,
}

impl HttpBanAdapter {
    /// An adapter from its configuration.
    ///
    /// # Errors
    /// [`ProbeAddressInvalid`] if the address is none.
    pub fn new(config: &HttpBanConfig) -> Result<Self, ProbeAddressInvalid> {
        let list = config.url.strip_prefix("http://").and_then(HttpAddress::parse);
        list.map(|list| Self { list })
            .ok_or_else(|| ProbeAddressInvalid { address: config.url.clone() })
    }

    async fn banned(&self, deadline: Duration) -> Result<BTreeSet<String>, String> {
        let answer = tokio::time::timeout(deadline, request("GET", &self.list, b"")).await;
        let answer = match answer {
            Err(_) => return Err(format!("no answer within {} ms", deadline.as_millis())),
            Ok(Err(failure)) => return Err(failure.to_string()),
            Ok(Ok(answer)) => answer,
        };
        if answer.status != 200 {
            return Err(format!("the list answers {}", answer.status));
        }
        let list: BanList = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
        Ok(list.banned)
    }

    /// Changes the list and says what it answered. Only a 2xx is `Applied`; silence is unknown.
    async fn change(&self, kind: Kind, target: &str, order: &Order) -> Execution {
        let wanted = kind == Kind::BanPeer;
        match self.banned(order.deadline).await {
            Ok(list) if list.contains(target) == wanted => {
                return Execution::new(Answer::AlreadyApplied, "the list is as wanted");
            }
            Ok(_) => {}
            Err(why) => return Execution::new(Answer::RefusedPrecondition, why),
        }
        let method = if wanted { "PUT" } else { "DELETE" };
        let entry = self.list.child(target);
        let answered = tokio::select! {
            () = order.stop.cancelled() => {
                return Execution::new(Answer::Unknown, "abandoned before the answer");
            }
            answered = tokio::time::timeout(order.deadline, request(method, &entry, b"")) => answered,
        };
        match answered {
            Err(_) => Execution::new(Answer::Unknown, "no answer within the deadline"),
            Ok(Err(failure)) => Execution::new(Answer::Unknown, failure.to_string()),
            Ok(Ok(answer)) if (200..300).contains(&answer.status) => {
                Execution::new(Answer::Applied, format!("the list answered {}", answer.status))
            }
            Ok(Ok(answer)) => {
                Execution::new(Answer::Failed, format!("the list answered {}", answer.status))
            }
        }
    }
}

/// The list as one measurement; a JSON array, so that no entry can be taken for two.
fn measure(list: &BTreeSet<String>) -> Measure {
    Measure::Value(serde_json::Value::from_iter(list.iter().cloned()).to_string())
}

fn measured(witness: &Witness) -> Option<BTreeSet<String>> {
    serde_json::from_str(witness.get(BANNED).value()?).ok()
}

#[async_trait]
impl Adapter for HttpBanAdapter {
    fn describe(&self) -> Description {
        Description {
            system: "http ban list".into(),
            kinds: vec![Kind::BanPeer, Kind::UnbanPeer],
            // That the list can be read is no reason to ban anybody.
            judges: Vec::new(),
            gaps: vec!["whether a listed peer is really refused is the member's word".into()],
        }
    }

    async fn probe(&self, _action: &Action, deadline: Duration) -> Observation {
        let measure = match self.banned(deadline).await {
            Ok(list) => measure(&list),
            Err(_) => Measure::Unreachable,
        };
        Observation { signals: BTreeMap::from([(BANNED.to_owned(), measure)]) }
    }

    async fn prepare(
        &self,
        action: &Action,
        plan: &Plan,
        deadline: Duration,
    ) -> Result<Prepared, PrepareRefused> {
        if !matches!(action.kind, Kind::BanPeer | Kind::UnbanPeer) {
            return Err(PrepareRefused::KindUnknown { kind: action.kind });
        }
        let list = self.banned(deadline).await.map_err(|why| PrepareRefused::NoWitness { why })?;
        let precondition = Precondition {
            name: "list-readable".into(),
            held: Held::Yes,
            fact: format!("{} banned", list.len()),
        };
        Ok(Prepared {
            action: action.clone(),
            plan: plan.clone(),
            witness: Witness::default().with(BANNED, measure(&list)),
            preconditions: vec![precondition],
        })
    }

    async fn execute(&self, prepared: &Prepared, order: &Order) -> Execution {
        self.change(prepared.action.kind, prepared.action.target.as_str(), order).await
    }

    async fn verify(&self, prepared: &Prepared, deadline: Duration) -> Verdict {
        let target = prepared.action.target.as_str();
        let list = match self.banned(deadline).await {
            Ok(list) => list,
            Err(difference) => {
                let after = Witness::default().with(BANNED, Measure::Unreachable);
                return Verdict { effect: Effect::Inconclusive, after, difference };
            }
        };
        let after = Witness::default().with(BANNED, measure(&list));
        let Some(before) = measured(&prepared.witness) else {
            let difference = "the witness cannot be read".to_owned();
            return Verdict { effect: Effect::Inconclusive, after, difference };
        };
        let wanted = prepared.action.kind == Kind::BanPeer;
        let lost: Vec<_> = before.difference(&list).filter(|entry| *entry != target).collect();
        let (effect, difference) = if list.contains(target) != wanted {
            (Effect::Ineffective, format!("{target} is {}listed", if wanted { "not " } else { "" }))
        } else if lost.is_empty() {
            (Effect::Effective, format!("{} listed before, {} after", before.len(), list.len()))
        } else {
            (Effect::Harmful, format!("other entries were lost: {lost:?}"))
        };
        Verdict { effect, after, difference }
    }

    async fn rollback(&self, prepared: &Prepared, order: &Order) -> Execution {
        let target = prepared.action.target.as_str();
        // It only restores: what was listed before, by whomever, stays listed.
        let Some(before) = measured(&prepared.witness) else {
            return Execution::new(Answer::RefusedPrecondition, "the witness cannot be read");
        };
        let back = if before.contains(target) { Kind::BanPeer } else { Kind::UnbanPeer };
        self.change(back, target, order).await
    }
}
