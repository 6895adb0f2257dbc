//! Votes of this agent: from its own evidence only, and never two texts for one question.

mod guard;
mod judge;

pub use self::guard::{Guard, GuardError};
pub use self::judge::{Abstains, Ballot, Bench};
