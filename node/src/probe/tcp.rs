//! The `tcp` probe: a connection is accepted.

use std::io::ErrorKind;

use tokio::net::TcpStream;

use super::Reading;

pub(super) async fn read(address: &str) -> Reading {
    match TcpStream::connect(address).await {
        Ok(_) => Reading::Up,
        Err(failure) => failed(failure.kind()),
    }
}

/// The peer's machine said no: down. Nobody said anything, or broke off: unreachable.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "ErrorKind is not ours and grows; silence is the safe reading of the rest"
)]
pub(super) fn failed(kind: ErrorKind) -> Reading {
    match kind {
        ErrorKind::ConnectionRefused => Reading::Down,
        _ => Reading::Unreachable,
    }
}
