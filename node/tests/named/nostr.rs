//! STAND-IN relay over WebSocket: it stores events of keys that are not on its list, and gives them
//! back. Its list takes effect some time after it was written, as measured on nostream v3.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use k256::schnorr::{Signature, SigningKey, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};

/// What the relay knows.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// The list that its workers use.
    pub(crate) blocked: BTreeSet<String>,
    /// Blocks everybody, whatever its list says.
    pub(crate) blocks_all: bool,
    events: BTreeMap<String, Value>,
}

pub(crate) type Shared = Arc<Mutex<Relay>>;

/// Serves until the test ends; returns `ws://host:port`.
pub(crate) async fn serve(relay: Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = format!("ws://{}", listener.local_addr().expect("address"));
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(tokio::spawn(talk(stream, Arc::clone(&relay))));
        }
    }));
    address
}

async fn talk(stream: TcpStream, relay: Shared) -> Option<()> {
    let mut socket = accept_async(stream).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let asked: Value = serde_json::from_str(&text).ok()?;
        let answers = hear(&asked, &mut *relay.lock().await);
        for answer in answers {
            socket.send(Message::text(answer.to_string())).await.ok()?;
        }
    }
    Some(())
}

fn hear(asked: &Value, relay: &mut Relay) -> Vec<Value> {
    if asked[0] == "REQ" {
        let id = asked[2]["ids"][0].as_str().unwrap_or("");
        let found = relay.events.get(id).map(|event| json!(["EVENT", asked[1], event]));
        return found.into_iter().chain([json!(["EOSE", asked[1]])]).collect();
    }
    let event = &asked[1];
    let id = event["id"].as_str().unwrap_or("").to_owned();
    let key = event["pubkey"].as_str().unwrap_or("");
    let no = |why: &str| vec![json!(["OK", id, false, why])];
    if !is_signed(event) {
        return no("invalid: signature");
    }
    if relay.blocks_all || relay.blocked.contains(key) {
        return no("blocked: pubkey not allowed");
    }
    relay.events.insert(id.clone(), event.clone());
    vec![json!(["OK", id, true, ""])]
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len() / 2).map(|at| digits(at * 2)).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether id and signature of an event are right.
pub(crate) fn is_signed(event: &Value) -> bool {
    let text = |name: &str| event[name].as_str().unwrap_or("");
    let signed = json!([
        0,
        event["pubkey"],
        event["created_at"],
        event["kind"],
        event["tags"],
        event["content"]
    ]);
    let id = Sha256::digest(signed.to_string().as_bytes());
    let key = VerifyingKey::from_slice(&unhex(text("pubkey"))).expect("a key");
    let signature = Signature::try_from(unhex(text("sig")).as_slice()).expect("a signature");
    hex(&id) == text("id") && key.verify_raw(&id, &signature).is_ok()
}

/// A secret key in a file of mode 0600, and its public key.
pub(crate) fn key(directory: &std::path::Path, seed: u8) -> (PathBuf, String) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join(format!("key{seed}"));
    std::fs::write(&path, format!("{}\n", hex(&[seed; 32]))).expect("write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
    let key = SigningKey::from_slice(&[seed; 32]).expect("a key");
    (path, hex(&key.verifying_key().to_bytes()))
}

/// What the relay says to an event that the key of `seed` publishes.
pub(crate) async fn publish(relay: &str, seed: u8, content: &str) -> bool {
    let key = SigningKey::from_slice(&[seed; 32]).expect("a key");
    let public = hex(&key.verifying_key().to_bytes());
    let signed = json!([0, public, 1, 1, [], content]).to_string();
    let id: [u8; 32] = Sha256::digest(signed.as_bytes()).into();
    let sig = hex(&key.sign_raw(&id, &[0; 32]).expect("signed").to_bytes());
    let event = json!({
        "id": hex(&id), "pubkey": public, "created_at": 1, "kind": 1, "tags": [],
        "content": content, "sig": sig,
    });
    let (mut socket, _) = connect_async(relay).await.expect("connect");
    socket.send(Message::text(json!(["EVENT", event]).to_string())).await.expect("send");
    let answer = socket.next().await.expect("an answer").expect("a message");
    let answer: Value = serde_json::from_str(answer.to_text().expect("text")).expect("JSON");
    answer[2] == true
}

/// Some time after a list was written, the workers use it.
pub(crate) fn takes_effect(relay: &Shared, list: BTreeSet<String>) {
    let relay = Arc::clone(relay);
    drop(tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        relay.lock().await.blocked = list;
    }));
}
