//! The named adapters against small stand-ins that behave as the real systems were measured to
//! behave, traps included. Each stand-in says so in its first line.

mod flag_adapter;
mod guide;
mod ledger;
mod ledger_traps;
mod neo;
mod nostr;
mod nostream;
mod qfs;
mod systemd;
mod web;
