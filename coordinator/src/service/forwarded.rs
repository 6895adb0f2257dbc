//! What another coordinator forwards is verified exactly like what comes in at our own door.
//!
//! A peer vouches only for its caller's identity (mutual TLS ended there). Everything else is in
//! the signed texts, so a lying follower gets nothing into the log that a client could not: but for a
//! re-issue, which no text asks for, and which can only let a certified action go on.

use quorate_attest::{
    history::Refusers, id::KeyName, key::VerifierKey, note::SignatureLine, refusal::Refusal,
    signed::Signed,
};
use quorate_core::Body;
use quorate_proto::{error_code::ErrorCode, problem::Problem};
use tonic::Status;

use super::verify;
use crate::{admission::Verifiers, handle::Handle};

/// Verifies a command that coordinator `peer` forwards for `caller`.
///
/// # Errors
/// What the door would have refused, or a command that only a leader proposes, for itself.
pub(crate) async fn verify(
    handle: &Handle,
    verifiers: &Verifiers,
    peer: u64,
    caller: Option<&KeyName>,
    body: Body,
) -> Result<Body, Status> {
    Ok(match body {
        Body::Open(proposal) => {
            if let Some(in_force) = handle.in_force()
                && proposal.origin != in_force.charter.origin
            {
                return Err(verify::wrong_origin(&proposal.origin, &in_force.charter.origin).into());
            }
            of_caller(caller, &proposal.proposer)?;
            Body::Open(proposal)
        }
        Body::Vote(vote) => Body::Vote(verify::verified_text(handle, verifiers, vote).await?),
        Body::Veto(veto) => Body::Veto(verify::verified_text(handle, verifiers, veto).await?),
        Body::Override(text) => {
            Body::Override(verify::verified_text(handle, verifiers, text).await?)
        }
        Body::Act(act) => Body::Act(verify::verified_text(handle, verifiers, act).await?),
        Body::Pause(pause) => Body::Pause(verify::verified_text(handle, verifiers, pause).await?),
        Body::Observe(observe) => {
            // A coordinator that led until just now forwards observations it holds in nobody's
            // name.
            if caller.is_some() {
                of_caller(caller, &observe.statement.agent)?;
            }
            Body::Observe(verify::verified_text(handle, verifiers, observe).await?)
        }
        Body::Claim(claim) => {
            of_caller(caller, &claim.statement.agent)?;
            Body::Claim(verify::verified_text(handle, verifiers, claim).await?)
        }
        Body::Report(report) => {
            of_caller(caller, &report.statement.agent)?;
            Body::Report(verify::verified_text(handle, verifiers, report).await?)
        }
        Body::Amend(signed) => {
            let old = verify::in_force(handle)?;
            Body::Amend(verify::operators_signed(verifiers, signed, &old.charter).await?)
        }
        Body::Refuse(refusals) => {
            let refusers = refusers(handle, &refusals).await?;
            Body::Refuse(check_refusals(refusals, |line| refusers.of_line(line))?)
        }
        Body::Support { coordinator, version } => {
            if coordinator != peer {
                let what = format!("coordinator {peer} speaks for coordinator {coordinator}");
                let owner = format!("coordinator {coordinator}");
                return Err(Problem::new(ErrorCode::NotYours, what).with("owner", owner).into());
            }
            Body::Support { coordinator, version }
        }
        body @ Body::Continue { .. } => {
            verify::operator_in_force(handle, caller)?;
            body
        }
        body @ (Body::Found(_) | Body::Tick) => {
            return Err(Status::permission_denied(format!("only a leader proposes: {body}")));
        }
    })
}

fn of_caller(caller: Option<&KeyName>, signer: &KeyName) -> Result<(), Status> {
    if caller == Some(signer) {
        return Ok(());
    }
    let caller = caller.map_or("nobody", KeyName::as_str);
    let what = format!("the text is of {signer}, the caller is {caller}");
    Err(Problem::new(ErrorCode::NotYours, what).with("owner", signer).into())
}

