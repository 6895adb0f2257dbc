//! Bad input to a running quorum: each gets its documented status, reason and facts, and a retry
//! time exactly where time heals it; the state is what it was; nobody dies of it.
//!
//! The tables here are written from `docs/reference` and not from the code: reason, gRPC code and
//! exit code stand in each row.

mod agents;
mod outage;
mod proposals;
mod reads;
mod roles;
mod site;
mod votes;
mod wire;
