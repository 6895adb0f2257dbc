//! The demo's deployment: on disk, then as processes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_attest::charter::Charter;
use quorate_attest::id::{AdapterName, ClusterId, IdError, MemberId, NetworkName};
use quorate_attest::signed::Signed;
use quorate_node::adapters::process_marker;

use super::Wishes;
use super::leash;
use super::ports::Ports;
use super::process::{Process, kill_pid, of_pid_file, stop};
use crate::command::Env;
use crate::connect::Session;
use crate::failure::{Failure, LocalReason, chain};
use crate::layout::{
    Addresses, Budget, Deployment, Member, Patience, Policy, RaftTimes, faults_default, write,
};

/// The guarded cluster.
pub(super) const CLUSTER: &str = "shop";
/// The people.
pub(super) const OPERATORS: [&str; 3] = ["ana", "ben", "chen"];
/// How long a process may take to end in order.
const PATIENCE: Duration = Duration::from_secs(10);

/// A directory that is removed at the end, or kept.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed is in the system's temporary directory anyway.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

/// The whole demo cluster. Dropping it ends every process and removes the directory, in this order.
#[derive(Debug)]
pub(super) struct Cluster {
    coordinators: Vec<Option<Process>>,
    agents: Vec<Process>,
    members: Vec<Process>,
    /// Everything it is made of.
    pub(super) deployment: Deployment,
    /// The charter the demo pinned when it wrote it.
    pub(super) charter: Charter,
    /// The plain-text port.
    pub(super) ports: Ports,
    env: Env,
    directory: Directory,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Agents first: a living agent would start the member again.
        self.agents.clear();
        self.members.clear();
        for member in &self.deployment.members {
            if let Some(pid) = of_pid_file(&member.pid_file, &self.mark(member)) {
                kill_pid(pid);
            }
        }
        self.coordinators.clear();
    }
}

impl Cluster {
    /// Checks the ports and writes the deployment. Nothing runs yet.
    pub(super) fn prepare(wishes: &Wishes, env: &Env) -> Result<Self, Failure> {
        let ports = Ports::take(wishes.port, wishes.coordinators)?;
        let path = match &wishes.keep {
            Some(path) => std::path::absolute(path).map_err(|error| Failure::file(path, error))?,
            None => std::env::temp_dir().join(format!("quorate-demo-{}", std::process::id())),
        };
        let deployment = deployment(wishes, &ports, &path)
            .map_err(|error| Failure::local(LocalReason::DemoFailed, error.to_string()))?;
        let is_new = !path.exists();
        let directory = Directory { path, is_kept: wishes.keep.is_some() || !is_new };
        write(&deployment, &directory.path)?;
        let leaf = directory.path.join("charter.leaf");
        let bytes = std::fs::read(&leaf).map_err(|error| Failure::file(&leaf, error))?;
        let charter: Signed<Charter> =
            Signed::parse(&bytes).map_err(|error| Failure::file(&leaf, chain(&error)))?;
        let logs = directory.path.join("logs");
        std::fs::create_dir(&logs).map_err(|error| Failure::file(&logs, error))?;
        Ok(Self {
            coordinators: Vec::new(),
            agents: Vec::new(),
            members: Vec::new(),
            deployment,
            charter: charter.statement,
            ports,
            env: env.clone(),
            directory,
        })
    }

    /// Where everything lies.
    pub(super) fn path(&self) -> &Path {
        &self.directory.path
    }

    /// The client's configuration file for this demo.
    pub(super) fn contexts(&self) -> PathBuf {
        self.directory.path.join("config.toml")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path.join("logs").join(format!("{name}.log"))
    }

    /// Keeps the directory of a failed demo, and says so.
    pub(super) fn keep_after(&mut self, failure: Failure) -> Failure {
        self.directory.is_kept = true;
        failure.with("kept", self.directory.path.display())
    }

    /// What marks a member's process as ours.
    fn mark(&self, member: &Member) -> String {
        member.pid_file.with_file_name("data").display().to_string()
    }

