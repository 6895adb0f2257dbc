//! Every method for every role, and for those who have none.
//!
//! The table is written down here a second time, by hand: a method without a row fails the test, and
//! so does a row that the server does not keep.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prost::Message as _;
use quorate_proto::client::Transport;
use quorate_proto::identity::Role;
use quorate_proto::pb::FILE_DESCRIPTOR_SET;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder};
use tonic::Code;
use tonic::transport::Channel;

use crate::site::{After, Site, refusal};
use crate::wire::call;

const A: Role = Role::Agent;
const C: Role = Role::Coordinator;
const O: Role = Role::Operator;
const R: Role = Role::Reader;

/// Who may call what: first letters of the roles.
const TABLE: &[(&str, &[Role])] = &[
    ("quorate.raft.v1.Exchange", &[C]),
    ("quorate.raft.v1.Raft", &[C]),
    ("quorate.v1.Agents/Claim", &[A]),
    ("quorate.v1.Agents/List", &[A, C, O, R]),
    ("quorate.v1.Agents/Observe", &[A]),
    ("quorate.v1.Agents/Report", &[A]),
    ("quorate.v1.Automation/List", &[A, C, O, R]),
    ("quorate.v1.Automation/ReissueAction", &[O]),
    ("quorate.v1.Automation/Submit", &[O]),
    ("quorate.v1.Charters/AmendCharter", &[O]),
    ("quorate.v1.Charters/GetCharter", &[A, C, O, R]),
    ("quorate.v1.Charters/ListCharters", &[A, C, O, R]),
    ("quorate.v1.Log/", &[A, C, O, R]),
    ("quorate.v1.Proposals/Get", &[A, C, O, R]),
    ("quorate.v1.Proposals/List", &[A, C, O, R]),
    ("quorate.v1.Proposals/OpenProposal", &[A, O]),
    ("quorate.v1.Proposals/VetoProposal", &[A, O]),
    ("quorate.v1.Proposals/Watch", &[A, C, O, R]),
    ("quorate.v1.Quorum/ListCoordinators", &[A, C, O, R]),
    ("quorate.v1.Quorum/TransferLeader", &[O]),
    ("quorate.v1.Status/GetStatus", &[A, C, O, R]),
    ("quorate.v1.Votes/SubmitVote", &[A, O]),
    ("grpc.reflection.", &[A, C, O, R]),
];

