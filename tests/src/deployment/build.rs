//! Making a deployment: `quorate init` as a user runs it, then the changes of [`settings`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quorate_attest::charter::{Charter, Gate};
use quorate_attest::key::NoteSigner;
use quorate_attest::log_time::Span;
use quorate_attest::signed::Signed;
use quorate_node::adapters::process_marker;
use quorate_proto::client::Endpoint;
use quorate_proto::key_file;
use toml::Value;

use super::{Agent, Coordinator, Deployment, Member, etcd};
use crate::namespaces::Namespaces;
use crate::process::{Process, Spec};
use crate::settings::{self, Budgets};
use crate::{binary, ports};

/// What carries decisions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// `process`: an agent restarts its member.
    Process,
    /// `exec`: the program `counted-target`, which counts what is done to it; kinds `halt` and
    /// `resume`, which no observer votes on.
    Counted,
    /// `etcd`: each member is a real one behind its gate.
    Etcd,
}

/// How long people and caution hold up what cannot be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// As `quorate init` wrote it: minutes.
    AsInit,
    /// No veto window, seconds of a head's age, and this much silence before somebody counts as dead.
    Short {
        /// The charter's `grace`.
        grace_ms: u64,
    },
}

/// How often agents look around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Five times a second: a dead member is noticed at once.
    Hurried,
    /// As `quorate init` wrote it.
    AsInit,
}

/// What a deployment is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// 3, 4, 5 or 7.
    pub coordinators: u16,
    /// Their ids are `o1`, `o2`, ….
    pub operators: usize,
    /// Their names are `n1`, `n2`, …; each is a process with an agent beside it.
    pub members: usize,
    /// What carries decisions out.
    pub adapter: Adapter,
    /// How much may be done.
    pub budgets: Budgets,
    /// How long a decision may be started; as `quorate init` wrote it if `None`.
    pub start: Option<Span>,
    /// How often agents look around.
    pub pace: Pace,
    /// What the charter pins and every agent follows.
    pub playbooks: Vec<PathBuf>,
    /// How long what cannot be undone is held up.
    pub holds: Holds,
    /// What the members' gates do where nothing is known.
    pub gate: Gate,
    /// The machines that etcd members run on, one each; this one if there are none.
    pub machines: Option<Arc<Namespaces>>,
}

impl Options {
    /// Three members that their agents restart, three operators.
    #[must_use]
    pub fn of(coordinators: u16) -> Self {
        Self {
            coordinators,
            operators: 3,
            members: 3,
            adapter: Adapter::Process,
            budgets: Budgets::Generous,
            start: None,
            pace: Pace::Hurried,
            playbooks: Vec::new(),
            holds: Holds::AsInit,
            gate: Gate::Closed,
            machines: None,
        }
    }

    /// Writes the deployment; nothing is started.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn build(&self) -> Deployment {
        Builder::new(self).build()
    }
}

/// Makes the names of one test run differ from all others of this machine.
static COUNT: AtomicU32 = AtomicU32::new(0);

pub(super) struct Builder<'a> {
    pub(super) options: &'a Options,
    pub(super) root: PathBuf,
    tag: String,
    operators: Vec<String>,
    pub(super) members: Vec<String>,
    /// The coordinators' ports, two for each; one for each member follows, or two for each seat.
    pub(super) port: u16,
}

impl<'a> Builder<'a> {
    fn new(options: &'a Options) -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let members = u16::try_from(options.members).expect("few members");
        Self {
            options,
            root: PathBuf::new(),
            tag: format!("t{}-{count}", std::process::id()),
            operators: (1..=options.operators).map(|id| format!("o{id}")).collect(),
            members: (1..=options.members).map(|id| format!("n{id}")).collect(),
            port: ports::block(2 * options.coordinators + 2 * (members + etcd::SPARE)),
        }
    }

