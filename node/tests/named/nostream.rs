//! `nostream` and `nip86` against a STAND-IN relay with the behaviours measured on nostream v3: the
//! admin API hangs without Redis while `/healthz` is green, a PATCH takes effect late, of two writers
//! one loses.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{Adapter, PrepareRefused};
use quorate_node::probe::{Probe, Reading};
use quorate_node::witness::Measure;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::nostr::{self, Shared, hex, is_signed, key, publish, takes_effect};
use super::web::{Asked, Says, json as said, serve};
use crate::common::action;
use crate::common::adapter::{SOON, configured, order, prepare, try_prepare};

const BANNED: u8 = 3;
const OTHER: u8 = 4;
const CONTROL: u8 = 5;
const ADMIN: u8 = 6;

/// STAND-IN nostream v3.
#[derive(Default)]
struct Nostream {
    list: BTreeSet<String>,
    redis_is_down: bool,
    /// After a PATCH was written it hangs (true); or it breaks off before (false).
    hangs_at_patch: Option<bool>,
    /// A person's write that replaces the next one of ours.
    other_writes: Option<BTreeSet<String>>,
    logins: u32,
    patches: u32,
}

struct Site {
    nostream: Arc<Mutex<Nostream>>,
    relay: Shared,
    socket: String,
    url: String,
    adapter: Arc<dyn Adapter>,
    directory: tempfile::TempDir,
}

fn public(seed: u8) -> String {
    let directory = tempfile::tempdir().expect("directory");
    key(directory.path(), seed).1
}

fn target(seed: u8) -> String {
    format!("pubkey:{}", public(seed))
}

async fn site() -> Site {
    let directory = tempfile::tempdir().expect("directory");
    let (relay, nostream) = (Shared::default(), Arc::new(Mutex::new(Nostream::default())));
    let socket = nostr::serve(Arc::clone(&relay)).await;
    let (served, workers) = (Arc::clone(&nostream), Arc::clone(&relay));
    let address = serve(move |asked| {
        let (nostream, workers) = (Arc::clone(&served), Arc::clone(&workers));
        async move { admin(&asked, &mut *nostream.lock().await, &workers) }
    })
    .await;
    let url = format!("http://{address}");
    let password = directory.path().join("password");
    std::fs::write(&password, "secret\n").expect("write");
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).expect("mode");
    let (control, _) = key(directory.path(), CONTROL);
    let table = format!(
        "[adapter.nostream]\nurl = {url:?}\npassword_file = {password:?}\npatience_ms = 800\n\
         [adapter.nostream.control]\nrelay = {socket:?}\nkey_file = {control:?}"
    );
    let adapter = configured(Kind::BanPeer, &table);
    Site { nostream, relay, socket, url, adapter, directory }
}

fn admin(asked: &Asked, site: &mut Nostream, relay: &Shared) -> Says {
    if asked.path == "/healthz" {
        return Says::Answer(200, "OK".into());
    }
    if site.redis_is_down {
        return Says::Hangs;
    }
    if asked.path == "/admin/login" {
        site.logins += 1;
        let good = asked.json()["password"] == "secret";
        let cookie = "set-cookie: admin_session=s1; HttpOnly; SameSite=Strict\r\n";
        return if good {
            Says::With(200, cookie, "{}".into())
        } else {
            Says::Answer(401, "".into())
        };
    }
    if asked.headers.get("cookie").map(String::as_str) != Some("admin_session=s1") {
        return Says::Answer(401, String::new());
    }
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/admin/health") => said(
            &json!({ "status": "degraded", "database": { "ok": false }, "redis": { "ok": true } }),
        ),
        ("GET", "/admin/settings") => said(&json!({
            "settings": { "limits": { "event": { "pubkey": { "blacklist": site.list } } } }
        })),
        ("PATCH", "/admin/settings") => patch(&asked.json(), site, relay),
        _ => Says::Answer(404, String::new()),
    }
}

fn patch(change: &Value, site: &mut Nostream, relay: &Shared) -> Says {
    assert_eq!(change["path"], "limits.event.pubkey.blacklist");
    site.patches += 1;
    if site.hangs_at_patch == Some(false) {
        return Says::Breaks;
    }
    let list: BTreeSet<String> = serde_json::from_value(change["value"].clone()).expect("a list");
    site.list = site.other_writes.take().unwrap_or(list);
    takes_effect(relay, site.list.clone());
    if site.hangs_at_patch == Some(true) { Says::Hangs } else { said(&json!({ "ok": true })) }
}

