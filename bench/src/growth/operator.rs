//! The person who asks: adds a leaf, and waits until it is certified.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use quorate_attest::id::Nonce;
use quorate_attest::key::NoteSigner;
use quorate_attest::log_time::Span;
use quorate_attest::operator_statement::{Automation, Pause, Scope};
use quorate_proto::client::Client;
use quorate_proto::key_file;
use quorate_proto::pb::v1::{CoordinatorRole, GetStatusResponse, SubmitPauseRequest};
use tokio::time::Instant;

use super::now;
use crate::deployment::{Deployment, WITHIN};
use crate::world::{NETWORK, OPERATORS, World};

/// Between two looks at a status.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The first operator, with client and key.
pub(super) struct Operator {
    client: Client,
    signer: NoteSigner,
    world: Arc<World>,
}

impl Operator {
    pub(super) fn open(deployment: &Deployment, world: Arc<World>) -> Result<Self> {
        let secret = key_file::load(&deployment.operator().join("key.pem"))?;
        let name = format!("{NETWORK}/operator/{}", OPERATORS[0]).parse()?;
        let client = deployment.client(deployment.ids())?;
        Ok(Self { client, signer: NoteSigner::new(name, secret), world })
    }

    /// Adds one leaf to the log; answers the size of the log that holds it.
    pub(super) async fn add_leaf(&self) -> Result<u64> {
        let note = self.signer.signed(self.statement()?).to_bytes();
        let request = SubmitPauseRequest { note, ..SubmitPauseRequest::default() };
        let recorded = self.client.submit_pause(request).await?;
        Ok(recorded.leaf_index.context("the statement made no leaf")? + 1)
    }

    /// A statement that makes one leaf and changes nothing: automation runs, and shall run.
    fn statement(&self) -> Result<Pause> {
        let charter = &self.world.charter.statement;
        let now = now()?;
        let mut nonce = [0; 16];
        nonce[8..].copy_from_slice(&now.get().to_be_bytes());
        Ok(Pause {
            origin: charter.origin.clone(),
            epoch: charter.epoch,
            cluster: Scope::All,
            automation: Automation::Running,
            until: None,
            reason: "one more leaf for the benchmark".parse()?,
            expires: now.saturating_add(Span::from_secs(600)),
            nonce: Nonce::from_bytes(nonce),
        })
    }

    /// What coordinator `id` says of itself.
    pub(super) async fn status(&self, id: u64) -> Result<GetStatusResponse> {
        self.client.status_of(id, false).await.with_context(|| format!("status of {id}"))
    }

    /// The leader's id, once one is known.
    pub(super) async fn leader(&self) -> Result<u64> {
        let begun = Instant::now();
        loop {
            for endpoint in self.client.endpoints() {
                let status = self.client.status_of(endpoint.id, false).await;
                if status.is_ok_and(|status| status.role() == CoordinatorRole::Leader) {
                    return Ok(endpoint.id);
                }
            }
            ensure!(begun.elapsed() < WITHIN, "nobody leads");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until `id` holds a certified head of `size`; answers the size it holds.
    pub(super) async fn certified(&self, id: u64, size: u64) -> Result<u64> {
        let begun = Instant::now();
        loop {
            let held = self.status(id).await?.head.map_or(0, |head| head.size);
            if held >= size {
                return Ok(held);
            }
            ensure!(begun.elapsed() < WITHIN, "{id} holds no certified head of {size}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
