//! What is asked of etcd, read once from the action's parameters.

use std::collections::{BTreeMap, BTreeSet};

use quorate_attest::remediation::Kind;

use super::super::{Action, PrepareRefused};

/// The one method of a declaration that this adapter carries out.
const METHOD: &str = "force-new-cluster";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// `declare-dead`.
    Declare(Declared),
    /// `add-member`: its name, and `param peer-url`.
    Add { name: String, peer_url: String },
    /// `remove-member`.
    Remove { name: String },
    /// `transfer-leader`: to whom.
    Lead { name: String },
    /// `readmit`: its name, and `param directory`.
    Readmit { name: String, directory: String },
}

/// A declaration, as far as etcd is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) survivor: String,
    pub(super) dead: BTreeSet<String>,
    pub(super) fenced: BTreeSet<String>,
    /// `param height <member> <revision>`: the newest revision its agent has witnessed.
    pub(super) heights: BTreeMap<String, i64>,
}

impl Declared {
    /// Everybody who must be silent when the survivor starts alone.
    pub(super) fn ended(&self) -> impl Iterator<Item = &String> {
        self.dead.iter().chain(&self.fenced)
    }
}

impl Act {
    /// The kinds it can be.
    pub(super) const KINDS: [Kind; 5] = [
        Kind::DeclareDead,
        Kind::AddMember,
        Kind::RemoveMember,
        Kind::TransferLeader,
        Kind::Readmit,
    ];

    /// Reads an action.
    pub(super) fn of(action: &Action) -> Result<Self, PrepareRefused> {
        if action.kind == Kind::DeclareDead {
            return declared(action).map(Self::Declare);
        }
        if !Self::KINDS.contains(&action.kind) {
            return Err(PrepareRefused::KindUnknown { kind: action.kind });
        }
        let name = action.target.as_str().strip_prefix("member:").ok_or_else(|| {
            let target = action.target.to_string();
            PrepareRefused::TargetRefused { target, why: "it is no member:<name>".to_owned() }
        })?;
        let name = name.to_owned();
        if action.kind == Kind::AddMember {
            let peer_url = required(action, "peer-url")?;
            if !peer_url.starts_with("http://") && !peer_url.starts_with("https://") {
                return Err(refused(action, "peer-url", "it is no http(s)://host:port"));
            }
            return Ok(Self::Add { name, peer_url });
        }
        if action.kind == Kind::Readmit {
            return Ok(Self::Readmit { name, directory: required(action, "directory")? });
        }
        Ok(if action.kind == Kind::RemoveMember {
            Self::Remove { name }
        } else {
            Self::Lead { name }
        })
    }
}

fn declared(action: &Action) -> Result<Declared, PrepareRefused> {
    let method = required(action, "method")?;
    if method != METHOD {
        let why = format!("{method} is no method of etcd's; there is {METHOD}");
        return Err(refused(action, "method", &why));
    }
    let named = |key: &str| -> BTreeSet<String> {
        let params = action.params.iter().filter(|param| param.key.as_str() == key);
        params.map(|param| param.value.to_string()).collect()
    };
    let mut heights = BTreeMap::new();
    for param in action.params.iter().filter(|param| param.key.as_str() == "height") {
        let height = param.extra.as_ref().and_then(|word| word.as_str().parse().ok());
        let height = height.ok_or_else(|| refused(action, "height", "it is no revision"))?;
        heights.insert(param.value.to_string(), height);
    }
    Ok(Declared {
        survivor: required(action, "survivor")?,
        dead: named("dead"),
        fenced: named("fenced"),
        heights,
    })
}

fn required(action: &Action, key: &str) -> Result<String, PrepareRefused> {
    let found = action.param(key).ok_or_else(|| refused(action, key, "it is missing"))?;
    Ok(found.to_owned())
}

fn refused(action: &Action, key: &str, why: &str) -> PrepareRefused {
    let (kind, key, why) = (action.kind, key.to_owned(), why.to_owned());
    PrepareRefused::ParamRefused { kind, key, why }
}
