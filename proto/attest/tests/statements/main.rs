//! What people and agents sign, what the coordinators append, and who may believe it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod amend;
mod authority;
mod certificate;
mod death;
mod evidence;
mod examples;
mod export;
mod fixture;
mod grammar;
mod ladder;
mod last;
mod operator;
mod params;
mod properties;
mod slot;
mod voids;
