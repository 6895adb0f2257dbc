//! `nostream`: `ban-peer` and `unban-peer` through the settings API of a nostream v3 relay.
//!
//! The list is `limits.event.pubkey.blacklist`. The API replaces it whole and has no compare-and-set:
//! it is read, changed, written and read again. Without Redis every call of `/admin` hangs, while
//! `/healthz` stays green; so nothing here asks `/healthz`, and the caller's deadlines cut every call.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_attest::id::Word;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::ban::{BanAdapter, BanList, Lists, Shown, Wanted, WriteFailed};
use super::nostr::{Control, ControlConfig, pubkey_of};
use super::registry::{AdapterConfigError, Site, Table};
use super::{Adapter, secret};
use crate::probe::{HttpAddress, HttpAnswer, HttpFailure, request};
use crate::witness::Measure;

const BLACKLIST: &str = "limits.event.pubkey.blacklist";

/// The relay: the table `[adapter.nostream]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NostreamConfig {
    /// `http://host:port` of the admin API.
    url: String,
    /// File with the admin password, mode 0600.
    password_file: PathBuf,
    /// Milliseconds until a change shows in every worker.
    #[serde(default = "patience_ms")]
    patience_ms: u64,
    /// The control publication.
    control: Option<ControlConfig>,
}

fn patience_ms() -> u64 {
    4_000
}

/// The adapter of a table.
pub(super) fn build(site: &Site<'_>, table: Table) -> Result<Arc<dyn Adapter>, AdapterConfigError> {
    let config: NostreamConfig = table.clone().read()?;
    let url = config.url.strip_prefix("http://").and_then(HttpAddress::parse);
    let url = url.ok_or_else(|| table.refuse("url", &config.url, "it is no http://host:port"))?;
    let file = site.path(&config.password_file);
    let password = secret::read(&file)
        .map_err(|why| table.refuse("password_file", file.to_string_lossy(), why))?;
    let control = config.control.as_ref().map(|control| {
        let file = site.path(&control.key_file);
        Control::new(control, &file)
            .map_err(|why| table.refuse("control.key_file", file.to_string_lossy(), why))
    });
    Ok(Arc::new(BanAdapter::new(Nostream {
        url,
        password,
        patience: Duration::from_millis(config.patience_ms),
        control: control.transpose()?,
        session: Mutex::new(None),
    })))
}

/// A relay's admin API. The session is kept: logins are rationed to ten in a quarter of an hour.
struct Nostream {
    url: HttpAddress,
    password: Zeroizing<String>,
    patience: Duration,
    control: Option<Control>,
    session: Mutex<Option<String>>,
}

impl fmt::Debug for Nostream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Nostream({})", self.url)
    }
}

