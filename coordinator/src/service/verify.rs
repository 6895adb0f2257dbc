//! Signatures are verified here, once, before a text enters the Raft log.

use std::{collections::BTreeSet, sync::Arc};

use metrics::counter;
use quorate_attest::{
    agent_statement::{Claim, Observe, Report},
    charter::{Charter, CharterError},
    id::{KeyName, Origin},
    key::{KeyError, VerifierKey},
    note::{KeyRing, NoteError, SignatureLine},
    number::Epoch,
    operator_statement::{Act, Override, Pause},
    signed::{Signed, SignedError},
    text::{Statement, TextError},
    vote::{Veto, Vote},
};
use quorate_proto::{error_code::ErrorCode, problem::Problem};
use tonic::Status;

use crate::{admission::Verifiers, handle::Handle};

/// Largest note of a vote, veto, observation, claim, report, override, act or pause.
const NOTE_BYTES_MAX: usize = 32 * 1024;

/// The charter in force with its keys sorted out, made once per epoch.
#[derive(Debug)]
pub struct InForce {
    /// The charter.
    pub charter: Charter,
    /// Operators' and agents' keys.
    pub signers: KeyRing,
}

impl InForce {
    /// Sorts the keys of a charter that was validated when it became a leaf.
    pub fn new(charter: Charter) -> Self {
        let operators = charter.operator_ring();
        let agents = charter.agent_ring();
        let keys = operators.iter().chain(agents.iter()).cloned();
        // A charter holds every public key once, so this ring cannot be refused.
        let signers = KeyRing::new(keys).unwrap_or_default();
        Self { charter, signers }
    }
}

/// Where and when a text belongs.
pub(crate) trait Bound: Statement + Send + 'static {
    /// The log it names.
    fn origin(&self) -> &Origin;
    /// The epoch it must be of; `None` where the machine judges it.
    fn epoch(&self) -> Option<Epoch>;
}

macro_rules! bound {
    ($($statement:ty: $epoch:ident),*) => {$(
        impl Bound for $statement {
            fn origin(&self) -> &Origin {
                &self.origin
            }
            fn epoch(&self) -> Option<Epoch> {
                bound!(@$epoch self)
            }
        }
    )*};
    (@in_force $self:ident) => { Some($self.epoch) };
    // Claims and reports name the epoch of their decision.
    (@of_decision $self:ident) => { None };
}

bound!(
    Vote: in_force, Veto: in_force, Observe: in_force, Override: in_force, Act: in_force,
    Pause: in_force, Claim: of_decision, Report: of_decision
);

/// Parses a note, checks where it belongs, then its signatures: every line must be good and of a
/// known key.
pub(crate) async fn verified<S: Bound>(
    handle: &Handle,
    verifiers: &Verifiers,
    note: &[u8],
) -> Result<Signed<S>, Status> {
    if note.len() > NOTE_BYTES_MAX {
        let why = format!("{} bytes, the limit is {NOTE_BYTES_MAX}", note.len());
        return Err(super::malformed("note", why));
    }
    let signed = Signed::<S>::parse(note).map_err(|error| not_a_note(&error))?;
    verified_text(handle, verifiers, signed).await
}

/// The charter in force, without which nothing can be verified.
pub(crate) fn in_force(handle: &Handle) -> Result<Arc<InForce>, Status> {
    let none = || Problem::new(ErrorCode::NoQuorum, "the log has no charter yet").into();
    handle.in_force().ok_or_else(none)
}

/// Whether an operator of the charter in force asks. For what no text is signed for: who a
/// certificate names may have left since it was made.
pub(crate) fn operator_in_force(handle: &Handle, caller: Option<&KeyName>) -> Result<(), Status> {
    let charter = &in_force(handle)?.charter;
    if caller.is_some_and(|caller| charter.operator(caller).is_some()) {
        return Ok(());
    }
    let caller = caller.map_or("nobody", KeyName::as_str);
    let what = format!("{caller} is no operator of charter epoch {}", charter.epoch);
    let problem = Problem::new(ErrorCode::RoleNotAllowed, what);
    Err(problem.with("role", caller).with("admits", "operators").into())
}

