//! STAND-IN ledger: nodes that answer as InferaDB Ledger was measured to answer, versions A and B,
//! with what its answers hide (T3 to T7).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_proto::foreign::ledger::admin_service_server::{AdminService, AdminServiceServer};
use quorate_proto::foreign::ledger::health_service_server::{HealthService, HealthServiceServer};
use quorate_proto::foreign::ledger::read_service_server::{ReadService, ReadServiceServer};
use quorate_proto::foreign::ledger::vault_service_server::{VaultService, VaultServiceServer};
use quorate_proto::foreign::ledger::*;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Organisation and vault.
pub(crate) type Key = (u64, u64);

/// What the nodes know.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) version_b: bool,
    /// Each node's own members: id, and whether it votes.
    pub(crate) members: BTreeMap<u64, BTreeMap<u64, bool>>,
    pub(crate) leader: u64,
    /// Of each node: vault, height and root.
    pub(crate) tips: BTreeMap<u64, BTreeMap<Key, (u64, u8)>>,
    pub(crate) diverged: BTreeSet<Key>,
    /// `LeaveCluster` and `RecoverVault` say success and do nothing.
    pub(crate) only_says: bool,
    /// Administrators' calls never return.
    pub(crate) hangs: bool,
    pub(crate) calls: u32,
}

#[derive(Clone)]
pub(crate) struct Node {
    id: u64,
    world: Arc<Mutex<World>>,
}

/// Serves node `id` until the task is aborted.
pub(crate) async fn serve(
    id: u64,
    world: &Arc<Mutex<World>>,
) -> (String, tokio::task::JoinHandle<()>) {
    let node = Node { id, world: Arc::clone(world) };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let router = tonic::transport::Server::builder()
        .add_service(AdminServiceServer::new(node.clone()))
        .add_service(VaultServiceServer::new(node.clone()))
        .add_service(ReadServiceServer::new(node.clone()))
        .add_service(HealthServiceServer::new(node));
    let serving = router.serve_with_incoming(TcpListenerStream::new(listener));
    (url, tokio::spawn(async move { serving.await.expect("served") }))
}

impl Node {
    fn info(&self, key: Key) -> GetVaultResponse {
        GetVaultResponse {
            organization: Some(OrganizationSlug { slug: key.0 }),
            vault: Some(VaultSlug { slug: key.1 }),
        }
    }

    async fn keys(&self) -> Vec<Key> {
        let world = self.world.lock().await;
        world.tips.get(&self.id).into_iter().flat_map(|tips| tips.keys().copied()).collect()
    }

    /// Counts a call that changes something; hangs if it has to.
    async fn counted(&self) {
        let hangs = {
            let mut world = self.world.lock().await;
            world.calls += 1;
            world.hangs
        };
        if hangs {
            std::future::pending::<()>().await;
        }
    }
}

