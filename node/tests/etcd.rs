//! The etcd adapter against a stand-in: a gRPC server that says yes, hangs or has lost its keys, as real
//! systems do. What real etcd does is tested where it is installed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use quorate_attest::agent_statement::{Answer, Effect};
use quorate_attest::id::ProposalId;
use quorate_attest::number::{DecisionNumber, FencingToken, Incarnation};
use quorate_attest::remediation::Kind;
use quorate_node::adapters::{
    Action, Adapter as _, EtcdAdapter, EtcdConfig, Order, PrepareRefused,
};
use quorate_node::gate::Permits;
use quorate_node::plan::plan_of;
use quorate_proto::foreign::etcd as pb;
use quorate_proto::foreign::etcd::cluster_server::{Cluster, ClusterServer};
use quorate_proto::foreign::etcd::kv_server::{Kv, KvServer};
use quorate_proto::foreign::etcd::maintenance_server::{Maintenance, MaintenanceServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

type Answered<T> = Result<Response<T>, Status>;

const SOON: Duration = Duration::from_secs(3);

/// A stand-in of etcd: three members, all of which it is, and whatever is asked of it succeeds.
#[derive(Clone, Default)]
struct StandIn {
    /// How many keys it lost since it was first asked.
    lost: Arc<AtomicI64>,
}

fn header() -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { cluster_id: 7, member_id: 1, revision: 50, raft_term: 2 })
}

#[tonic::async_trait]
impl Kv for StandIn {
    async fn range(&self, _: Request<pb::RangeRequest>) -> Answered<pb::RangeResponse> {
        let count = 40 - self.lost.load(Ordering::SeqCst);
        Ok(Response::new(pb::RangeResponse { header: header(), kvs: Vec::new(), count }))
    }

    async fn put(&self, _: Request<pb::PutRequest>) -> Answered<pb::PutResponse> {
        Ok(Response::new(pb::PutResponse { header: header() }))
    }

    async fn delete_range(
        &self,
        _: Request<pb::DeleteRangeRequest>,
    ) -> Answered<pb::DeleteRangeResponse> {
        Ok(Response::new(pb::DeleteRangeResponse { header: header(), deleted: 1 }))
    }
}

#[tonic::async_trait]
impl Cluster for StandIn {
    async fn member_add(
        &self,
        _: Request<pb::MemberAddRequest>,
    ) -> Answered<pb::MemberAddResponse> {
        let member = Some(pb::Member { id: 9, ..pb::Member::default() });
        Ok(Response::new(pb::MemberAddResponse { header: header(), member, members: Vec::new() }))
    }

    async fn member_remove(
        &self,
        _: Request<pb::MemberRemoveRequest>,
    ) -> Answered<pb::MemberRemoveResponse> {
        Ok(Response::new(pb::MemberRemoveResponse { header: header(), members: Vec::new() }))
    }

    async fn member_list(
        &self,
        _: Request<pb::MemberListRequest>,
    ) -> Answered<pb::MemberListResponse> {
        let member = |id: u64| pb::Member {
            id,
            name: format!("n{id}"),
            peer_urls: vec![format!("http://10.0.0.{id}:2380")],
            ..pb::Member::default()
        };
        let members = (1..=3).map(member).collect();
        Ok(Response::new(pb::MemberListResponse { header: header(), members }))
    }

    async fn member_promote(
        &self,
        _: Request<pb::MemberPromoteRequest>,
    ) -> Answered<pb::MemberPromoteResponse> {
        Ok(Response::new(pb::MemberPromoteResponse { header: header(), members: Vec::new() }))
    }
}

#[tonic::async_trait]
impl Maintenance for StandIn {
    async fn alarm(&self, _: Request<pb::AlarmRequest>) -> Answered<pb::AlarmResponse> {
        Ok(Response::new(pb::AlarmResponse { header: header(), alarms: Vec::new() }))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Answered<pb::StatusResponse> {
        let status = pb::StatusResponse {
            header: header(),
            leader: 1,
            raft_term: 2,
            ..pb::StatusResponse::default()
        };
        Ok(Response::new(status))
    }

    async fn hash_kv(&self, _: Request<pb::HashKvRequest>) -> Answered<pb::HashKvResponse> {
        Ok(Response::new(pb::HashKvResponse { header: header(), hash: 5, compact_revision: 1 }))
    }

    async fn move_leader(
        &self,
        _: Request<pb::MoveLeaderRequest>,
    ) -> Answered<pb::MoveLeaderResponse> {
        Ok(Response::new(pb::MoveLeaderResponse { header: header() }))
    }
}

/// Serves a stand-in on a free port.
async fn serve(stand_in: StandIn) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tonic::transport::Server::builder()
        .add_service(KvServer::new(stand_in.clone()))
        .add_service(ClusterServer::new(stand_in.clone()))
        .add_service(MaintenanceServer::new(stand_in))
        .serve_with_incoming(TcpListenerStream::new(listener));
    drop(tokio::spawn(serving));
    address
}

