//! Declarations of death and re-admissions, as the proposals' parameters say them (R12).
//!
//! A declaration names three disjoint sets that cover the cluster's roster: one survivor, the dead,
//! and the fenced. It is all part of the voted text (*dead-stays-dead*, *one-survivor*).

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::charter::Charter;
use crate::id::{Digest, MemberId, Word};
use crate::log_time::{LogTime, Span};
use crate::proposal::{Param, Proposal};
use crate::remediation::Kind;

/// How it is known that a member acts no longer.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum How {
    /// `stop:<digest>` of its agent's signed `fact stopped`.
    Stop(Digest),
    /// `proof:<digest>` of a fencing adapter's answer.
    Proof(Digest),
    /// `attest:<how>`, which two operators' approvals vouch for.
    Attest(String),
}

impl How {
    fn read(word: &Word) -> Option<Self> {
        let (kind, rest) = word.as_str().split_once(':')?;
        match kind {
            "stop" => rest.parse().ok().map(Self::Stop),
            "proof" => rest.parse().ok().map(Self::Proof),
            "attest" if !rest.is_empty() => Some(Self::Attest(rest.to_owned())),
            _ => None,
        }
    }
}

/// A member that is declared dead, or fenced.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ended {
    /// How it was stopped.
    pub how: How,
    /// What its data directory says of itself; none if it says nothing.
    pub identity: Option<Digest>,
}

/// What a declaration says.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Declaration {
    /// The one member that may start alone.
    pub survivor: MemberId,
    /// Silent for the grace; any sign of life aborts.
    pub dead: BTreeMap<MemberId, Ended>,
    /// Known alive and not chosen.
    pub fenced: BTreeMap<MemberId, Ended>,
    /// The dead id that a `reseat` re-admits on an empty directory.
    pub readmits: Option<Readmission>,
}

/// What a re-admission says: that id, on that host, in that empty directory, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Readmission {
    /// The member whose tombstone is cleared.
    pub member: MemberId,
    /// Where it may start.
    pub host: Word,
    /// Which empty directory it may start on.
    pub directory: Word,
}

/// Why a proposal is no declaration or re-admission.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeclarationRefused {
    /// Not exactly one survivor.
    #[error("a declaration names exactly one survivor, this one {found}")]
    Survivors {
        /// How many.
        found: usize,
    },
    /// A parameter that cannot be read.
    #[error("`param {param}` cannot be read")]
    BadParam {
        /// The line.
        param: String,
    },
    /// One member in two sets, or twice in one.
    #[error("{member} is named twice")]
    Twice {
        /// The member.
        member: MemberId,
    },
    /// A dead or fenced member without an identity line, or an identity of another member.
    #[error("each dead or fenced member has one `identity`, which {member} has not, or is none")]
    Identity {
        /// The member.
        member: MemberId,
    },
    /// The three sets are not the roster.
    #[error("the three sets are not the cluster's roster: {member} is missing or unknown")]
    NotRoster {
        /// A member in one and not the other.
        member: MemberId,
    },
    /// Nobody is dead and nobody is fenced.
    #[error("a declaration that ends nobody is none")]
    NobodyDead,
    /// The cluster's gates fail open: nothing would keep the dead from starting.
    #[error("the gates of this cluster fail open, so nobody in it can be declared dead")]
    GateOpen,
    /// A re-admission needs `directory`, `host` and `member`, each once.
    #[error("a re-admission needs `{param}` exactly once")]
    Readmission {
        /// The parameter.
        param: &'static str,
    },
    /// A re-admission of somebody else than the target, or not in the roster.
    #[error("the re-admission of {member} does not fit the proposal")]
    ReadmitsOther {
        /// The member.
        member: MemberId,
    },
}

impl Declaration {
    /// Whether a proposal is one: `declare-dead`, or a restore that names a survivor.
    pub fn declares(proposal: &Proposal) -> bool {
        proposal.kind == Kind::DeclareDead
            || (proposal.kind == Kind::RestoreBackup
                && proposal.params("survivor").next().is_some())
    }

    /// Reads and checks what the text alone can show; none if the proposal is no declaration.
    ///
    /// # Errors
    /// The first part of R12 that does not hold.
    pub fn of(charter: &Charter, proposal: &Proposal) -> Result<Option<Self>, DeclarationRefused> {
        if !Self::declares(proposal) {
            return Ok(None);
        }
        if !charter.fails_closed(&proposal.cluster) {
            return Err(DeclarationRefused::GateOpen);
        }
        let survivors: Vec<&Param> = proposal.params("survivor").collect();
        let [survivor] = survivors.as_slice() else {
            return Err(DeclarationRefused::Survivors { found: survivors.len() });
        };
        let survivor = member(survivor)?;
        let mut identities = identities(proposal)?;
        let dead = ended(proposal, "dead", &mut identities)?;
        let fenced = ended(proposal, "fenced", &mut identities)?;
        if let Some(member) = identities.into_keys().next() {
            return Err(DeclarationRefused::Identity { member });
        }
        if dead.is_empty() && fenced.is_empty() {
            return Err(DeclarationRefused::NobodyDead);
        }
        let doubled = dead.keys().find(|member| fenced.contains_key(*member));
        if let Some(member) = doubled {
            return Err(DeclarationRefused::Twice { member: member.clone() });
        }
        if dead.contains_key(&survivor) || fenced.contains_key(&survivor) {
            return Err(DeclarationRefused::Twice { member: survivor });
        }
        let readmits = Self::reseat(proposal, &dead)?;
        let declaration = Self { survivor, dead, fenced, readmits };
        declaration.check_roster(charter, proposal)?;
        Ok(Some(declaration))
    }

