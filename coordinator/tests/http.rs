//! The public port speaks HTTP too: health without a certificate, metrics and tiles with one.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::{net::SocketAddr, sync::Arc};

use quorate_attest::{head::CosignedHead, tiles::read_bundle};
use quorate_proto::{identity::Role, tls::coordinator_server_name};
use rustls::{ClientConfig, RootCertStore, version::TLS13};
use support::{Deployment, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// The same material over HTTP/1.1, or no certificate at all.
fn http1(deployment: &Deployment, role: Option<Role>) -> Arc<ClientConfig> {
    let mut config = match role {
        Some(role) => {
            ClientConfig::clone(&deployment.material(role, "eve").client_config().unwrap())
        }
        None => {
            let mut roots = RootCertStore::empty();
            roots.add(deployment.authority.certificate().clone()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&TLS13])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// One GET; answers the status, the headers and the body.
async fn get(
    address: SocketAddr,
    id: u64,
    tls: Arc<ClientConfig>,
    path: &str,
) -> (u16, String, Vec<u8>) {
    let socket = TcpStream::connect(address).await.unwrap();
    let name = coordinator_server_name(id);
    let mut stream = TlsConnector::from(tls).connect(name, socket).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: quorate\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The server may close without a TLS goodbye; what came is the answer.
    drop(stream.read_to_end(&mut answer).await);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = answer[end + 4..].to_vec();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunk(&body);
    }
    (status, head.to_ascii_lowercase(), body)
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_anyones_and_the_rest_needs_a_certificate() {
    let deployment = Deployment::new(3, 0);
    let running = deployment.start_all().await;
    let nobody = http1(&deployment, None);
    let reader = http1(&deployment, Some(Role::Reader));
    let at = |id: u64| deployment.clients[&id];
    let mut leaders = 0;
    for id in 1..=3 {
        assert_eq!(get(at(id), id, nobody.clone(), "/livez").await.0, 200);
        let (status, _, page) = get(at(id), id, nobody.clone(), "/readyz?verbose").await;
        assert_eq!(status, 200);
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("[+]leader ok") && page.contains("[+]raft ok"), "{page}");
        leaders += usize::from(get(at(id), id, nobody.clone(), "/leaderz").await.0 == 200);
    }
    assert_eq!(leaders, 1);

    let (status, _, body) = get(at(1), 1, nobody.clone(), "/metrics").await;
    assert_eq!(status, 401);
    assert!(String::from_utf8(body).unwrap().contains("NO_CLIENT_CERTIFICATE"));
    let alerts = http1(&deployment, Some(Role::Alertmanager));
    let (status, _, body) = get(at(1), 1, alerts, "/metrics").await;
    assert_eq!(status, 403);
    assert!(String::from_utf8(body).unwrap().contains("ROLE_NOT_ALLOWED"));
    let (status, head, page) = get(at(1), 1, reader.clone(), "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("text/plain"));
    let page = String::from_utf8(page).unwrap();
    for name in
        ["quorate_raft_has_leader", "quorate_log_applied_size", "quorate_call_seconds_bucket"]
    {
        assert!(page.contains(name), "{name} is missing");
    }

    // The first charter is certified: its checkpoint and its entry can be fetched and read.
    let checkpoint = until("a certified head", || async {
        let (status, _, body) = get(at(1), 1, reader.clone(), "/tlog/checkpoint").await;
        (status == 200).then_some(body)
    })
    .await;
    let head = CosignedHead::parse(&checkpoint).unwrap();
    assert_eq!(head.checkpoint.origin, deployment.charter.statement.origin);
    let size = head.checkpoint.size.get();
    let tile = format!("/tlog/tile/entries/000.p/{size}");
    let (status, head, bundle) = get(at(1), 1, reader.clone(), &tile).await;
    assert_eq!(status, 200, "{head}");
    assert_eq!(read_bundle(&bundle).unwrap()[0], deployment.charter.to_bytes());
    assert_eq!(get(at(1), 1, reader.clone(), "/tlog/tile/0/001").await.0, 404);
    assert_eq!(get(at(1), 1, reader.clone(), "/tlog/tile/0/x").await.0, 400);
    assert_eq!(get(at(1), 1, reader, "/nothing").await.0, 404);
    for (_, one) in running {
        one.shutdown().await;
    }
}