    fn build(mut self) -> Deployment {
        let directory = tempfile::Builder::new().prefix("quorate-test-").tempdir();
        let directory = directory.expect("a temporary directory");
        self.root = directory.path().join("d");
        self.init();
        let charter = self.charter();
        let members: BTreeMap<_, _> =
            (0..self.members.len()).map(|at| (self.members[at].clone(), self.member(at))).collect();
        let agents = self
            .members
            .iter()
            .map(|member| {
                let agent = self.agent(member, &members);
                (member.clone(), agent)
            })
            .collect();
        let coordinators =
            (1..=self.options.coordinators).map(|id| (u64::from(id), self.coordinator(id)));
        Deployment {
            network: self.network().parse().expect("a network"),
            cluster: self.tag.parse().expect("a cluster"),
            charter,
            coordinators: coordinators.collect(),
            agents,
            members,
            seats: if self.options.adapter == Adapter::Etcd { self.seats() } else { Vec::new() },
            operators: self.operators.clone(),
            root: self.root.clone(),
            directory: Some(directory),
        }
    }

    fn network(&self) -> String {
        format!("test.example/{}", self.tag)
    }

    fn init(&self) {
        let root = self.root.to_str().expect("an UTF-8 path");
        let adapter = match self.options.adapter {
            Adapter::Process => "process",
            Adapter::Counted => "exec",
            Adapter::Etcd => "etcd",
        };
        let (network, members) = (self.network(), self.members.join(","));
        let (coordinators, port) = (self.options.coordinators.to_string(), self.port.to_string());
        let operators = self.operators.join(",");
        let mut arguments = vec!["init", root, "--network", &network, "--cluster", &self.tag];
        arguments.extend(["--members", &members, "--adapter", adapter]);
        arguments.extend(["--coordinators", &coordinators, "--port", &port]);
        arguments.extend(["--operators", &operators]);
        for playbook in &self.options.playbooks {
            arguments.extend(["--playbook", playbook.to_str().expect("an UTF-8 path")]);
        }
        drop(binary::stdout_of(&arguments, None));
    }

    /// Puts the changed charter wherever `init` has put its own.
    fn charter(&self) -> Signed<Charter> {
        let first = settings::read_charter(&self.root.join("charter.leaf"));
        let signers: Vec<NoteSigner> = self
            .operators
            .iter()
            .map(|id| {
                let secret = key_file::load(&self.root.join("operators").join(id).join("key.pem"));
                let name = format!("{}/operator/{id}", self.network());
                NoteSigner::new(name.parse().expect("a key name"), secret.expect("its key"))
            })
            .collect();
        let mut first = first.statement;
        if let Holds::Short { grace_ms } = self.options.holds {
            settings::shorten(&mut first, grace_ms);
        }
        for line in &mut first.cluster {
            line.gate = self.options.gate;
        }
        let charter = settings::changed(first, self.options.budgets, self.options.start, &signers);
        let bytes = charter.to_bytes();
        let mut folders = vec![self.root.clone()];
        folders.extend(
            (1..=self.options.coordinators).map(|id| self.folder("coordinator", &id.to_string())),
        );
        folders.extend(self.members.iter().map(|member| self.folder("agent", member)));
        for folder in folders {
            std::fs::write(folder.join("charter.leaf"), &bytes).expect("the charter is written");
        }
        charter
    }

    pub(super) fn folder(&self, what: &str, id: &str) -> PathBuf {
        self.root.join(format!("{what}-{id}"))
    }

    fn coordinator(&self, id: u16) -> Coordinator {
        let folder = self.folder("coordinator", &id.to_string());
        let config = folder.join("coordinator.toml").display().to_string();
        let arguments = ["coordinator", "run", "--config", &config].map(str::to_owned).to_vec();
        let address = format!("127.0.0.1:{}", self.port + 2 * (id - 1));
        Coordinator {
            process: Deployment::process(&self.root, &format!("coordinator-{id}"), arguments),
            folder,
            endpoint: Endpoint { id: u64::from(id), address },
        }
    }

