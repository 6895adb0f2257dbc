//! `ban-list`: `ban-peer` and `unban-peer` through an HTTP endpoint of the member itself.
//!
//! The endpoint is a list: `GET url` answers `{"banned": ["peer", ..]}`, `PUT url/peer` adds one,
//! `DELETE url/peer` takes one off. An entry is the target of the proposal, letter for letter.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::id::Word;
use serde::Deserialize;

use super::Adapter;
use super::ban::{BanAdapter, BanList, Lists, Wanted, WriteFailed};
use super::registry::{AdapterConfigError, Site, Table};
use crate::probe::{HttpAddress, ProbeAddressInvalid, request};

/// The member's ban list: the table `[adapter.ban-list]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpBanConfig {
    /// `http://host:port/path` of the list.
    url: String,
}

/// The adapter of a table.
pub(super) fn build(_: &Site<'_>, table: Table) -> Result<Arc<dyn Adapter>, AdapterConfigError> {
    let config: HttpBanConfig = table.clone().read()?;
    let list = HttpBanList::new(&config)
        .map_err(|refused| table.refuse("url", &config.url, refused.to_string()))?;
    Ok(Arc::new(BanAdapter::new(list)))
}

/// The list behind a URL.
#[derive(Debug, Clone)]
struct HttpBanList {
    list: HttpAddress,
}

#[derive(Deserialize)]
struct Answer {
    banned: BTreeSet<String>,
}

impl HttpBanList {
    fn new(config: &HttpBanConfig) -> Result<Self, ProbeAddressInvalid> {
        let list = config.url.strip_prefix("http://").and_then(HttpAddress::parse);
        list.map(|list| Self { list })
            .ok_or_else(|| ProbeAddressInvalid { address: config.url.clone() })
    }
}

#[async_trait]
impl BanList for HttpBanList {
    fn about(&self) -> (String, Vec<String>) {
        let gap = "whether a listed peer is really refused is the member's word";
        ("http ban list".into(), vec![gap.into()])
    }

    fn entry(&self, target: &Word) -> Result<String, String> {
        Ok(target.to_string())
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(400)
    }

    async fn read(&self) -> Result<Lists, String> {
        let answer = request("GET", &self.list, &[], b"").await.map_err(|e| e.to_string())?;
        if answer.status != 200 {
            return Err(format!("the list answers {}", answer.status));
        }
        let list: Answer = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
        Ok(Lists { banned: list.banned, allowed: None })
    }

    async fn write(
        &self,
        entry: &str,
        wanted: Wanted,
        _now: &Lists,
        _before: &Lists,
    ) -> Result<(), WriteFailed> {
        let method = match wanted {
            Wanted::Banned => "PUT",
            Wanted::Free => "DELETE",
        };
        match request(method, &self.list.child(entry), &[], b"").await {
            Ok(answer) if answer.is_ok() => Ok(()),
            Ok(answer) => Err(WriteFailed::Refused(format!("the list answered {}", answer.status))),
            Err(failure) => Err(WriteFailed::Unknown(failure.to_string())),
        }
    }
}
