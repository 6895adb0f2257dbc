//! The gate: what stands in front of a member's start command (*dead-stays-dead*, *one-survivor*).
//!
//! It answers one question from certified state: may this member start, and how?
//!
//! * An ordinary start: unless name or disk is dead, and only by a head of bounded age, or a
//!   charter that says the gates of the cluster fail open.
//! * A start alone: once, while the agent carries out the declaration that names this member as the
//!   survivor, and always fail-closed.
//!
//! Two processes share the work. The agent's [`Gatekeeper`] keeps `gate.state` and holds the one
//! permission; the [`Gate`] in front of the command believes neither without verifying it, and
//! needs no agent for an ordinary start.
//!
//! In reading order: [`permit`](Permits) the permission · [`judge`](judge_start) may it start, pure
//! · [`refusal`](Refusal) why not · `place` host, directory, identity · `readmit` · `state` and `used` the
//! files · `wire`, `ask`, `keeper` the socket · [`decide`](Gate) all of it in order.

mod ask;
mod decide;
mod durable;
mod judge;
mod keeper;
mod permit;
mod place;
mod readmit;
mod refusal;
mod state;
mod used;
mod wire;

pub use self::decide::{Allowed, Gate, Means, Start};
pub use self::judge::{Warning, Who, judge_alone, judge_start};
pub use self::keeper::{Desk, Gatekeeper, GatekeeperHalt};
pub use self::permit::{Armed, Carried, NotOffered, Permission, Permits};
pub use self::place::{Contents, GateConfig, Place};
pub use self::readmit::ReadmitAdapter;
pub use self::refusal::{AloneRefused, Refusal};
pub use self::state::{GateState, Known, NotKnown};