/// Whose refusals count: those of one decision are all of its epoch, the machine refuses others.
async fn refusers(handle: &Handle, refusals: &[Signed<Refusal>]) -> Result<Refusers, Status> {
    let in_force = verify::in_force(handle)?.charter.epoch;
    let have = refusals.first().map_or(in_force, |refusal| refusal.statement.epoch);
    let known = handle.machine(move |machine| machine.state().ledger()?.history().refusers(have));
    let mismatch = || {
        let what = format!("the refusals are of epoch {have}, in force is {in_force}");
        let problem = Problem::new(ErrorCode::EpochMismatch, what);
        problem.with("have", have).with("want", in_force).into()
    };
    known.await.ok().flatten().ok_or_else(mismatch)
}

fn check_refusals<'k>(
    refusals: Vec<Signed<Refusal>>,
    of_line: impl Fn(&SignatureLine) -> Option<&'k VerifierKey>,
) -> Result<Vec<Signed<Refusal>>, Status> {
    for refusal in &refusals {
        if let Err(refused) = refusal.signer(&of_line) {
            let code = ErrorCode::SignatureInvalid;
            let (name, key_id) = refusal
                .lines
                .first()
                .map(|line| (line.name.clone(), line.key_id.to_string()))
                .unwrap_or_default();
            return Err(Problem::new(code, refused.to_string())
                .with("key_id", key_id)
                .with("name", name)
                .into());
        }
    }
    Ok(refusals)
}

#[cfg(test)]
mod tests {
    use quorate_attest::{
        id::Origin,
        key::{CosignSigner, SecretKey},
        log_time::CosignTime,
        note::KeyRing,
        number::{DecisionNumber, Epoch, LeafIndex},
        refusal::Cause,
    };
    use zeroize::Zeroizing;

    use super::*;

    fn signer(id: u8) -> CosignSigner {
        let name = KeyName::new(format!("quorate.test/net/coordinator/{id}")).unwrap();
        CosignSigner::new(name, SecretKey::from_seed(Zeroizing::new([id; 32])))
    }

    fn refusal(by: &CosignSigner) -> Signed<Refusal> {
        let origin: Origin = format!("quorate.test/net/1-{}", "0a".repeat(16)).parse().unwrap();
        let statement = Refusal {
            origin,
            epoch: Epoch::MIN,
            cluster: "db".parse().unwrap(),
            number: DecisionNumber::MIN,
            leaf: LeafIndex::new(1).unwrap(),
            cause: Cause::Clock,
        };
        let line = by.refuse(&statement, CosignTime::new(1_790_000_000).unwrap());
        Signed::new(statement, vec![line])
    }

    #[test]
    fn refusals_are_believed_by_signature_and_not_by_name() {
        let (one, two) = (signer(1), signer(2));
        let ring = KeyRing::new([one.vkey().clone(), two.vkey().clone()]).unwrap();
        assert!(
            check_refusals(vec![refusal(&one), refusal(&two)], |line| ring.of_line(line)).is_ok()
        );
        let mut forged = refusal(&two);
        *forged.lines[0].payload.last_mut().unwrap() ^= 1;
        let refused =
            check_refusals(vec![refusal(&one), forged], |line| ring.of_line(line)).unwrap_err();
        assert_eq!(
            refused.code(),
            Status::from(Problem::new(ErrorCode::SignatureInvalid, "")).code()
        );
        assert!(
            check_refusals(vec![refusal(&signer(3))], |line| ring.of_line(line)).is_err(),
            "of no coordinator"
        );
    }

    #[test]
    fn a_text_is_taken_from_its_owner_only() {
        let (one, two) = (signer(1), signer(2));
        let name = |signer: &CosignSigner| signer.vkey().name().clone();
        assert!(of_caller(Some(&name(&one)), &name(&one)).is_ok());
        assert!(of_caller(Some(&name(&two)), &name(&one)).is_err());
        assert!(of_caller(None, &name(&one)).is_err());
    }
}