impl Nostream {
    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<HttpAnswer, HttpFailure> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let cookie = self.session.lock().await.clone().unwrap_or_default();
        let headers = [("content-type", "application/json"), ("cookie", cookie.as_str())];
        let answer = request(method, &self.url.at(path), &headers, &body).await?;
        if answer.status != 401 && answer.status != 403 {
            return Ok(answer);
        }
        // A refused request had no effect, so it is asked again with a new session, once.
        let Some(cookie) = self.login().await? else { return Ok(answer) };
        let headers = [("content-type", "application/json"), ("cookie", cookie.as_str())];
        let answer = request(method, &self.url.at(path), &headers, &body).await?;
        *self.session.lock().await = Some(cookie);
        Ok(answer)
    }

    async fn login(&self) -> Result<Option<String>, HttpFailure> {
        let body = Zeroizing::new(json!({ "password": self.password.as_str() }).to_string());
        let headers = [("content-type", "application/json")];
        let login = self.url.at("/admin/login");
        let answer = request("POST", &login, &headers, body.as_bytes()).await?;
        let cookie = answer.headers.get("set-cookie").and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
        Ok(cookie.filter(|_| answer.is_ok()))
    }

    async fn json(&self, path: &str) -> Result<Value, String> {
        let answer = self.ask("GET", path, &Value::Null).await.map_err(|e| e.to_string())?;
        if !answer.is_ok() {
            return Err(format!("{path} answers {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|e| format!("{path}: {e}"))
    }
}

/// The entries of the list; one that was never written is empty, one of another shape is refused.
fn blacklist(answer: &Value) -> Result<BTreeSet<String>, String> {
    let settings = answer.get("settings").ok_or("the answer has no settings")?;
    let found = BLACKLIST.split('.').try_fold(settings, |value, name| value.get(name));
    let Some(list) = found else { return Ok(BTreeSet::new()) };
    let entries = list.as_array().ok_or_else(|| format!("{BLACKLIST} is no list"))?;
    let entry = |entry: &Value| entry.as_str().map(str::to_owned);
    entries
        .iter()
        .map(entry)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("{BLACKLIST} holds something that is no key"))
}

#[async_trait]
impl BanList for Nostream {
    fn about(&self) -> (String, Vec<String>) {
        let mut gaps = vec![
            "it bans publisher keys, not nodes".to_owned(),
            "an entry that another writer adds between a read and a write is lost unseen: the \
             settings API has no compare-and-set"
                .to_owned(),
            "that the banned key is refused is the list's word: nobody here can sign for it"
                .to_owned(),
        ];
        if self.control.is_none() {
            gaps.push("no control publication is configured: others may be shut out unseen".into());
        }
        ("nostream v3".into(), gaps)
    }

    fn entry(&self, target: &Word) -> Result<String, String> {
        let key = pubkey_of(target.as_str())?;
        match &self.control {
            Some(control) if control.public() == key => {
                Err("this is the key of the control publication".into())
            }
            Some(_) | None => Ok(key),
        }
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    async fn read(&self) -> Result<Lists, String> {
        let banned = blacklist(&self.json("/admin/settings").await?)?;
        Ok(Lists { banned, allowed: None })
    }

    async fn write(
        &self,
        entry: &str,
        wanted: Wanted,
        now: &Lists,
        _before: &Lists,
    ) -> Result<(), WriteFailed> {
        let mut list = now.banned.clone();
        match wanted {
            Wanted::Banned => list.insert(entry.to_owned()),
            Wanted::Free => list.remove(entry),
        };
        let change = json!({ "path": BLACKLIST, "value": list });
        let answer = self.ask("PATCH", "/admin/settings", &change).await;
        match answer {
            Ok(answer) if answer.is_ok() => Ok(()),
            Ok(answer) if answer.status < 500 => {
                Err(WriteFailed::Refused(format!("the settings answer {}", answer.status)))
            }
            Ok(answer) => {
                Err(WriteFailed::Unknown(format!("the settings answer {}", answer.status)))
            }
            Err(failure) => Err(WriteFailed::Unknown(failure.to_string())),
        }
    }

    async fn signals(&self) -> BTreeMap<String, Measure> {
        let health = self.json("/admin/health").await;
        let part = |path: [&str; 2]| match &health {
            Err(_) => Measure::Unreachable,
            Ok(health) => match path.iter().try_fold(health, |value, name| value.get(*name)) {
                Some(value) => Measure::Value(value.to_string()),
                None => Measure::Absent,
            },
        };
        let status = match &health {
            Err(_) => Measure::Unreachable,
            Ok(health) => {
                health["status"].as_str().map_or(Measure::Absent, |s| Measure::Value(s.into()))
            }
        };
        BTreeMap::from([
            ("status".to_owned(), status),
            ("database".to_owned(), part(["database", "ok"])),
            ("redis".to_owned(), part(["redis", "ok"])),
        ])
    }

    async fn show(&self, _entry: &str, _wanted: Wanted) -> Shown {
        match &self.control {
            Some(control) => control.show().await,
            None => Shown::NotAsked,
        }
    }
}
