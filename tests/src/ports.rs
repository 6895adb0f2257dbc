//! Free ports for a deployment.
//!
//! A killed process must find its port free again, so ports come from below the range that the
//! kernel hands out to outgoing connections, and every deployment of this machine gets its own.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port that is tried.
const LOWEST: u16 = 20_000;
/// Below the kernel's range for outgoing connections, 32768.
const HIGHEST: u16 = 32_000;

static TAKEN: AtomicU16 = AtomicU16::new(0);

/// The first of `count` free ports in a row.
///
/// # Panics
/// There are none.
#[must_use]
pub fn block(count: u16) -> u16 {
    let span = HIGHEST - LOWEST;
    let start = u16::try_from(u64::from(std::process::id()) * 64 % u64::from(span)).unwrap_or(0);
    for _ in 0..span / count {
        let offset = (start + TAKEN.fetch_add(count, Ordering::Relaxed)) % (span - count);
        let first = LOWEST + offset;
        if (first..first + count).all(is_free) {
            return first;
        }
    }
    panic!("no {count} free ports in a row between {LOWEST} and {HIGHEST}");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
