//! The worked example of docs/how-to/write-an-adapter.md is the code that is tested here.

use std::sync::Arc;

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{Adapter as _, Adapters, Held};

use super::flag_adapter::{FlagAdapter, FlagConfig};
use super::web::{json, serve};
use crate::common::action;
use crate::common::adapter::{SOON, order, try_prepare};

const GUIDE: &str = include_str!("../../../docs/how-to/write-an-adapter.md");

#[test]
fn the_guide_shows_the_code_that_is_tested() {
    assert!(GUIDE.contains(include_str!("flag_adapter.rs")), "copy flag_adapter.rs to the guide");
}

/// A service that looks at its flag, or one that does not.
async fn service(looks: bool) -> (FlagAdapter, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("directory");
    let flag = directory.path().join("flag");
    let seen = flag.clone();
    let address = serve(move |_| {
        let quiet = looks && seen.exists();
        let mode = if quiet { "maintenance" } else { "normal" };
        async move { json(&serde_json::json!({ "mode": mode })) }
    })
    .await;
    let table = format!("flag = {flag:?}\nquiet = \"http://{address}/status#mode=maintenance\"");
    let file = config::File::from_str(&table, config::FileFormat::Toml);
    let read = config::Config::builder().add_source(file).build().expect("TOML");
    let FlagConfig { flag, quiet } = read.try_deserialize().expect("the table");
    (FlagAdapter { flag, quiet: quiet.parse().expect("a probe") }, directory)
}

#[tokio::test]
async fn the_guides_adapter_acts_once_and_can_be_taken_back() {
    let (adapter, _directory) = service(true).await;
    let quiesce = action(Kind::Quiesce, "service:shop");
    let prepared = try_prepare(&adapter, &quiesce).await.expect("prepared");
    assert_eq!(prepared.unmet(), None);
    assert_eq!(adapter.execute(&prepared, &order(SOON)).await.answer, Answer::Applied);
    assert_eq!(adapter.verify(&prepared, SOON).await.effect, Effect::Effective);
    assert_eq!(adapter.execute(&prepared, &order(SOON)).await.answer, Answer::AlreadyApplied);
    let again = try_prepare(&adapter, &quiesce).await.expect("prepared");
    assert_eq!(again.unmet().map(|unmet| unmet.held), Some(Held::No));
    assert_eq!(adapter.rollback(&prepared, &order(SOON)).await.answer, Answer::Applied);
    assert_eq!(adapter.rollback(&prepared, &order(SOON)).await.answer, Answer::AlreadyApplied);
}

/// The flag is written and nobody looks at it: the naive answer would be success.
#[tokio::test]
async fn the_guides_adapter_believes_the_service_and_not_the_file() {
    let (adapter, _directory) = service(false).await;
    let quiesce = action(Kind::Quiesce, "service:shop");
    let prepared = try_prepare(&adapter, &quiesce).await.expect("prepared");
    assert_eq!(adapter.execute(&prepared, &order(SOON)).await.answer, Answer::Applied);
    assert_eq!(adapter.verify(&prepared, SOON).await.effect, Effect::Ineffective);
    assert!(Adapters::none().with(Arc::new(adapter)).of(Kind::Quiesce).is_ok());
}
