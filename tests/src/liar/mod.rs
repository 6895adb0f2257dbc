//! A coordinator that lies as Raft's leader.
//!
//! It is a real participant: it holds coordinator 1's cosigning key, TLS certificate and Raft id, is
//! elected by the others, and speaks the real protocols. It is no product code: nothing in a
//! coordinator can be switched on to behave like this. It may do whatever one who stole that
//! coordinator's disk could do: write any entry for any follower ([`branch`], [`wire`], [`feed`]),
//! cosign anything, and hear everything the others sign ([`stand`]).

pub mod branch;
pub mod feed;
pub mod snapshot;
pub mod stand;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use prost::bytes::Bytes;
use quorate_attest::certificate::{Certificate, CertificateRefused, Trusted, verify_certificate};
use quorate_attest::charter::Charter;
use quorate_attest::checkpoint::Checkpoint;
use quorate_attest::head::{CosignedHead, HeadPolicy};
use quorate_attest::id::KeyName;
use quorate_attest::key::CosignSigner;
use quorate_attest::refusal::Refusal;
use quorate_attest::signed::Signed;
use quorate_core::Body;
use quorate_proto::client::{ChannelOptions, Endpoint, Transport, channel, tcp};
use quorate_proto::key_file;
use quorate_proto::pb::raft::v1::exchange_client::ExchangeClient;
use quorate_proto::pb::raft::v1::raft_client::RaftClient;
use quorate_proto::pb::raft::v1::{Envelope, FetchRequest, Message, OfferRequest, ProposeRequest};
use quorate_proto::tls::TlsMaterial;
use quorate_store::codec::VERSION;
use tonic::Status;
use tonic::transport::Channel;

use self::branch::Branch;
use self::feed::{Ends, Feed};
use self::stand::Stand;
use crate::client::now;
use crate::deployment::Deployment;
use crate::wait;

/// The liar's Raft node id.
pub const LIAR: u64 = 1;

/// The honest ones take part only after they have answered each other.
const ELECTED_WITHIN: Duration = Duration::from_secs(30);

/// A lying coordinator.
pub struct Liar {
    charter: Charter,
    signer: CosignSigner,
    peers: BTreeMap<u64, Channel>,
    stand: Stand,
    term: u64,
    feeds: BTreeMap<u64, Feed>,
    /// Lines of its own, under whatever it likes.
    own: Vec<CosignedHead>,
}

impl Liar {
    /// Takes the place of coordinator 1, whose process must not run.
    ///
    /// # Panics
    /// Its files or its port cannot be used.
    pub async fn of(deployment: &Deployment) -> Self {
        let folder = &deployment.coordinators[&LIAR].folder;
        let file = |name: &str| folder.join(name);
        let tls = TlsMaterial::load(&file("tls.pem"), &file("tls.key"), &file("ca.pem"));
        let tls = tls.expect("the TLS files of coordinator 1");
        let secret = key_file::load(&file("cosign.pem")).expect("the key of coordinator 1");
        let transport = Transport::tls(&tls).expect("a coordinator's TLS");
        let addresses = peer_addresses(&file("coordinator.toml"));
        let others = addresses.iter().filter(|(id, _)| **id != LIAR);
        let peers = others.map(|(id, address)| {
            let endpoint = Endpoint { id: *id, address: address.clone() };
            let channel = channel(&endpoint, &transport, ChannelOptions::default(), &tcp());
            (*id, channel.expect("a peer's address"))
        });
        Self {
            charter: deployment.charter.statement.clone(),
            signer: CosignSigner::new(tls.identity().key_name(), secret),
            peers: peers.collect(),
            stand: Stand::open(&addresses[&LIAR], &tls).await,
            term: 0,
            feeds: BTreeMap::new(),
            own: Vec::new(),
        }
    }