fn key(organization: Option<OrganizationSlug>, vault: Option<VaultSlug>) -> Key {
    (organization.unwrap_or_default().slug, vault.unwrap_or_default().slug)
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AdminService for Node {
    async fn get_cluster_info(
        &self,
        _: Request<GetClusterInfoRequest>,
    ) -> Answer<GetClusterInfoResponse> {
        let world = self.world.lock().await;
        let members = world.members.get(&self.id).cloned().unwrap_or_default();
        let member = |(node_id, votes): (u64, bool)| ClusterMember {
            node_id,
            address: String::new(),
            role: if votes { 1 } else { 2 },
            is_leader: node_id == world.leader,
        };
        Ok(Response::new(GetClusterInfoResponse {
            leader_id: world.leader,
            term: 1,
            members: members.into_iter().map(member).collect(),
        }))
    }

    async fn get_node_info(&self, _: Request<GetNodeInfoRequest>) -> Answer<GetNodeInfoResponse> {
        let world = self.world.lock().await;
        let state = if world.version_b { "running" } else { "" };
        Ok(Response::new(GetNodeInfoResponse {
            node_id: self.id,
            address: "0.0.0.0:50051".into(),
            is_cluster_member: world
                .members
                .get(&self.id)
                .is_some_and(|m| m.contains_key(&self.id)),
            term: 1,
            state: state.into(),
        }))
    }

    async fn join_cluster(
        &self,
        request: Request<JoinClusterRequest>,
    ) -> Answer<JoinClusterResponse> {
        self.counted().await;
        let id = request.into_inner().node_id;
        let mut world = self.world.lock().await;
        let leader_id = world.leader;
        if leader_id != self.id {
            let message = "not the leader".into();
            return Ok(Response::new(JoinClusterResponse {
                leader_id,
                message,
                ..Default::default()
            }));
        }
        let votes = !world.only_says;
        let known: Vec<u64> = world.members.keys().copied().collect();
        let all = world.members[&self.id].clone();
        let all: BTreeMap<u64, bool> = all.into_iter().chain([(id, votes)]).collect();
        for node in known.into_iter().chain([id]) {
            world.members.insert(node, all.clone());
        }
        let tips = world.tips[&self.id].clone();
        world.tips.insert(id, tips);
        Ok(Response::new(JoinClusterResponse { success: true, leader_id, ..Default::default() }))
    }

    /// T6: an unknown id is a success; a follower says no with a good gRPC status.
    async fn leave_cluster(
        &self,
        request: Request<LeaveClusterRequest>,
    ) -> Answer<LeaveClusterResponse> {
        self.counted().await;
        let id = request.into_inner().node_id;
        let mut world = self.world.lock().await;
        if world.leader != self.id {
            let message = "not the leader".into();
            return Ok(Response::new(LeaveClusterResponse { success: false, message }));
        }
        if !world.only_says {
            for members in world.members.values_mut() {
                members.remove(&id);
            }
        }
        Ok(Response::new(LeaveClusterResponse { success: true, message: String::new() }))
    }

    /// T5: success, and healthy for the whole cluster, though only this node was rebuilt, if at all.
    async fn recover_vault(
        &self,
        request: Request<RecoverVaultRequest>,
    ) -> Answer<RecoverVaultResponse> {
        self.counted().await;
        let asked = request.into_inner();
        let key = key(asked.organization, asked.vault);
        let mut world = self.world.lock().await;
        world.diverged.remove(&key);
        if !world.only_says {
            let tip = world.tips[&world.leader][&key];
            world.tips.entry(self.id).or_default().insert(key, tip);
        }
        Ok(Response::new(RecoverVaultResponse { success: true, message: "recovered".into() }))
    }

    async fn list_vaults(&self, _: Request<ListVaultsRequest>) -> Answer<ListVaultsResponse> {
        if self.world.lock().await.version_b {
            return Err(Status::unimplemented("version B"));
        }
        let vaults = self.keys().await.into_iter().map(|key| self.info(key)).collect();
        Ok(Response::new(ListVaultsResponse { vaults, next_page_token: None }))
    }
}

#[tonic::async_trait]
impl VaultService for Node {
    /// One vault on each page.
    async fn list_vaults(&self, request: Request<ListVaultsRequest>) -> Answer<ListVaultsResponse> {
        let asked = request.into_inner();
        if !self.world.lock().await.version_b {
            return Err(Status::unimplemented("version A"));
        }
        if asked.caller != Some(UserSlug { slug: 7 }) {
            return Err(Status::permission_denied("who asks?"));
        }
        let at = asked.page_token.and_then(|token| token.first().copied()).unwrap_or(0);
        let keys = self.keys().await;
        let vaults: Vec<_> =
            keys.get(usize::from(at)).map(|key| self.info(*key)).into_iter().collect();
        let more = usize::from(at) + 1 < keys.len();
        let next_page_token = more.then(|| vec![at + 1]);
        Ok(Response::new(ListVaultsResponse { vaults, next_page_token }))
    }
}

#[tonic::async_trait]
impl ReadService for Node {
    /// T5: the block hash differs between healthy replicas.
    async fn get_tip(&self, request: Request<GetTipRequest>) -> Answer<GetTipResponse> {
        let asked = request.into_inner();
        let key = key(asked.organization, asked.vault);
        let world = self.world.lock().await;
        let tip = world.tips.get(&self.id).and_then(|tips| tips.get(&key));
        let (height, root) = tip.copied().ok_or_else(|| Status::not_found("no such vault"))?;
        let hash = |byte: u8| Some(Hash { value: vec![byte; 32] });
        let own = u8::try_from(self.id).expect("small");
        Ok(Response::new(GetTipResponse { height, block_hash: hash(own), state_root: hash(root) }))
    }
}

#[tonic::async_trait]
impl HealthService for Node {
    /// T4: HEALTHY with nothing in it.
    async fn check(&self, request: Request<HealthCheckRequest>) -> Answer<HealthCheckResponse> {
        let asked = request.into_inner();
        let key = key(asked.organization, asked.vault);
        let diverged = self.world.lock().await.diverged.contains(&key);
        let word = if diverged { "diverged" } else { "healthy" };
        Ok(Response::new(HealthCheckResponse {
            status: if diverged { 3 } else { 1 },
            message: String::new(),
            details: [("health_status".to_owned(), word.to_owned())].into(),
        }))
    }
}
