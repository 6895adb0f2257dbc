//! The file of `init` is read as it is written; everything else is refused by name.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use quorate_coordinator::config::{Config, ConfigError};

const WHOLE: &str = r#"
id = 1
listen = "127.0.0.1:7700"
peer_listen = "127.0.0.1:7701"
data_dir = "data"
charter = "charter.leaf"
cosign_key = "cosign.pem"
[tls]
certificate = "tls.pem"
key = "tls.key"
ca = "ca.pem"
[peers]
1 = "127.0.0.1:7701"
2 = "coordinator-2.example:7701"
[clients]
1 = "127.0.0.1:7700"
2 = "coordinator-2.example:7700"
"#;

fn load(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("coordinator.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

#[test]
fn the_file_of_init_is_read_with_defaults_and_paths_beside_it() {
    let config = load(WHOLE).unwrap();
    assert_eq!(config.id, 1);
    assert_eq!(config.peers[&2], "coordinator-2.example:7701");
    assert!(config.charter.ends_with("charter.leaf") && config.charter.is_absolute());
    assert_eq!(config.raft.election_max_ms, 1_500);
}

#[test]
fn a_missing_file_is_told_from_one_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Config::load(&directory.path().join("coordinator.toml"));
    assert!(matches!(missing, Err(ConfigError::Missing { .. })), "{missing:?}");
    let torn = load("[raft");
    assert!(matches!(torn, Err(ConfigError::Read { .. })), "{torn:?}");
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let refusal = load(&format!("{WHOLE}\n[raft]\nelection_ms = 5\n")).unwrap_err().to_string();
    assert!(refusal.contains("election_ms"), "{refusal}");
}

#[test]
fn contradicting_timeouts_name_both() {
    let text = format!("{WHOLE}\n[raft]\nheartbeat_ms = 200\nelection_min_ms = 300\n");
    let refusal = load(&text).unwrap_err().to_string();
    assert!(refusal.contains("heartbeat_ms = 200") && refusal.contains("election_min_ms = 300"));
    let text = format!("{WHOLE}\n[raft]\nelection_min_ms = 1600\n");
    assert!(matches!(load(&text), Err(ConfigError::Timeouts { factor: 1, .. })));
}

#[test]
fn peers_and_clients_name_the_same_coordinators() {
    let missing = WHOLE.replace("2 = \"coordinator-2.example:7700\"", "");
    assert!(matches!(load(&missing), Err(ConfigError::MissingPeer { table: "clients", id: 2 })));
    let other = WHOLE.replacen("id = 1", "id = 3", 1);
    assert!(matches!(load(&other), Err(ConfigError::MissingPeer { id: 3, .. })));
    let odd = WHOLE.replace("2 = \"coordinator-2.example:7700\"", "02 = \"x:1\"");
    assert!(matches!(load(&odd), Err(ConfigError::CoordinatorId { .. })));
    let no_port = WHOLE.replace("coordinator-2.example:7700", "coordinator-2.example");
    assert!(matches!(load(&no_port), Err(ConfigError::Address { .. })));
}

#[test]
fn plain_text_is_loopback_only() {
    let text = format!("reader_listen = \"0.0.0.0:7780\"\n{WHOLE}");
    assert!(matches!(load(&text), Err(ConfigError::ReaderNotLoopback(_))));
}
