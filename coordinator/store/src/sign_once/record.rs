//! What is remembered: the newest head, refused leaves, and forks that were met.

use quorate_attest::cosignature::Cosignature;
use quorate_attest::key::KeyId;
use quorate_attest::log_time::CosignTime;
use quorate_attest::merkle::Hash;
use quorate_attest::note::SignatureLine;
use quorate_attest::number::{LeafIndex, TreeSize};
use quorate_attest::refusal::Refusal;
use quorate_attest::text::Statement;

use crate::codec::{CodecError, Kind, Reader, Record, Writer};

/// The longest key name in bytes.
const NAME_BYTES_MAX: usize = 255;
/// The longest text that is signed here, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// The longest signature payload in bytes: a time and an Ed25519 signature take 72.
const PAYLOAD_BYTES_MAX: usize = 128;

/// The head this coordinator signed last: size, root, time, the exact text and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// Number of leaves.
    pub size: TreeSize,
    /// Root over them.
    pub root: Hash,
    /// The checkpoint's body, as it was signed.
    pub text: String,
    /// The cosignature, its time included.
    pub cosignature: Cosignature,
}

/// A decision this coordinator refused to certify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLeaf {
    /// What was refused, and why.
    pub refusal: Refusal,
    /// The signed line under it.
    pub line: SignatureLine,
    /// The size of the first head cosigned since that also voids or abandons the decision.
    pub settled: Option<TreeSize>,
}

/// Two roots at one size: somebody lied, or this replica's state diverged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkEvidence {
    /// The head this coordinator had signed, with its signature.
    pub signed: SignedHead,
    /// The root its own tree has at that size now.
    pub own_root: Hash,
    /// When the two were compared.
    pub time: CosignTime,
    /// Whether signing ended for good.
    pub is_final: bool,
}

fn write_line(to: &mut Writer, line: &SignatureLine) {
    to.bytes(line.name.as_bytes());
    to.fixed(&line.key_id.to_bytes());
    to.bytes(&line.payload);
}

fn read_line(from: &mut Reader<'_>) -> Result<SignatureLine, CodecError> {
    let name = read_text(from, "key name", NAME_BYTES_MAX)?;
    let key_id = KeyId::from_bytes(from.array("key id")?);
    let payload = from.bytes("signature", PAYLOAD_BYTES_MAX)?.to_vec();
    Ok(SignatureLine { name, key_id, payload })
}

fn read_text(from: &mut Reader<'_>, field: &'static str, max: usize) -> Result<String, CodecError> {
    let text = from.bytes(field, max)?;
    let text = std::str::from_utf8(text)
        .map_err(|_| CodecError::Inconsistent { field, reason: "texts are UTF-8" })?;
    Ok(text.to_owned())
}

fn read_size(from: &mut Reader<'_>, field: &'static str) -> Result<TreeSize, CodecError> {
    let size = from.number(field)?;
    TreeSize::new(size).map_err(|refused| part(field, &refused))
}

fn part(part: &'static str, refused: &dyn std::error::Error) -> CodecError {
    CodecError::Part { part, reason: refused.to_string() }
}

impl Record for SignedHead {
    const KIND: Kind = Kind::SignedHead;

    fn write(&self, to: &mut Writer) {
        to.u64(self.size.get());
        to.fixed(self.root.as_bytes());
        to.bytes(self.text.as_bytes());
        write_line(to, &self.cosignature.to_line());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        let size = read_size(from, "size")?;
        let root = Hash::from_bytes(from.array("root")?);
        let text = read_text(from, "checkpoint", TEXT_BYTES_MAX)?;
        let line = read_line(from)?;
        let cosignature =
            Cosignature::from_line(&line).map_err(|refused| part("cosignature", &refused))?;
        Ok(Self { size, root, text, cosignature })
    }
}

impl Record for RefusedLeaf {
    const KIND: Kind = Kind::RefusedLeaf;

    fn write(&self, to: &mut Writer) {
        to.bytes(self.refusal.text().as_bytes());
        write_line(to, &self.line);
        to.option(self.settled.as_ref(), |to, size| to.u64(size.get()));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        let text = read_text(from, "refusal", TEXT_BYTES_MAX)?;
        let refusal = Refusal::parse(&text).map_err(|refused| part("refusal", &refused))?;
        let line = read_line(from)?;
        let settled = from.option("settled", |from| read_size(from, "settled"))?;
        Ok(Self { refusal, line, settled })
    }
}

impl Record for ForkEvidence {
    const KIND: Kind = Kind::ForkEvidence;

    fn write(&self, to: &mut Writer) {
        self.signed.write(to);
        to.fixed(self.own_root.as_bytes());
        to.u64(self.time.get());
        to.u8(u8::from(self.is_final));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CodecError> {
        let signed = SignedHead::read(from)?;
        let own_root = Hash::from_bytes(from.array("own root")?);
        let time =
            CosignTime::new(from.number("time")?).map_err(|refused| part("time", &refused))?;
        let is_final = from.flag("final")?;
        Ok(Self { signed, own_root, time, is_final })
    }
}

impl RefusedLeaf {
    /// Where the refused decision stands in the log.
    pub fn leaf(&self) -> LeafIndex {
        self.refusal.leaf
    }
}
