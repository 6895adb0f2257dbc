#![doc = include_str!("protocol.md")]
#![deny(clippy::float_arithmetic)] // Rounding differs between machines.

mod claim;
mod command;
mod deadline;
mod display;
mod effect;
mod grounds;
mod judge;
mod ledger;
mod machine;
mod observation;
mod outcome;
mod proposal;
mod refusal;
mod rejection;
mod request;
mod rule;
mod snapshot;
mod state;
mod step;
mod version;

pub use claim::{Claims, Journal};
pub use command::{Body, Command, CommandError, LogId, MachineVersion, Request};
pub use effect::{Alarm, Effect};
pub use grounds::Grounds;
pub use ledger::{
    BudgetKey, Budgets, Cooldowns, Ledger, LedgerRefused, NumberRefused, Outage, Outages,
    RateError, Retries, Running, check_numbers,
};
pub use machine::Machine;
pub use observation::{Health, Observations, Observers, Seen, health, seen};
pub use outcome::{Applied, BudgetLeft, Ending, Novelty, Outcome, SlotChange, Standing};
pub use proposal::{OPEN_FOR_MAX, OPEN_FOR_MIN, OPEN_PER_CLUSTER, OPEN_PER_PROPOSER, OpenProposal};
pub use refusal::Refusals;
pub use rejection::{Lift, Rejection, RuleRefused};
pub use request::Requests;
pub use rule::freshness;
pub use snapshot::SnapshotError;
pub use state::{InvariantBroken, State, TakenReport};
pub use version::Versions;
