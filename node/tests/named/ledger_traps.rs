//! `inferadb-ledger` against the stand-in ledger: in each test a naive adapter would say success.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{Adapter, PrepareRefused, Prepared};
use quorate_node::probe::{Probe, Reading};
use quorate_node::witness::Measure;
use quorate_proto::foreign::ledger::admin_service_client::AdminServiceClient;
use quorate_proto::foreign::ledger::health_service_client::HealthServiceClient;
use quorate_proto::foreign::ledger::{HealthCheckRequest, LeaveClusterRequest};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::ledger::{World, serve};
use crate::common::adapter::{SOON, action_with, configured, order, try_prepare};

const VAULTS: [(u64, u64); 2] = [(1, 10), (1, 11)];

struct Site {
    world: Arc<Mutex<World>>,
    urls: Vec<String>,
    nodes: Vec<JoinHandle<()>>,
    adapter: Arc<dyn Adapter>,
}

impl Site {
    async fn kill(&mut self, id: usize) {
        self.nodes[id - 1].abort();
        let _aborted = (&mut self.nodes[id - 1]).await;
    }

    /// A channel to n1, for a naive caller.
    async fn naive(&self) -> tonic::transport::Channel {
        let endpoint = tonic::transport::Endpoint::from_shared(self.urls[0].clone());
        endpoint.expect("a URL").connect().await.expect("connected")
    }

    async fn prepare(&self, kind: Kind, target: &str, params: &[&str]) -> Prepared {
        try_prepare(&*self.adapter, &action_with(kind, target, params)).await.expect("prepared")
    }
}

fn unmet(prepared: &Prepared) -> &str {
    prepared.unmet().map_or("", |unmet| unmet.name.as_str())
}

/// Three members and a fourth node that waits; n1 leads.
async fn site(change: impl FnOnce(&mut World)) -> Site {
    let members: BTreeMap<u64, bool> = (1..=3).map(|id| (id, true)).collect();
    let tips: BTreeMap<_, _> = VAULTS.into_iter().map(|key| (key, (5, 9))).collect();
    let mut world = World {
        members: (1..=3).map(|id| (id, members.clone())).collect(),
        leader: 1,
        tips: (1..=3).map(|id| (id, tips.clone())).collect(),
        ..World::default()
    };
    change(&mut world);
    let world = Arc::new(Mutex::new(world));
    let (mut urls, mut nodes) = (Vec::new(), Vec::new());
    for id in 1..=4 {
        let (url, node) = serve(id, &world).await;
        urls.push(url);
        nodes.push(node);
    }
    let table = |count: usize| {
        let node =
            |(at, url): (usize, &String)| format!("{{ member = \"n{}\", url = {url:?} }}", at + 1);
        let nodes: Vec<String> = urls.iter().take(count).enumerate().map(node).collect();
        format!(
            "[adapter.inferadb-ledger]\ncaller = 7\nverify_ms = 1500\n\
             forensic_copy = [\"/bin/true\"]\nnodes = [{}]",
            nodes.join(", ")
        )
    };
    let adapter = configured(Kind::RemoveMember, &table(4));
    Site { world, urls, nodes, adapter }
}

#[tokio::test]
async fn a_dead_member_is_removed_at_the_leader_and_gone_on_every_node() {
    let mut site = site(|world| world.leader = 2).await;
    site.kill(3).await;
    let prepared = site.prepare(Kind::RemoveMember, "member:n3", &["node-id 3"]).await;
    assert_eq!(prepared.unmet(), None, "{prepared:?}");
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Effective, "{verdict:?}");
    assert_eq!(verdict.after.get("members:n1"), &Measure::Value("1 2".into()));
    let again = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(again.answer, Answer::AlreadyApplied, "{again:?}");
    assert_eq!(site.world.lock().await.calls, 1);
}

/// T6, first half.
#[tokio::test]
async fn an_id_that_was_never_a_member_is_refused_although_the_call_says_success() {
    let site = site(|_| {}).await;
    let mut naive = AdminServiceClient::new(site.naive().await);
    let said = naive.leave_cluster(LeaveClusterRequest { node_id: 99 }).await.expect("an answer");
    assert!(said.into_inner().success, "the naive answer");
    let params = ["node-id 99", "alive yes"];
    let prepared = site.prepare(Kind::RemoveMember, "member:n4", &params).await;
    assert_eq!(unmet(&prepared), "is-member");
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::RefusedPrecondition, "{executed:?}");
    assert_eq!(site.world.lock().await.calls, 1, "the naive one only");
}

