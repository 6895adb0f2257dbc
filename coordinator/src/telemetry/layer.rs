//! One tower layer times and counts every call, so that no handler does.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{Request, Response};
use metrics::{counter, histogram};
use tower::{Layer, Service};

/// The layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timed;

impl<S> Layer<S> for Timed {
    type Service = TimedService<S>;

    fn layer(&self, inner: S) -> TimedService<S> {
        TimedService { inner }
    }
}

/// A service whose calls are timed.
#[derive(Debug, Clone)]
pub struct TimedService<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for TimedService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TimedFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = label(request.uri().path());
        TimedFuture { inner: Box::pin(self.inner.call(request)), method, started: Instant::now() }
    }
}

/// The label of a path: a method of ours, a fixed HTTP path, or `other`, so that callers cannot
/// make label values.
fn label(path: &str) -> &'static str {
    crate::access::known_path(path).unwrap_or("other")
}

/// A call under way.
pub struct TimedFuture<F> {
    inner: Pin<Box<F>>,
    method: &'static str,
    started: Instant,
}

impl<F, R, E> Future for TimedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.inner.as_mut().poll(context));
        histogram!("quorate_call_seconds", "method" => self.method)
            .record(self.started.elapsed().as_secs_f64());
        if let Ok(response) = &answer {
            // A refusal travels in the headers; a stream that fails later has answered OK here.
            let code = match response.headers().get("grpc-status") {
                Some(code) => code.to_str().unwrap_or("?").to_owned(),
                None => response.status().as_u16().to_string(),
            };
            counter!("quorate_calls_total", "method" => self.method, "code" => code).increment(1);
        }
        Poll::Ready(answer)
    }
}
