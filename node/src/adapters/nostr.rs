//! What nostr relays understand: keys, signed events, NIP-98 headers, a publication and its way back.
//!
//! A control publication shows that a ban works *and shuts nobody else out*: an event by the
//! operator's own key must be stored and come back on another connection. That the banned key's
//! events are refused is shown by nobody here, because nobody here has its key.

use std::fmt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64ct::{Base64, Encoding as _};
use futures::{SinkExt as _, StreamExt as _};
use k256::schnorr::SigningKey;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::ban::Shown;
use super::secret;

/// NIP-98: a signed HTTP request.
const KIND_HTTP_AUTH: u16 = 27_235;
/// NIP-78: data of an application; replaced by the next one, so that controls do not pile up.
const KIND_CONTROL: u16 = 30_078;

/// A public key as relays write it: 64 lower-case hexadecimal digits.
pub(super) fn is_pubkey(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The key that the target `pubkey:<hex>` names.
pub(super) fn pubkey_of(target: &str) -> Result<String, String> {
    match target.split_once(':') {
        Some(("pubkey", key)) if is_pubkey(key) => Ok(key.to_owned()),
        Some(("pubkey", _)) => Err("a key is 64 lower-case hexadecimal digits".into()),
        Some(_) | None => {
            Err("this relay bans publisher keys, `pubkey:<64 hex>`, not nodes".into())
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

/// A nostr key of the operator's.
#[derive(Clone)]
pub(super) struct NostrKey(SigningKey);

impl fmt::Debug for NostrKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NostrKey({})", self.public())
    }
}

impl NostrKey {
    /// Reads 64 hexadecimal digits from a file of mode 0600.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let secret = secret::read(path)?;
        let bytes = zeroize::Zeroizing::new(unhex(&secret).unwrap_or_default());
        SigningKey::from_slice(&bytes).map(Self).map_err(|_| "it is no key of 64 hex digits".into())
    }

    /// Its public key.
    pub(super) fn public(&self) -> String {
        hex(&self.0.verifying_key().to_bytes())
    }

    /// A signed event (NIP-01).
    fn event(&self, kind: u16, tags: &[[&str; 2]], content: &str) -> Result<Value, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
        let (public, created_at) = (self.public(), now.as_secs());
        let signed = json!([0, public, created_at, kind, tags, content]).to_string();
        let id: [u8; 32] = Sha256::digest(signed.as_bytes()).into();
        let mut chance = [0; 32];
        getrandom::fill(&mut chance).map_err(|e| e.to_string())?;
        let signature = self.0.sign_raw(&id, &chance).map_err(|e| e.to_string())?;
        Ok(json!({
            "id": hex(&id), "pubkey": public, "created_at": created_at, "kind": kind,
            "tags": tags, "content": content, "sig": hex(&signature.to_bytes()),
        }))
    }

    /// The `Authorization` header of one request (NIP-98).
    pub(super) fn authorize(&self, method: &str, url: &str, body: &[u8]) -> Result<String, String> {
        let payload = hex(&Sha256::digest(body));
        let tags = [["u", url], ["method", method], ["payload", &payload]];
        let event = self.event(KIND_HTTP_AUTH, &tags, "")?.to_string();
        Ok(format!("Nostr {}", Base64::encode_string(event.as_bytes())))
    }
}

/// How a control publication is made: the table `[adapter.NAME.control]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ControlConfig {
    /// `ws://host:port/path` of the relay.
    pub(super) relay: String,
    /// File with the secret key of a publisher that nobody bans: 64 hexadecimal digits, mode 0600.
    pub(super) key_file: std::path::PathBuf,
    /// On how many fresh connections it is made; each worker of a relay reads its list by itself.
    #[serde(default = "three")]
    pub(super) connections: u8,
}

fn three() -> u8 {
    3
}

/// Publishes as a publisher that nobody bans.
#[derive(Debug, Clone)]
pub(super) struct Control {
    relay: String,
    key: NostrKey,
    connections: u8,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a relay said to an event.
enum Said {
    Stored,
    Refused(String),
}

impl Control {
    /// A publisher, its key read from `key_file`.
    pub(super) fn new(config: &ControlConfig, key_file: &Path) -> Result<Self, String> {
        let key = NostrKey::load(key_file)?;
        Ok(Self { relay: config.relay.clone(), key, connections: config.connections.max(1) })
    }

    /// The key it publishes with.
    pub(super) fn public(&self) -> String {
        self.key.public()
    }

    /// Whether others still get through, on several fresh connections.
    pub(super) async fn show(&self) -> Shown {
        for connection in 0..self.connections {
            match self.publish(connection).await {
                Ok(Said::Stored) => {}
                Ok(Said::Refused(why)) => {
                    return Shown::ShutsOut(format!("the control publication was refused: {why}"));
                }
                Err(why) => return Shown::Unseen(why),
            }
        }
        Shown::Works(format!("a control publication came back {} times", self.connections))
    }

    async fn publish(&self, connection: u8) -> Result<Said, String> {
        let content = format!("quorate control {connection}");
        let event = self.key.event(KIND_CONTROL, &[["d", "quorate-control"]], &content)?;
        let mut socket = self.connect().await?;
        send(&mut socket, &json!(["EVENT", event])).await?;
        loop {
            let said = receive(&mut socket).await?;
            if said[0] == "OK" && said[1] == event["id"] {
                if said[2] != true {
                    return Ok(Said::Refused(said[3].to_string()));
                }
                break;
            }
        }
        self.comes_back(&event["id"]).await.map(|()| Said::Stored)
    }

    /// Asks on another connection for what was stored: an `OK` alone is only said.
    async fn comes_back(&self, id: &Value) -> Result<(), String> {
        let mut socket = self.connect().await?;
        send(&mut socket, &json!(["REQ", "quorate", { "ids": [id] }])).await?;
        loop {
            let said = receive(&mut socket).await?;
            if said[0] == "EVENT" && said[2]["id"] == *id {
                return Ok(());
            }
            if said[0] == "EOSE" || said[0] == "CLOSED" {
                return Err(format!("the control publication did not come back: {}", said[0]));
            }
        }
    }

    async fn connect(&self) -> Result<Socket, String> {
        connect_async(&self.relay).await.map(|(socket, _)| socket).map_err(|e| e.to_string())
    }
}

async fn send(socket: &mut Socket, message: &Value) -> Result<(), String> {
    socket.send(Message::text(message.to_string())).await.map_err(|e| e.to_string())
}

async fn receive(socket: &mut Socket) -> Result<Value, String> {
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message.map_err(|e| e.to_string())? {
            return serde_json::from_str(&text).map_err(|e| e.to_string());
        }
    }
    Err("the relay closed the connection".into())
}
