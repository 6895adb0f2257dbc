//! What is measured of etcd: revision, keys, their hash, members, leader, term.
//!
//! Never the cluster id: two survivors that were both forced into clusters of their own show the same
//! one. The hash is compared at one revision, and only between equal compactions.

use std::time::Duration;

use quorate_attest::agent_statement::Effect;
use quorate_proto::foreign::etcd::Member;

use super::client::{CallFailed, Client};
use crate::witness::{Measure, Witness};

const REVISION: &str = "revision";
const KEYS: &str = "keys";
const HASH: &str = "hash";
const COMPACTED: &str = "compacted";
const MEMBERS: &str = "members";
const MEMBER: &str = "member";
const LEADER: &str = "leader";
const TERM: &str = "term";

/// One member's own data, and what it believes of its cluster.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    /// Its id.
    pub(super) id: u64,
    /// The leader it knows of; 0 if it knows of none.
    pub(super) leader: u64,
    pub(super) term: u64,
    /// The newest revision.
    pub(super) revision: i64,
    /// The members it knows of.
    pub(super) members: Vec<Member>,
    /// What it holds at one revision, or why that cannot be said.
    pub(super) held: Result<Held, CallFailed>,
}

/// All keys at one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) revision: i64,
    pub(super) keys: i64,
    pub(super) hash: u32,
    pub(super) compacted: i64,
}

impl Measured {
    /// Measures through `client`; what is held is read at `at`, or at the newest revision.
    pub(super) async fn of(
        client: &Client,
        at: Option<i64>,
        deadline: Duration,
    ) -> Result<Self, CallFailed> {
        let status = client.status(deadline).await?;
        let members = client.members(deadline).await?;
        let header = status.header.unwrap_or_default();
        let held = Held::at(client, at.unwrap_or(header.revision), deadline).await;
        Ok(Self {
            id: header.member_id,
            leader: status.leader,
            term: status.raft_term,
            revision: header.revision,
            members,
            held,
        })
    }

    /// Whether it is a cluster of its own.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.members.as_slice(), [only] if only.id == self.id)
    }

    /// Whether it leads.
    pub(super) fn leads(&self) -> bool {
        self.leader != 0 && self.leader == self.id
    }

    /// The member of a name.
    pub(super) fn named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The member at a peer address.
    pub(super) fn at(&self, peer_url: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.peer_urls.iter().any(|url| url == peer_url))
    }

    /// The voters.
    pub(super) fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_learner)
    }

    /// As it is reported.
    pub(super) fn witness(&self) -> Witness {
        let value = |value: &dyn ToString| Measure::Value(value.to_string());
        let mut members: Vec<String> = self.members.iter().map(line).collect();
        members.sort();
        let witness = Witness::default()
            .with(MEMBER, value(&format!("{:x}", self.id)))
            .with(LEADER, value(&format!("{:x}", self.leader)))
            .with(TERM, value(&self.term))
            .with(REVISION, value(&self.revision))
            .with(MEMBERS, value(&members.join(" ")));
        let Ok(held) = &self.held else {
            return witness.with(KEYS, Measure::Unreachable).with(HASH, Measure::Unreachable);
        };
        witness
            .with(KEYS, value(&held.keys))
            .with(HASH, value(&held.hash))
            .with(COMPACTED, value(&held.compacted))
    }
}

/// `id:name:voter:peer,peer`, without blanks: etcd's names are no words of ours.
fn line(member: &Member) -> String {
    let role = if member.is_learner { "learner" } else { "voter" };
    let name = member.name.escape_default();
    format!("{:x}:{name}:{role}:{}", member.id, member.peer_urls.join(","))
}

impl Held {
    async fn at(client: &Client, revision: i64, deadline: Duration) -> Result<Self, CallFailed> {
        let keys = client.keys(revision, deadline).await?;
        let hash = client.hash(revision, deadline).await?;
        Ok(Self { revision, keys, hash: hash.hash, compacted: hash.compact_revision })
    }

    /// What a witness says was held.
    pub(super) fn of_witness(witness: &Witness) -> Option<Self> {
        Some(Self {
            revision: number(witness, REVISION)?,
            keys: number(witness, KEYS)?,
            hash: number(witness, HASH)?,
            compacted: number(witness, COMPACTED)?,
        })
    }
}

/// A number of a witness.
fn number<T: std::str::FromStr>(witness: &Witness, name: &str) -> Option<T> {
    witness.get(name).value()?.parse().ok()
}

/// The revision that a witness was taken at.
pub(super) fn revision_of(witness: &Witness) -> Option<i64> {
    number(witness, REVISION)
}

/// The term of a witness.
pub(super) fn term_of(witness: &Witness) -> Option<u64> {
    number(witness, TERM)
}

/// Compares what is held now with what was held before, at the witness's revision.
///
/// # Errors
/// The effect that a loss, or a doubt, amounts to, and what it is.
pub(super) fn nothing_is_lost(before: &Witness, now: &Measured) -> Result<(), (Effect, String)> {
    let doubt = |why: String| Err((Effect::Inconclusive, why));
    let Some(was) = Held::of_witness(before) else {
        return doubt("the witness cannot be read".to_owned());
    };
    if now.revision < was.revision {
        let lost = format!("revision {} before, {} now", was.revision, now.revision);
        return Err((Effect::Harmful, lost));
    }
    let held = match &now.held {
        Ok(held) => held,
        Err(failed) => return doubt(format!("revision {} cannot be read: {failed}", was.revision)),
    };
    if held.keys < was.keys {
        let (keys, left) = (was.keys, held.keys);
        let lost = format!("{keys} keys at revision {}, {left} of them now", was.revision);
        return Err((Effect::Harmful, lost));
    }
    if held.compacted != was.compacted {
        let (then, now) = (was.compacted, held.compacted);
        return doubt(format!("compacted at {then} before, at {now} now: no hashes to compare"));
    }
    if (held.keys, held.hash) != (was.keys, was.hash) {
        let (then, now) = (was.hash, held.hash);
        let lost = format!("the keys of revision {} hash to {now}, before to {then}", was.revision);
        return Err((Effect::Harmful, lost));
    }
    Ok(())
}
