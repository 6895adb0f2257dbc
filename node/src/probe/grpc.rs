//! The `grpc` probe: `grpc.health.v1` says that the service serves.
//!
//! A word of the server about itself. It is good enough to notice that something is wrong, and never
//! to prove that something is right.

use std::error::Error as _;
use std::io;

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Reading, tcp};

pub(super) async fn read(authority: &str, service: &str) -> Reading {
    let Ok(endpoint) = Endpoint::from_shared(format!("http://{authority}")) else {
        return Reading::Unreachable;
    };
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(failure) => return connecting(&failure),
    };
    let request = HealthCheckRequest { service: service.to_owned() };
    match HealthClient::new(channel).check(request).await {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Reading::Up,
        Ok(_) => Reading::Down,
        // The connection broke; every other code is an answer of the server.
        Err(status) if status.source().is_some() => Reading::Unreachable,
        Err(_) => Reading::Down,
    }
}

fn connecting(failure: &tonic::transport::Error) -> Reading {
    let mut cause = failure.source();
    while let Some(one) = cause {
        if let Some(broken) = one.downcast_ref::<io::Error>() {
            return tcp::failed(broken.kind());
        }
        cause = one.source();
    }
    Reading::Unreachable
}