    /// The coordinators that do not lie.
    pub fn honest(&self) -> impl Iterator<Item = u64> + '_ {
        self.peers.keys().copied()
    }

    /// Gets every honest vote for `term`, in which nothing was written before.
    ///
    /// # Panics
    /// It is not elected.
    pub async fn is_elected(&mut self, term: u64) {
        for to in self.peers.keys() {
            let what = format!("coordinator {to} votes for the liar");
            wait::until(&what, ELECTED_WITHIN, || async {
                let body = Bytes::from(wire::vote_request(term, LIAR, None));
                let mut raft = RaftClient::new(self.peers[to].clone());
                let answer = raft.vote(self.message(*to, body)).await.ok()?.into_inner();
                wire::is_granted(&answer.body).ok()?.then_some(())
            })
            .await;
        }
        self.term = term;
        for (to, channel) in &self.peers {
            let origin = self.charter.origin.to_string();
            let ends = Ends { origin, term, from: LIAR, to: *to };
            self.feeds.insert(*to, Feed::start(channel.clone(), ends));
        }
    }

    fn message(&self, to: u64, body: Bytes) -> Message {
        let origin = self.charter.origin.to_string();
        Message { origin, from: LIAR, to, codec: u32::from(VERSION), body }
    }

    fn envelope(&self, to: u64) -> Option<Envelope> {
        Some(Envelope { origin: self.charter.origin.to_string(), from: LIAR, to })
    }

    /// Feeds `branch` to these followers, and waits until they have taken it as committed.
    ///
    /// # Panics
    /// One of them does not.
    pub async fn feed(&self, to: &[u64], branch: &Branch) {
        self.give(to, branch);
        for to in to {
            self.feeds[to].taken().await;
        }
    }

    /// Feeds `branch` to these followers without waiting.
    pub fn give(&self, to: &[u64], branch: &Branch) {
        for to in to {
            self.feeds[to].give(branch.entries());
        }
    }

    /// The leadership over one follower.
    #[must_use]
    pub fn feed_of(&self, to: u64) -> &Feed {
        &self.feeds[&to]
    }

    /// Sends one follower a snapshot of everything in `branch`, with whatever state.
    ///
    /// # Errors
    /// It refuses it.
    ///
    /// # Panics
    /// The membership cannot be written.
    pub async fn sends_snapshot(
        &self,
        to: u64,
        branch: &Branch,
        state: &[u8],
    ) -> Result<(), Status> {
        let seal = |body: Vec<u8>| self.message(to, Bytes::from(body));
        let header = snapshot::header(&self.charter, branch, state);
        let vote = snapshot::vote(self.term, LIAR);
        let raft = RaftClient::new(self.peers[&to].clone());
        snapshot::send(raft, [seal(vote), seal(header)], branch, state).await
    }

    /// Stops leading: no entry and no heartbeat any more.
    pub fn falls_silent(&mut self) {
        self.feeds.clear();
    }

    /// Cosigns a head, whatever it signed before, and tells everybody.
    pub async fn cosigns(&mut self, checkpoint: &Checkpoint) {
        let line = self.signer.cosign(checkpoint, now().to_cosign_time()).to_line();
        let head = CosignedHead { checkpoint: checkpoint.clone(), lines: vec![line] };
        for to in self.peers.keys().copied().collect::<Vec<_>>() {
            self.offers(to, &head).await;
        }
        self.own.push(head);
    }

    /// Hands a head to one coordinator. That one may be away.
    pub async fn offers(&self, to: u64, head: &CosignedHead) {
        let heads = vec![Bytes::from(head.to_bytes())];
        let request =
            OfferRequest { envelope: self.envelope(to), heads, ..OfferRequest::default() };
        drop(ExchangeClient::new(self.peers[&to].clone()).offer(request).await);
    }

    /// Forwards a command to one coordinator, as a follower does for `caller`.
    ///
    /// # Errors
    /// What it answers.
    ///
    /// # Panics
    /// The command cannot be encoded.
    pub async fn forwards(&self, to: u64, body: &Body, caller: &str) -> Result<(), Status> {
        let request = ProposeRequest {
            envelope: self.envelope(to),
            codec: u32::from(VERSION),
            body: Bytes::from(borsh::to_vec(body).expect("a command")),
            caller: caller.to_owned(),
            request_id: Bytes::new(),
        };
        RaftClient::new(self.peers[&to].clone()).propose(request).await.map(drop)
    }

    /// Signs a refusal of its own.
    #[must_use]
    pub fn refuses(&self, refusal: Refusal) -> Signed<Refusal> {
        let line = self.signer.refuse(&refusal, now().to_cosign_time());
        Signed::new(refusal, vec![line])
    }

    /// Hands a refusal to everybody. Some may be away.
    pub async fn tells_refusal(&self, refusal: &Signed<Refusal>) {
        for (to, channel) in &self.peers {
            let refusals = vec![Bytes::from(refusal.to_bytes())];
            let envelope = self.envelope(*to);
            let request = OfferRequest { envelope, refusals, ..OfferRequest::default() };
            drop(ExchangeClient::new(channel.clone()).offer(request).await);
        }
    }

    /// Every good line under `checkpoint` that anybody has ever shown, the liar's own included.
    pub async fn gathers(&self, checkpoint: &Checkpoint) -> CosignedHead {
        let mut heads = self.stand.heard().heads;
        heads.extend(self.own.iter().cloned());
        for (to, channel) in &self.peers {
            for size in [0, checkpoint.size.get()] {
                let request = FetchRequest { envelope: self.envelope(*to), size };
                let fetched = ExchangeClient::new(channel.clone()).fetch(request).await;
                let note = fetched.map(|fetched| fetched.into_inner().head).unwrap_or_default();
                heads.extend(CosignedHead::parse(&note).ok());
            }
        }
        let same = heads.into_iter().filter(|head| head.checkpoint == *checkpoint);
        let lines = same.flat_map(|head| head.lines);
        CosignedHead::assemble(checkpoint.clone(), lines, &self.policy())
    }

    fn policy(&self) -> HeadPolicy {
        let threshold = usize::try_from(self.charter.threshold).expect("a small quorum");
        let coordinators = self.charter.coordinator.iter().cloned();
        let policy = HeadPolicy::new(self.charter.origin.clone(), coordinators, [], threshold);
        policy.expect("the charter's coordinators")
    }

    /// The refusals the honest ones have told.
    #[must_use]
    pub fn refusals(&self) -> Vec<Signed<Refusal>> {
        self.stand.heard().refusals
    }

    /// Makes the best certificate it can of the leaf at `index` and shows it to an agent, who pins
    /// the charter and nothing else.
    ///
    /// # Errors
    /// What the agent answers.
    pub async fn shows(
        &self,
        branch: &Branch,
        index: u64,
    ) -> Result<Certificate, CertificateRefused> {
        let mut answer = None;
        for size in index + 1..=branch.size() {
            let head = self.gathers(&branch.checkpoint(size)).await;
            let file = branch.certificate(index, head);
            let verified = verify_certificate(&file, &Trusted::pin(self.charter.clone()), now());
            let accepted = verified.is_ok();
            answer = Some(verified);
            if accepted {
                break;
            }
        }
        answer.expect("a leaf of the branch")
    }
}

