//! The validated string types. A value of one of these can be put into any text of ours as it is.

use super::IdError;

/// `[a-z0-9][a-z0-9._-]{0,62}`
fn check_label(what: &'static str, text: &str) -> Result<(), IdError> {
    check(what, text, 63, |character, at| match character {
        'a'..='z' | '0'..='9' => true,
        '.' | '_' | '-' => at > 0,
        _ => false,
    })
}

/// `[a-z0-9./:_-]`, 1 to `max` bytes.
fn check_name(what: &'static str, text: &str, max: usize) -> Result<(), IdError> {
    let allowed =
        |character, _| matches!(character, 'a'..='z' | '0'..='9' | '.' | '/' | ':' | '_' | '-');
    check(what, text, max, allowed)
}

/// `[!-~]{1,200}`
fn check_word(what: &'static str, text: &str) -> Result<(), IdError> {
    check(what, text, 200, |character, _| character.is_ascii_graphic())
}

/// `[ -~]{1,256}`, no blank at either end.
fn check_sentence(what: &'static str, text: &str) -> Result<(), IdError> {
    let last = text.len().saturating_sub(1);
    check(what, text, 256, |character, at| match character {
        ' ' => at > 0 && at < last,
        _ => character.is_ascii_graphic(),
    })
}

fn check(
    what: &'static str,
    text: &str,
    max: usize,
    allowed: impl Fn(char, usize) -> bool,
) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > max {
        return Err(IdError::TooLong { what, len: text.len(), max });
    }
    match text.char_indices().find(|(at, character)| !allowed(*character, *at)) {
        Some((at, character)) => Err(IdError::BadCharacter { what, character, at }),
        None => Ok(()),
    }
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, borsh::BorshSerialize)]
        pub struct $name(String);

        impl $name {
            /// Validates the text.
            ///
            /// # Errors
            /// The text is empty, too long, or has a character that the type does not allow.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                let check: fn(&'static str, &str) -> Result<(), IdError> = $check;
                check($what, &text)?;
                Ok(Self(text))
            }

            /// The text as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;

            fn try_from(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl borsh::BorshDeserialize for $name {
            fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
                crate::number::read_parsed(reader)
            }
        }
    };
}

text_type! {
    /// One guarded cluster.
    ClusterId, "cluster", check_label
}
text_type! {
    /// One member of a guarded cluster, by the name the charter gives it.
    MemberId, "member", check_label
}
text_type! {
    /// What is being recovered from.
    IncidentId, "incident", check_label
}
text_type! {
    /// A named rule, such as `quorum-floor`.
    RuleName, "rule", check_label
}
text_type! {
    /// What knows how to probe and act on one kind of system.
    AdapterName, "adapter", check_label
}
text_type! {
    /// A failure domain: its observers are one voice. A domain of its own is no `Domain` at all.
    Domain, "domain", check_label
}
text_type! {
    /// Key of a proposal's parameter.
    ParamKey, "param", check_label
}
text_type! {
    /// Name of a playbook.
    PlaybookId, "playbook", check_label
}
text_type! {
    /// Key of an observed fact.
    FactKey, "fact", check_label
}
text_type! {
    /// Name of a key: `<network>/<role>/<id>`, or an origin for the log's own keys.
    KeyName, "key name", |what, text| check_name(what, text, 200)
}
text_type! {
    /// What all names of one deployment begin with, such as `quorate.example/testnet`.
    ///
    /// At most 120 bytes, so that its origins and every `<network>/<role>/<id>` fit a [`KeyName`].
    NetworkName, "network", |what, text| check_name(what, text, 120)
}
text_type! {
    /// One printable ASCII word without a blank.
    Word, "word", check_word
}
text_type! {
    /// Printable ASCII without a blank at either end; `-` says that there is nothing to say.
    Sentence, "sentence", check_sentence
}

impl Sentence {
    /// The sentence that says nothing, `-`.
    #[must_use]
    pub fn none() -> Self {
        Self("-".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_lower_case_and_begins_with_a_letter_or_digit() {
        for text in ["a", "0", "neo-testnet", "n.1_x-y", &"a".repeat(63)] {
            assert_eq!(ClusterId::new(text).unwrap().as_str(), text);
        }
        for text in ["", "-a", ".a", "_a", "A", "a b", "a/b", "é", "a\n", &"a".repeat(64)] {
            assert!(ClusterId::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_has_no_blank_no_plus_and_no_upper_case() {
        assert!(KeyName::new("quorate.example/testnet/operator/ana").is_ok());
        for text in ["", "a b", "a+b", "A", "a\u{a0}b", &"a".repeat(201)] {
            assert!(KeyName::new(text).is_err(), "{text:?}");
        }
        assert!(NetworkName::new("a".repeat(120)).is_ok());
        assert!(NetworkName::new("a".repeat(121)).is_err());
    }

    #[test]
    fn a_word_has_no_blank_and_a_sentence_none_at_its_ends() {
        assert!(Word::new("peer:ed25519:2ffc~!").is_ok());
        assert!(Sentence::new("two different signed headers").is_ok());
        assert_eq!(Sentence::none().as_str(), "-");
        for text in ["", " a", "a ", " ", "a\tb", "é", "a\u{7f}", &"a".repeat(257)] {
            assert!(Word::new(text).is_err(), "{text:?}");
            assert!(Sentence::new(text).is_err(), "{text:?}");
        }
        assert!(Word::new("a b").is_err());
    }

    #[test]
    fn stored_bytes_are_validated_like_text() {
        let bytes = borsh::to_vec(&MemberId::new("n1").unwrap()).unwrap();
        assert_eq!(borsh::from_slice::<MemberId>(&bytes).unwrap().as_str(), "n1");
        let bytes = borsh::to_vec("N1").unwrap();
        assert!(borsh::from_slice::<MemberId>(&bytes).is_err());
    }
}
