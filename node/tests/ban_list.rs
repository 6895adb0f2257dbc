//! The `ban-list` adapter against a real HTTP server: what others have banned stays banned.

mod common;

use std::sync::Arc;

use common::adapter::{SOON, configured, order, prepare};
use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::Adapter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// A real HTTP server with a list, as a member would offer it.
async fn ban_list(listed: &[&str]) -> (Arc<dyn Adapter>, Arc<Mutex<Vec<String>>>) {
    let list: Vec<String> = listed.iter().map(ToString::to_string).collect();
    let list = Arc::new(Mutex::new(list));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}/bans", listener.local_addr().expect("address"));
    let served = Arc::clone(&list);
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 4_096];
            let read = stream.read(&mut bytes).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&bytes[..read]).into_owned();
            let mut words = request.split(' ');
            let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let mut list = served.lock().await;
            let peer = path.trim_start_matches("/bans").trim_start_matches('/').replace("%3A", ":");
            match method {
                "PUT" => list.push(peer),
                "DELETE" => list.retain(|one| *one != peer),
                _ => {}
            }
            let body = serde_json::json!({ "banned": *list }).to_string();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _gone = stream.write_all(answer.as_bytes()).await;
        }
    }));
    let table = format!("[adapter.ban-list]\nurl = {url:?}");
    (configured(Kind::BanPeer, &table), list)
}

#[tokio::test]
async fn a_ban_is_verified_on_the_list_and_its_rollback_restores_the_witness() {
    let (adapter, list) = ban_list(&["peer:old"]).await;
    let prepared = prepare(&*adapter, Kind::BanPeer, "peer:x").await;
    assert_eq!(adapter.execute(&prepared, &order(SOON)).await.answer, Answer::Applied);
    assert_eq!(adapter.verify(&prepared, SOON).await.effect, Effect::Effective);
    assert_eq!(adapter.execute(&prepared, &order(SOON)).await.answer, Answer::AlreadyApplied);
    assert_eq!(adapter.rollback(&prepared, &order(SOON)).await.answer, Answer::Applied);
    assert_eq!(*list.lock().await, ["peer:old"]);
    let verdict = adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Ineffective, "it is not banned any more");
}

#[tokio::test]
async fn a_ban_that_loses_somebody_elses_entry_is_harmful() {
    let (adapter, list) = ban_list(&["peer:old"]).await;
    let prepared = prepare(&*adapter, Kind::BanPeer, "peer:x").await;
    *list.lock().await = vec!["peer:x".into()];
    assert_eq!(adapter.verify(&prepared, SOON).await.effect, Effect::Harmful);
}

#[tokio::test]
async fn an_undo_leaves_what_was_banned_before_by_whomever() {
    let (adapter, list) = ban_list(&["peer:x"]).await;
    let prepared = prepare(&*adapter, Kind::BanPeer, "peer:x").await;
    assert_eq!(adapter.execute(&prepared, &order(SOON)).await.answer, Answer::AlreadyApplied);
    assert_eq!(adapter.rollback(&prepared, &order(SOON)).await.answer, Answer::AlreadyApplied);
    assert_eq!(*list.lock().await, ["peer:x"]);
}
