//! Calls to one ledger node: a fresh connection and a deadline for each.

use std::time::Duration;

use quorate_proto::foreign::ledger::admin_service_client::AdminServiceClient;
use quorate_proto::foreign::ledger::health_service_client::HealthServiceClient;
use quorate_proto::foreign::ledger::read_service_client::ReadServiceClient;
use quorate_proto::foreign::ledger::vault_service_client::VaultServiceClient;
use quorate_proto::foreign::ledger::{
    GetClusterInfoRequest, GetClusterInfoResponse, GetNodeInfoRequest, GetNodeInfoResponse,
    GetTipRequest, GetTipResponse, HealthCheckRequest, HealthCheckResponse, JoinClusterRequest,
    JoinClusterResponse, LeaveClusterRequest, LeaveClusterResponse, ListVaultsRequest,
    ListVaultsResponse, OrganizationSlug, RecoverVaultRequest, RecoverVaultResponse, UserSlug,
    VaultSlug,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use super::super::grpc::{bottom, endpoint};
use super::cluster::{Vault, Version};

/// One node's address.
#[derive(Debug, Clone)]
pub(super) struct Client(Endpoint);

impl Client {
    /// A client of `http://host:port`; nothing is connected.
    pub(super) fn new(url: &str) -> Result<Self, String> {
        endpoint(url).map(Self)
    }

    async fn call<T, F, Fut>(&self, deadline: Duration, call: F) -> Result<T, String>
    where
        F: FnOnce(Channel) -> Fut + Send,
        Fut: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let asked = async {
            let channel = self.0.connect().await.map_err(|error| bottom(&error))?;
            let answer = call(channel).await.map(Response::into_inner);
            answer.map_err(|status| format!("{:?}: {}", status.code(), status.message()))
        };
        let late = |_| Err(format!("no answer within {} ms", deadline.as_millis()));
        tokio::time::timeout(deadline, asked).await.unwrap_or_else(late)
    }

    /// `GetNodeInfo`.
    pub(super) async fn node(&self, deadline: Duration) -> Result<GetNodeInfoResponse, String> {
        let ask = |channel| async move {
            AdminServiceClient::new(channel).get_node_info(GetNodeInfoRequest {}).await
        };
        self.call(deadline, ask).await
    }

    /// `GetClusterInfo`: this node's own belief.
    pub(super) async fn cluster(
        &self,
        deadline: Duration,
    ) -> Result<GetClusterInfoResponse, String> {
        let ask = |channel| async move {
            AdminServiceClient::new(channel).get_cluster_info(GetClusterInfoRequest {}).await
        };
        self.call(deadline, ask).await
    }

    /// One page of vaults; the two versions keep them behind different services.
    pub(super) async fn vaults(
        &self,
        version: Version,
        caller: u64,
        page_token: Option<Vec<u8>>,
        deadline: Duration,
    ) -> Result<ListVaultsResponse, String> {
        let ask = |channel| async move {
            match version {
                Version::A => {
                    let request = ListVaultsRequest::default();
                    AdminServiceClient::new(channel).list_vaults(request).await
                }
                Version::B => {
                    let caller = Some(UserSlug { slug: caller });
                    let request = ListVaultsRequest { page_token, page_size: 100, caller };
                    VaultServiceClient::new(channel).list_vaults(request).await
                }
            }
        };
        self.call(deadline, ask).await
    }

    /// `GetTip` of a vault.
    pub(super) async fn tip(
        &self,
        vault: Vault,
        deadline: Duration,
    ) -> Result<GetTipResponse, String> {
        let request = GetTipRequest { organization: organization(vault), vault: vault_slug(vault) };
        let ask = |channel| async move { ReadServiceClient::new(channel).get_tip(request).await };
        self.call(deadline, ask).await
    }

    /// `HealthService.Check` of a vault. A word of the server; used against it only.
    pub(super) async fn health(
        &self,
        vault: Vault,
        deadline: Duration,
    ) -> Result<HealthCheckResponse, String> {
        let request =
            HealthCheckRequest { organization: organization(vault), vault: vault_slug(vault) };
        let ask = |channel| async move { HealthServiceClient::new(channel).check(request).await };
        self.call(deadline, ask).await
    }

    /// `LeaveCluster`. Success is said for ids that were never members.
    pub(super) async fn leave(
        &self,
        node_id: u64,
        deadline: Duration,
    ) -> Result<LeaveClusterResponse, String> {
        let request = LeaveClusterRequest { node_id };
        let ask =
            |channel| async move { AdminServiceClient::new(channel).leave_cluster(request).await };
        self.call(deadline, ask).await
    }

    /// `JoinCluster`.
    pub(super) async fn join(
        &self,
        node_id: u64,
        address: &str,
        deadline: Duration,
    ) -> Result<JoinClusterResponse, String> {
        let request = JoinClusterRequest { node_id, address: address.to_owned() };
        let ask =
            |channel| async move { AdminServiceClient::new(channel).join_cluster(request).await };
        self.call(deadline, ask).await
    }

    /// `RecoverVault`, never forced: it clears this node's vault state and replays its archive.
    pub(super) async fn recover(
        &self,
        vault: Vault,
        deadline: Duration,
    ) -> Result<RecoverVaultResponse, String> {
        let (organization, slug) = (organization(vault), vault_slug(vault));
        let request = RecoverVaultRequest { organization, vault: slug, force: false };
        let ask =
            |channel| async move { AdminServiceClient::new(channel).recover_vault(request).await };
        self.call(deadline, ask).await
    }
}

fn organization(vault: Vault) -> Option<OrganizationSlug> {
    Some(OrganizationSlug { slug: vault.organization })
}

fn vault_slug(vault: Vault) -> Option<VaultSlug> {
    Some(VaultSlug { slug: vault.slug })
}