/// The same for a text that was parsed before: where it belongs, then its signatures.
pub(crate) async fn verified_text<S: Bound>(
    handle: &Handle,
    verifiers: &Verifiers,
    signed: Signed<S>,
) -> Result<Signed<S>, Status> {
    let in_force = in_force(handle)?;
    belongs(&signed.statement, &in_force.charter)?;
    let checked = verifiers.run(move || {
        let answer = check(&signed, &in_force);
        (signed, answer)
    });
    let (signed, answer) = checked.await?;
    let word = if answer.is_ok() { "good" } else { "refused" };
    counter!("quorate_votes_verified_total", "answer" => word).increment(1);
    answer.map(|()| signed).map_err(|problem| (*problem).into())
}

/// A veto, verified.
pub(crate) async fn verified_veto(
    handle: &Handle,
    verifiers: &Verifiers,
    note: &[u8],
) -> Result<Signed<Veto>, Status> {
    verified(handle, verifiers, note).await
}

fn belongs<S: Bound>(statement: &S, charter: &Charter) -> Result<(), Status> {
    let (have, want) = (statement.origin(), &charter.origin);
    if have != want {
        return Err(wrong_origin(have, want).into());
    }
    match statement.epoch() {
        Some(have) if have != charter.epoch => {
            let want = charter.epoch;
            let what = format!("the text is of epoch {have}, epoch {want} is in force");
            Err(Problem::new(ErrorCode::EpochMismatch, what)
                .with("have", have)
                .with("want", want)
                .into())
        }
        Some(_) | None => Ok(()),
    }
}

/// A text of another log; a drill's or demo's is told apart.
pub(crate) fn wrong_origin(have: &Origin, want: &Origin) -> Problem {
    let is_drill = |origin: &Origin| {
        origin.network.as_str().split('/').any(|part| part == "drill" || part == "demo")
    };
    let code = if is_drill(have) == is_drill(want) {
        ErrorCode::WrongOrigin
    } else {
        ErrorCode::DrillMismatch
    };
    let what = format!("the text is for the log {have}, this is {want}");
    Problem::new(code, what).with("have", have).with("want", want)
}

/// Every line of an amendment must be good: by an operator of the charter before, or of the new
/// one.
pub(crate) async fn operators_signed(
    verifiers: &Verifiers,
    signed: Signed<Charter>,
    old: &Charter,
) -> Result<Signed<Charter>, Status> {
    let old = old.clone();
    let checked = verifiers.run(move || {
        let lookup = |line: &SignatureLine| {
            old.operator_of_line(line).or(signed.statement.operator_of_line(line))
        };
        let text = signed.statement.text();
        let bad = signed.lines.iter().find_map(|line| match lookup(line) {
            None => Some((ErrorCode::UnknownValidator, line.clone())),
            Some(key) if !line.signs_text(key, &text) => {
                Some((ErrorCode::SignatureInvalid, line.clone()))
            }
            Some(_) => None,
        });
        match bad {
            None => Ok(signed),
            Some((code, line)) => {
                let what = format!("the line of {}+{} does not count", line.name, line.key_id);
                Err(Box::new(
                    Problem::new(code, what)
                        .with("key_id", line.key_id)
                        .with("name", &line.name)
                        .with("epoch", old.epoch),
                ))
            }
        }
    });
    checked.await?.map_err(|problem| (*problem).into())
}

fn check<S: Statement>(signed: &Signed<S>, in_force: &InForce) -> Result<(), Box<Problem>> {
    // A line that is there twice says nothing more, and would be stored and told twice.
    let mut keys = BTreeSet::new();
    let twice = signed.lines.iter().find(|line| !keys.insert((&line.name, line.key_id)));
    if let Some(line) = twice {
        let what = format!("{}+{} has signed twice", line.name, line.key_id);
        return Err(Box::new(Problem::new(ErrorCode::NotCanonical, what).with("field", "note")));
    }
    let unknown = signed.lines.iter().find(|line| in_force.signers.of_line(line).is_none());
    if let Some(line) = unknown {
        return Err(Box::new(unknown_validator(line, in_force)));
    }
    signed.verify(&in_force.signers).map(drop).map_err(|error| Box::new(refused(&error, in_force)))
}

