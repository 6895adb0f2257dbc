//! Before Raft: who may come in, how often, and how much is verified at once.
//!
//! One tower layer stands before every path of a port: role, then the caller's own limiter. These
//! limits are a convenience of one process; budgets that matter are decided in the log.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::HashMapStateStore,
};
use http::{Request, Response, header};
use metrics::{counter, gauge};
use quorate_attest::id::NetworkName;
use quorate_proto::{
    error_code::ErrorCode,
    identity::{Identity, Role},
    problem::Problem,
};
use tokio::sync::{Semaphore, watch};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::{
    access::{self, Admitted, Caller},
    config::LimitsConfig,
    http::accept::Connection,
};

type Limiter = RateLimiter<Identity, HashMapStateStore<Identity>, DefaultClock>;

/// The layer before every path of a port. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    inner: Arc<Inner>,
}

struct Inner {
    network: NetworkName,
    limiter: Limiter,
    per_second: u32,
}

impl Door {
    /// A door of `network` with the configured limits.
    pub fn new(network: NetworkName, limits: &LimitsConfig) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limits.caller_per_second))
            .allow_burst(at_least_one(limits.caller_burst));
        let limiter = RateLimiter::hashmap(quota);
        let per_second = limits.caller_per_second;
        Self { inner: Arc::new(Inner { network, limiter, per_second }) }
    }

    fn admit(&self, path: &str, connection: Option<&Connection>) -> Result<Admitted, Box<Problem>> {
        let caller = connection.map_or(&Caller::Anonymous, |connection| &connection.caller);
        let admitted = access::admit(caller, path, &self.inner.network)?;
        if let Admitted::Identity(identity) = &admitted {
            self.limit(identity)?;
        }
        Ok(admitted)
    }

    /// One caller's own allowance, kept per identity: there are as many as the authority has named.
    /// Coordinators have none: Raft bounds itself.
    fn limit(&self, identity: &Identity) -> Result<(), Box<Problem>> {
        if identity.role() == Role::Coordinator {
            return Ok(());
        }
        let Err(not_until) = self.inner.limiter.check_key(identity) else { return Ok(()) };
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        counter!("quorate_calls_limited_total", "reason" => "CALLER_LIMITED").increment(1);
        let limit = self.inner.per_second;
        let what = format!("{identity} asks more often than {limit} times a second");
        Err(Box::new(
            Problem::new(ErrorCode::CallerLimited, what)
                .with("limit", limit)
                .retry_after(wait.max(Duration::from_millis(10))),
        ))
    }
}

impl<S> Layer<S> for Door {
    type Service = Admitting<S>;

    fn layer(&self, inner: S) -> Admitting<S> {
        Admitting { door: self.clone(), inner }
    }
}

/// A service behind a door.
#[derive(Clone)]
pub struct Admitting<S> {
    door: Door,
    inner: S,
}

/// What an admitted caller's call answers.
type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Admitting<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let is_grpc = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let path = request.uri().path().to_owned();
        match self.door.admit(&path, request.extensions().get::<Connection>()) {
            // axum would answer 404 without a gRPC status.
            Ok(Admitted::Unrouted) if is_grpc => {
                let status = Status::unimplemented(format!("there is no method {path}"));
                Box::pin(std::future::ready(Ok(status.into_http())))
            }
            Ok(admitted) => {
                request.extensions_mut().insert(admitted);
                Box::pin(self.inner.call(request))
            }
            Err(problem) => Box::pin(std::future::ready(Ok(refusal(*problem, is_grpc)))),
        }
    }
}

/// A refusal in the language of the caller: a gRPC status, or JSON with the mapped HTTP code.
pub(crate) fn refusal(problem: Problem, is_grpc: bool) -> Response<Body> {
    if is_grpc {
        return Status::from(problem).into_http();
    }
    crate::http::problem_response(&problem)
}

/// Signatures are verified before the Raft log, in a pool of so many threads: a flood of forged
/// votes costs its share and no more.
#[derive(Debug, Clone)]
pub struct Verifiers {
    places: Arc<Semaphore>,
}

/// More work waits for verification than is admitted.
const VERIFICATIONS_WAITING_MAX: usize = 512;

impl Verifiers {
    /// A pool of as many threads as there are processors, at least two.
    pub fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
        Self { places: Arc::new(Semaphore::new(threads + VERIFICATIONS_WAITING_MAX)) }
    }

    /// Runs a check off the runtime's threads.
    pub async fn run<T: Send + 'static>(
        &self,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            counter!("quorate_calls_limited_total", "reason" => "OVERLOADED").increment(1);
            let what = "more signatures wait to be verified than this coordinator admits";
            return Err(Problem::new(ErrorCode::Overloaded, what)
                .with("limit", VERIFICATIONS_WAITING_MAX)
                .retry_after(Duration::from_millis(50))
                .into());
        };
        let checked = tokio::task::spawn_blocking(move || {
            let _place = place;
            check()
        });
        checked.await.map_err(|error| Status::internal(error.to_string()))
    }
}

impl Default for Verifiers {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts open watches per caller.
#[derive(Debug, Clone)]
pub struct Watches {
    open: watch::Sender<BTreeMap<Identity, u32>>,
    total: Arc<AtomicU32>,
    max: u32,
}

/// One open watch; closing it is dropping this.
#[derive(Debug)]
pub struct Watching {
    watches: Watches,
    identity: Identity,
}

impl Watches {
    /// At most `max` for each caller.
    pub fn new(max: u32) -> Self {
        Self { open: watch::Sender::new(BTreeMap::new()), total: Arc::default(), max }
    }

    /// Opens one for `identity`.
    ///
    /// # Errors
    /// `CALLER_LIMITED`.
    pub fn open(&self, identity: &Identity) -> Result<Watching, Status> {
        let max = self.max;
        let opened = self.open.send_if_modified(|open| {
            let count = open.entry(identity.clone()).or_default();
            let admitted = *count < max;
            *count += u32::from(admitted);
            admitted
        });
        if !opened {
            counter!("quorate_calls_limited_total", "reason" => "CALLER_LIMITED").increment(1);
            let what = format!("{identity} holds {max} watches already");
            return Err(Problem::new(ErrorCode::CallerLimited, what)
                .with("limit", max)
                .retry_after(Duration::from_secs(1))
                .into());
        }
        let total = self.total.fetch_add(1, Ordering::Relaxed) + 1;
        gauge!("quorate_watches").set(f64::from(total));
        Ok(Watching { watches: self.clone(), identity: identity.clone() })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watches.open.send_modify(|open| {
            if let Some(count) = open.get_mut(&self.identity) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&self.identity);
                }
            }
        });
        let total = self.watches.total.fetch_sub(1, Ordering::Relaxed) - 1;
        gauge!("quorate_watches").set(f64::from(total));
    }
}
