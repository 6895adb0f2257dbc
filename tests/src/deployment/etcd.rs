//! Guarded members that are real etcd, each behind its gate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::build::Builder;
use super::{Deployment, Member};
use crate::etcd::{self, Seat};
use crate::process::{Process, Spec};
use crate::{binary, settings, wait};

/// Seats beyond the members: where fresh ones may be started.
pub(super) const SPARE: u16 = 2;
/// What makes a member start as a cluster of its own.
const ALONE: &str = "--force-new-cluster";

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn words(words: &[String]) -> Value {
    Value::Array(words.iter().map(|word| text(word)).collect())
}

impl Builder<'_> {
    /// All seats: those of the members, and the spare ones.
    pub(super) fn seats(&self) -> Vec<Seat> {
        let count = u16::try_from(self.members.len()).expect("few members") + SPARE;
        let first = self.port + 2 * self.options.coordinators;
        let seat = |at: u16| Seat {
            name: format!("n{}", at + 1),
            host: match (&self.options.machines, u8::try_from(at)) {
                (Some(machines), Ok(at)) => machines.address(at),
                (None, _) | (_, Err(_)) => "127.0.0.1".to_owned(),
            },
            client: first + at,
            peer: first + count + at,
            data: self.root.join(format!("etcd-n{}", at + 1)),
        };
        (0..count).map(seat).collect()
    }

    /// The gate in front of a member, and the member.
    pub(super) fn etcd_command(&self, at: usize) -> Vec<String> {
        let seats = self.seats();
        let voters: Vec<&Seat> = seats.iter().take(self.members.len()).collect();
        let config = self.folder("agent", &self.members[at]).join("agent.toml");
        let mut command = seats[at].command(&voters, "new");
        if let (Some(machines), Ok(at)) = (&self.options.machines, u8::try_from(at)) {
            command.splice(0..0, machines.on(at));
        }
        gate_command(&config, &command)
    }

    /// What an agent beside etcd has in its configuration.
    pub(super) fn edit_etcd(&self, table: &mut Table, name: &str, own: &Member) {
        let seats = self.seats();
        let mine = seats.iter().find(|seat| seat.name == name).expect("its seat");
        let path = |path: &Path| text(&path.display().to_string());
        // Nothing but people's declarations: a restart is no cure for a directory that is gone.
        table.insert("automation".to_owned(), text("off"));
        let gate = settings::sub(table, "gate");
        gate.insert("directory".to_owned(), path(&mine.data));
        gate.insert("host".to_owned(), text(&format!("host-{name}")));
        let process = settings::sub(table, "member_process");
        process.insert("command".to_owned(), words(&own.command));
        process.insert("pid_file".to_owned(), path(&own.pid_file));
        process.insert("stop_grace_ms".to_owned(), Value::Integer(10_000));
        process.insert("log_file".to_owned(), path(&self.root.join(format!("member-{name}.log"))));
        let action = settings::sub(table, "action");
        action.insert("execute_ms".to_owned(), Value::Integer(40_000));
        action.insert("verify_ms".to_owned(), Value::Integer(20_000));
        let adapter = settings::sub(settings::sub(table, "adapter"), "etcd");
        adapter.insert("url".to_owned(), text(&mine.client_url()));
        adapter.insert("data_dir".to_owned(), path(&mine.data));
        adapter
            .insert("forensic_dir".to_owned(), path(&self.root.join(format!("forensic-{name}"))));
        let peers = settings::sub(adapter, "peers");
        for seat in seats.iter().filter(|seat| seat.name != name) {
            peers.insert(seat.name.clone(), text(&seat.client_url()));
        }
    }
}

/// `quorate gate` in front of a command that can start alone.
#[must_use]
pub fn gate_command(config: &Path, command: &[String]) -> Vec<String> {
    let mut all = vec![binary::quorate().display().to_string(), "gate".to_owned()];
    all.extend(["--config".to_owned(), config.display().to_string()]);
    all.extend([format!("--alone-argument={ALONE}"), "--".to_owned()]);
    all.extend(command.iter().cloned());
    all
}

impl Deployment {
    /// Where a member runs, or a fresh one may.
    ///
    /// # Panics
    /// There is no such seat.
    #[must_use]
    pub fn seat(&self, name: &str) -> &Seat {
        self.seats.iter().find(|seat| seat.name == name).expect("a seat")
    }

    /// Starts coordinators and agents, and the members when their gates let them.
    ///
    /// # Panics
    /// They do not become a cluster.
    pub async fn start_etcd(&mut self) {
        self.start_coordinators();
        self.start_agents();
        self.leader().await;
        self.certified(1).await;
        for name in self.agents.keys() {
            let config = self.agents[name].folder.join("agent.toml").display().to_string();
            let what = format!("the gate of {name} opens\n{}", self.logs());
            wait::until(&what, super::LEADER_WITHIN, async || {
                let asked = binary::run(&["gate", "--config", &config], None);
                asked.status.success().then_some(())
            })
            .await;
        }
        self.start_members();
        for name in self.members.keys() {
            let url = self.seat(name).client_url();
            let what = format!("etcd {name} knows a leader\n{}", self.logs());
            wait::until(&what, super::LEADER_WITHIN, async || {
                etcd::has_leader(&url).await.then_some(())
            })
            .await;
        }
    }

    /// A fresh member, which joins the cluster that `seats` and it make up; no gate stands before it.
    #[must_use]
    pub fn fresh_etcd(&self, name: &str, seats: &[&Seat]) -> Process {
        let command = self.seat(name).command(seats, "existing");
        Process::new(Spec {
            name: format!("etcd-{name}"),
            program: PathBuf::from(&command[0]),
            arguments: command[1..].to_vec(),
            environment: Vec::new(),
            log: self.root.join(format!("member-{name}.log")),
        })
    }

    /// A member of the roster, which joins in the same way, behind its own gate.
    #[must_use]
    pub fn returning_etcd(&self, name: &str, seats: &[&Seat]) -> Process {
        let config = self.agents[name].folder.join("agent.toml");
        let command = gate_command(&config, &self.seat(name).command(seats, "existing"));
        Process::new(Spec {
            name: format!("etcd-{name}"),
            program: PathBuf::from(&command[0]),
            arguments: command[1..].to_vec(),
            environment: Vec::new(),
            log: self.root.join(format!("member-{name}.log")),
        })
    }

    /// kill -9 of a member whose data directory is lost with it.
    ///
    /// # Panics
    /// The directory cannot be removed.
    pub async fn lose(&mut self, name: &str) {
        self.members.get_mut(name).expect("a member").kill();
        let data = self.seat(name).data.clone();
        // What the kernel still flushes of a killed process is gone in a moment.
        wait::until("the data directory is gone", Duration::from_secs(10), async || {
            std::fs::remove_dir_all(&data).ok()
        })
        .await;
    }
}