#[tokio::test]
async fn a_banned_key_is_refused_others_get_through_and_the_undo_restores() {
    let site = site().await;
    site.nostream.lock().await.list = BTreeSet::from([public(OTHER)]);
    assert!(publish(&site.socket, BANNED, "before").await);
    let prepared = prepare(&*site.adapter, Kind::BanPeer, &target(BANNED)).await;
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Effective, "{verdict:?}");
    assert!(verdict.difference.contains("came back 3 times"), "{verdict:?}");
    let end = std::time::Instant::now() + SOON;
    while publish(&site.socket, BANNED, "after").await {
        assert!(std::time::Instant::now() < end, "the ban never took effect");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(again.answer, Answer::AlreadyApplied, "{again:?}");
    assert_eq!(site.nostream.lock().await.patches, 1, "not written twice");
    assert_eq!(site.adapter.rollback(&prepared, &order(SOON)).await.answer, Answer::Applied);
    let after = site.nostream.lock().await;
    assert_eq!(after.list, BTreeSet::from([public(OTHER)]), "whom somebody else banned stays");
    assert_eq!(after.logins, 1, "logins are rationed");
}

/// A naive adapter that believes the PATCH's `ok` would say success with the ban lost.
#[tokio::test]
async fn of_two_writers_none_loses() {
    let site = site().await;
    let prepared = prepare(&*site.adapter, Kind::BanPeer, &target(BANNED)).await;
    site.nostream.lock().await.other_writes = Some(BTreeSet::from([public(OTHER)]));
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
    let both = BTreeSet::from([public(BANNED), public(OTHER)]);
    assert_eq!(site.nostream.lock().await.list, both);
    assert_eq!(site.adapter.verify(&prepared, SOON).await.effect, Effect::Effective);
}

/// T12. A naive probe of `/healthz` would say that all is well.
#[tokio::test]
async fn without_redis_the_page_is_green_and_the_list_unreachable() {
    let site = site().await;
    site.nostream.lock().await.redis_is_down = true;
    let page: Probe = format!("{}/healthz", site.url).parse().expect("a probe");
    assert_eq!(page.read(SOON).await, Reading::Up, "the naive answer");
    let ban = action(Kind::BanPeer, &target(BANNED));
    let seen = site.adapter.probe(&ban, Duration::from_millis(300)).await;
    assert_eq!(seen.signals["banned"], Measure::Unreachable);
    let prepared = prepare_within(&site, Duration::from_millis(300)).await;
    assert!(matches!(prepared, Err(PrepareRefused::NoWitness { .. })), "{prepared:?}");
}

async fn prepare_within(
    site: &Site,
    deadline: Duration,
) -> Result<quorate_node::adapters::Prepared, PrepareRefused> {
    let ban = action(Kind::BanPeer, &target(BANNED));
    let plan = quorate_node::plan::plan_of(&"nostream".parse().expect("a name"), &ban);
    site.adapter.prepare(&ban, &plan, deadline).await
}

/// T12: the status is read, and a database that is down is told from a number that is zero.
#[tokio::test]
async fn the_probe_says_that_the_database_is_down() {
    let site = site().await;
    let seen = site.adapter.probe(&action(Kind::BanPeer, &target(BANNED)), SOON).await;
    assert_eq!(seen.signals["status"], Measure::Value("degraded".into()));
    assert_eq!(seen.signals["database"], Measure::Value("false".into()));
    assert_eq!(seen.signals["banned"], Measure::Value("[]".into()));
}

#[tokio::test]
async fn an_interrupted_ban_is_unknown_and_told_by_probing() {
    for (written, wanted) in [(true, Effect::Effective), (false, Effect::Ineffective)] {
        let site = site().await;
        let prepared = prepare(&*site.adapter, Kind::BanPeer, &target(BANNED)).await;
        site.nostream.lock().await.hangs_at_patch = Some(written);
        let executed = site.adapter.execute(&prepared, &order(Duration::from_secs(3))).await;
        assert_eq!(executed.answer, Answer::Unknown, "{executed:?}");
        assert_eq!(site.nostream.lock().await.patches, 1, "not written twice");
        let verdict = site.adapter.verify(&prepared, SOON).await;
        assert_eq!(verdict.effect, wanted, "{verdict:?}");
    }
}

/// The list is as it should be, and yet nobody gets through any more: harm, not success.
#[tokio::test]
async fn a_ban_that_shuts_others_out_is_harmful() {
    let site = site().await;
    let prepared = prepare(&*site.adapter, Kind::BanPeer, &target(BANNED)).await;
    assert_eq!(site.adapter.execute(&prepared, &order(SOON)).await.answer, Answer::Applied);
    site.relay.lock().await.blocks_all = true;
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Harmful, "{verdict:?}");
}

