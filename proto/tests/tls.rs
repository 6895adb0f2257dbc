//! Mutual TLS: who gets in, who does not, and in which step.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quorate_attest::id::NetworkName;
use quorate_proto::authority::{Authority, VALIDITY_DEFAULT};
use quorate_proto::identity::{Identity, IdentityError, Role};
use quorate_proto::tls::{ClientAuth, TlsMaterial, coordinator_server_name};
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn network() -> NetworkName {
    NetworkName::new("quorate.example/testnet").unwrap()
}

fn authority() -> Authority {
    Authority::new(&network()).unwrap()
}

fn coordinator(authority: &Authority, id: u64) -> TlsMaterial {
    authority.material(&Identity::coordinator(network(), id).unwrap()).unwrap()
}

fn agent(authority: &Authority) -> TlsMaterial {
    authority.material(&Identity::new(network(), Role::Agent, "n4").unwrap()).unwrap()
}

/// What the server saw: the identity of the client, if it showed a certificate.
type Seen = Option<Result<Identity, IdentityError>>;

/// Shakes hands over a pipe and passes one byte each way: a client learns of a refusal of its
/// certificate only when it reads.
async fn handshake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    dialed: u64,
) -> io::Result<(Seen, Option<Vec<u8>>)> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accept = async move {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let seen = certificate.map(|der| Identity::of_certificate(der));
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        stream.write_all(b"s").await?;
        stream.read_u8().await?;
        stream.shutdown().await.ok();
        Ok((seen, alpn))
    };
    let connect = async move {
        let name = coordinator_server_name(dialed);
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.read_u8().await?;
        stream.write_all(b"c").await?;
        stream.flush().await
    };
    let (accepted, connected) = tokio::join!(accept, connect);
    connected?;
    accepted
}

fn reason(error: &io::Error) -> String {
    format!("{error:?} {error}")
}

#[tokio::test]
async fn the_right_certificates_meet_and_know_each_other() {
    let authority = authority();
    let server = coordinator(&authority, 3).server_config(ClientAuth::Required).unwrap();
    let client = agent(&authority).client_config().unwrap();
    let (seen, alpn) = handshake(server, client, 3).await.unwrap();
    let identity = seen.unwrap().unwrap();
    assert_eq!((identity.role(), identity.id()), (Role::Agent, "n4"));
    assert_eq!(identity.key_name().as_str(), "quorate.example/testnet/agent/n4");
    assert_eq!(alpn.unwrap(), b"h2");
}

#[tokio::test]
async fn a_plain_http_client_is_served_too() {
    let authority = authority();
    let server = coordinator(&authority, 1).server_config(ClientAuth::Required).unwrap();
    let mut client = (*agent(&authority).client_config().unwrap()).clone();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (_, alpn) = handshake(server, Arc::new(client), 1).await.unwrap();
    assert_eq!(alpn.unwrap(), b"http/1.1");
}

#[tokio::test]
async fn dialing_three_and_reaching_two_fails_in_the_handshake() {
    let authority = authority();
    let server = coordinator(&authority, 2).server_config(ClientAuth::Required).unwrap();
    let client = agent(&authority).client_config().unwrap();
    let error = handshake(server, client, 3).await.unwrap_err();
    assert!(reason(&error).contains("NotValidForName"), "{error:?}");
}

#[tokio::test]
async fn an_agent_cannot_pose_as_a_coordinator() {
    let authority = authority();
    let server = agent(&authority).server_config(ClientAuth::Required).unwrap();
    let client = coordinator(&authority, 1).client_config().unwrap();
    let error = handshake(server, client, 2).await.unwrap_err();
    assert!(reason(&error).contains("InvalidCertificate"), "{error:?}");
}

#[tokio::test]
async fn a_foreign_authority_is_refused_on_both_sides() {
    let (ours, foreign) = (authority(), authority());
    let server = coordinator(&ours, 1).server_config(ClientAuth::Required).unwrap();
    let client = agent(&foreign).client_config().unwrap();
    let error = handshake(server, client, 1).await.unwrap_err();
    assert!(reason(&error).contains("InvalidCertificate"), "client's view: {error:?}");

    // The client trusts our authority, but its own certificate is a foreign one.
    let identity = Identity::new(network(), Role::Agent, "n4").unwrap();
    let forged = foreign.issue(&identity, VALIDITY_DEFAULT).unwrap();
    let client = forged.material(ours.certificate()).unwrap().client_config().unwrap();
    for auth in [ClientAuth::Required, ClientAuth::Optional] {
        let server = coordinator(&ours, 1).server_config(auth).unwrap();
        let error = handshake(server, Arc::clone(&client), 1).await.unwrap_err();
        let text = reason(&error);
        assert!(text.contains("UnknownCA") || text.contains("DecryptError"), "{auth:?}: {text}");
    }
}

