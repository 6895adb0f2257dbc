//! The harness of the whole-system tests: the real binary, real processes, real disks, real kills.
//!
//! In reading order:
//!
//! * [`binary`], [`process`], [`ports`]: the executable, one child process, where it listens.
//! * [`deployment`]: what `quorate init` wrote, with impatient agents and generous budgets
//!   ([`settings`]), started, killed and started again.
//! * [`client`]: a person or an agent of that deployment; signs and calls.
//! * [`history`]: what clients were told, `ok`, `fail` or `unknown`, to compare with the log.
//! * [`log`], [`journals`], [`disks`], [`effects`]: what really happened: the leaves of every
//!   coordinator, the agents' own journals, what a coordinator has signed, what the target counted.
//! * [`namespaces`]: machines of their own network, which can be cut from each other.
//! * [`etcd`]: real etcd members, what they hold, a client that writes all the time; [`etcd_stage`]: a
//!   deployment of them, and people with the command line.
//! * [`scenario`]: courses of events that several tests need.
//! * [`seed`]: chance that can be repeated. [`wait`]: polls with a deadline; no test sleeps where it can look.
//! * [`liar`]: a coordinator that lies as Raft's leader, with a real coordinator's key and place.
//! * [`proc`]: what a process costs.
//!
//! A helper that cannot go on panics with the facts: it is always a failed test.

pub mod binary;
pub mod client;
pub mod deployment;
pub mod disks;
pub mod effects;
pub mod etcd;
pub mod etcd_stage;
pub mod history;
pub mod journals;
pub mod liar;
pub mod log;
pub mod namespaces;
pub mod ports;
pub mod proc;
pub mod process;
pub mod scenario;
pub mod seed;
pub mod settings;
pub mod wait;