/// T6, second half; and T3: whatever was said, three members and no leader are no effect.
#[tokio::test]
async fn success_that_removes_nobody_is_ineffective() {
    let mut site = site(|world| world.only_says = true).await;
    site.kill(3).await;
    let prepared = site.prepare(Kind::RemoveMember, "member:n3", &["node-id 3"]).await;
    assert_eq!(site.adapter.execute(&prepared, &order(SOON)).await.answer, Answer::Applied);
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Ineffective, "{verdict:?}");
    site.world.lock().await.leader = 0;
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Ineffective, "{verdict:?}");
    let again = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(again.answer, Answer::RefusedPrecondition, "no leader: {again:?}");
}

/// T6: the ledger itself would let three become one.
#[tokio::test]
async fn a_removal_that_leaves_no_live_majority_is_refused() {
    let mut site = site(|_| {}).await;
    site.kill(2).await;
    let params = ["node-id 3", "alive yes"];
    let prepared = site.prepare(Kind::RemoveMember, "member:n3", &params).await;
    assert_eq!(unmet(&prepared), "quorum-floor");
    let answering = site.prepare(Kind::RemoveMember, "member:n3", &["node-id 3"]).await;
    assert!(answering.preconditions.iter().any(|c| c.name == "target-silent"), "{answering:?}");
    assert_eq!(site.world.lock().await.calls, 0);
}

/// T4: the health page says HEALTHY with nothing left.
#[tokio::test]
async fn a_vault_that_is_gone_is_harm_whatever_health_says() {
    let mut site = site(|_| {}).await;
    site.kill(3).await;
    let prepared = site.prepare(Kind::RemoveMember, "member:n3", &["node-id 3"]).await;
    assert_eq!(site.adapter.execute(&prepared, &order(SOON)).await.answer, Answer::Applied);
    site.world.lock().await.tips.clear();
    let mut naive = HealthServiceClient::new(site.naive().await);
    let health = naive.check(HealthCheckRequest::default()).await.expect("an answer");
    assert_eq!(health.into_inner().status, 1, "the naive answer: HEALTHY");
    let verdict = site.adapter.verify(&prepared, SOON).await;
    assert_eq!(verdict.effect, Effect::Harmful, "{verdict:?}");
    assert!(verdict.difference.contains("1/10"), "{verdict:?}");
}

async fn diverged(only_says: bool) -> Site {
    site(|world| {
        world.only_says = only_says;
        world.diverged.insert((1, 10));
        world.tips.get_mut(&2).expect("n2").insert((1, 10), (5, 8));
        world.tips.insert(4, world.tips[&1].clone());
    })
    .await
}

/// An agent of n1 sees that n2 diverged, and leaves it to n2's own agent.
#[tokio::test]
async fn a_vault_is_recovered_by_the_nodes_own_agent_only() {
    let site = diverged(false).await;
    let params = ["organization 1", "vault 10"];
    let prepared = site.prepare(Kind::RecoverVault, "member:n2", &params).await;
    assert_eq!(prepared.unmet(), None, "an observer sees it: {prepared:?}");
    let executed = site.adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(executed.answer, Answer::RefusedPrecondition, "{executed:?}");
    let good = site.prepare(Kind::RecoverVault, "member:n1", &params).await;
    assert_eq!(unmet(&good), "", "it says diverged, cluster-wide: {good:?}");
    let other = ["organization 1", "vault 11"];
    let good = site.prepare(Kind::RecoverVault, "member:n1", &other).await;
    assert_eq!(unmet(&good), "replica-differs", "nothing to recover");
}

/// T5: `RecoverVault` says success and health is healthy for all; the root decides.
#[tokio::test]
async fn a_recovery_is_judged_by_the_root_of_every_node() {
    for (only_says, wanted) in [(true, Effect::Ineffective), (false, Effect::Effective)] {
        let site = diverged(only_says).await;
        // n1's own replica is the one that differs.
        {
            let mut world = site.world.lock().await;
            world.leader = 2;
            let good = world.tips[&3].clone();
            world.tips.insert(2, good);
            world.tips.get_mut(&1).expect("n1").insert((1, 10), (5, 8));
        }
        let params = ["organization 1", "vault 10"];
        let prepared = site.prepare(Kind::RecoverVault, "member:n1", &params).await;
        assert_eq!(prepared.unmet(), None, "{prepared:?}");
        let executed = site.adapter.execute(&prepared, &order(SOON)).await;
        assert_eq!(executed.answer, Answer::Applied, "it says success: {executed:?}");
        assert!(site.world.lock().await.diverged.is_empty(), "the naive answer: healthy");
        let verdict = site.adapter.verify(&prepared, SOON).await;
        assert_eq!(verdict.effect, wanted, "{verdict:?}");
    }
}