    fn reseat(
        proposal: &Proposal,
        dead: &BTreeMap<MemberId, Ended>,
    ) -> Result<Option<Readmission>, DeclarationRefused> {
        if proposal.single("method").is_none_or(|method| method.value.as_str() != "reseat") {
            return Ok(None);
        }
        let readmission = Readmission::read(proposal)?;
        if !dead.contains_key(&readmission.member) {
            return Err(DeclarationRefused::ReadmitsOther { member: readmission.member });
        }
        Ok(Some(readmission))
    }

    fn check_roster(
        &self,
        charter: &Charter,
        proposal: &Proposal,
    ) -> Result<(), DeclarationRefused> {
        let roster: BTreeSet<&MemberId> =
            charter.members(&proposal.cluster).map(|line| &line.member).collect();
        let named: BTreeSet<&MemberId> = self.ended().chain([&self.survivor]).collect();
        match roster.symmetric_difference(&named).next() {
            Some(member) => Err(DeclarationRefused::NotRoster { member: (*member).clone() }),
            None => Ok(()),
        }
    }

    /// The dead and the fenced.
    pub fn ended(&self) -> impl Iterator<Item = &MemberId> {
        self.dead.keys().chain(self.fenced.keys())
    }

    /// Every identity that is dead from now on.
    pub fn identities(&self) -> impl Iterator<Item = Digest> {
        self.dead.values().chain(self.fenced.values()).filter_map(|ended| ended.identity)
    }

    /// Whether two operators must vouch for how a member was stopped.
    pub fn needs_attestation(&self) -> bool {
        let ended = self.dead.values().chain(self.fenced.values());
        ended.into_iter().any(|ended| matches!(ended.how, How::Attest(_)))
    }
}

impl Readmission {
    /// Reads a `readmit`; none for other kinds.
    ///
    /// # Errors
    /// A parameter is missing, or the member is not the target's or not in the roster.
    pub fn of(charter: &Charter, proposal: &Proposal) -> Result<Option<Self>, DeclarationRefused> {
        if proposal.kind != Kind::Readmit {
            return Ok(None);
        }
        let readmission = Self::read(proposal)?;
        let fits = proposal.target_member().is_none_or(|target| target == readmission.member)
            && charter.member(&proposal.cluster, &readmission.member).is_some();
        if !fits {
            return Err(DeclarationRefused::ReadmitsOther { member: readmission.member });
        }
        Ok(Some(readmission))
    }

    fn read(proposal: &Proposal) -> Result<Self, DeclarationRefused> {
        let single = |param: &'static str| {
            let found = proposal.single(param).filter(|found| found.extra.is_none());
            found.ok_or(DeclarationRefused::Readmission { param })
        };
        Ok(Self {
            member: member(single("member")?)?,
            host: single("host")?.value.clone(),
            directory: single("directory")?.value.clone(),
        })
    }
}

impl Charter {
    /// The earliest not-before of a decision made at `time`.
    ///
    /// A declaration waits until no gate can still act on what it knew before: the age of its cached
    /// state, or the lease of self-fencing members if that is longer, and the skew.
    pub fn earliest_start(&self, proposal: &Proposal, time: LogTime) -> LogTime {
        if !Declaration::declares(proposal) {
            return time;
        }
        let lease = self.rule(&proposal.cluster, "lease");
        let lease: Span = lease.and_then(|span| span.as_str().parse().ok()).unwrap_or(Span::ZERO);
        time.saturating_add(self.max_age.max(lease)).saturating_add(self.skew)
    }
}

fn bad(param: &Param) -> DeclarationRefused {
    DeclarationRefused::BadParam { param: param.to_string() }
}

fn member(param: &Param) -> Result<MemberId, DeclarationRefused> {
    param.value.as_str().parse().map_err(|_| bad(param))
}

/// `identity <member> <digest or ->`, each member once.
fn identities(
    proposal: &Proposal,
) -> Result<BTreeMap<MemberId, Option<Digest>>, DeclarationRefused> {
    let mut identities = BTreeMap::new();
    for param in proposal.params("identity") {
        let member = member(param)?;
        let word = param.extra.as_ref().ok_or_else(|| bad(param))?;
        let identity = crate::text::unless("-", word.as_str()).ok_or_else(|| bad(param))?;
        if identities.insert(member.clone(), identity).is_some() {
            return Err(DeclarationRefused::Twice { member });
        }
    }
    Ok(identities)
}

/// `dead <member> <how>` or `fenced <member> <how>`, each member once and with its identity.
fn ended(
    proposal: &Proposal,
    key: &'static str,
    identities: &mut BTreeMap<MemberId, Option<Digest>>,
) -> Result<BTreeMap<MemberId, Ended>, DeclarationRefused> {
    let mut ended = BTreeMap::new();
    for param in proposal.params(key) {
        let member = member(param)?;
        let how = param.extra.as_ref().and_then(How::read).ok_or_else(|| bad(param))?;
        if ended.contains_key(&member) {
            return Err(DeclarationRefused::Twice { member });
        }
        let Some(identity) = identities.remove(&member) else {
            return Err(DeclarationRefused::Identity { member });
        };
        ended.insert(member, Ended { how, identity });
    }
    Ok(ended)
}
