//! The keys a verifier knows.

use std::collections::BTreeMap;

use thiserror::Error;

use super::SignatureLine;
use crate::key::{KeyId, PublicKey, VerifierKey};

/// Why a set of keys was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyRingError {
    /// One public key twice, under whatever names: it would count as two signers.
    #[error("{first} and {second} are one public key")]
    SamePublicKey {
        /// Name it is known under.
        first: String,
        /// Name it was given again.
        second: String,
    },
    /// Two keys with one name and one key id: a line could not say which.
    #[error("two keys are called {name}+{key_id}")]
    SameNameAndId {
        /// The name.
        name: String,
        /// The id.
        key_id: KeyId,
    },
}

/// The keys a verifier knows. Each public key occurs once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRing(BTreeMap<String, BTreeMap<KeyId, VerifierKey>>);

impl KeyRing {
    /// Collects keys.
    ///
    /// # Errors
    /// One public key twice, or two keys that lines cannot tell apart.
    pub fn new(keys: impl IntoIterator<Item = VerifierKey>) -> Result<Self, KeyRingError> {
        let mut ring = Self::default();
        let mut publics: BTreeMap<PublicKey, String> = BTreeMap::new();
        for key in keys {
            let (name, key_id) = (key.name().as_str().to_owned(), key.id());
            if let Some(first) = publics.insert(key.public().clone(), name.clone()) {
                return Err(KeyRingError::SamePublicKey { first, second: name });
            }
            if ring.0.entry(name.clone()).or_default().insert(key_id, key).is_some() {
                return Err(KeyRingError::SameNameAndId { name, key_id });
            }
        }
        Ok(ring)
    }

    /// The key with this name and id.
    #[must_use]
    pub fn lookup(&self, name: &str, key_id: KeyId) -> Option<&VerifierKey> {
        self.0.get(name)?.get(&key_id)
    }

    /// The key that a line names.
    #[must_use]
    pub fn of_line(&self, line: &SignatureLine) -> Option<&VerifierKey> {
        self.lookup(&line.name, line.key_id)
    }

    /// All keys, by name and id.
    pub fn iter(&self) -> impl Iterator<Item = &VerifierKey> {
        self.0.values().flat_map(BTreeMap::values)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::id::KeyName;
    use crate::key::{KeyType, SecretKey};

    fn key(name: &str, key_type: KeyType, seed: u8) -> VerifierKey {
        let public = SecretKey::from_seed(Zeroizing::new([seed; 32])).public();
        VerifierKey::new(KeyName::new(name).unwrap(), key_type, public)
    }

    #[test]
    fn one_public_key_is_one_signer_whatever_it_is_called() {
        let first = || key("ana", KeyType::Note, 1);
        for again in [first(), key("ben", KeyType::Note, 1), key("ana", KeyType::Cosignature, 1)] {
            let refused = KeyRing::new([first(), again]);
            assert!(matches!(refused, Err(KeyRingError::SamePublicKey { .. })));
        }
    }

    #[test]
    fn two_keys_may_share_a_name_and_are_told_apart_by_id() {
        let (old, new) = (key("ana", KeyType::Note, 1), key("ana", KeyType::Note, 2));
        let ring = KeyRing::new([old.clone(), new.clone()]).unwrap();
        assert_eq!(ring.len(), 2);
        assert_eq!(ring.lookup("ana", old.id()), Some(&old));
        assert_eq!(ring.lookup("ana", new.id()), Some(&new));
        assert_eq!(ring.lookup("ben", new.id()), None);
    }
}