/// Version B: vaults by another service, in pages, for a caller.
#[tokio::test]
async fn a_fresh_node_is_a_member_once_it_votes_on_every_node() {
    for (only_learns, wanted) in [(false, Effect::Effective), (true, Effect::Ineffective)] {
        let site = site(|world| {
            world.version_b = true;
            world.only_says = only_learns;
        })
        .await;
        let params = ["node-id 4", "address 10.0.0.4:50051"];
        let prepared = site.prepare(Kind::AddMember, "member:n4", &params).await;
        assert_eq!(prepared.unmet(), None, "{prepared:?}");
        assert_eq!(prepared.witness.get("version:n1"), &Measure::Value("B".into()));
        assert_eq!(prepared.witness.get("vaults:n1"), &Measure::Value("2".into()), "both pages");
        let executed = site.adapter.execute(&prepared, &order(SOON)).await;
        assert_eq!(executed.answer, Answer::Applied, "{executed:?}");
        let verdict = site.adapter.verify(&prepared, SOON).await;
        assert_eq!(verdict.effect, wanted, "{verdict:?}");
    }
}

/// T7: ids are read back from the nodes; one that the waiting node does not say is not joined.
#[tokio::test]
async fn a_node_that_answers_with_another_id_is_not_joined() {
    let site = site(|_| {}).await;
    let params = ["node-id 44", "address 10.0.0.4:50051"];
    let prepared = site.prepare(Kind::AddMember, "member:n4", &params).await;
    assert_eq!(unmet(&prepared), "node-waits");
    let wrong = action_with(Kind::AddMember, "member:n4", &["node-id four", "address x"]);
    let refused = try_prepare(&*site.adapter, &wrong).await;
    assert!(matches!(refused, Err(PrepareRefused::ParamRefused { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_call_that_hangs_is_unknown_and_made_once() {
    let mut site = site(|world| world.hangs = true).await;
    site.kill(3).await;
    let prepared = site.prepare(Kind::RemoveMember, "member:n3", &["node-id 3"]).await;
    let executed = site.adapter.execute(&prepared, &order(Duration::from_secs(2))).await;
    assert_eq!(executed.answer, Answer::Unknown, "{executed:?}");
    assert_eq!(site.world.lock().await.calls, 1);
}

/// The generic probes, against a real gRPC health service and a JSON-RPC server.
#[tokio::test]
async fn a_grpc_service_is_up_only_while_it_says_serving() {
    let (reporter, service) = tonic_health::server::health_reporter();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let router = tonic::transport::Server::builder().add_service(service);
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tokio::spawn(router.serve_with_incoming(incoming));
    let probe: Probe = format!("grpc://{address}/a").parse().expect("a probe");
    assert_eq!(probe.read(SOON).await, Reading::Down, "no such service");
    for (status, wanted) in [
        (tonic_health::ServingStatus::Serving, Reading::Up),
        (tonic_health::ServingStatus::NotServing, Reading::Down),
    ] {
        reporter.set_service_status("a", status).await;
        assert_eq!(probe.read(SOON).await, wanted);
    }
    server.abort();
    let _aborted = server.await;
    assert_eq!(probe.read(SOON).await, Reading::Down, "refused");
}

#[tokio::test]
async fn a_json_rpc_server_is_up_only_with_a_result() {
    use super::web::{Says, serve};
    for (body, wanted) in [
        (r#"{"jsonrpc":"2.0","id":1,"result":7}"#, Reading::Up),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1}}"#, Reading::Down),
        ("OK", Reading::Down),
    ] {
        let address = serve(move |_| async move { Says::Answer(200, body.into()) }).await;
        let probe: Probe = format!("jsonrpc://{address}/#getblockcount").parse().expect("a probe");
        assert_eq!(probe.read(SOON).await, wanted, "{body}");
    }
    let address = serve(|_| async { Says::Hangs }).await;
    let probe: Probe = format!("jsonrpc://{address}/#x").parse().expect("a probe");
    assert_eq!(probe.read(Duration::from_millis(200)).await, Reading::Unreachable);
}