fn adapter(address: SocketAddr) -> EtcdAdapter {
    let url = format!("http://{address}");
    let config = EtcdConfig {
        url: url.clone(),
        data_dir: "/nonexistent/data".into(),
        forensic_dir: "/nonexistent/forensic".into(),
        peers: BTreeMap::from([("n2".to_owned(), url.clone()), ("n3".to_owned(), url)]),
    };
    EtcdAdapter::new("n1", config, None, Permits::default()).expect("an adapter")
}

fn action(kind: Kind, target: &str, params: &[&str]) -> Action {
    let params = params.iter().map(|param| param.parse().expect("a parameter")).collect();
    Action { kind, target: target.parse().expect("a target"), params }
}

fn order(deadline: Duration) -> Order {
    Order {
        proposal: ProposalId::of_text("a proposal"),
        token: FencingToken { incarnation: Incarnation::MIN, number: DecisionNumber::MIN },
        deadline,
        stop: CancellationToken::new(),
    }
}

async fn prepare(
    adapter: &EtcdAdapter,
    action: &Action,
) -> Result<quorate_node::adapters::Prepared, PrepareRefused> {
    let plan = plan_of(&"etcd".parse().expect("a name"), action);
    adapter.prepare(action, &plan, SOON).await
}

#[tokio::test]
async fn a_yes_that_changed_nothing_is_ineffective_and_lost_keys_are_harmful() {
    let stand_in = StandIn::default();
    let adapter = adapter(serve(stand_in.clone()).await);
    let remove = action(Kind::RemoveMember, "member:n3", &[]);
    let prepared = prepare(&adapter, &remove).await.expect("it is prepared");
    assert_eq!(prepared.unmet(), None);
    let done = adapter.execute(&prepared, &order(SOON)).await;
    assert_eq!(done.answer, Answer::Applied, "etcd says yes: {done:?}");
    let verdict = adapter.verify(&prepared, Duration::ZERO).await;
    assert_eq!(verdict.effect, Effect::Ineffective, "n3 is still there: {verdict:?}");
    stand_in.lost.store(1, Ordering::SeqCst);
    let verdict = adapter.verify(&prepared, Duration::ZERO).await;
    assert_eq!(verdict.effect, Effect::Harmful, "{verdict:?}");
}

#[tokio::test]
async fn a_cluster_with_a_leader_is_not_declared_dead() {
    let adapter = adapter(serve(StandIn::default()).await);
    let params =
        ["method force-new-cluster", "survivor n1", "dead n2 attest:x", "dead n3 attest:x"];
    let declare = action(Kind::DeclareDead, "cluster:c", &params);
    let prepared = prepare(&adapter, &declare).await.expect("it is prepared");
    let held: Vec<&str> = prepared
        .preconditions
        .iter()
        .filter(|one| one.held == quorate_node::adapters::Held::Yes)
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(held, ["longest"], "{:?}", prepared.preconditions);
    let other = action(Kind::DeclareDead, "cluster:c", &["method single", "survivor n1"]);
    let refused = prepare(&adapter, &other).await.expect_err("no such method");
    assert!(refused.to_string().contains("force-new-cluster"), "{refused}");
}

#[tokio::test]
async fn a_member_that_accepts_and_says_nothing_gives_no_witness_within_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let adapter = adapter(listener.local_addr().expect("an address"));
    let begin = Instant::now();
    let remove = action(Kind::RemoveMember, "member:n3", &[]);
    let refused = prepare(&adapter, &remove).await.expect_err("nobody answers");
    assert!(matches!(refused, PrepareRefused::NoWitness { .. }), "{refused}");
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
}