    fn member(&self, at: usize) -> Member {
        let name = &self.members[at];
        let data = self.root.join(format!("member-{name}"));
        let is_etcd = self.options.adapter == Adapter::Etcd;
        let (command, probe) = if is_etcd {
            let seat = &self.seats()[at];
            (self.etcd_command(at), format!("tcp://{}:{}", seat.host, seat.client))
        } else {
            let probe = format!("http://{}/health", self.member_address(at));
            (self.demo_command(at, &data), probe)
        };
        let pid_file = self.root.join(format!("member-{name}.pid"));
        // The supervisor of its agent knows it by this.
        let (variable, mark) = process_marker(&format!("{}/{name}", self.tag), &pid_file);
        let spec = Spec {
            name: format!("member-{name}"),
            program: PathBuf::from(&command[0]),
            arguments: command[1..].to_vec(),
            environment: vec![(variable.to_owned(), mark)],
            log: self.root.join(format!("member-{name}.log")),
        };
        Member {
            command,
            process: Process::new(spec),
            data,
            address: self.member_address(at),
            probe,
            pid_file,
        }
    }

    fn demo_command(&self, at: usize, data: &Path) -> Vec<String> {
        let mut command = vec![binary::quorate().display().to_string()];
        command.extend(["demo", "member", "--name"].map(str::to_owned));
        command.extend([self.members[at].clone(), "--listen".to_owned(), self.member_address(at)]);
        command.extend(["--data".to_owned(), data.display().to_string()]);
        // It ends with this process, however this process ends.
        command.extend(["--leash".to_owned(), std::process::id().to_string()]);
        for other in (0..self.members.len()).filter(|other| *other != at) {
            let peer = format!("{}={}", self.members[other], self.member_address(other));
            command.extend(["--peer".to_owned(), peer]);
        }
        command
    }

    fn member_address(&self, at: usize) -> String {
        let port = usize::from(self.port) + 2 * usize::from(self.options.coordinators) + at;
        format!("127.0.0.1:{port}")
    }

    fn agent(&self, member: &str, members: &BTreeMap<String, Member>) -> Agent {
        let folder = self.folder("agent", member);
        let config = folder.join("agent.toml");
        self.edit_agent(&config, member, members);
        let config = config.display().to_string();
        let arguments = ["agent", "run", "--config", &config].map(str::to_owned).to_vec();
        Agent {
            process: Deployment::process(&self.root, &format!("agent-{member}"), arguments),
            folder,
            name: format!("{}/agent/{member}", self.network()).parse().expect("a key name"),
        }
    }

    fn edit_agent(&self, config: &Path, name: &str, members: &BTreeMap<String, Member>) {
        let own = &members[name];
        let text = |text: &str| Value::String(text.to_owned());
        let words = |words: &[String]| Value::Array(words.iter().map(|word| text(word)).collect());
        settings::edit(config, |table| {
            let probe = settings::sub(table, "probe");
            probe.insert("address".to_owned(), text(&own.probe));
            if self.options.pace == Pace::Hurried {
                settings::hurry(probe);
            }
            for peer in table.get_mut("peer").and_then(Value::as_array_mut).into_iter().flatten() {
                let peer = peer.as_table_mut().expect("a peer");
                let other = peer["member"].as_str().expect("its name").to_owned();
                peer.insert("probe".to_owned(), text(&members[&other].probe));
            }
            match self.options.adapter {
                Adapter::Process => {
                    let process = settings::sub(table, "member_process");
                    process.insert("command".to_owned(), words(&own.command));
                    process
                        .insert("pid_file".to_owned(), text(&own.pid_file.display().to_string()));
                    process.insert("stable_ms".to_owned(), Value::Integer(1_000));
                    process.insert("stop_grace_ms".to_owned(), Value::Integer(1_000));
                    let log = self.root.join(format!("member-{name}.log"));
                    process.insert("log_file".to_owned(), text(&log.display().to_string()));
                }
                Adapter::Counted => {
                    let exec = settings::sub(settings::sub(table, "adapter"), "exec");
                    let program = binary::counted_target().display().to_string();
                    let file = self.root.join(format!("effects-{name}")).display().to_string();
                    exec.insert("command".to_owned(), words(&[program, file]));
                    let kinds = ["halt", "resume"].map(str::to_owned);
                    exec.insert("kinds".to_owned(), words(&kinds));
                }
                Adapter::Etcd => self.edit_etcd(table, name, own),
            }
        });
    }
}
