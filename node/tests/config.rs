//! The configuration: defaults, and refusals that name key and value.

use std::path::Path;
use std::time::Duration;

use quorate_node::config::{Automation, Config, ConfigError};

const WHOLE: &str = r#"
name = "quorate.example/testnet/agent/n1"
cluster = "demo"
member = "n1"
data_dir = "data"
charter = "charter.leaf"
vote_key = "vote.pem"
endpoints = [{ id = 1, address = "127.0.0.1:7700" }]
[tls]
certificate = "tls.pem"
key = "tls.key"
ca = "ca.pem"
[probe]
address = "http://127.0.0.1:9001/health"
[member_process]
command = ["/bin/sleep", "60"]
pid_file = "n1.pid"
[adapter.ban-list]
url = "http://127.0.0.1:9001/bans"
[[peer]]
member = "n2"
probe = "tcp://127.0.0.1:9002"
"#;

fn load(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("agent.toml");
    std::fs::write(&path, text).expect("write");
    Config::load(&path).map(|mut config| {
        config.data_dir = config.data_dir.strip_prefix(directory.path()).expect("base").into();
        config
    })
}

#[test]
fn defaults_are_those_of_the_reference_and_paths_are_relative_to_the_file() {
    let config = load(WHOLE).expect("a whole file");
    assert_eq!(config.data_dir, Path::new("data"));
    assert_eq!(config.probe.interval, Duration::from_secs(1));
    assert_eq!(config.probe.timeout, Duration::from_secs(5));
    assert_eq!((config.probe.failures, config.probe.freshness.as_secs()), (3, 15));
    assert_eq!(config.probe.peers.len(), 1);
    assert_eq!(config.automation, Automation::Restart);
    assert!(config.charter.is_absolute());
}

#[test]
fn a_missing_file_is_told_from_one_that_cannot_be_read() {
    let directory = tempfile::tempdir().expect("directory");
    let missing = Config::load(&directory.path().join("agent.toml"));
    assert!(matches!(missing, Err(ConfigError::Missing { .. })), "{missing:?}");
    let torn = load("[probe");
    assert!(matches!(torn, Err(ConfigError::Read { .. })), "{torn:?}");
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let refused = load(&WHOLE.replace("[probe]", "[probe]\nfailure = 3")).expect_err("unknown");
    assert!(refused.to_string().contains("failure"), "{refused}");
}

#[test]
fn an_adapters_table_is_refused_at_load_with_key_value_and_origin() {
    let list = "[adapter.ban-list]\nurl = \"http://127.0.0.1:9001/bans\"";
    for (table, words) in [
        ("[adapter.banlist]", vec!["banlist", "ban-list", "systemd"]),
        ("[adapter.ban-list]\nuri = \"x\"", vec!["adapter.ban-list", "uri"]),
        ("[adapter.ban-list]\nurl = \"ftp://x\"", vec!["adapter.ban-list", "url", "ftp://x"]),
        ("[adapter.neo]\nprogram = \"neo-go\"\nnodes = []", vec!["adapter.neo", "nodes", "n1"]),
        (
            "[adapter.nostream]\nurl = \"http://a:1\"\npassword_file = \"none\"",
            vec!["adapter.nostream", "password_file", "No such file"],
        ),
        ("[adapter.qfs]\ncommand = []", vec!["adapter.qfs", "command"]),
        ("[adapter.systemd]\nunit = \"a.timer\"", vec!["adapter.systemd", "unit", "a.timer"]),
        (
            "[adapter.inferadb-ledger]\nnodes = [{ member = \"n1\", url = \"ftp://x\" }]",
            vec!["adapter.inferadb-ledger", "nodes.url", "ftp://x"],
        ),
        ("[adapter.exec]\ncommand = []\nkinds = []", vec!["adapter.exec", "command"]),
        ("[adapter.exec]\ncommand = [\"x\"]\nkinds = [\"ban\"]", vec!["kinds", "\"ban\""]),
        (
            &format!("{list}\n[adapter.exec]\ncommand = [\"x\"]\nkinds = [\"ban-peer\"]"),
            vec!["adapter.ban-list", "adapter.exec", "ban-peer"],
        ),
    ] {
        let refused = load(&WHOLE.replace(list, table)).expect_err(table);
        assert!(matches!(refused, ConfigError::Adapter(_)), "{refused:?}");
        let refused = refused.to_string();
        let twice = refused.contains("both");
        assert!(twice || refused.contains("agent.toml"), "{refused}");
        for word in words {
            assert!(refused.contains(word), "{word}: {refused}");
        }
    }
}

#[test]
fn contradicting_times_wrong_probes_and_missing_coordinators_are_refused() {
    let short = load(&WHOLE.replace("[probe]", "[probe]\nfreshness_ms = 2999"));
    assert!(matches!(short, Err(ConfigError::Freshness { run_ms: 3_000, .. })), "{short:?}");
    let probe = load(&WHOLE.replace("tcp://127.0.0.1:9002", "icmp://n2"));
    assert!(matches!(probe, Err(ConfigError::Probe { .. })), "{probe:?}");
    let nobody = load(&WHOLE.replace(r#"[{ id = 1, address = "127.0.0.1:7700" }]"#, "[]"));
    assert!(matches!(nobody, Err(ConfigError::NoEndpoints)), "{nobody:?}");
    let name = load(&WHOLE.replace(r#"member = "n1""#, r#"member = "N 1""#));
    assert!(matches!(name, Err(ConfigError::Name { key: "member", .. })), "{name:?}");
}
