//! The configuration files of a deployment. Comments say what may be changed; paths are relative to
//! the file.

use std::fmt::Write;

use super::{Deployment, Member};

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Appends `key = "value"`.
fn line(file: &mut String, key: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(file, "{key} = {}", quoted(value));
}

const TLS: &str = "\n[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nca = \"ca.pem\"\n";

/// `coordinator-ID/coordinator.toml`.
pub(super) fn coordinator(deployment: &Deployment, at: usize) -> String {
    let mut file =
        String::from("# A coordinator. `quorate coordinator run --config` reads this file.\n");
    let Some(own) = deployment.coordinators.get(at) else { return file };
    let id = at + 1;
    let _ = writeln!(file, "id = {id}");
    file.push_str("# Clients, agents and browsers; mutual TLS.\n");
    line(&mut file, "listen", &own.listen(own.client_port).to_string());
    file.push_str("# The other coordinators only.\n");
    line(&mut file, "peer_listen", &own.listen(own.peer_port).to_string());
    if let (Some(reader), 0) = (deployment.reader_listen, at) {
        file.push_str("# Plain text, role reader, loopback: in a demo only.\n");
        line(&mut file, "reader_listen", &reader.to_string());
    }
    line(&mut file, "data_dir", "data");
    line(&mut file, "charter", "charter.leaf");
    line(&mut file, "cosign_key", "cosign.pem");
    file.push_str(TLS);
    if let Some(raft) = deployment.raft {
        let _ = write!(
            file,
            "\n[raft]\nheartbeat_ms = {}\nelection_min_ms = {}\nelection_max_ms = {}\n",
            raft.heartbeat_ms, raft.election_min_ms, raft.election_max_ms,
        );
    }
    let tables =
        [("peers", super::Addresses::peer as fn(&_) -> _), ("clients", super::Addresses::client)];
    for (table, address) in tables {
        let _ = writeln!(file, "\n[{table}]");
        for (at, one) in deployment.coordinators.iter().enumerate() {
            line(&mut file, &(at + 1).to_string(), &address(one));
        }
    }
    file
}

/// `agent-ID/agent.toml`.
pub(super) fn agent(deployment: &Deployment, own: &Member) -> String {
    let patience = deployment.patience;
    let mut file = String::from("# An agent. `quorate agent run --config` reads this file.\n");
    line(&mut file, "name", &format!("{}/agent/{}", deployment.network, own.name));
    line(&mut file, "cluster", deployment.cluster.as_str());
    line(&mut file, "member", own.name.as_str());
    line(&mut file, "data_dir", "data");
    line(&mut file, "charter", "charter.leaf");
    line(&mut file, "vote_key", "vote.pem");
    if !deployment.playbooks.is_empty() {
        file.push_str("# What it follows; only files whose digest the charter pins are used.\n");
        line(&mut file, "playbooks", "playbooks");
    }
    file.push_str("endpoints = [\n");
    for (at, one) in deployment.coordinators.iter().enumerate() {
        let address = quoted(&one.client());
        let _ = writeln!(file, "    {{ id = {}, address = {address} }},", at + 1);
    }
    file.push_str("]\n");
    file.push_str(TLS);
    let _ = write!(
        file,
        "\n# How its own member is asked whether it works, and when silence becomes a suspicion.\n\
         [probe]\naddress = {}\ninterval_ms = {}\ntimeout_ms = {}\n\
         failures = {}\nfreshness_ms = {}\n",
        quoted(&own.probe),
        patience.probe_interval_ms,
        patience.probe_timeout_ms,
        patience.failures,
        patience.freshness_ms,
    );
    if !own.command.is_empty() {
        let words: Vec<String> = own.command.iter().map(|word| quoted(word)).collect();
        let _ = write!(
            file,
            "\n# The process that `restart` stops and starts. No shell is involved.\n\
             [member_process]\ncommand = [{}]\npid_file = {}\nstable_ms = {}\n",
            words.join(", "),
            quoted(&own.pid_file.to_string_lossy()),
            patience.stable_ms,
        );
    }
    if let Some(url) = &own.ban_list {
        let _ = write!(file, "\n[adapter.ban-list]\nurl = {}\n", quoted(url));
    }
    for peer in deployment.members.iter().filter(|peer| peer.name != own.name) {
        let _ = write!(
            file,
            "\n[[peer]]\nmember = {}\nprobe = {}\n",
            quoted(peer.name.as_str()),
            quoted(&peer.probe)
        );
    }
    file
}

/// `config.toml`: a context for each operator; the first is the default.
pub(super) fn contexts(deployment: &Deployment) -> String {
    let mut file = String::from(
        "# Contexts of the command line: export QUORATE_CONFIG=<this file>, then --context.\n",
    );
    if let Some(first) = deployment.operators.first() {
        line(&mut file, "default", first);
    }
    for operator in &deployment.operators {
        let _ = writeln!(file, "\n[context.{}]", quoted(operator));
        file.push_str("endpoints = [");
        for (at, one) in deployment.coordinators.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let _ = write!(file, "{comma}{}", quoted(&format!("{}={}", at + 1, one.client())));
        }
        file.push_str("]\n");
        line(&mut file, "identity", &format!("operators/{operator}"));
        line(&mut file, "charter", "charter.leaf");
        line(&mut file, "cluster", deployment.cluster.as_str());
    }
    file
}