/// Every method of ours, from the compiled descriptors, and the reflection service.
fn methods() -> Vec<String> {
    let files = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("descriptors");
    let mut methods = Vec::new();
    for file in files.file {
        for service in &file.service {
            for method in &service.method {
                let (package, service, method) = (file.package(), service.name(), method.name());
                methods.push(format!("{package}.{service}/{method}"));
            }
        }
    }
    for version in ["v1", "v1alpha"] {
        methods.push(format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"));
    }
    methods
}

fn admitted(method: &str) -> &'static [Role] {
    let row = TABLE.iter().find(|(prefix, _)| method.starts_with(prefix));
    row.unwrap_or_else(|| panic!("{method} has no row in this table")).1
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_admits_its_roles_and_no_other() {
    let mut site = Site::begin().await;
    let before = site.status().await;
    let methods = methods();
    assert!(methods.len() >= 45, "the descriptors hold all services: {}", methods.len());
    let expected =
        refusal("ROLE_NOT_ALLOWED", Code::PermissionDenied, 8, &["role", "method", "admits"]);
    let mut cases = 0;
    for role in Role::ALL {
        let id = if role == C { "2" } else { "somebody" };
        let channel = site.connect(&site.issue(role, id), site.leader);
        for method in &methods {
            let what = format!("{role} calls {method}");
            cases += 1;
            // An empty message to this one means what it says: leadership goes to anybody.
            if method.ends_with("Quorum/TransferLeader") && role == O {
                continue;
            }
            let answered = call(channel.clone(), &format!("/{method}"), Vec::new(), None).await;
            if !admitted(method).contains(&role) {
                expected.check(&what, &answered.expect_err(&what));
                continue;
            }
            // Whatever the answer to an empty message is: it is not about who asks.
            if let Err(status) = answered {
                let refused = [Code::PermissionDenied, Code::Unauthenticated];
                assert!(!refused.contains(&status.code()), "{what}: {status:?}");
            }
        }
    }
    assert_eq!(cases, methods.len() * Role::ALL.len());
    site.left("every method for every role", After::Untouched, &before).await;
    site.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_role_reaches_nothing_but_health() {
    let mut site = Site::begin().await;
    let before = site.status().await;
    let anonymous = without_certificate(&site);
    let not_accepted = refusal("CERTIFICATE_NOT_ACCEPTED", Code::Unauthenticated, 8, &["why"]);
    let none = refusal("NO_CLIENT_CERTIFICATE", Code::Unauthenticated, 8, &[]);
    let callers: Vec<(&str, Channel, crate::site::Refusal)> = vec![
        ("nobody", anonymous.clone(), none),
        ("a common name only", named(&site, &[]), not_accepted),
        ("two names", named(&site, &[uri(&site, "", "o1"), uri(&site, "", "o2")]), not_accepted),
        ("another network", named(&site, &[uri(&site, "other.example/net", "o1")]), not_accepted),
    ];
    for (who, channel, expected) in callers {
        for method in methods() {
            let what = format!("{who} calls {method}");
            let status = call(channel.clone(), &format!("/{method}"), Vec::new(), None).await;
            expected.check(&what, &status.expect_err(&what));
        }
    }
    let health = call(anonymous, "/grpc.health.v1.Health/Check", Vec::new(), None).await;
    health.expect("health asks nobody who they are");

    // Signed by nobody we know, or expired: the handshake ends it.
    let strange = quorate_proto::authority::Authority::new(&site.deployment.network).expect("one");
    let identity = quorate_proto::identity::Identity::new(site.deployment.network.clone(), O, "o1");
    let identity = identity.expect("an identity");
    let issued = strange.issue(&identity, Duration::from_secs(3_600)).expect("one");
    let own = issued.material(site.authority().certificate()).expect("it");
    let own = site.connect(&own, site.leader);
    let over = certified(&site, &[identity.uri()], SystemTime::now() - Duration::from_secs(60));
    for (who, channel) in [("a self-made authority", own), ("an expired certificate", over)] {
        let status = call(channel, "/quorate.v1.Status/GetStatus", Vec::new(), None).await;
        let status = status.expect_err(who);
        let at_the_door = [Code::Cancelled, Code::Unavailable, Code::Unknown, Code::Internal];
        assert!(at_the_door.contains(&status.code()), "{who}: {status:?}");
    }
    site.left("callers without a role", After::Untouched, &before).await;
    site.is_well().await;
}

/// TLS with the deployment's authority, and no certificate of our own.
fn without_certificate(site: &Site) -> Channel {
    over(site, trusting(site).with_no_client_auth())
}

fn trusting(site: &Site) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let pem = std::fs::read(site.deployment.root.join("ca.pem")).expect("the authority");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).expect("PEM")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13]);
    config.expect("TLS 1.3").with_root_certificates(roots)
}

fn over(site: &Site, mut config: ClientConfig) -> Channel {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let network = site.deployment.network.clone();
    site.over(&Transport::Tls { config: Arc::new(config), network }, site.leader)
}

/// A certificate of the deployment's authority with these URI names, whatever they are.
fn named(site: &Site, uris: &[String]) -> Channel {
    certified(site, uris, SystemTime::now() + Duration::from_secs(3_600))
}

fn certified(site: &Site, uris: &[String], until: SystemTime) -> Channel {
    let authority = site.authority();
    let names = uris.iter().map(|uri| rcgen::SanType::URI(uri.as_str().try_into().expect("a URI")));
    let usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let issued = authority.issue_names("operator/o1", names.collect(), usages, until);
    let issued = issued.expect("a certificate");
    let chain = CertificateDer::from_pem_slice(issued.certificate_pem().as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem().as_bytes()).expect("PEM");
    let config = trusting(site).with_client_auth_cert(vec![chain], key).expect("a certificate");
    over(site, config)
}

fn uri(site: &Site, network: &str, id: &str) -> String {
    let network = if network.is_empty() { site.deployment.network.as_str() } else { network };
    format!("spiffe://{network}/quorate/operator/{id}")
}
