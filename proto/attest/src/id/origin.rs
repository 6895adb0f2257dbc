//! The origin: the name of one life of one decision log.

use std::fmt;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};

use super::{IdError, KeyName, NetworkName};
use crate::encoding::{from_hex, hex};
use crate::number::Incarnation;

/// `<network>/<incarnation>-<32 hex>`, the first line of every checkpoint and in every text.
///
/// The random part makes two logs of one name two logs. No origin is ever the first line of a
/// statement: it ends in `counter-hex`, they end in `/v1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Origin {
    /// The deployment.
    pub network: NetworkName,
    /// Which life of its log.
    pub incarnation: Incarnation,
    /// Random, drawn when this life began.
    pub salt: [u8; 16],
}

impl Origin {
    /// The name that a `log` key of this origin must have.
    #[must_use]
    pub fn key_name(&self) -> KeyName {
        // Bounded by the type: at most 120 + 1 + 19 + 1 + 32 bytes of the same alphabet.
        KeyName::new(self.to_string()).expect("an origin is a key name")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}-{}", self.network, self.incarnation, hex(&self.salt))
    }
}

impl FromStr for Origin {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let shape = || IdError::OriginShape { text: text.chars().take(256).collect() };
        let (network, life) = text.rsplit_once('/').ok_or_else(shape)?;
        let (counter, salt) = life.split_once('-').ok_or_else(shape)?;
        Ok(Self {
            network: NetworkName::new(network)?,
            incarnation: counter.parse().map_err(IdError::OriginCounter)?,
            salt: from_hex(salt).ok_or_else(shape)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_network_counter_and_salt() {
        let text = "quorate.example/testnet/1-0f0e0d0c0b0a09080706050403020100";
        let origin: Origin = text.parse().unwrap();
        assert_eq!(origin.network.as_str(), "quorate.example/testnet");
        assert_eq!(origin.incarnation.get(), 1);
        assert_eq!(origin.to_string(), text);
        assert_eq!(origin.key_name().as_str(), text);
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "",
            "an origin may have spaces",
            "1-0f0e0d0c0b0a09080706050403020100",
            "/1-0f0e0d0c0b0a09080706050403020100",
            "a/0-0f0e0d0c0b0a09080706050403020100",
            "a/01-0f0e0d0c0b0a09080706050403020100",
            "a/1-0F0E0D0C0B0A09080706050403020100",
            "a/1-0f0e0d0c0b0a090807060504030201",
            "a/1-0f0e0d0c0b0a09080706050403020100 ",
            "quorate-vote/v1",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_longest_origin_is_still_a_key_name() {
        let origin = Origin {
            network: NetworkName::new("a".repeat(120)).unwrap(),
            incarnation: Incarnation::MAX,
            salt: [0xff; 16],
        };
        assert_eq!(origin.key_name().as_str().len(), 173);
    }
}
