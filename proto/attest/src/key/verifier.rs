//! Names of public keys: the four-byte id, and the C2SP `vkey` text that a charter lists.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::{KeyError, KeyType, PublicKey};
use crate::encoding::{base64, from_base64, from_hex};
use crate::id::KeyName;

/// The four bytes that stand before a signature. A hint which key to try, no authority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u32);

impl KeyId {
    /// The id of a key: the first four bytes of SHA-256(name, line feed, type, public key).
    #[must_use]
    pub fn of(name: &KeyName, key_type: KeyType, public: &PublicKey) -> Self {
        let mut hash = Sha256::new();
        hash.update(name.as_str());
        hash.update([b'\n', key_type.byte()]);
        hash.update(public.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        Self::from_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    /// From the bytes before a signature.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// The bytes before a signature, big-endian.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        from_hex(text)
            .map(Self::from_bytes)
            .ok_or_else(|| KeyError::KeyIdText { text: text.chars().take(16).collect() })
    }
}

/// A public key with its name and type: what a charter lists, written as a C2SP `vkey`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerifierKey {
    name: KeyName,
    key_type: KeyType,
    public: PublicKey,
    id: KeyId,
}

impl VerifierKey {
    /// Names a key.
    #[must_use]
    pub fn new(name: KeyName, key_type: KeyType, public: PublicKey) -> Self {
        let id = KeyId::of(&name, key_type, &public);
        Self { name, key_type, public, id }
    }

    /// What lines signed by this key are called.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// What this key signs.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The key itself: what counts as one signer.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The id that stands before its signatures.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = Vec::with_capacity(33);
        key.push(self.key_type.byte());
        key.extend_from_slice(self.public.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id, base64(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        // The base64 may hold '+' itself: split at the first two only.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::VkeyShape { parts: text.split('+').count() });
        };
        let name = KeyName::new(name)?;
        let written: KeyId = id.parse()?;
        let key = from_base64(key).ok_or_else(|| KeyError::Base64 { name: name.clone() })?;
        let (key_type, public) = split_typed_key(&name, &key)?;
        let vkey = Self::new(name, key_type, PublicKey::load(public)?);
        if vkey.id != written {
            let computed = vkey.id;
            return Err(KeyError::KeyIdMismatch { name: vkey.name, written, computed });
        }
        Ok(vkey)
    }
}

/// One type byte and 32 key bytes. The type is looked at first: other types have other lengths.
fn split_typed_key<'k>(name: &KeyName, key: &'k [u8]) -> Result<(KeyType, &'k [u8; 32]), KeyError> {
    let length = || KeyError::Length { name: name.clone(), len: key.len() };
    let (first, public) = key.split_first().ok_or_else(length)?;
    let key_type = match first {
        0x01 => KeyType::Note,
        0x04 => KeyType::Cosignature,
        found => return Err(KeyError::UnsupportedType { name: name.clone(), found: *found }),
    };
    Ok((key_type, public.try_into().map_err(|_| length())?))
}
