//! May this member start? Pure: what is known of the log, where the start is, and now.

use quorate_attest::certificate::{
    CertificateRefused, Trusted, judge_freshness, judge_window, verify_certificate,
};
use quorate_attest::charter::{Charter, Gate};
use quorate_attest::declaration::Declaration;
use quorate_attest::head::HeadRefused;
use quorate_attest::history::{ClusterHistory, History};
use quorate_attest::id::{ClusterId, KeyName, MemberId};
use quorate_attest::log_time::{CosignTime, LogTime};
use quorate_attest::number::FencingToken;
use quorate_attest::proof::ProofRefused;

use super::place::{Contents, Place, digest_of};
use super::refusal::{AloneRefused, Refusal};
use super::state::{Known, NotKnown};
use crate::trust::{Standing, View};

/// Who wants to start, beside which agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The guarded cluster.
    pub cluster: ClusterId,
    /// The member.
    pub member: MemberId,
    /// Key name of its agent.
    pub agent: KeyName,
}

/// What an open gate could not know. Only gates that fail open ever let it pass.
pub type Warning = Refusal;

/// Whether the member may start at all. `pinned` says what gates answer where nothing else does.
///
/// # Errors
/// [`Refusal`]. What is known to be dead is refused by every gate; what cannot be known is refused
/// by gates that fail closed, and only warned of by those that fail open.
pub fn judge_start(
    who: &Who,
    known: Result<&Known, NotKnown>,
    pinned: &Charter,
    place: &Place,
    now: LogTime,
) -> Result<Option<Warning>, Refusal> {
    let cluster = who.cluster.clone();
    let known = match known {
        Ok(known) => known,
        Err(source) => return by_charter(pinned, who, Refusal::NothingKnown { cluster, source }),
    };
    let Some(history) = known.view.history() else {
        return Err(Refusal::NotMember { cluster, member: who.member.clone() });
    };
    if let Some(cluster) = history.cluster(&who.cluster) {
        not_dead(who, known, cluster, place)?;
    }
    if history.charter().member(&who.cluster, &who.member).is_none() {
        return Err(Refusal::NotMember { cluster, member: who.member.clone() });
    }
    if let Some(alarm) = known.view.alarm() {
        let alarm = alarm.to_string();
        return by_charter(history.charter(), who, Refusal::Alarm { alarm });
    }
    if !known.view.is_fresh(now) {
        let max_age = history.charter().max_age.words().to_string();
        let stale = Refusal::Stale { cluster, as_of: as_of(&known.view), max_age };
        return by_charter(history.charter(), who, stale);
    }
    Ok(None)
}

/// What cannot be known closes a gate, unless its charter says that it fails open.
fn by_charter(charter: &Charter, who: &Who, why: Refusal) -> Result<Option<Warning>, Refusal> {
    match charter.cluster(&who.cluster).map(|line| line.gate) {
        Some(Gate::Open) => Ok(Some(why)),
        Some(Gate::Closed) | None => Err(why),
    }
}

/// Neither the name nor the disk is dead, and a re-admitted member starts where it was re-admitted.
fn not_dead(
    who: &Who,
    known: &Known,
    cluster: &ClusterHistory,
    place: &Place,
) -> Result<(), Refusal> {
    let standing = &cluster.standing;
    if let Some(decision) = standing.dead_members.get(&who.member) {
        return Err(Refusal::DeclaredDead {
            cluster: who.cluster.clone(),
            member: who.member.clone(),
            decision: *decision,
            dead_since: known.dead_since,
        });
    }
    let dead = place.identity().and_then(|identity| {
        standing.dead_identities.get(&identity).map(|decision| (identity, *decision))
    });
    if let Some((identity, decision)) = dead {
        let cluster = who.cluster.clone();
        return Err(Refusal::DeadIdentity { cluster, identity, decision });
    }
    let Some(readmission) = standing.readmitted.get(&who.member) else { return Ok(()) };
    let elsewhere = |what, wanted: &str, found: &str| Refusal::NotReadmittedHere {
        member: who.member.clone(),
        what,
        wanted: wanted.to_owned(),
        found: found.to_owned(),
    };
    if place.host != readmission.host.as_str() {
        return Err(elsewhere("host", readmission.host.as_str(), &place.host));
    }
    let wanted = readmission.directory.as_str();
    let directory = place.directory.as_ref().map(|directory| directory.display().to_string());
    match directory {
        Some(directory) if directory == wanted => {}
        Some(directory) => return Err(elsewhere("directory", wanted, &directory)),
        None => return Err(elsewhere("directory", wanted, "not named by [gate] directory")),
    }
    match &place.contents {
        Contents::Empty => Ok(()),
        Contents::Marked { readmission: Some(named), .. } if *named == digest_of(readmission) => {
            Ok(())
        }
        Contents::Marked { .. } | Contents::Unmarked { .. } | Contents::NotNamed => {
            Err(elsewhere("empty directory", wanted, "not empty, with what was there before"))
        }
    }
}

