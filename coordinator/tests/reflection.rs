//! What a generic client finds: health, and every service by reflection, old and new.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::collections::BTreeSet;

use futures::stream;
use quorate_proto::{
    client::{Client, Route},
    identity::Role,
};
use support::{Deployment, until};
use tonic::{Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const SERVICES: [&str; 8] =
    ["Agents", "Automation", "Charters", "Log", "Proposals", "Quorum", "Status", "Votes"];

/// The names one version of reflection lists.
macro_rules! listed {
    ($version:ident, $client:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let asked = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let answer = $client.call(Route::Only(1), "", asked, |channel, request| async move {
            let asked = stream::iter([request.into_inner()]);
            let answers =
                ServerReflectionClient::new(channel).server_reflection_info(asked).await?;
            let first = answers.into_inner().message().await?;
            first.map(Response::new).ok_or_else(|| Status::internal("no answer"))
        });
        match answer.await.unwrap().message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => {
                list.service.into_iter().map(|service| service.name).collect::<BTreeSet<_>>()
            }
            other => panic!("{other:?}"),
        }
    }};
}

async fn health(client: &Client, service: &str) -> ServingStatus {
    let asked = HealthCheckRequest { service: service.to_owned() };
    let answer = client.call(Route::Only(1), "", asked, |channel, request| async move {
        HealthClient::new(channel).check(request).await
    });
    answer.await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generic_client_finds_every_service_and_its_health() {
    let deployment = Deployment::new(3, 0);
    let running = deployment.start_all().await;
    let reader = deployment.client(Role::Reader, "eve");
    let expected: BTreeSet<String> =
        SERVICES.iter().map(|name| format!("quorate.v1.{name}")).collect();
    for (version, names) in [("v1", listed!(v1, reader)), ("v1alpha", listed!(v1alpha, reader))] {
        let ours: BTreeSet<String> =
            names.iter().filter(|name| name.starts_with("quorate.")).cloned().collect();
        assert_eq!(ours, expected, "{version}: every service of ours and no other");
        assert!(names.contains("grpc.health.v1.Health"), "{version}: {names:?}");
    }
    for service in ["", "quorate.v1.Log", "quorate.v1.writes"] {
        // Health is looked at now and then, so it may trail a moment.
        until(&format!("{service:?} serves"), || async {
            (health(&reader, service).await == ServingStatus::Serving).then_some(())
        })
        .await;
    }
    support::steps::stop_all(running).await;
}
