//! What a rejection means to whoever gets it: its stable reason, when to ask again, and the command
//! that would change the answer. Every table is exhaustive: a new variant has to say all three.

use quorate_attest::id::RuleName;
use quorate_attest::log_time::LogTime;

use crate::rejection::{Lift, Rejection, RuleRefused};

impl Rejection {
    /// The stable reason, as clients match on it. Keep it in step with the table of the
    /// coordinator's errors.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFounded | Self::VersionNotInForce { .. } => "NO_QUORUM",
            Self::AlreadyFounded => "EXPECTATION_FAILED",
            Self::WrongOrigin { .. } => "WRONG_ORIGIN",
            Self::EpochMismatch { .. } | Self::CharterMismatch { .. } => "EPOCH_MISMATCH",
            Self::WrongProposal { .. } => "WRONG_PROPOSAL",
            Self::Malformed { .. } => "MALFORMED",
            Self::ExpiryOutOfRange { .. } => "EXPIRY_OUT_OF_RANGE",
            Self::UnknownTarget { .. } => "UNKNOWN_TARGET",
            Self::UnknownProposal { .. } => "UNKNOWN_PROPOSAL",
            Self::UnknownDecision { .. } | Self::SlotFree { .. } => "UNKNOWN_DECISION",
            Self::UnknownValidator { .. } => "UNKNOWN_VALIDATOR",
            Self::RoleNotAllowed { .. } => "ROLE_NOT_ALLOWED",
            Self::NotYours { .. } => "NOT_YOURS",
            Self::ProposalClosed { .. } | Self::Superseded { .. } => "PROPOSAL_CLOSED",
            Self::CallerLimited { .. } => "CALLER_LIMITED",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::Equivocation { .. } => "EQUIVOCATION",
            Self::ReportConflict { .. } => "REPORT_CONFLICT",
            Self::JournalRolledBack { .. } => "JOURNAL_ROLLED_BACK",
            Self::StaleEvidence { .. } | Self::StaleObservation { .. } => "STALE_EVIDENCE",
            Self::StaleToken { .. } => "STALE_TOKEN",
            Self::SlotBusy { .. } => "SLOT_BUSY",
            Self::BreakerOpen { .. } => "BREAKER_OPEN",
            Self::DeclaredDead { .. } => "DECLARED_DEAD",
            Self::AlreadyDeclared { .. } => "ALREADY_DECLARED",
            Self::OutsideWindow { .. } => "OUTSIDE_WINDOW",
            Self::Rule(_) | Self::LeafRefused { .. } => "RULE_REFUSED",
            Self::BudgetExhausted { .. } => "BUDGET_EXHAUSTED",
            Self::Cooldown { .. } => "COOLDOWN",
            Self::RequestIdReused { .. } => "REQUEST_ID_REUSED",
        }
    }

    /// The named rule that refused, if one did.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleName> {
        if let Self::Rule(refused) = self { Some(&refused.rule) } else { None }
    }

    /// The first time at which time alone makes the answer another one, if it ever does.
    #[must_use]
    pub fn next_allowed(&self) -> Option<LogTime> {
        match self {
            Self::CallerLimited { next_allowed, .. }
            | Self::Overloaded { next_allowed, .. }
            | Self::BudgetExhausted { next_allowed, .. }
            | Self::Cooldown { next_allowed, .. } => Some(*next_allowed),
            Self::BreakerOpen { next_allowed, .. } => *next_allowed,
            Self::Rule(refused) => refused.next_allowed,
            Self::OutsideWindow { now, not_before, .. } => {
                Some(*not_before).filter(|not_before| not_before > now)
            }
            Self::NotFounded
            | Self::AlreadyFounded
            | Self::VersionNotInForce { .. }
            | Self::WrongOrigin { .. }
            | Self::EpochMismatch { .. }
            | Self::CharterMismatch { .. }
            | Self::WrongProposal { .. }
            | Self::Malformed { .. }
            | Self::ExpiryOutOfRange { .. }
            | Self::UnknownTarget { .. }
            | Self::UnknownProposal { .. }
            | Self::UnknownDecision { .. }
            | Self::UnknownValidator { .. }
            | Self::RoleNotAllowed { .. }
            | Self::NotYours { .. }
            | Self::ProposalClosed { .. }
            | Self::Equivocation { .. }
            | Self::ReportConflict { .. }
            | Self::JournalRolledBack { .. }
            | Self::StaleEvidence { .. }
            | Self::StaleObservation { .. }
            | Self::StaleToken { .. }
            | Self::SlotBusy { .. }
            | Self::SlotFree { .. }
            | Self::DeclaredDead { .. }
            | Self::AlreadyDeclared { .. }
            | Self::Superseded { .. }
            | Self::RequestIdReused { .. }
            | Self::LeafRefused { .. } => None,
        }
    }

    /// The command that would change the answer, as the person who may would type it.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Rule(refused) => refused.remedy(),
            Self::BreakerOpen { cluster, target, .. } => {
                Some(format!("quorate budget reset {target} --cluster {cluster}"))
            }
            Self::Cooldown { by, .. } => Some(format!("quorate decision ack {by}")),
            Self::JournalRolledBack { agent, .. } => Some(format!("quorate agent enrol {agent}")),
            Self::DeclaredDead { cluster, member, .. } => {
                Some(format!("quorate proposal create readmit member:{member} --cluster {cluster}"))
            }
            // What to do with it depends on whether it is stuck, which this shows.
            Self::SlotBusy { cluster, .. } => {
                Some(format!("quorate action current --cluster {cluster}"))
            }
            Self::UnknownProposal { .. } => Some("quorate proposal list".to_owned()),
            Self::UnknownDecision { cluster, .. } | Self::SlotFree { cluster } => {
                Some(format!("quorate decision list --cluster {cluster}"))
            }
            Self::UnknownTarget { .. }
            | Self::UnknownValidator { .. }
            | Self::EpochMismatch { .. }
            | Self::CharterMismatch { .. } => Some("quorate charter show".to_owned()),
            Self::NotFounded
            | Self::AlreadyFounded
            | Self::VersionNotInForce { .. }
            | Self::WrongOrigin { .. }
            | Self::WrongProposal { .. }
            | Self::Malformed { .. }
            | Self::ExpiryOutOfRange { .. }
            | Self::RoleNotAllowed { .. }
            | Self::NotYours { .. }
            | Self::ProposalClosed { .. }
            | Self::CallerLimited { .. }
            | Self::Overloaded { .. }
            | Self::Equivocation { .. }
            | Self::ReportConflict { .. }
            | Self::StaleEvidence { .. }
            | Self::StaleObservation { .. }
            | Self::StaleToken { .. }
            | Self::AlreadyDeclared { .. }
            | Self::OutsideWindow { .. }
            | Self::BudgetExhausted { .. }
            | Self::Superseded { .. }
            | Self::RequestIdReused { .. }
            | Self::LeafRefused { .. } => None,
        }
    }
}

impl From<RuleRefused> for Rejection {
    fn from(refused: RuleRefused) -> Self {
        Self::Rule(Box::new(refused))
    }
}

impl RuleRefused {
    fn remedy(&self) -> Option<String> {
        let proposal = self.proposal?;
        match self.lifted_by {
            Lift::Override(_) => {
                Some(format!("quorate override sign --rule {} --proposal {proposal}", self.rule))
            }
            Lift::Acknowledgement => Some(format!("quorate decision ack {proposal}")),
            Lift::Nothing => None,
        }
    }
}