#[tokio::test]
async fn nodes_half_keys_and_the_control_key_are_no_targets() {
    let site = site().await;
    let upper = target(BANNED).to_uppercase().replace("PUBKEY", "pubkey");
    for wrong in ["node:n3", "peer:x", "pubkey:abc", upper.as_str(), &target(CONTROL)] {
        let refused = try_prepare(&*site.adapter, &action(Kind::BanPeer, wrong)).await;
        assert!(matches!(refused, Err(PrepareRefused::TargetRefused { .. })), "{wrong}");
    }
    drop(site.directory);
}

/// STAND-IN relay with NIP-86: `banpubkey` takes the key off the allow list too.
#[derive(Default)]
struct Nip86 {
    banned: BTreeSet<String>,
    allowed: BTreeSet<String>,
}

fn manage(asked: &Asked, url: &str, site: &mut Nip86) -> Says {
    let header = asked.headers.get("authorization").map(String::as_str).unwrap_or("");
    let event = Base64::decode_vec(header.trim_start_matches("Nostr ")).unwrap_or_default();
    let event: Value = serde_json::from_slice(&event).unwrap_or_default();
    let payload = hex(&Sha256::digest(&asked.body));
    let wanted = json!([["u", url], ["method", "POST"], ["payload", payload]]);
    let fits = event["kind"] == 27_235 && event["tags"] == wanted;
    if !fits || !is_signed(&event) || event["pubkey"] != public(ADMIN) {
        return Says::Answer(401, String::new());
    }
    let call = asked.json();
    let key = call["params"][0].as_str().unwrap_or("").to_owned();
    let list = |keys: &BTreeSet<String>| {
        Value::from_iter(keys.iter().map(|key| json!({ "pubkey": key, "reason": "" })))
    };
    let result = match call["method"].as_str() {
        Some("supportedmethods") => {
            json!([
                "banpubkey",
                "unbanpubkey",
                "listbannedpubkeys",
                "listallowedpubkeys",
                "allowpubkey"
            ])
        }
        Some("banpubkey") => {
            site.allowed.remove(&key);
            site.banned.insert(key).into()
        }
        Some("unbanpubkey") => site.banned.remove(&key).into(),
        Some("allowpubkey") => site.allowed.insert(key).into(),
        Some("listbannedpubkeys") => list(&site.banned),
        Some("listallowedpubkeys") => list(&site.allowed),
        _ => return said(&json!({ "result": null, "error": "unsupported" })),
    };
    said(&json!({ "result": result }))
}

async fn nip86(seed: u8) -> (Arc<dyn Adapter>, Arc<Mutex<Nip86>>, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("directory");
    let site = Arc::new(Mutex::new(Nip86::default()));
    let served = Arc::clone(&site);
    let address = serve(move |asked| {
        let site = Arc::clone(&served);
        async move { manage(&asked, "https://relay.example/", &mut *site.lock().await) }
    })
    .await;
    let (file, _) = key(directory.path(), seed);
    let table = format!(
        "[adapter.nip86]\nurl = \"http://{address}/\"\nkey_file = {file:?}\n\
         public_url = \"https://relay.example/\"\npatience_ms = 400"
    );
    (configured(Kind::BanPeer, &table), site, directory)
}

#[tokio::test]
async fn a_nip_86_ban_is_signed_and_its_way_back_restores_both_lists() {
    let (adapter, site, _directory) = nip86(ADMIN).await;
    site.lock().await.allowed.insert(public(BANNED));
    let prepared = prepare(&*adapter, Kind::BanPeer, &target(BANNED)).await;
    assert_eq!(adapter.execute(&prepared, &order(SOON)).await.answer, Answer::Applied);
    assert_eq!(adapter.verify(&prepared, SOON).await.effect, Effect::Effective);
    assert!(site.lock().await.allowed.is_empty(), "the relay took it off the allow list");
    assert_eq!(adapter.rollback(&prepared, &order(SOON)).await.answer, Answer::Applied);
    let site = site.lock().await;
    assert_eq!((site.banned.len(), site.allowed.contains(&public(BANNED))), (0, true));
}

#[tokio::test]
async fn a_key_that_is_no_administrators_takes_no_witness() {
    let (adapter, _site, _directory) = nip86(OTHER).await;
    let refused = try_prepare(&*adapter, &action(Kind::BanPeer, &target(BANNED))).await;
    let refused = refused.expect_err("401").to_string();
    assert!(refused.contains("401"), "{refused}");
}