/// Whether the certificate in hand lets this very member start alone now, whoever handed it over.
/// The order of the checks is that of `docs/reference/formats.md` section 9.
///
/// # Errors
/// [`AloneRefused`]; the first thing that does not hold. Whether the cluster's gates fail open does
/// not matter here.
pub fn judge_alone(
    who: &Who,
    view: &View,
    certificate: &[u8],
    used: Option<FencingToken>,
    now: LogTime,
) -> Result<FencingToken, AloneRefused> {
    let unknown = || AloneRefused::Head { as_of: CosignTime::MIN };
    let (history, head) = view.history().zip(view.head()).ok_or_else(unknown)?;
    let charter = history.charter();
    // 1 to 6: the file, the head, k cosignatures, inclusion, the leaf, the votes.
    let trusted = Trusted::by_history(history, &who.cluster);
    let found = verify_certificate(certificate, &trusted, now).map_err(of_certificate)?;
    let (decision, token) = (&found.decision, found.token);
    // 7: it declares somebody dead here, names this member as the survivor, and this agent acts.
    let no_declaration = || AloneRefused::NoDeclaration { token, cluster: who.cluster.clone() };
    if decision.cluster != who.cluster {
        return Err(no_declaration());
    }
    let declaration = Declaration::of(charter, &decision.proposal).ok().flatten();
    let survivor = declaration.ok_or_else(no_declaration)?.survivor;
    if survivor != who.member {
        return Err(AloneRefused::Named { token, survivor, member: who.member.clone() });
    }
    // 9: above every token that this gate has used.
    if let Some(used) = used.filter(|used| token <= *used) {
        return Err(AloneRefused::Used { token, used });
    }
    // 10: a fresh head, and no later leaf that stops it.
    judge_freshness(charter, head, now).map_err(|_| AloneRefused::Head { as_of: head.as_of() })?;
    // 11: the window.
    judge_window(charter, decision, now)?;
    match view.standing(decision, found.leaf, &who.agent, now) {
        Standing::InForce if is_survivor(history, who, token) => Ok(token),
        standing @ (Standing::InForce
        | Standing::Answered
        | Standing::Continued(_)
        | Standing::Ended
        | Standing::Paused { .. }
        | Standing::Stale
        | Standing::OtherEpoch
        | Standing::OtherLeaf
        | Standing::SplitView
        | Standing::NothingKnown) => Err(AloneRefused::Standing { token, standing }),
    }
}

/// Whether the log's newest declaration is this one, and names this member.
fn is_survivor(history: &History, who: &Who, token: FencingToken) -> bool {
    let standing = history.cluster(&who.cluster).map(|cluster| &cluster.standing);
    let survivor = standing.and_then(|standing| standing.survivor.as_ref());
    survivor.is_some_and(|named| named.member == who.member && named.token == token)
}

fn of_certificate(refused: CertificateRefused) -> AloneRefused {
    let (step, why) = (refused.step(), refused.to_string());
    match refused {
        CertificateRefused::Proof(ProofRefused::Head(HeadRefused::OriginMismatch { .. })) => {
            AloneRefused::Origin { why }
        }
        CertificateRefused::Proof(_)
        | CertificateRefused::Policy(_)
        | CertificateRefused::NothingTrusted
        | CertificateRefused::Leaf(_)
        | CertificateRefused::NotADecision { .. }
        | CertificateRefused::Judged(_) => AloneRefused::Certificate { step, why },
    }
}

fn as_of(view: &View) -> CosignTime {
    view.head().map_or(CosignTime::MIN, quorate_attest::head::VerifiedHead::as_of)
}
