//! JSON-RPC 2.0 by POST: one call, and the probe that is made of it.

use serde_json::{Value, json};
use thiserror::Error;

use super::http::{HttpAddress, HttpFailure, request};
use super::{Reading, tcp};

/// Why a call has no result.
#[derive(Debug, Error)]
pub(crate) enum RpcFailure {
    /// There is no whole HTTP answer.
    #[error(transparent)]
    Http(#[from] HttpFailure),
    /// The server refused the call, or answered something that is no JSON-RPC.
    #[error("{method}: {why}")]
    Refused { method: String, why: String },
}

/// Calls once. The caller sets the deadline.
pub(crate) async fn call(
    address: &HttpAddress,
    method: &str,
    params: &Value,
) -> Result<Value, RpcFailure> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let headers = [("content-type", "application/json")];
    let answer = request("POST", address, &headers, body.to_string().as_bytes()).await?;
    let refused = |why: String| RpcFailure::Refused { method: method.to_owned(), why };
    if !answer.is_ok() {
        return Err(refused(format!("HTTP status {}", answer.status)));
    }
    let answer: Value =
        serde_json::from_slice(&answer.body).map_err(|e| refused(format!("no JSON: {e}")))?;
    match (answer.get("result"), answer.get("error").filter(|error| !error.is_null())) {
        (_, Some(error)) => Err(refused(error.to_string())),
        (Some(result), None) => Ok(result.clone()),
        (None, None) => Err(refused("neither a result nor an error".into())),
    }
}

pub(super) async fn read(address: &HttpAddress, method: &str) -> Reading {
    match call(address, method, &json!([])).await {
        Ok(_) => Reading::Up,
        Err(RpcFailure::Http(HttpFailure::Io(failure))) => tcp::failed(failure.kind()),
        Err(RpcFailure::Http(_) | RpcFailure::Refused { .. }) => Reading::Down,
    }
}
