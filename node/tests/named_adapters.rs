//! The named adapters, and the example of the adapter author's guide.

mod common;
mod named;
