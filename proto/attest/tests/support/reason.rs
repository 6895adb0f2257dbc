//! The names the vectors have for our refusals. Exhaustive: a new variant must get one.

use quorate_attest::checkpoint::CheckpointError;
use quorate_attest::cosignature::CosignatureError;
use quorate_attest::head::HeadRefused;
use quorate_attest::key::KeyError;
use quorate_attest::merkle::{ConsistencyError, InclusionError};
use quorate_attest::note::NoteError;
use quorate_attest::proof::ProofRefused;

pub(crate) fn key_reason(refused: &KeyError) -> &'static str {
    match refused {
        KeyError::NoPoint { .. } | KeyError::NotCanonical { .. } | KeyError::Torsion { .. } => {
            "bad-key"
        }
        KeyError::Weak { .. } => "weak-key",
        KeyError::VkeyShape { .. } => "bad-vkey",
        KeyError::Name(_) => "bad-name",
        KeyError::KeyIdText { .. } => "bad-key-id",
        KeyError::Base64 { .. } => "bad-base64",
        KeyError::Length { .. } => "bad-key-length",
        KeyError::UnsupportedType { .. } => "unsupported-type",
        KeyError::KeyIdMismatch { .. } => "key-id-mismatch",
        KeyError::PrivateKey => "bad-private-key",
    }
}

pub(crate) fn note_reason(refused: &NoteError) -> &'static str {
    match refused {
        NoteError::TooLarge { .. } => "too-large",
        NoteError::BadUtf8 { .. } => "bad-utf8",
        NoteError::ControlCharacter { .. } => "control-character",
        NoteError::NoFinalNewline => "no-final-newline",
        NoteError::NoEmptyLine => "no-empty-line",
        NoteError::NoSignature => "no-signature",
        NoteError::TooManyLines { .. } => "too-many-lines",
        NoteError::BadLine { .. } => "bad-line",
        NoteError::BadName { .. } => "bad-name",
        NoteError::BadBase64 { .. } => "bad-base64",
        NoteError::ShortSignature { .. } => "short-signature",
        NoteError::BadSignature { .. } => "bad-signature",
        NoteError::WrongKeyType { .. } => "wrong-key-type",
        NoteError::NoKnownSignature => "no-known-signature",
    }
}

pub(crate) fn checkpoint_reason(refused: &CheckpointError) -> &'static str {
    match refused {
        CheckpointError::Characters(refused) => note_reason(refused),
        CheckpointError::NoFinalNewline => "no-final-newline",
        CheckpointError::TooFewLines { .. } => "too-few-lines",
        CheckpointError::EmptyLine => "empty-line",
        CheckpointError::ExtensionLine { .. } => "extension-line",
        CheckpointError::Origin(_) => "bad-origin",
        CheckpointError::Size(_) => "bad-size",
        CheckpointError::Root(_) | CheckpointError::EmptyRoot { .. } => "bad-root",
    }
}

pub(crate) fn cosignature_reason(refused: &CosignatureError) -> &'static str {
    match refused {
        CosignatureError::UnknownKey { .. } => "unknown-key",
        CosignatureError::WrongKeyType { .. } => "wrong-key-type",
        CosignatureError::BadLength { .. } => "bad-length",
        CosignatureError::BadTime { .. } => "bad-time",
        CosignatureError::BadSignature { .. } => "bad-signature",
    }
}

pub(crate) fn head_reason(refused: &HeadRefused) -> &'static str {
    match refused {
        HeadRefused::Note(refused) => note_reason(refused),
        HeadRefused::Checkpoint(refused) => checkpoint_reason(refused),
        HeadRefused::OriginMismatch { .. } => "origin-mismatch",
        HeadRefused::Cosignature(refused) => cosignature_reason(refused),
        HeadRefused::LogLine { .. } => "bad-signature",
        HeadRefused::TooFewCosignatures { .. } => "too-few-cosignatures",
        HeadRefused::TimeInFuture { .. } => "time-in-future",
        HeadRefused::Stale { .. } => "stale",
    }
}

pub(crate) fn inclusion_reason(refused: &InclusionError) -> &'static str {
    match refused {
        InclusionError::IndexOutOfRange { .. } => "index-out-of-range",
        InclusionError::TooShort { .. } => "proof-too-short",
        InclusionError::TooLong { .. } => "proof-too-long",
        InclusionError::RootMismatch { .. } => "root-mismatch",
    }
}

pub(crate) fn consistency_reason(refused: &ConsistencyError) -> &'static str {
    match refused {
        ConsistencyError::SizeZero => "size-zero",
        ConsistencyError::SizesReversed { .. } => "sizes-reversed",
        ConsistencyError::TooShort { .. } => "proof-too-short",
        ConsistencyError::TooLong { .. } => "proof-too-long",
        ConsistencyError::Fork { .. }
        | ConsistencyError::OlderRootMismatch { .. }
        | ConsistencyError::NewerRootMismatch { .. } => "root-mismatch",
    }
}

pub(crate) fn proof_reason(refused: &ProofRefused) -> &'static str {
    match refused {
        ProofRefused::TooLarge { .. } | ProofRefused::EntryTooLarge { .. } => "too-large",
        ProofRefused::Characters(refused) => note_reason(refused),
        ProofRefused::BadHeader => "bad-header",
        ProofRefused::NoFinalNewline => "no-final-newline",
        ProofRefused::BadLine { .. } => "bad-line",
        ProofRefused::BadBase64 { .. } => "bad-base64",
        ProofRefused::BadIndex(_) => "bad-index",
        ProofRefused::BadHashLength { .. } => "bad-hash-length",
        ProofRefused::TooManyHashes => "proof-too-long",
        ProofRefused::Head(refused) => head_reason(refused),
        ProofRefused::NoEntry => "no-entry",
        ProofRefused::Inclusion(refused) => inclusion_reason(refused),
    }
}
