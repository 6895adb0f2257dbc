//! The one table of refusals: stable reason, gRPC code, exit code, whether to retry, who can change
//! it. `docs/reference/reasons.md` is generated from it.
//!
//! A reason is a promise: scripts match on it. It is never renamed and never reused. Keep the table
//! alphabetised.

use std::fmt;

use crate::exit_code::ExitCode;
use crate::grpc_code::GrpcCode;

/// When asking again makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Never: the same request will be refused again, until someone changes something.
    Never,
    /// Time heals it, at the time that the answer says.
    Later,
    /// Soon and with the same request id; another coordinator may answer sooner.
    Soon,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The stable reason.
    pub reason: &'static str,
    /// The gRPC code.
    pub grpc: GrpcCode,
    /// The exit code of the command line.
    pub exit: ExitCode,
    /// When asking again makes sense.
    pub retry: Retry,
    /// Keys of the metadata it carries.
    pub metadata: &'static [&'static str],
    /// What it means: one sentence.
    pub meaning: &'static str,
    /// Who can change it and how: one sentence.
    pub remedy: &'static str,
}

macro_rules! error_codes {
    ($($variant:ident = $reason:literal, $grpc:ident, $exit:ident, $retry:ident, [$($key:literal),*],
        $meaning:literal, $remedy:literal;)*) => {
        /// A stable error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $variant,)*
        }

        impl ErrorCode {
            /// Every code, alphabetically by reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its row of the table.
            #[must_use]
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        reason: $reason,
                        grpc: GrpcCode::$grpc,
                        exit: ExitCode::$exit,
                        retry: Retry::$retry,
                        metadata: &[$($key),*],
                        meaning: $meaning,
                        remedy: $remedy,
                    },)*
                }
            }

            /// The code of a reason; `None` for one that this version does not know.
            #[must_use]
            pub fn from_reason(reason: &str) -> Option<Self> {
                match reason {
                    $($reason => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    AlreadyDeclared = "ALREADY_DECLARED", FailedPrecondition, Precondition, Never, ["decision"],
        "The same death is already declared.",
        "Nothing to do: `quorate decision show` shows the declaration.";
    BreakerOpen = "BREAKER_OPEN", FailedPrecondition, Precondition, Never, ["key", "attempts", "cap"],
        "Too many attempts on this target failed, so automation stopped trying.",
        "An operator looks why, then runs `quorate budget reset`.";
    BudgetExhausted = "BUDGET_EXHAUSTED", ResourceExhausted, RateLimited, Later,
        ["key", "limit", "period", "next_allowed"],
        "The budget for actions of this kind is used up.",
        "Time heals it; the budget is a number of the charter, which the operators can amend.";
    CallerLimited = "CALLER_LIMITED", ResourceExhausted, RateLimited, Later, ["limit"],
        "This caller asks more often than this coordinator admits.",
        "Ask less often; the limit is in the coordinator's configuration.";
    CertificateInvalid = "CERTIFICATE_INVALID", InvalidArgument, Negative, Never, ["step"],
        "The certificate does not prove the decision; `step` is the first check that failed.",
        "Fetch it again from another coordinator; keep this one as evidence.";
    CertificateNotAccepted = "CERTIFICATE_NOT_ACCEPTED", Unauthenticated, NotAuthorised, Never, ["why"],
        "The TLS certificate names no identity that this deployment knows.",
        "An operator issues one with exactly one URI name, `spiffe://NETWORK/quorate/ROLE/ID`.";
    Cooldown = "COOLDOWN", ResourceExhausted, RateLimited, Later, ["key", "period", "next_allowed"],
        "The quiet period after the last action is not over.",
        "Time heals it; an operator can end it with `quorate decision ack`.";
    DeclaredDead = "DECLARED_DEAD", FailedPrecondition, Precondition, Never, ["decision"],
        "The member or cluster is declared dead and stays dead.",
        "Operators and observers can approve a `readmit` of one id on one empty directory.";
    DrillMismatch = "DRILL_MISMATCH", InvalidArgument, Negative, Never, ["have", "want"],
        "A drill's text was used for the real thing, or the reverse.",
        "Sign the text of this deployment's origin.";
    DuplicateKey = "DUPLICATE_KEY", InvalidArgument, Usage, Never, ["key_id", "field"],
        "One public key stands under two names.",
        "Give each name a key of its own with `quorate key generate`.";
    EpochMismatch = "EPOCH_MISMATCH", FailedPrecondition, Precondition, Never, ["have", "want"],
        "The text belongs to another charter epoch.",
        "Make and sign it again under the charter in force, `quorate charter show`.";
    Equivocation = "EQUIVOCATION", FailedPrecondition, Precondition, Never, ["evidence", "key"],
        "This key signed two different verdicts on one question; neither counts, and the evidence is kept.",
        "The owner of the key explains; the operators can replace the key by an amendment.";
    ExpectationFailed = "EXPECTATION_FAILED", Aborted, Precondition, Never, ["field", "have", "want"],
        "The state is not the one the caller expected, so nothing was done.",
        "Look again, then repeat the command with what is so now.";
    ExpiryOutOfRange = "EXPIRY_OUT_OF_RANGE", InvalidArgument, Usage, Never, ["field", "min", "max"],
        "The expiry is too early or too late.",
        "Choose one between `min` and `max`.";
    ForkDetected = "FORK_DETECTED", DataLoss, Negative, Never, ["size", "root_a", "root_b", "evidence"],
        "Two heads of one log contradict each other.",
        "Stop, keep both, and find out which coordinators signed them.";
    IndexOutOfRange = "INDEX_OUT_OF_RANGE", OutOfRange, Usage, Never, ["size"],
        "The log has no such index.",
        "Ask for one below `size`; a watch may start at `size`.";
    JournalRolledBack = "JOURNAL_ROLLED_BACK", FailedPrecondition, Precondition, Never,
        ["instance", "recorded", "have"],
        "The agent's journal is older than what it claimed with before, or another journal holds the claim.",
        "An operator makes sure that only one such agent runs, then runs `quorate agent enrol`.";
    Malformed = "MALFORMED", InvalidArgument, Usage, Never, ["field"],
        "A field of the request is malformed.",
        "Correct the field.";
    NoClientCertificate = "NO_CLIENT_CERTIFICATE", Unauthenticated, NotAuthorised, Never, [],
        "The method needs a TLS client certificate and none was shown.",
        "Connect with the certificate that `quorate init` made for you.";
    NoQuorum = "NO_QUORUM", Unavailable, NoQuorum, Soon, ["have", "need"],
        "Too few coordinators can reach each other to decide anything.",
        "Start the missing coordinators; `--stale` reads without a quorum.";
    NotCanonical = "NOT_CANONICAL", InvalidArgument, Usage, Never, ["field"],
        "The text is not in its one canonical form.",
        "Use the text as `quorate` printed it, byte for byte.";
    NotCertifiedYet = "NOT_CERTIFIED_YET", Unavailable, NoQuorum, Soon, ["have", "need"],
        "The leaf exists, but too few coordinators have cosigned a head that contains it.",
        "Wait a moment; if it stays so, `quorate quorum list` shows who does not cosign.";
    NotLeader = "NOT_LEADER", Unavailable, NoQuorum, Soon, ["leader_id", "leader_addr"],
        "This coordinator does not lead.",
        "Ask the leader; the client does it by itself.";
    NotYours = "NOT_YOURS", PermissionDenied, NotAuthorised, Never, ["owner"],
        "The thing belongs to another identity.",
        "Its owner has to ask.";
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unavailable, NoQuorum, Soon, ["request_id"],
        "The request was accepted, but whether it took effect is not known.",
        "Repeat it with the same request id: it has one effect at most.";
    OutsideWindow = "OUTSIDE_WINDOW", FailedPrecondition, Precondition, Never,
        ["clock", "not_before", "expires"],
        "It is too early or too late to start the decision, or too early to re-issue one that can still be started.",
        "Too early: ask again at the time it names. After the expiry a new proposal is needed.";
    Overloaded = "OVERLOADED", ResourceExhausted, RateLimited, Later, ["limit"],
        "This coordinator has more work waiting than it admits.",
        "Time heals it; another coordinator may answer sooner.";
    PageTokenInvalid = "PAGE_TOKEN_INVALID", InvalidArgument, Usage, Never, ["field"],
        "The page token was not made for this query.",
        "Start again without a page token.";
    ProposalClosed = "PROPOSAL_CLOSED", FailedPrecondition, Precondition, Never, ["proposal", "state"],
        "The proposal has ended.",
        "Open a new one with `quorate proposal create`.";
    ReplicaFaulted = "REPLICA_FAULTED", Unavailable, NoQuorum, Soon, ["fault"],
        "This coordinator stopped after a fault of its disk or store.",
        "Ask another one; whoever runs it repairs the disk and restarts it.";
    ReportConflict = "REPORT_CONFLICT", FailedPrecondition, Precondition, Never, ["recorded", "have"],
        "Another terminal report of this agent on this decision is recorded.",
        "An operator looks at both with `quorate decision show`.";
    RequestIdReused = "REQUEST_ID_REUSED", InvalidArgument, Usage, Never, ["request_id"],
        "The request id was used for another request.",
        "Use a new UUID for a new request.";
    RoleNotAllowed = "ROLE_NOT_ALLOWED", PermissionDenied, NotAuthorised, Never, ["role", "method", "admits"],
        "The caller or signer may not do this.",
        "Somebody whom `admits` names has to ask.";
    RuleRefused = "RULE_REFUSED", FailedPrecondition, Precondition, Never,
        ["rule", "facts", "next_allowed", "command"],
        "A named rule forbids it.",
        "Operators can sign an override of that rule, where it has one: `quorate override sign`.";
    SignatureInvalid = "SIGNATURE_INVALID", InvalidArgument, Negative, Never, ["key_id", "name"],
        "A signature does not verify over the text.",
        "Sign the exact text again.";
    SlotBusy = "SLOT_BUSY", FailedPrecondition, Precondition, Never, ["decision", "token", "since"],
        "Another remediation of this cluster is under way.",
        "Wait for its outcome; for a stuck one there are `quorate action reissue` and `quorate action abandon`.";
    SnapshotInvalid = "SNAPSHOT_INVALID", InvalidArgument, Negative, Never, ["why"],
        "The snapshot is truncated, damaged or too large.",
        "The sender makes another one.";
    StaleEvidence = "STALE_EVIDENCE", FailedPrecondition, Precondition, Never, ["age", "window"],
        "The facts it rests on are too old.",
        "Agents have to observe again; check that they run with `quorate agent list`.";
    StaleToken = "STALE_TOKEN", FailedPrecondition, Precondition, Never, ["token", "highest"],
        "The fencing token is not above the highest one seen.",
        "Nothing to do: a newer decision is in force.";
    StartAloneRefused = "START_ALONE_REFUSED", FailedPrecondition, Precondition, Never, ["why"],
        "The member may not start alone.",
        "Only a declaration that names it as the survivor, certified and unused, permits it.";
    StoreQuota = "STORE_QUOTA", ResourceExhausted, Error, Never, ["used", "quota", "command"],
        "The store of a coordinator is nearly full, so nothing new is opened; votes, reports and abandons still pass.",
        "Whoever runs the coordinator frees space or raises `store.quota_bytes`.";
    UnknownDecision = "UNKNOWN_DECISION", NotFound, Error, Never, ["name", "nearest"],
        "There is no such decision.",
        "`quorate decision list` shows them.";
    UnknownProposal = "UNKNOWN_PROPOSAL", NotFound, Error, Never, ["name", "nearest"],
        "There is no such proposal.",
        "`quorate proposal list` shows them.";
    UnknownTarget = "UNKNOWN_TARGET", NotFound, Error, Never, ["name", "nearest"],
        "The charter has no such cluster, member or agent.",
        "`quorate charter show` lists them.";
    UnknownValidator = "UNKNOWN_VALIDATOR", PermissionDenied, NotAuthorised, Never, ["key_id", "epoch"],
        "The key is no validator of the charter in force.",
        "Use a key of the charter; the operators can add one by an amendment.";
    WeakKey = "WEAK_KEY", InvalidArgument, Negative, Never, ["key_id", "name"],
        "The public key is weak: signatures under it prove nothing.",
        "Make a new key with `quorate key generate`.";
    WrongOrigin = "WRONG_ORIGIN", InvalidArgument, Negative, Never, ["have", "want"],
        "The text belongs to another log.",
        "Sign the text of this deployment's origin.";
    WrongProposal = "WRONG_PROPOSAL", InvalidArgument, Negative, Never, ["have", "want"],
        "The vote names another proposal.",
        "Sign the text of this proposal.";
}

impl ErrorCode {
    /// Its stable reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.row().reason
    }

    /// Its gRPC code.
    #[must_use]
    pub const fn grpc(self) -> GrpcCode {
        self.row().grpc
    }

    /// The exit code of the command line.
    #[must_use]
    pub const fn exit(self) -> ExitCode {
        self.row().exit
    }

    /// When asking again makes sense.
    #[must_use]
    pub const fn retry(self) -> Retry {
        self.row().retry
    }

    /// Where it is documented, relative to the root of the source tree and of the book.
    #[must_use]
    pub fn help(self) -> String {
        format!("docs/reference/reasons.md#{}", self.reason().to_ascii_lowercase())
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}
