//! Between the wire and the domain: `TryFrom` towards the domain, `From` away from it.
//!
//! What is signed never passes here: it travels as exact bytes and is parsed by `quorate-attest`.

mod class;
mod time;

use thiserror::Error;
use uuid::Uuid;

use crate::error_code::ErrorCode;
use crate::problem::Problem;

/// A field of a request that has no meaning in the domain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConversionError {
    /// It must be given.
    #[error("`{field}` is missing")]
    MissingField {
        /// The field, snake_case.
        field: &'static str,
    },
    /// Too short or too long.
    #[error("`{field}` has {have} bytes, not {want}")]
    InvalidLength {
        /// The field.
        field: &'static str,
        /// Its length in bytes.
        have: usize,
        /// The length wanted.
        want: usize,
    },
    /// A number or time outside of its bounds.
    #[error("`{field}` is out of range: {value}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
    },
    /// A value of an enum that this version does not know.
    #[error("`{field}` has the unknown value {value}")]
    UnknownVariant {
        /// The field.
        field: &'static str,
        /// The value.
        value: i32,
    },
    /// Text that is not of the field's form.
    #[error("`{field}` is no {wanted}")]
    InvalidText {
        /// The field.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

impl ConversionError {
    /// The field.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::MissingField { field }
            | Self::InvalidLength { field, .. }
            | Self::OutOfRange { field, .. }
            | Self::UnknownVariant { field, .. }
            | Self::InvalidText { field, .. } => field,
        }
    }
}

impl From<ConversionError> for Problem {
    fn from(error: ConversionError) -> Self {
        Self::new(ErrorCode::Malformed, error.to_string()).with("field", error.field())
    }
}

/// The bytes of a `request_id`: a UUID v4 in its usual lower-case form. `None` if it is empty.
///
/// # Errors
/// Any other text.
pub fn request_id(text: &str) -> Result<Option<[u8; 16]>, ConversionError> {
    if text.is_empty() {
        return Ok(None);
    }
    let id = Uuid::try_parse(text)
        .ok()
        .filter(|id| id.get_version_num() == 4 && id.hyphenated().to_string() == text);
    id.map(|id| Some(id.into_bytes())).ok_or(ConversionError::InvalidText {
        field: "request_id",
        wanted: "UUID v4 in lower case, such as `quorate` prints",
    })
}

/// A value of a generated enum.
///
/// # Errors
/// This version does not know it.
pub fn known<E: TryFrom<i32>>(field: &'static str, value: i32) -> Result<E, ConversionError> {
    E::try_from(value).map_err(|_| ConversionError::UnknownVariant { field, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::View;

    #[test]
    fn a_request_id_is_a_uuid_v4_in_one_form_only() {
        let text = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert_eq!(request_id(text).unwrap().unwrap()[0], 0x67);
        assert_eq!(request_id("").unwrap(), None);
        for bad in [
            "67E55044-10B1-426F-9247-BB680E5FE0C8",
            "67e5504410b1426f9247bb680e5fe0c8",
            "{67e55044-10b1-426f-9247-bb680e5fe0c8}",
            "67e55044-10b1-126f-9247-bb680e5fe0c8",
            "1",
        ] {
            assert!(request_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_enum_value_is_refused_with_its_field() {
        assert_eq!(known::<View>("view", 2), Ok(View::Full));
        let error = known::<View>("view", 99).unwrap_err();
        let problem = Problem::from(error);
        assert_eq!(problem.code(), ErrorCode::Malformed);
        assert_eq!(problem.fact("field"), Some("view"));
    }
}
