//! Ports, checked before anything starts.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::failure::{Failure, LocalReason};

/// The guarded cluster's members.
pub(super) const MEMBERS: u16 = 5;

/// Where free blocks are looked for: below what systems hand out to outgoing connections (32768 and
/// up), or one of those could take a killed coordinator's port before it is back.
const FREE: std::ops::Range<u16> = 20_000..32_000;
/// Blocks begin so far apart; seven coordinators need 20 ports.
const BLOCK: u16 = 32;

/// First ports of blocks, each once; two demos of one machine begin at different ones.
fn free_from(process: u32) -> impl Iterator<Item = u16> {
    let blocks = (FREE.end - FREE.start) / BLOCK;
    let begin = u16::try_from(process % u32::from(blocks)).unwrap_or(0);
    (0..blocks).map(move |at| FREE.start + (begin + at) % blocks * BLOCK)
}

/// Which port is whose.
#[derive(Debug, Clone)]
pub(super) struct Ports {
    /// Plain text, role reader.
    pub(super) reader: u16,
    /// Client ports of the coordinators; each one's peer port follows.
    pub(super) coordinators: Vec<u16>,
    /// The members' ports.
    pub(super) members: Vec<u16>,
}

impl Ports {
    /// One block of ports from `first` on, or a free block if `first` is 0.
    pub(super) fn take(first: u16, coordinators: u16) -> Result<Self, Failure> {
        if first != 0 {
            let ports = Self::block(first, coordinators).ok_or_else(|| {
                Failure::usage(format!("--port {first}: the ports behind it end at 65535"))
            })?;
            return match ports.busy() {
                None => Ok(ports),
                Some(port) => Err(Failure::local(
                    LocalReason::PortBusy,
                    format!("port {port} is taken by another process"),
                )
                .with("port", port)
                .help("choose another block with --port N, or --port 0 for any free one")),
            };
        }
        let mut blocks = free_from(std::process::id()).filter_map(|port| {
            Self::block(port, coordinators).filter(|ports| ports.busy().is_none())
        });
        blocks.next().ok_or_else(|| {
            Failure::local(LocalReason::PortBusy, "no free block of ports was found")
                .help("choose a block yourself with --port N")
        })
    }

    fn block(first: u16, coordinators: u16) -> Option<Self> {
        let count = coordinators.checked_mul(2)?.checked_add(MEMBERS)?;
        first.checked_add(count)?;
        let members = first + 1 + 2 * coordinators;
        Some(Self {
            reader: first,
            coordinators: (0..coordinators).map(|at| first + 1 + 2 * at).collect(),
            members: (0..MEMBERS).map(|at| members + at).collect(),
        })
    }

    fn all(&self) -> impl Iterator<Item = u16> {
        let pairs = self.coordinators.iter().flat_map(|port| [*port, port + 1]);
        std::iter::once(self.reader).chain(pairs).chain(self.members.iter().copied())
    }

    /// The first port that somebody else has.
    fn busy(&self) -> Option<u16> {
        self.all()
            .find(|port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_no_port_twice_and_a_busy_one_is_named() {
        let ports = Ports::take(0, 4).expect("free ports");
        let mut all: Vec<u16> = ports.all().collect();
        let before = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), before), (14, 14));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.members[2])).expect("bind");
        let failure = Ports::take(ports.reader, 4).expect_err("busy");
        assert_eq!(failure.reason, "PORT_BUSY");
        assert_eq!(failure.metadata["port"], ports.members[2].to_string());
        drop(taken);
        let firsts: std::collections::BTreeSet<u16> = free_from(7).collect();
        assert!(firsts.len() == 375 && firsts.iter().all(|first| FREE.contains(first)));
        assert!(Ports::take(65_530, 3).is_err(), "beyond the last port");
    }
}