#[tokio::test]
async fn no_certificate_is_anonymous_where_it_is_optional_and_refused_elsewhere() {
    let authority = authority();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = Arc::new(
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    let server = coordinator(&authority, 1).server_config(ClientAuth::Optional).unwrap();
    let (seen, _) = handshake(server, Arc::clone(&client), 1).await.unwrap();
    assert_eq!(seen, None);
    let server = coordinator(&authority, 1).server_config(ClientAuth::Required).unwrap();
    let error = handshake(server, client, 1).await.unwrap_err();
    assert!(reason(&error).contains("CertificateRequired"), "{error:?}");
}

#[tokio::test]
async fn tls_1_2_is_not_spoken() {
    let authority = authority();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = coordinator(&authority, 1).server_config(ClientAuth::Optional).unwrap();
    let error = handshake(server, Arc::new(client), 1).await.unwrap_err();
    assert!(reason(&error).contains("ProtocolVersion"), "{error:?}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = authority();
    let identity = Identity::new(network(), Role::Operator, "alice").unwrap();
    let names = vec![SanType::URI(identity.uri().try_into().unwrap())];
    let ended = SystemTime::now() - Duration::from_secs(60);
    let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let issued = authority.issue_names("alice", names, usages, ended).unwrap();
    let client = issued.material(authority.certificate()).unwrap().client_config().unwrap();
    let server = coordinator(&authority, 1).server_config(ClientAuth::Required).unwrap();
    let error = handshake(server, client, 1).await.unwrap_err();
    assert!(reason(&error).contains("CertificateExpired"), "{error:?}");
}

#[tokio::test]
async fn two_uri_names_or_none_are_nobody() {
    let authority = authority();
    let uri = |role, id: &str| {
        let identity = Identity::new(network(), role, id).unwrap();
        SanType::URI(identity.uri().try_into().unwrap())
    };
    let dns = SanType::DnsName("n4.example".try_into().unwrap());
    let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let until = SystemTime::now() + VALIDITY_DEFAULT;
    let two = vec![uri(Role::Agent, "n4"), uri(Role::Operator, "alice")];
    for (names, wanted) in [
        (two, IdentityError::SeveralUriNames { count: 2 }),
        (vec![dns], IdentityError::NoUriName),
        (vec![], IdentityError::NoUriName),
    ] {
        // The common name reads like an identity: it must not help (CVE-2018-16886 of etcd).
        let name = "spiffe://quorate.example/testnet/quorate/operator/root";
        let issued = authority.issue_names(name, names, usages.clone(), until).unwrap();
        let refused = issued.material(authority.certificate()).unwrap_err();
        assert!(refused.to_string().contains(&wanted.to_string()), "{refused}");
        let der =
            rustls::pki_types::pem::PemObject::from_pem_slice(issued.certificate_pem().as_bytes());
        let der: rustls::pki_types::CertificateDer<'_> = der.unwrap();
        assert_eq!(Identity::of_certificate(&der), Err(wanted));
    }
}

#[test]
fn an_identity_of_another_network_is_foreign() {
    let identity = Identity::new(network(), Role::Agent, "n4").unwrap();
    let other = NetworkName::new("quorate.example/other").unwrap();
    assert!(identity.clone().in_network(&network()).is_ok());
    assert!(matches!(identity.in_network(&other), Err(IdentityError::ForeignNetwork { .. })));
}

#[tokio::test]
async fn a_stored_authority_issues_what_the_first_one_would_have() {
    let first = authority();
    let stored = Authority::from_pem(first.certificate_pem(), &first.key_pem()).unwrap();
    let server = coordinator(&first, 1).server_config(ClientAuth::Required).unwrap();
    let client = agent(&stored).client_config().unwrap();
    assert!(handshake(server, client, 1).await.is_ok());
    let other = authority();
    assert!(Authority::from_pem(first.certificate_pem(), &other.key_pem()).is_err());
    assert!(Authority::from_pem("no PEM", &first.key_pem()).is_err());
}

#[test]
fn authority_and_leaf_are_not_called_the_same() {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let authority = authority();
    let identity = Identity::coordinator(network(), 1).unwrap();
    let issued = authority.issue(&identity, VALIDITY_DEFAULT).unwrap();
    let der: rustls::pki_types::CertificateDer<'_> =
        rustls::pki_types::pem::PemObject::from_pem_slice(issued.certificate_pem().as_bytes())
            .unwrap();
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let (_, root) = X509Certificate::from_der(authority.certificate()).unwrap();
    assert_eq!(leaf.issuer(), root.subject());
    assert_ne!(leaf.subject(), root.subject());
    assert!(root.is_ca() && !leaf.is_ca());
}

#[test]
fn files_are_read_back_and_an_open_key_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let authority = authority();
    let identity = Identity::coordinator(network(), 1).unwrap();
    let issued = authority.issue(&identity, VALIDITY_DEFAULT).unwrap();
    std::fs::write(at("tls.pem"), issued.certificate_pem()).unwrap();
    std::fs::write(at("ca.pem"), authority.certificate_pem()).unwrap();
    quorate_proto::key_file::create_secret(&at("tls.key"), issued.key_pem().as_bytes()).unwrap();

    let load = || TlsMaterial::load(&at("tls.pem"), &at("tls.key"), &at("ca.pem"));
    assert_eq!(*load().unwrap().identity(), identity);
    std::fs::set_permissions(at("tls.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(load().unwrap_err().to_string().contains("tls.key: mode 0640 lets others in"));
    let missing = TlsMaterial::load(&at("tls.key"), &at("none"), &at("ca.pem")).unwrap_err();
    assert!(missing.to_string().contains("none: cannot open"), "{missing}");
}
