//! The gate: what stands in front of a member's start command (*dead-stays-dead*, *one-survivor*).

mod permit;

pub use self::permit::{Armed, Carried, NotOffered, Permission, Permits};
