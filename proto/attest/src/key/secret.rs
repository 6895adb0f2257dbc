//! Private keys: made from a seed, kept as PKCS#8 PEM text, wiped when dropped.

use ed25519_dalek::pkcs8::{
    DecodePrivateKey, EncodePrivateKey, KeypairBytes, spki::der::pem::LineEnding,
};
use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

use super::{KeyError, PublicKey};

/// A private key. No `Clone`, no `Debug`; its bytes are wiped when it is dropped.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From 32 bytes that the caller drew at random.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "the caller's copy is to be wiped")]
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// From a PKCS#8 PEM text, version 1 or 2.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`], which says nothing about the text.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pair = KeypairBytes::from_pkcs8_pem(pem).map_err(|_| KeyError::PrivateKey)?;
        // Version 2 carries the public key too; the conversion refuses one that is not its own.
        SigningKey::try_from(pair).map(Self).map_err(|_| KeyError::PrivateKey)
    }

    /// The PKCS#8 **version 1** PEM text, 119 bytes: OpenSSL 3.0 cannot read version 2.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        KeypairBytes { secret_key: self.0.to_bytes(), public_key: None }
            .to_pkcs8_pem(LineEnding::LF)
            .expect("32 bytes always encode")
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::of_secret(&self.0)
    }

    /// Signs bytes. Crate-private, so that callers can only sign typed statements.
    pub(crate) fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn both_versions_of_pkcs8_are_read_and_version_1_is_written() {
        let own = SecretKey::from_seed(Zeroizing::new([7; 32]));
        let version_2 = key(7).to_pkcs8_pem(LineEnding::LF).unwrap();
        assert_eq!((own.to_pem().len(), version_2.len()), (119, 168));
        for pem in [own.to_pem(), version_2] {
            assert_eq!(SecretKey::from_pem(&pem).unwrap().public(), own.public());
        }
    }

    #[test]
    fn a_key_file_with_the_public_key_of_another_is_refused() {
        let mut pair = KeypairBytes::from_bytes(&key(7).to_keypair_bytes());
        pair.public_key = KeypairBytes::from_bytes(&key(8).to_keypair_bytes()).public_key;
        let pem = pair.to_pkcs8_pem(LineEnding::LF).unwrap();
        assert_eq!(SecretKey::from_pem(&pem).err(), Some(KeyError::PrivateKey));
    }

    #[test]
    fn other_texts_are_refused_without_being_repeated() {
        let own = SecretKey::from_seed(Zeroizing::new([7; 32]));
        let pem = own.to_pem();
        let public = pem.replace("PRIVATE", "PUBLIC");
        for text in ["", "secret", &pem[1..], &pem[..100], &public, &pem.replace("MC4C", "MC4D")] {
            let refused = SecretKey::from_pem(text).err().unwrap();
            assert_eq!(refused.to_string(), "the text is no PKCS#8 Ed25519 private key");
        }
    }
}
