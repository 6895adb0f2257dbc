//! One deployment on paper, and its directory: what `init` and the demo write.
//!
//! ```text
//! config.toml                     contexts of the command line
//! charter.leaf  ca.pem  ca.key    the root of trust; the authority of the TLS certificates
//! operators/ID/                   key.pem (votes, charters) and a TLS identity, for one person
//! each coordinator-ID/                 coordinator.toml, cosign.pem, TLS, data/ with the three
//! stores agent-ID/                       agent.toml, vote.pem, TLS, data/
//! ```
//!
//! The operators' keys are made here for convenience and leave this directory with the people they
//! belong to.

mod charter;
mod config;
mod warnings;
mod write;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use quorate_attest::charter::{BudgetLine, ClassLine, RuleLine};
use quorate_attest::id::{AdapterName, ClusterId, Domain, MemberId, NetworkName};
use quorate_attest::log_time::Span;
use quorate_node::playbook::Playbook;

pub(crate) use charter::{Budget, Policy, coordinator_threshold, faults_default};
pub(crate) use warnings::warning_lines;
pub(crate) use write::{enrol, write};

/// The public port of the first coordinator of a host; the peers' port follows it.
pub(crate) const PORT_DEFAULT: u16 = 7700;

/// Where one coordinator is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Its host, a name or an IP address.
    pub host: String,
    /// Clients, agents, browsers.
    pub client_port: u16,
    /// The other coordinators.
    pub peer_port: u16,
}

impl Addresses {
    /// `host:port` for clients.
    pub(crate) fn client(&self) -> String {
        join(&self.host, self.client_port)
    }

    /// `host:port` for the other coordinators.
    pub(crate) fn peer(&self) -> String {
        join(&self.host, self.peer_port)
    }

    /// The socket to listen on: the host itself if it is an address, else every interface.
    pub(crate) fn listen(&self, port: u16) -> SocketAddr {
        let ip = self.host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        SocketAddr::new(ip, port)
    }
}

fn join(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// Gives each coordinator its ports: two for each one, rising where hosts repeat.
pub(crate) fn addresses(hosts: &[String], count: u16, port: u16) -> Option<Vec<Addresses>> {
    let mut all: Vec<Addresses> = Vec::new();
    for at in 0..count {
        let host = match hosts {
            [one] => one,
            several => several.get(usize::from(at))?,
        };
        let before = all.iter().filter(|other| other.host == *host).count();
        let client_port = port.checked_add(u16::try_from(before).ok()?.checked_mul(2)?)?;
        let peer_port = client_port.checked_add(1)?;
        all.push(Addresses { host: host.clone(), client_port, peer_port });
    }
    Some(all)
}

/// One guarded member.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its name, also its agent's id.
    pub name: MemberId,
    /// Its failure domain.
    pub domain: Option<Domain>,
    /// How its own agent and its peers' agents ask whether it works.
    pub probe: String,
    /// How its agent starts it again; empty: the agent cannot.
    pub command: Vec<String>,
    /// Where its process id stands.
    pub pid_file: PathBuf,
    /// Its ban list, if it has one.
    pub ban_list: Option<String>,
}

/// A playbook that the charter pins and every agent gets a copy of.
#[derive(Debug, Clone)]
pub(crate) struct PinnedPlaybook {
    /// What it says.
    pub playbook: Playbook,
    /// What its file is called.
    pub file: String,
    /// The file, byte for byte: its digest is pinned.
    pub text: String,
}

/// Raft's timeouts, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RaftTimes {
    /// Between two heartbeats of the leader.
    pub(crate) heartbeat_ms: u64,
    /// The least election timeout.
    pub(crate) election_min_ms: u64,
    /// The greatest election timeout.
    pub(crate) election_max_ms: u64,
}

/// How patient the agents are, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Between two probes.
    pub probe_interval_ms: u64,
    /// For one probe.
    pub probe_timeout_ms: u64,
    /// Probes that must fail in a row.
    pub failures: u32,
    /// How long a fact counts.
    pub freshness_ms: u64,
    /// How long a restarted member must live.
    pub stable_ms: u64,
}

impl Patience {
    /// For real clusters.
    pub(crate) const REAL: Patience = Patience {
        probe_interval_ms: 1_000,
        probe_timeout_ms: 5_000,
        failures: 3,
        freshness_ms: 15_000,
        stable_ms: 30_000,
    };
}

/// Everything that a deployment is made of, but its keys.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    /// What all its names begin with.
    pub network: NetworkName,
    /// The guarded cluster.
    pub cluster: ClusterId,
    /// What acts on it.
    pub adapter: AdapterName,
    /// Its members, one agent each.
    pub members: Vec<Member>,
    /// The coordinators; their ids are 1, 2, 3, …
    pub coordinators: Vec<Addresses>,
    /// f: lying coordinators tolerated.
    pub faults: u32,
    /// The operators' ids.
    pub operators: Vec<String>,
    /// The numbers of the charter.
    pub policy: Policy,
    /// What the agents follow.
    pub playbooks: Vec<PinnedPlaybook>,
    /// How patient the agents are.
    pub patience: Patience,
    /// Raft's timeouts, where the server's own do not fit.
    pub(crate) raft: Option<RaftTimes>,
    /// A plain-text listener of role `reader` at the first coordinator: the demo only.
    pub reader_listen: Option<SocketAddr>,
}

/// Lines of a charter that are numbers.
pub(crate) type Numbers = (Vec<ClassLine>, Vec<BudgetLine>, Vec<RuleLine>, Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_rise_by_two_on_one_host_and_repeat_on_several() {
        let ports = |hosts: &[&str], count| {
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            addresses(&hosts, count, 7700).map(|all| {
                all.iter().map(|one| (one.client_port, one.peer_port)).collect::<Vec<_>>()
            })
        };
        assert_eq!(ports(&["127.0.0.1"], 3), Some(vec![(7700, 7701), (7702, 7703), (7704, 7705)]));
        assert_eq!(ports(&["a", "b", "c"], 3), Some(vec![(7700, 7701); 3]));
        assert_eq!(ports(&["a", "b"], 3), None, "one host, or one for each");
        let six = Addresses { host: "::1".to_owned(), client_port: 7700, peer_port: 7701 };
        assert_eq!(six.client(), "[::1]:7700");
    }
}
