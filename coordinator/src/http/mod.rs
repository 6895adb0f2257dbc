//! HTTP on the public port: health, metrics, tlog tiles. One port with gRPC, served through tonic.

pub mod accept;
mod health;
mod metrics;
mod tiles;

use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use http::{Response, header};
use quorate_proto::problem::Problem;
use tonic::body::Body;

use crate::{
    app::Readiness, catalog::Catalog, handle::Handle, signer::SignerHandle, store_watch::StoreWatch,
};

/// What the HTTP side reads.
#[derive(Clone)]
pub struct HttpState {
    /// The coordinator.
    pub handle: Handle,
    /// Certified heads.
    pub signer: SignerHandle,
    /// Whether this process serves.
    pub readiness: Readiness,
    /// Bytes used and allowed.
    pub store: StoreWatch,
    /// Where decisions stand.
    pub catalog: Catalog,
}

/// Every HTTP path of the public port.
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/leaderz", get(health::leaderz))
        .route("/metrics", get(metrics::metrics))
        .route("/tlog/checkpoint", get(tiles::checkpoint))
        .route("/tlog/tile/{*path}", get(tiles::tile))
        .with_state(state)
}

/// A refusal as JSON, with the HTTP code that its gRPC code maps to.
pub(crate) fn problem_response(problem: &Problem) -> Response<Body> {
    let code = StatusCode::from_u16(problem.code().grpc().http_status())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // The document holds text and maps of text only.
    let body = serde_json::to_string(&problem.document()).unwrap_or_default();
    let mut response =
        (code, [(header::CONTENT_TYPE, "application/json")], body).into_response().map(Body::new);
    if let Some(delay) = problem.delay() {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
