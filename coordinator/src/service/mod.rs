//! The gRPC services: one file each. Parse, check, call the handle, map.
//!
//! Order of checks, cheapest first: role and rate (the door), size and shape, origin and epoch,
//! signatures in a bounded pool, then the Raft log. What reaches the log was verified; what the
//! machine answers is mapped in `error`, exhaustively.

mod agents;
mod automation;
mod charters;
mod decisions;
pub(crate) mod error;
pub(crate) mod forwarded;
mod incidents;
mod leaves;
mod log;
mod proposals;
mod quorum;
mod show;
mod status;
pub(crate) mod verify;
mod votes;
mod watch;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_attest::{id::KeyName, log_time::LogTime};
use quorate_core::{Body, Outcome};
use quorate_proto::{
    convert,
    error_code::ErrorCode,
    identity::Identity,
    pb::{
        self,
        v1::{Consistency, Expectations, ReadState},
    },
    problem::Problem,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, server::NamedService as _, service::Routes};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    access::Admitted,
    admission::{Verifiers, Watches},
    app::{Readiness, StartError},
    catalog::Catalog,
    handle::{Asked, Handle, Written},
    signer::SignerHandle,
    store_watch::StoreWatch,
};

/// Signed votes and reports are small.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// Everything else.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Answers.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Between two updates of the gRPC health service.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// What every service uses. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The coordinator.
    pub handle: Handle,
    /// Certified heads, held vetoes and observations.
    pub signer: SignerHandle,
    /// Where decisions stand.
    pub catalog: Catalog,
    /// The pool that verifies signatures.
    pub verifiers: Verifiers,
    /// Open watches per caller.
    pub watches: Watches,
    /// Bytes used and allowed.
    pub store: StoreWatch,
    /// Whether this process serves.
    pub readiness: Readiness,
    /// Rung when a new observation is held.
    pub news: Arc<Notify>,
    /// Ends every stream.
    pub stop: CancellationToken,
    /// Peer addresses by id.
    pub peers: BTreeMap<u64, String>,
}

/// Adds every service of the public port to `routes`.
pub(crate) fn routes(
    routes: Routes,
    context: &Context,
    reflection: bool,
) -> Result<Routes, StartError> {
    use pb::v1::{
        agents_server::AgentsServer, automation_server::AutomationServer,
        charters_server::ChartersServer, log_server::LogServer, proposals_server::ProposalsServer,
        quorum_server::QuorumServer, status_server::StatusServer, votes_server::VotesServer,
    };
    macro_rules! limited {
        ($server:ident, $bytes:expr) => {
            $server::new(context.clone())
                .max_decoding_message_size($bytes)
                .max_encoding_message_size(ANSWER_BYTES_MAX)
        };
    }
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(context.clone(), reporter));
    let routes = routes
        .add_service(limited!(AgentsServer, SMALL_BYTES_MAX))
        .add_service(limited!(AutomationServer, SMALL_BYTES_MAX))
        .add_service(limited!(ChartersServer, REQUEST_BYTES_MAX))
        .add_service(limited!(LogServer, REQUEST_BYTES_MAX))
        .add_service(limited!(ProposalsServer, REQUEST_BYTES_MAX))
        .add_service(limited!(QuorumServer, SMALL_BYTES_MAX))
        .add_service(limited!(StatusServer, SMALL_BYTES_MAX))
        .add_service(limited!(VotesServer, SMALL_BYTES_MAX))
        .add_service(health);
    if !reflection {
        return Ok(routes);
    }
    // Only what this port serves: the coordinators' own services are in the same descriptors.
    let served = [
        AgentsServer::<Context>::NAME,
        AutomationServer::<Context>::NAME,
        ChartersServer::<Context>::NAME,
        LogServer::<Context>::NAME,
        ProposalsServer::<Context>::NAME,
        QuorumServer::<Context>::NAME,
        StatusServer::<Context>::NAME,
        VotesServer::<Context>::NAME,
        "grpc.health.v1.Health",
    ];
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        served.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let failed = |error: tonic_reflection::server::Error| StartError::Reflection(error.to_string());
    // Clients in the field still ask v1alpha: with v1 alone they fail.
    Ok(routes
        .add_service(builder().build_v1().map_err(failed)?)
        .add_service(builder().build_v1alpha().map_err(failed)?))
}

