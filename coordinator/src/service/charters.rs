//! Charters: the root of trust, one per epoch.

use quorate_attest::{
    charter::Charter,
    leaf::Leaf,
    quorum::{Electorate, Tally, TallyResult},
    signed::Signed,
};
use quorate_core::{Body, Outcome};
use quorate_proto::{
    convert,
    error_code::ErrorCode,
    page::Page,
    pb::v1::{
        self as pb, AmendCharterRequest, AmendCharterResponse, GetCharterRequest,
        GetCharterResponse, ListChartersRequest, ListChartersResponse, TallyState, View,
        charters_server::Charters,
    },
    problem::Problem,
};
use tonic::{Request, Response, Status};

use super::{Context, caller, malformed, show, verify};

/// A charter's note: its text is at most 40,000 bytes, then up to 64 lines.
const NOTE_BYTES_MAX: usize = 64 * 1024;

#[tonic::async_trait]
impl Charters for Context {
    async fn get_charter(
        &self,
        request: Request<GetCharterRequest>,
    ) -> Result<Response<GetCharterResponse>, Status> {
        let request = request.into_inner();
        let view = convert::known::<View>("view", request.view).map_err(Problem::from)?;
        let read = self.read(request.consistency).await?;
        let all = self.charters()?;
        let found = match request.epoch {
            0 => all.last(),
            epoch => all.iter().find(|(_, signed)| signed.statement.epoch.get() == epoch),
        };
        let (index, signed) = found.ok_or_else(|| {
            let what = format!("the log has no charter of epoch {}", request.epoch);
            Status::from(
                Problem::new(ErrorCode::UnknownTarget, what)
                    .with("name", format_args!("epoch {}", request.epoch)),
            )
        })?;
        let charter = show::charter(signed, *index, view != View::Basic);
        Ok(Response::new(GetCharterResponse { charter: Some(charter), read: Some(read) }))
    }

    async fn list_charters(
        &self,
        request: Request<ListChartersRequest>,
    ) -> Result<Response<ListChartersResponse>, Status> {
        let request = request.into_inner();
        let page = Page::parse(request.page_size, &request.page_token, b"charters")?;
        let view = convert::known::<View>("view", request.view).map_err(Problem::from)?;
        let full = matches!(view, View::Full | View::WithProof);
        let read = self.read(request.consistency).await?;
        let after = page.after_index()?;
        let all = self.charters()?;
        let mut rest = all.iter().filter(|(index, _)| after.is_none_or(|after| *index > after));
        let charters: Vec<_> = rest
            .by_ref()
            .take(page.size())
            .map(|(index, signed)| show::charter(signed, *index, full))
            .collect();
        let last = charters.last().map(|charter| charter.leaf_index);
        let next_page_token = match (rest.next(), last) {
            (Some(_), Some(last)) => page.token_of_index(last),
            (None, _) | (_, None) => String::new(),
        };
        Ok(Response::new(ListChartersResponse { charters, next_page_token, read: Some(read) }))
    }

    async fn amend_charter(
        &self,
        request: Request<AmendCharterRequest>,
    ) -> Result<Response<AmendCharterResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        if request.note.len() > NOTE_BYTES_MAX {
            let why = format!("{} bytes, the limit is {NOTE_BYTES_MAX}", request.note.len());
            return Err(malformed("note", why));
        }
        let signed = Signed::<Charter>::parse(&request.note);
        let signed = signed.map_err(|error| verify::not_a_note(&error))?;
        let in_force = self
            .handle
            .in_force()
            .ok_or_else(|| Problem::new(ErrorCode::NoQuorum, "the log has no charter yet"))?;
        let old = in_force.charter.clone();
        if signed.statement.origin != old.origin {
            return Err(verify::wrong_origin(&signed.statement.origin, &old.origin).into());
        }
        self.expect(request.expect, None).await?;
        let signed = verify::operators_signed(&self.verifiers, signed, &old).await?;
        let tallies = (tally(&old, &signed), tally(&signed.statement, &signed));
        let ended_proposals = self
            .machine(|machine| machine.state().open().keys().map(ToString::to_string).collect())
            .await?;
        let body = Body::Amend(signed.clone());
        let (outcome, applied_index) = if request.validate_only {
            (self.consider(body).await?, 0)
        } else {
            let (outcome, written) = self.write(body, &caller, &request.request_id).await?;
            (outcome, written.index)
        };
        let Outcome::Chartered { index, .. } = outcome else {
            return Err(Status::internal("an amendment was answered like something else"));
        };
        Ok(Response::new(AmendCharterResponse {
            charter: Some(show::charter(&signed, index.get(), true)),
            old_operators: tallies.0,
            new_operators: tallies.1,
            ended_proposals,
            applied_index,
        }))
    }
}

impl Context {
    /// Every charter of the log with its leaf index, oldest first.
    fn charters(&self) -> Result<Vec<(u64, Signed<Charter>)>, Status> {
        let view = self.view()?;
        let mut all = Vec::new();
        for index in self.catalog.charters() {
            let bytes = view.get(index).map_err(|error| Status::unavailable(error.to_string()))?;
            if let Some(Ok(Leaf::Charter(signed))) = bytes.map(|bytes| Leaf::parse(&bytes)) {
                all.push((index, signed));
            }
        }
        Ok(all)
    }
}

/// The operators of `charter` among the signers of an amendment.
fn tally(charter: &Charter, signed: &Signed<Charter>) -> Option<pb::Tally> {
    let electorate = Electorate::of_charter(charter)?;
    let signers: std::collections::BTreeSet<_> = signed
        .lines
        .iter()
        .filter_map(|line| charter.operator_of_line(line))
        .map(|key| key.name().clone())
        .collect();
    let none = std::collections::BTreeSet::new();
    let counted: Tally = electorate.tally(&signers, &none, &none);
    let missing = electorate.operators.iter().filter(|name| !signers.contains(*name));
    Some(pb::Tally {
        state: match counted.result {
            TallyResult::Pending => TallyState::Pending,
            TallyResult::Won => TallyState::Won,
            TallyResult::Lost => TallyState::Lost,
        }
        .into(),
        have: counted.have,
        need: counted.need,
        voices: counted.voices,
        operators_have: counted.operators_have,
        operators_need: counted.operators_need,
        approved: signers.iter().map(|name| show::voter(charter, name, "")).collect(),
        rejected: Vec::new(),
        missing: missing.map(|name| show::voter(charter, name, "")).collect(),
        excluded: Vec::new(),
    })
}
