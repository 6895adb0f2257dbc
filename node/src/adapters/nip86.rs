//! `nip86`: `ban-peer` and `unban-peer` through a relay's management API (NIP-86), with NIP-98 headers.
//!
//! `banpubkey` also takes the key off the relay's allow list and `unbanpubkey` does not put it back;
//! so the witness holds both lists, and a way back restores both. `allowpubkey` is not "unban".

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::id::Word;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Adapter;
use super::ban::{BanAdapter, BanList, Lists, Shown, Wanted, WriteFailed};
use super::nostr::{Control, ControlConfig, NostrKey, pubkey_of};
use super::registry::{AdapterConfigError, Site, Table};
use crate::probe::{HttpAddress, request};

const CONTENT_TYPE: &str = "application/nostr+json+rpc";

/// The relay: the table `[adapter.nip86]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nip86Config {
    /// `http://host:port/path` at which the relay is asked.
    url: String,
    /// The URL under which the relay knows itself, for the signature; `url` if it is not given.
    public_url: Option<String>,
    /// File with the secret key of a relay administrator: 64 hexadecimal digits, mode 0600.
    key_file: PathBuf,
    /// Milliseconds until a change shows.
    #[serde(default = "patience_ms")]
    patience_ms: u64,
    /// The control publication.
    control: Option<ControlConfig>,
}

fn patience_ms() -> u64 {
    2_000
}

/// The adapter of a table.
pub(super) fn build(site: &Site<'_>, table: Table) -> Result<Arc<dyn Adapter>, AdapterConfigError> {
    let config: Nip86Config = table.clone().read()?;
    let address = config.url.strip_prefix("http://").and_then(HttpAddress::parse);
    let address =
        address.ok_or_else(|| table.refuse("url", &config.url, "it is no http://host:port"))?;
    let file = site.path(&config.key_file);
    let key = NostrKey::load(&file)
        .map_err(|why| table.refuse("key_file", file.to_string_lossy(), why))?;
    let control = config.control.as_ref().map(|control| {
        let file = site.path(&control.key_file);
        Control::new(control, &file)
            .map_err(|why| table.refuse("control.key_file", file.to_string_lossy(), why))
    });
    Ok(Arc::new(BanAdapter::new(Nip86 {
        address,
        url: config.public_url.unwrap_or(config.url),
        key,
        patience: Duration::from_millis(config.patience_ms),
        control: control.transpose()?,
    })))
}

#[derive(Debug)]
struct Nip86 {
    address: HttpAddress,
    url: String,
    key: NostrKey,
    patience: Duration,
    control: Option<Control>,
}

impl Nip86 {
    /// Calls once. Only an answer of the relay is a refusal; everything else is unknown.
    async fn call(&self, method: &str, params: &[&str]) -> Result<Value, WriteFailed> {
        let body = json!({ "method": method, "params": params }).to_string();
        let signed = self.key.authorize("POST", &self.url, body.as_bytes());
        let signed = signed.map_err(WriteFailed::Refused)?;
        let headers = [("content-type", CONTENT_TYPE), ("authorization", signed.as_str())];
        let answer = request("POST", &self.address, &headers, body.as_bytes()).await;
        let answer = answer.map_err(|failure| WriteFailed::Unknown(failure.to_string()))?;
        let says = |what: &dyn std::fmt::Display| format!("{method} answers {what}");
        match answer.status {
            200..300 => {}
            400..500 => return Err(WriteFailed::Refused(says(&answer.status))),
            status => return Err(WriteFailed::Unknown(says(&status))),
        }
        let answer: Value = serde_json::from_slice(&answer.body)
            .map_err(|e| WriteFailed::Unknown(says(&format!("no JSON: {e}"))))?;
        match answer.get("error").filter(|error| !error.is_null() && **error != "") {
            Some(error) => Err(WriteFailed::Refused(says(error))),
            None => Ok(answer.get("result").cloned().unwrap_or_default()),
        }
    }

    async fn keys(&self, method: &str) -> Result<BTreeSet<String>, String> {
        let found = self.call(method, &[]).await.map_err(text)?;
        let keys = found.as_array().ok_or_else(|| format!("{method} answers no list"))?;
        let key = |entry: &Value| entry["pubkey"].as_str().map(str::to_owned);
        keys.iter().map(key).collect::<Option<_>>().ok_or_else(|| format!("{method}: no pubkey"))
    }
}

fn text(failed: WriteFailed) -> String {
    match failed {
        WriteFailed::Refused(why) | WriteFailed::Unknown(why) => why,
    }
}

#[async_trait]
impl BanList for Nip86 {
    fn about(&self) -> (String, Vec<String>) {
        let mut gaps = vec![
            "it bans publisher keys, not nodes".to_owned(),
            "that the banned key is refused is the list's word: nobody here can sign for it"
                .to_owned(),
        ];
        if self.control.is_none() {
            gaps.push("no control publication is configured: others may be shut out unseen".into());
        }
        ("NIP-86 relay".into(), gaps)
    }

    fn entry(&self, target: &Word) -> Result<String, String> {
        let key = pubkey_of(target.as_str())?;
        let control = self.control.as_ref().map(Control::public);
        if control.as_ref() == Some(&key) || self.key.public() == key {
            return Err("this is the administrator's or the control publication's key".into());
        }
        Ok(key)
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    async fn read(&self) -> Result<Lists, String> {
        let methods = self.call("supportedmethods", &[]).await.map_err(text)?;
        let supports = |method: &str| {
            methods.as_array().is_some_and(|methods| methods.iter().any(|one| one == method))
        };
        for needed in ["banpubkey", "unbanpubkey", "listbannedpubkeys"] {
            if !supports(needed) {
                return Err(format!("the relay does not support {needed}"));
            }
        }
        let banned = self.keys("listbannedpubkeys").await?;
        let allowed = match supports("listallowedpubkeys") {
            true => Some(self.keys("listallowedpubkeys").await?),
            false => None,
        };
        Ok(Lists { banned, allowed })
    }

    async fn write(
        &self,
        entry: &str,
        wanted: Wanted,
        now: &Lists,
        before: &Lists,
    ) -> Result<(), WriteFailed> {
        let allowed = |lists: &Lists| lists.allowed.as_ref().is_some_and(|l| l.contains(entry));
        match wanted {
            Wanted::Banned => self.call("banpubkey", &[entry, "quorate"]).await?,
            Wanted::Free => self.call("unbanpubkey", &[entry]).await?,
        };
        if wanted == Wanted::Free && allowed(before) && !allowed(now) {
            self.call("allowpubkey", &[entry]).await?;
        }
        Ok(())
    }

    async fn show(&self, _entry: &str, _wanted: Wanted) -> Shown {
        match &self.control {
            Some(control) => control.show().await,
            None => Shown::NotAsked,
        }
    }
}