    /// Starts the members, then coordinators, then agents.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        for at in 0..self.deployment.members.len() {
            self.start_member(at)?;
        }
        for at in 0..self.deployment.coordinators.len() {
            self.coordinators.push(None);
            self.start_coordinator(at)?;
        }
        for member in &self.deployment.members {
            let name = format!("agent-{}", member.name);
            let config = self.directory.path.join(&name).join("agent.toml");
            self.agents.push(self.serve("agent", &name, &config)?);
        }
        Ok(())
    }

    fn serve(&self, role: &str, name: &str, config: &Path) -> Result<Process, Failure> {
        let arguments = [
            "demo".to_owned(),
            role.to_owned(),
            "--config".to_owned(),
            config.display().to_string(),
            "--leash".to_owned(),
            std::process::id().to_string(),
        ];
        Process::start(name, &arguments, &[], self.log(name))
    }

    fn start_member(&mut self, at: usize) -> Result<(), Failure> {
        let Some(member) = self.deployment.members.get(at) else { return Ok(()) };
        let folder = member.pid_file.with_file_name("");
        std::fs::create_dir_all(&folder).map_err(|error| Failure::file(&folder, error))?;
        let arguments = member.command.get(1..).unwrap_or_default();
        // The marker by which the agent's supervisor finds it again.
        let marker = process_marker(&format!("{CLUSTER}/{}", member.name), &member.pid_file);
        let log = self.log(member.name.as_str());
        let process = Process::start(member.name.as_str(), arguments, &[marker], log)?;
        std::fs::write(&member.pid_file, format!("{}\n", process.pid()))
            .map_err(|error| Failure::file(&member.pid_file, error))?;
        self.members.push(process);
        Ok(())
    }

    /// Starts one coordinator, or starts it again.
    pub(super) fn start_coordinator(&mut self, at: usize) -> Result<(), Failure> {
        let name = format!("c{}", at + 1);
        let config = self.directory.path.join(format!("coordinator-{}", at + 1));
        let process = self.serve("coordinator", &name, &config.join("coordinator.toml"))?;
        if let Some(place) = self.coordinators.get_mut(at) {
            *place = Some(process);
        }
        Ok(())
    }

    /// `kill -9` of one member's process, whoever started it.
    pub(super) fn kill_member(&mut self, at: usize) -> Result<u32, Failure> {
        let process = self.members.get_mut(at);
        let process = process.ok_or_else(|| Failure::usage("no such member"))?;
        let pid = process.pid();
        process.kill()?;
        Ok(pid)
    }

    /// `kill -9` of one coordinator.
    pub(super) fn kill_coordinator(&mut self, at: usize) -> Result<u32, Failure> {
        let Some(mut process) = self.coordinators.get_mut(at).and_then(Option::take) else {
            return Err(Failure::usage("no such coordinator"));
        };
        let pid = process.pid();
        process.kill()?;
        Ok(pid)
    }

    /// A coordinator or agent that ended by itself is the end of the demo.
    pub(super) fn check_alive(&mut self) -> Result<(), Failure> {
        let servers = self.coordinators.iter_mut().flatten().chain(&mut self.agents);
        for process in servers {
            if let Some(status) = process.ended() {
                return Err(Failure::local(
                    LocalReason::DemoFailed,
                    format!(
                        "{} ended ({status}); its log: {}",
                        process.name,
                        process.log.display()
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Ends agents and coordinators in order, so that their journals and stores are closed.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        stop(self.agents.iter_mut(), PATIENCE).await?;
        stop(self.coordinators.iter_mut().flatten(), PATIENCE).await
    }

    /// The logs of processes that ended by themselves.
    pub(super) fn dead_logs(&mut self) -> Vec<PathBuf> {
        let servers = self.coordinators.iter_mut().flatten().chain(&mut self.agents);
        servers.filter_map(|process| process.ended().map(|_| process.log.clone())).collect()
    }

    /// Calls as one of the operators.
    pub(super) fn session(&self, person: &str) -> Result<Session, Failure> {
        let mut env = self.env.clone();
        let connection = &mut env.global.connection;
        connection.client_config = Some(self.contexts());
        connection.context = Some(person.to_owned());
        connection.identity = None;
        connection.endpoints = Vec::new();
        connection.stale = false;
        env.session()
    }

    /// Calls with a stolen identity: an agent's.
    pub(super) fn stolen(&self, agent: &str) -> Result<Session, Failure> {
        let mut env = self.env.clone();
        let connection = &mut env.global.connection;
        connection.client_config = Some(self.contexts());
        connection.context = OPERATORS.first().map(ToString::to_string);
        connection.identity = Some(self.directory.path.join(format!("agent-{agent}")));
        connection.endpoints = Vec::new();
        connection.stale = false;
        env.session()
    }

    /// How often each member was started, by its own record.
    pub(super) fn starts(&self) -> Vec<(MemberId, usize)> {
        self.deployment
            .members
            .iter()
            .map(|member| {
                let record = member.pid_file.with_file_name("data").join("starts");
                let text = std::fs::read_to_string(record).unwrap_or_default();
                (member.name.clone(), text.lines().count())
            })
            .collect()
    }

    /// The process of a member as its pid file names it.
    pub(super) fn member_pid(&self, at: usize) -> Option<u32> {
        let member = self.deployment.members.get(at)?;
        let pid = of_pid_file(&member.pid_file, &self.mark(member))?;
        leash::started(pid).map(|_| pid)
    }
}

/// The numbers of the demo: quick, and with a global budget of one act in ten minutes, which the
/// restart takes, so that the ban has to wait.
fn policy() -> Policy {
    const MINUTE: u64 = 60_000;
    let budget = |burst, period_ms, cooldown_ms| Budget { burst, period_ms, cooldown_ms };
    Policy {
        global: budget(1, 10 * MINUTE, 0),
        local: budget(3, MINUTE, 1_000),
        cluster: budget(2, MINUTE, 1_000),
        target: budget(2, MINUTE, 1_000),
        ..Policy::real(usize::from(super::ports::MEMBERS))
    }
}

const PATIENT: Patience = Patience {
    probe_interval_ms: 250,
    probe_timeout_ms: 1_000,
    failures: 3,
    freshness_ms: 5_000,
    stable_ms: 2_000,
};

/// Three times the fsync of a busy machine, and still a new leader within about two seconds.
const RAFT: RaftTimes =
    RaftTimes { heartbeat_ms: 150, election_min_ms: 600, election_max_ms: 1_000 };

fn deployment(wishes: &Wishes, ports: &Ports, path: &Path) -> Result<Deployment, IdError> {
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let names: Vec<String> = (1..=ports.members.len()).map(|at| format!("n{at}")).collect();
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("quorate"));
    let members = names
        .iter()
        .zip(&ports.members)
        .map(|(name, port)| {
            let folder = path.join(format!("member-{name}"));
            let mut command = vec![
                program.display().to_string(),
                "demo".to_owned(),
                "member".to_owned(),
                "--name".to_owned(),
                name.clone(),
                "--listen".to_owned(),
                local(*port).to_string(),
                "--data".to_owned(),
                folder.join("data").display().to_string(),
                "--leash".to_owned(),
                std::process::id().to_string(),
            ];
            for (peer, port) in names.iter().zip(&ports.members).filter(|(peer, _)| *peer != name) {
                command.push("--peer".to_owned());
                command.push(format!("{peer}={}", local(*port)));
            }
            Ok(Member {
                name: MemberId::new(name.as_str())?,
                domain: None,
                probe: format!("http://{}/health", local(*port)),
                command,
                pid_file: folder.join("pid"),
                ban_list: Some(format!("http://{}/bans", local(*port))),
            })
        })
        .collect::<Result<_, IdError>>()?;
    Ok(Deployment {
        network: NetworkName::new("quorate.local/demo")?,
        cluster: ClusterId::new(CLUSTER)?,
        adapter: AdapterName::new("process")?,
        members,
        coordinators: ports
            .coordinators
            .iter()
            .map(|port| Addresses {
                host: Ipv4Addr::LOCALHOST.to_string(),
                client_port: *port,
                peer_port: port + 1,
            })
            .collect(),
        faults: faults_default(wishes.coordinators),
        operators: OPERATORS.iter().map(ToString::to_string).collect(),
        policy: policy(),
        playbooks: Vec::new(),
        patience: PATIENT,
        raft: Some(RAFT),
        reader_listen: Some(local(ports.reader)),
    })
}
