//! Hex and base64, in exactly one form each.
//!
//! Every text of ours must re-encode to the bytes it was read from, so both decoders accept one
//! spelling only: lower-case hex, and RFC 4648 base64 with padding and with unused bits zero.

use base64ct::{Base64, Encoding};

/// Lower-case hex, two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
    }
    text
}

/// Exactly `N` bytes of lower-case hex, or `None`.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Canonical base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Bytes of canonical base64, or `None` for any other spelling.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64::decode_vec(text).ok()?;
    // The decoder is strict already; this keeps the promise if it ever is not.
    (base64(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(hex(&[0x00, 0xaf, 0x10]), "00af10");
        assert_eq!(from_hex::<3>("00af10"), Some([0x00, 0xaf, 0x10]));
        for text in ["00AF10", "00af1", "00af100", "00af1g", "00af1é", ""] {
            assert_eq!(from_hex::<3>(text), None, "{text}");
        }
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(from_base64("AQI="), Some(vec![1, 2]));
        for text in ["AQI", "AQJ=", "AQI=\n", " AQI=", "AQ-_", "AQI==", "A=I="] {
            assert_eq!(from_base64(text), None, "{text:?}");
        }
    }
}