/// `""`: the process; `quorate.v1.Log`: it can read; `quorate.v1.writes`: a leader with a quorum is
/// known; `leader`: it leads.
async fn report_health(context: Context, reporter: tonic_health::server::HealthReporter) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let word = |serves| if serves { Serving } else { NotServing };
    loop {
        let ready = context.readiness.is_ready() && context.handle.faulted().is_none();
        reporter.set_service_status("", word(context.handle.faulted().is_none())).await;
        reporter.set_service_status("quorate.v1.Log", word(ready)).await;
        let leader = context.handle.leader().is_some();
        reporter.set_service_status("quorate.v1.writes", word(ready && leader)).await;
        reporter.set_service_status("leader", word(context.handle.leads())).await;
        tokio::select! {
            () = context.stop.cancelled() => break,
            () = tokio::time::sleep(HEALTH_EVERY) => {}
        }
    }
    for service in ["", "quorate.v1.Log", "quorate.v1.writes", "leader"] {
        reporter.set_service_status(service, NotServing).await;
    }
}

/// The identity the door admitted.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Identity, Status> {
    match request.extensions().get::<Admitted>() {
        Some(Admitted::Identity(identity)) => Ok(identity.clone()),
        Some(Admitted::Anonymous | Admitted::Unrouted) | None => {
            let what = "the method needs a client certificate";
            Err(Problem::new(ErrorCode::NoClientCertificate, what).into())
        }
    }
}

/// A request id as the machine keeps it.
pub(crate) fn request_id(text: &str) -> Result<Option<[u8; 16]>, Status> {
    convert::request_id(text).map_err(|error| Problem::from(error).into())
}

/// A field that is not what it should be.
pub(crate) fn malformed(field: &str, why: impl std::fmt::Display) -> Status {
    Problem::new(ErrorCode::Malformed, format!("`{field}`: {why}")).with("field", field).into()
}

/// Text of a domain type.
pub(crate) fn parse<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, Status>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| malformed(field, error))
}

/// `None` for empty text.
pub(crate) fn parse_optional<T: std::str::FromStr>(
    field: &str,
    text: &str,
) -> Result<Option<T>, Status>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}

impl Context {
    /// Waits until the answer may be given, and labels it.
    pub(crate) async fn read(&self, consistency: i32) -> Result<ReadState, Status> {
        let consistency = convert::known::<Consistency>("consistency", consistency);
        let consistency = match consistency.map_err(Problem::from)? {
            Consistency::Stale => Consistency::Stale,
            Consistency::Unspecified | Consistency::Linearizable => {
                self.handle.current().await.map_err(|error| error::read_status(&error))?;
                Consistency::Linearizable
            }
        };
        self.label(consistency).await
    }

    /// From which state an answer comes.
    pub(crate) async fn label(&self, consistency: Consistency) -> Result<ReadState, Status> {
        let time = self.machine(|machine| machine.state().time()).await?;
        let age = match consistency {
            Consistency::Linearizable => Duration::ZERO,
            Consistency::Stale | Consistency::Unspecified => self.handle.age(),
        };
        Ok(ReadState {
            coordinator_id: self.handle.own(),
            applied_index: self.handle.applied_index(),
            age: Some(duration(age)),
            consistency: consistency.into(),
            log_time: (time > LogTime::MIN).then(|| time.into()),
        })
    }

