//! What every adapter that speaks gRPC needs of an address and of an error.

use std::error::Error;

use tonic::transport::Endpoint;

/// The endpoint `http://host:port`; nothing is connected.
pub(super) fn endpoint(url: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| bottom(&error))?;
    let uri = endpoint.uri();
    if uri.scheme_str() != Some("http") || uri.host().is_none() || uri.port_u16().is_none() {
        return Err("it is no http://host:port".to_owned());
    }
    Ok(endpoint)
}

/// The last cause: the others only say that there is one.
pub(super) fn bottom(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
