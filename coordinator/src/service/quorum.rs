//! The quorum of coordinators: who is there, and handing leadership over.

use std::{collections::BTreeSet, time::Duration};

use quorate_proto::{
    convert,
    error_code::ErrorCode,
    pb::v1::{
        Consistency, Coordinator, CoordinatorRole, ListCoordinatorsRequest,
        ListCoordinatorsResponse, TransferLeaderRequest, TransferLeaderResponse,
        quorum_server::Quorum,
    },
    problem::Problem,
};
use tokio::time::{sleep, timeout};
use tonic::{Request, Response, Status};

use super::{Context, duration, error};
use crate::{
    handle::ProposeError,
    raft::view::{RaftRole, RaftView},
};

/// A hand-over takes about one election at most.
const HAND_OVER: Duration = Duration::from_secs(4);
/// A peer that answered within this time counts as reachable.
const REACHABLE: Duration = Duration::from_secs(2);

#[tonic::async_trait]
impl Quorum for Context {
    async fn list_coordinators(
        &self,
        request: Request<ListCoordinatorsRequest>,
    ) -> Result<Response<ListCoordinatorsResponse>, Status> {
        let request = request.into_inner();
        let stale = convert::known::<Consistency>("consistency", request.consistency)
            .map_err(Problem::from)?
            == Consistency::Stale;
        if !stale && !self.handle.leads() {
            // Only the leader knows how far the others are.
            return Err(self.not_leader());
        }
        let read = self.read(request.consistency).await?;
        let view = self.handle.raft_view();
        let names = self.coordinator_names().await?;
        let ids: BTreeSet<u64> =
            names.iter().map(|(id, _)| *id).chain(view.nodes.keys().copied()).collect();
        let coordinators: Vec<_> =
            ids.into_iter().map(|id| self.coordinator(id, &view, &names)).collect();
        let voters = view.voters.last().map_or(0, Vec::len);
        let reachable = coordinators.iter().filter(|shown| shown.reachable).count();
        let majority = voters / 2 + 1;
        Ok(Response::new(ListCoordinatorsResponse {
            leader_id: view.leader.unwrap_or(0),
            term: view.term,
            changing: view.voters.len() > 1,
            can_lose: u32::try_from(reachable.saturating_sub(majority)).unwrap_or(0),
            coordinators,
            read: Some(read),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        let request = request.into_inner();
        self.expect(request.expect, None).await?;
        if !self.handle.leads() {
            return Err(self.not_leader());
        }
        let view = self.handle.raft_view();
        let to = match request.to {
            0 => self.handle.most_current_follower().ok_or_else(|| {
                Problem::new(ErrorCode::NoQuorum, "there is no follower to hand over to")
            })?,
            to => to,
        };
        let is_voter = view.voters.last().is_some_and(|voters| voters.contains(&to));
        if !is_voter {
            let what = format!("coordinator {to} is no voter");
            return Err(Problem::new(ErrorCode::UnknownTarget, what).with("name", to).into());
        }
        if to != self.handle.own() {
            self.hand_over(to).await?;
        }
        let view = self.handle.raft_view();
        let leader_id = view.leader.unwrap_or(0);
        Ok(Response::new(TransferLeaderResponse { leader_id, term: view.term }))
    }
}

impl Context {
    fn not_leader(&self) -> Status {
        match self.handle.leader() {
            Some(leader) => {
                let why = "only the leader answers this".to_owned();
                error::propose_status(ProposeError::NotLeader { leader, why }, &self.handle)
            }
            None => error::propose_status(ProposeError::NoQuorum, &self.handle),
        }
    }

    async fn hand_over(&self, to: u64) -> Result<(), Status> {
        let asked = self.handle.transfer_leader(to).await;
        asked.map_err(|error| error::read_status(&error))?;
        let done = timeout(HAND_OVER, async {
            while self.handle.leader() != Some(to) {
                sleep(Duration::from_millis(10)).await;
            }
        });
        done.await.map_err(|_| {
            let what = format!("coordinator {to} did not take leadership over in time");
            Problem::new(ErrorCode::NoQuorum, what).retry_after(Duration::from_millis(500)).into()
        })
    }

    /// Ids and names of the charter's coordinators.
    pub(crate) async fn coordinator_names(&self) -> Result<Vec<(u64, String)>, Status> {
        self.machine(|machine| {
            let Some(ledger) = machine.state().ledger() else { return Vec::new() };
            let charter = ledger.charter();
            charter
                .coordinator
                .iter()
                .filter_map(|key| Some((charter.node_id(key.name())?, key.name().to_string())))
                .collect()
        })
        .await
    }

    fn coordinator(&self, id: u64, view: &RaftView, names: &[(u64, String)]) -> Coordinator {
        let own = id == self.handle.own();
        let in_charter = names.iter().find(|(known, _)| *known == id);
        let name = in_charter.map(|(_, name)| name).or(view.nodes.get(&id));
        let (matched, heard) = match view.matched.get(&id) {
            _ if own => (Some(view.last_index), Some(Duration::ZERO)),
            Some((matched, heard)) => (*matched, *heard),
            None => (None, None),
        };
        let is_voter = view.voters.iter().any(|voters| voters.contains(&id));
        let role = match (own, view.leader == Some(id), is_voter) {
            (true, _, _) => role(view.role),
            (false, true, _) => CoordinatorRole::Leader,
            (false, false, true) => CoordinatorRole::Follower,
            (false, false, false) if view.nodes.contains_key(&id) => CoordinatorRole::Learner,
            (false, false, false) => CoordinatorRole::Unspecified,
        };
        let cosigned = self.signer.state().borrow().cosigned.get(&id).copied().unwrap_or(0);
        Coordinator {
            id,
            name: name.cloned().unwrap_or_default(),
            role: role.into(),
            client_address: self.handle.clients().get(&id).cloned().unwrap_or_default(),
            peer_address: self.peers.get(&id).cloned().unwrap_or_default(),
            // Whoever has answered the leader follows it in its term.
            term: if own || heard.is_some() || view.leader == Some(id) { view.term } else { 0 },
            matched_index: matched.unwrap_or(0),
            trails_by: matched.map_or(0, |matched| view.last_index.saturating_sub(matched)),
            cosigned_size: cosigned,
            last_contact: heard.map(duration),
            in_charter: in_charter.is_some(),
            reachable: own
                || heard.is_some_and(|heard| heard < REACHABLE)
                || view.leader == Some(id),
        }
    }
}

/// What this coordinator is to Raft.
pub(crate) fn role(role: RaftRole) -> CoordinatorRole {
    match role {
        RaftRole::Leader => CoordinatorRole::Leader,
        RaftRole::Follower => CoordinatorRole::Follower,
        RaftRole::Candidate => CoordinatorRole::Candidate,
        RaftRole::Learner => CoordinatorRole::Learner,
    }
}

/// One sentence of what n, f and k mean.
pub(crate) fn safety(coordinators: u32, faults: u32) -> String {
    match (coordinators, faults) {
        (_, 0) => "crash-safe; forks are detected, not prevented".to_owned(),
        (5, 1) => "one lying coordinator is tolerated; with two down Raft applies but nothing is certified"
            .to_owned(),
        (_, 1) => "one lying coordinator is tolerated".to_owned(),
        (_, faults) => format!("{faults} lying coordinators are tolerated"),
    }
}
