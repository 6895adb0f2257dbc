//! Benchmarks and load generator.
//!
//! What is measured is the real thing: commands of the real machine, the real store's files, the
//! real `quorate` as child processes. Suggested reading order:
//!
//! * [`world`]: the charter and the keys of a deployment under load; [`history`]: its decisions,
//!   each from a member's death to the executor's report;
//! * [`fill`]: the same history written to the stores of every coordinator;
//! * [`deployment`]: `quorate init`, child processes, their readiness and their memory;
//! * [`growth`]: what a long log costs; [`report`]: the figures as a table and as JSON.

pub mod deployment;
pub mod fill;
pub mod growth;
pub mod history;
pub mod report;
pub mod world;