fn unknown_validator(line: &SignatureLine, in_force: &InForce) -> Problem {
    let epoch = in_force.charter.epoch;
    let what = format!("{}+{} is no key of the charter of epoch {epoch}", line.name, line.key_id);
    Problem::new(ErrorCode::UnknownValidator, what)
        .with("key_id", line.key_id)
        .with("name", &line.name)
        .with("epoch", epoch)
}

fn refused(error: &NoteError, in_force: &InForce) -> Problem {
    let problem = |code| Problem::new(code, error.to_string());
    match error {
        NoteError::BadSignature { name, key_id } => {
            problem(ErrorCode::SignatureInvalid).with("key_id", key_id).with("name", name)
        }
        NoteError::WrongKeyType { name, key_id, .. } => problem(ErrorCode::UnknownValidator)
            .with("key_id", key_id)
            .with("name", name)
            .with("epoch", in_force.charter.epoch),
        NoteError::NoKnownSignature => {
            problem(ErrorCode::UnknownValidator).with("epoch", in_force.charter.epoch)
        }
        // verify() judges lines that were parsed before: what is left is about the form.
        NoteError::TooLarge { .. }
        | NoteError::BadUtf8 { .. }
        | NoteError::ControlCharacter { .. }
        | NoteError::NoFinalNewline
        | NoteError::NoEmptyLine
        | NoteError::NoSignature
        | NoteError::TooManyLines { .. }
        | NoteError::BadLine { .. }
        | NoteError::BadBase64 { .. }
        | NoteError::BadName { .. }
        | NoteError::ShortSignature { .. } => {
            problem(ErrorCode::NotCanonical).with("field", "note")
        }
    }
}

/// Bytes that are no note of the wanted text.
pub(crate) fn not_a_note(error: &SignedError) -> Status {
    let code = match error {
        SignedError::Note(_) => ErrorCode::Malformed,
        SignedError::Text(error) => text_code(error),
    };
    let problem = Problem::new(code, error.to_string()).with("field", "note");
    match error {
        SignedError::Text(TextError::BadValue { value, .. }) => match weak_key(value) {
            Some(name) => Problem::new(ErrorCode::WeakKey, error.to_string()).with("name", name),
            None => problem,
        },
        SignedError::Note(_) | SignedError::Text(_) => problem,
    }
    .into()
}

/// The name of a key that proves nothing, if that is why a charter's line is refused: the key is the
/// last word of its line.
fn weak_key(value: &str) -> Option<&str> {
    let key = value.rsplit(' ').next()?;
    match key.parse::<VerifierKey>() {
        Err(
            KeyError::NoPoint { .. }
            | KeyError::NotCanonical { .. }
            | KeyError::Weak { .. }
            | KeyError::Torsion { .. },
        ) => key.split('+').next(),
        Ok(_) | Err(_) => None,
    }
}

/// A value that makes no sense is malformed; the right thing in another form is not canonical.
pub(crate) fn text_code(error: &TextError) -> ErrorCode {
    match error {
        TextError::Charter(CharterError::SameKey { .. }) => ErrorCode::DuplicateKey,
        TextError::FirstLine { .. }
        | TextError::BadValue { .. }
        | TextError::TooLong { .. }
        | TextError::LineTooLong { .. }
        | TextError::MissingLine { .. }
        | TextError::Contradiction { .. }
        | TextError::Charter(_)
        | TextError::TooMany { .. } => ErrorCode::Malformed,
        // A blank of another kind is the right text in another form; other bytes are no text.
        TextError::ForeignByte { byte, .. } => match byte {
            b'\t' | b'\r' => ErrorCode::NotCanonical,
            _ => ErrorCode::Malformed,
        },
        TextError::NotCanonical { .. }
        | TextError::NoFinalLineFeed
        | TextError::WrongKey { .. }
        | TextError::ExtraLine { .. }
        | TextError::NotAscending { .. } => ErrorCode::NotCanonical,
    }
}