impl Liar {
    /// Shows an agent the leaf at `index` under signatures of these keys: all coordinators lie.
    ///
    /// # Errors
    /// What the agent answers.
    pub fn shows_with(
        &self,
        branch: &Branch,
        index: u64,
        keys: &[CosignSigner],
    ) -> Result<Certificate, CertificateRefused> {
        let checkpoint = branch.checkpoint(branch.size());
        let time = now().to_cosign_time();
        let lines = keys.iter().map(|key| key.cosign(&checkpoint, time).to_line());
        let head = CosignedHead::assemble(checkpoint.clone(), lines, &self.policy());
        let file = branch.certificate(index, head);
        verify_certificate(&file, &Trusted::pin(self.charter.clone()), now())
    }
}

/// Where the coordinators reach each other, as `init` wrote it.
fn peer_addresses(config: &Path) -> BTreeMap<u64, String> {
    let text = std::fs::read_to_string(config).expect("the configuration of coordinator 1");
    let table: toml::Table = text.parse().expect("TOML");
    let peers = table["peers"].as_table().expect("the table of peers");
    let address = |(id, address): (&String, &toml::Value)| {
        (id.parse().expect("an id"), address.as_str().expect("an address").to_owned())
    };
    peers.iter().map(address).collect()
}

/// The names under a head.
#[must_use]
pub fn cosigners(head: &CosignedHead) -> BTreeSet<KeyName> {
    head.lines.iter().filter_map(|line| line.name.parse().ok()).collect()
}
