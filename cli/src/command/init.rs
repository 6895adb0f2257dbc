//! `quorate init`: a charter, keys, and one directory per coordinator, agent and operator.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use quorate_attest::id::{AdapterName, ClusterId, MemberId, NetworkName};
use serde::Serialize;

use super::Env;
use crate::Done;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::layout::{
    Deployment, Member, PORT_DEFAULT, Patience, PinnedPlaybook, Policy, addresses,
    coordinator_threshold, faults_default, warning_lines, write,
};
use crate::output::{Paper, Tone, View};

/// What the deployment is made of.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quorate init ./prod --network example.org/prod --cluster shop --members n1,n2,n3,n4,n5
  quorate init ./q --network q.org --coordinators 4 --hosts a,b,c,d --cluster db --members n1,n2,n3

The network's name begins every name of the deployment; a signature of one is nothing to another.
Nothing is started, and nothing that exists is touched.")]
pub(crate) struct InitArgs {
    /// The directory to create
    dir: PathBuf,
    /// What all names of the deployment begin with, such as example.org/prod
    #[arg(long, value_name = "NAME")]
    network: NetworkName,
    /// The guarded cluster
    #[arg(long, value_name = "NAME")]
    cluster: ClusterId,
    /// Its members, each with its address if that is not its name and port 80; one agent beside
    /// each
    #[arg(long, value_delimiter = ',', required = true, value_name = "NAME[=HOST:PORT],…")]
    members: Vec<NamedMember>,
    /// What acts on the members
    #[arg(long, default_value = "process", value_name = "NAME")]
    adapter: AdapterName,
    /// How an agent asks a member whether it works; {member} and {address} stand for the member's
    #[arg(long, value_name = "URL", default_value = "tcp://{address}")]
    probe: String,
    /// How an agent starts its member again, without a shell; {member} and {address} as above
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
    /// How many coordinators
    #[arg(long, default_value_t = 3, value_parser = parse_count, value_name = "3|4|5|7")]
    coordinators: u16,
    /// How many lying coordinators to tolerate [default: 0 of 3, 1 of 4, 0 of 5, 2 of 7]
    #[arg(long, value_name = "F")]
    faults: Option<u32>,
    /// The coordinators' hosts: one for all, or one for each
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1", value_name = "HOST,…")]
    hosts: Vec<String>,
    /// The first coordinator's public port; its peers' port follows it
    #[arg(long, default_value_t = PORT_DEFAULT, value_name = "PORT")]
    port: u16,
    /// A playbook that agents follow: its digest goes into the charter, a copy to each agent
    #[arg(long = "playbook", value_name = "FILE")]
    playbooks: Vec<PathBuf>,
    /// The people who sign charters and vote
    #[arg(long, value_delimiter = ',', default_value = "ana,ben,chen", value_name = "NAME,…")]
    operators: Vec<String>,
}

/// A member, and where it answers.
#[derive(Debug, Clone)]
struct NamedMember {
    name: MemberId,
    address: String,
}

impl FromStr for NamedMember {
    type Err = <MemberId as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, address) = text.split_once('=').unwrap_or((text, ""));
        let name: MemberId = name.parse()?;
        let address = if address.is_empty() { format!("{name}:80") } else { address.to_owned() };
        Ok(Self { name, address })
    }
}