    /// Reads the machine.
    pub(crate) async fn machine<T: Send + 'static>(
        &self,
        read: impl FnOnce(&quorate_core::Machine) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.handle.machine(read).await.map_err(|error| error::read_status(&error))
    }

    /// Has the machine answer; a rejection becomes a status.
    pub(crate) async fn write(
        &self,
        body: Body,
        caller: &Identity,
        request_id: &str,
    ) -> Result<(Outcome, Written), Status> {
        let request_id = self::request_id(request_id)?;
        let asked = Asked { body, caller: Some(caller.key_name()), request_id };
        let written = self.handle.propose(asked).await;
        let written = written.map_err(|error| error::propose_status(error, &self.handle))?;
        match &written.outcome {
            Ok(outcome) => Ok((outcome.clone(), written)),
            Err(rejection) => Err(error::problem(rejection, self.handle.clock().now()).into()),
        }
    }

    /// What the machine would answer, by the same code: changes nothing.
    pub(crate) async fn consider(&self, body: Body) -> Result<Outcome, Status> {
        self.handle.current().await.map_err(|error| error::read_status(&error))?;
        let now = self.handle.clock().now();
        let applied = self.machine(move |machine| machine.consider(now, &body)).await?;
        applied.outcome.map_err(|rejection| error::problem(&rejection, now).into())
    }

    /// Compares the state with what the caller expects, before anything is done.
    pub(crate) async fn expect(
        &self,
        expect: Option<Expectations>,
        cluster: Option<quorate_attest::id::ClusterId>,
    ) -> Result<(), Status> {
        let Some(expect) = expect else { return Ok(()) };
        self.handle.current().await.map_err(|error| error::read_status(&error))?;
        let leader = self.handle.leader().unwrap_or(0);
        compare("leader_id", expect.leader_id, leader)?;
        if let (Some(want), Some(have)) = (&expect.cluster, &cluster) {
            compare("cluster", Some(want.clone()), have.to_string())?;
        }
        let now = self.handle.clock().now();
        let found = self.machine(move |machine| {
            let ledger = machine.state().ledger()?;
            let token = cluster.as_ref().and_then(|cluster| {
                let number = ledger.history().cluster(cluster)?.number?;
                Some(ledger.token(number).to_string())
            });
            let answering = cluster.map(|cluster| show::answering(machine, &cluster, now).0);
            Some((ledger.charter().epoch.get(), token.unwrap_or_default(), answering.unwrap_or(0)))
        });
        let Some((epoch, token, answering)) = found.await? else { return Ok(()) };
        compare("epoch", expect.epoch, epoch)?;
        compare("token", expect.token, token)?;
        compare("answering", expect.answering, answering)
    }

    /// The present time, for reading.
    pub(crate) fn now(&self) -> LogTime {
        self.handle.clock().now()
    }
}

fn compare<T: PartialEq + std::fmt::Display>(
    field: &str,
    want: Option<T>,
    have: T,
) -> Result<(), Status> {
    match want {
        Some(want) if want != have => {
            let what = format!("`{field}` is {have}, the caller expects {want}");
            Err(Problem::new(ErrorCode::ExpectationFailed, what)
                .with("field", field)
                .with("have", have)
                .with("want", want)
                .into())
        }
        Some(_) | None => Ok(()),
    }
}

/// A span as it travels.
pub(crate) fn duration(span: Duration) -> quorate_proto::wkt::Duration {
    quorate_proto::wkt::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// The name of a signer, refused unless it is the caller's own: an agent speaks for itself only.
pub(crate) fn own_text(caller: &Identity, signer: &KeyName) -> Result<(), Status> {
    if caller.key_name() == *signer {
        return Ok(());
    }
    let what = format!("the text is of {signer}, the caller is {caller}");
    Err(Problem::new(ErrorCode::NotYours, what).with("owner", signer).into())
}

/// When a PEM file's first certificate expires, in seconds since 1970; `None` if it has none.
pub(crate) fn tls_not_after(certificate: &std::path::Path) -> Option<f64> {
    let mut chain = CertificateDer::pem_file_iter(certificate).ok()?;
    let own = chain.next()?.ok()?;
    let (_, own) = X509Certificate::from_der(&own).ok()?;
    let not_after = u32::try_from(own.validity().not_after.timestamp()).unwrap_or(u32::MAX);
    Some(f64::from(not_after))
}