pub(crate) fn parse_count(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(count @ (3 | 4 | 5 | 7)) => Ok(count),
        Ok(_) | Err(_) => Err("a quorum has 3, 4, 5 or 7 coordinators".to_owned()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitView {
    directory: PathBuf,
    origin: String,
    charter: String,
    coordinators: usize,
    faults: u32,
    threshold: u32,
    operators: Vec<String>,
    agents: Vec<String>,
    endpoints: Vec<String>,
    warnings: Vec<String>,
    next_steps: Vec<String>,
}

impl View for InitView {
    fn draw(&self, paper: &mut Paper) {
        let safety = format!(
            "{}, {} cosignatures make a certificate, {} liars tolerated",
            self.coordinators, self.threshold, self.faults
        );
        paper.facts(&[
            ("directory", self.directory.display().to_string()),
            ("origin", self.origin.clone()),
            ("charter", self.charter.clone()),
            ("coordinators", safety),
            ("endpoints", self.endpoints.join(" ")),
            ("operators", self.operators.join(" ")),
            ("agents", self.agents.join(" ")),
        ]);
        for warning in &self.warnings {
            let text = paper.tone(Tone::Warn, format!("● {warning}"));
            paper.line(text);
        }
        paper.heading("Next");
        for step in &self.next_steps {
            paper.line(format_args!("  {step}"));
        }
    }
}

/// Writes the directory.
pub(crate) fn run(args: InitArgs, env: &Env) -> Done {
    let deployment = deployment(&args)?;
    let written = write(&deployment, &args.dir)?;
    let count = deployment.coordinators.len();
    let view = InitView {
        origin: written.origin.to_string(),
        charter: written.charter.to_string(),
        coordinators: count,
        faults: deployment.faults,
        threshold: coordinator_threshold(count, deployment.faults),
        operators: deployment.operators.clone(),
        agents: deployment.members.iter().map(|member| member.name.to_string()).collect(),
        endpoints: deployment
            .coordinators
            .iter()
            .enumerate()
            .map(|(at, one)| format!("{}={}", at + 1, one.client()))
            .collect(),
        warnings: warning_lines(&written.warnings),
        next_steps: next_steps(&args.dir, count, &args.members),
        directory: args.dir,
    };
    env.printer.print(&view)?;
    Ok(Exit::Ok)
}

fn deployment(args: &InitArgs) -> Result<Deployment, Failure> {
    let coordinators = addresses(&args.hosts, args.coordinators, args.port).ok_or_else(|| {
        Failure::usage(
            "--hosts wants one host for all coordinators, or one for each; ports end at 65535",
        )
    })?;
    let members = args.members.iter().map(|named| member(args, named)).collect();
    if args.network.as_str().split('/').any(|part| part == "demo") {
        return Err(Failure::usage(
            "a network with the part `demo` is a demo's: its signatures are worth nothing",
        )
        .help("quorate demo"));
    }
    Ok(Deployment {
        network: args.network.clone(),
        cluster: args.cluster.clone(),
        adapter: args.adapter.clone(),
        members,
        coordinators,
        faults: args.faults.unwrap_or_else(|| faults_default(args.coordinators)),
        operators: args.operators.clone(),
        policy: Policy::real(args.members.len()),
        playbooks: args.playbooks.iter().map(|path| pinned(path)).collect::<Result<_, _>>()?,
        patience: Patience::REAL,
        raft: None,
        reader_listen: None,
    })
}

fn pinned(path: &Path) -> Result<PinnedPlaybook, Failure> {
    let (playbook, text) = super::playbook::read(path)?;
    let name = path.file_name().and_then(|name| name.to_str());
    let file = name.ok_or_else(|| Failure::file(path, "its name is not UTF-8"))?.to_owned();
    Ok(PinnedPlaybook { playbook, file, text })
}

fn member(args: &InitArgs, named: &NamedMember) -> Member {
    let NamedMember { name, address } = named;
    let named = |text: &str| text.replace("{member}", name.as_str()).replace("{address}", address);
    let command = args.command.as_deref().unwrap_or_default();
    Member {
        name: name.clone(),
        domain: None,
        probe: named(&args.probe),
        command: command.split_whitespace().map(named).collect(),
        pid_file: PathBuf::from("data/member.pid"),
        ban_list: None,
    }
}

fn next_steps(dir: &Path, count: usize, members: &[NamedMember]) -> Vec<String> {
    let dir = dir.display();
    let mut steps: Vec<String> = (1..=count)
        .map(|id| {
            format!("quorate coordinator run --config {dir}/coordinator-{id}/coordinator.toml")
        })
        .collect();
    steps.extend(members.iter().map(|member| {
        format!("quorate agent run --config {dir}/agent-{}/agent.toml", member.name)
    }));
    steps.push(format!("export QUORATE_CONFIG={dir}/config.toml"));
    steps.push("quorate status".to_owned());
    steps
}
