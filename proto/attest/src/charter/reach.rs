//! Which classes can be won at all, and which only while nobody is missing.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use super::{Charter, CharterError};
use crate::id::{ClusterId, KeyName, MemberId};
use crate::quorum::Electorate;
use crate::remediation::{Class, Kind};

/// One kind for each electorate that a charter gives: of each class, with a probe and without.
const KINDS: [Kind; 6] =
    [Kind::Restart, Kind::RemoveMember, Kind::Halt, Kind::Resync, Kind::RevokeKey, Kind::Abandon];

/// Who would have to be missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// One member, and its observer with it.
    Member(MemberId),
    /// One operator.
    Operator(KeyName),
}

impl Display for Missing {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(member) => write!(formatter, "member {member}"),
            Self::Operator(name) => write!(formatter, "operator {name}"),
        }
    }
}

/// The loss of one member or operator makes something undecidable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CharterWarning {
    /// Remediations of that class in that cluster.
    ClassFragile {
        /// The cluster.
        cluster: ClusterId,
        /// The class.
        class: Class,
        /// A kind of that class: with a probe, or without.
        kind: Kind,
        /// Who must not be lost.
        missing: Missing,
    },
    /// Changes of the charter.
    CharterFragile {
        /// Who must not be lost.
        missing: KeyName,
    },
}

impl Display for CharterWarning {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClassFragile { cluster, class, kind, missing } => write!(
                formatter,
                "{cluster}: without {missing} no remediation of class {class} (such as {kind}) can \
                 be approved"
            ),
            Self::CharterFragile { missing } => {
                write!(formatter, "without operator {missing} the charter can never be changed")
            }
        }
    }
}

impl Charter {
    /// Refuses a charter in which a class is unreachable with everybody present.
    pub(super) fn check_reach(&self) -> Result<(), CharterError> {
        if let Some(tally) = Electorate::of_charter(self).map(|electorate| electorate.everybody())
            && !tally.is_won()
        {
            return Err(CharterError::CharterUnreachable { have: tally.have, need: tally.need });
        }
        for line in &self.cluster {
            for (kind, target, electorate) in self.electorates(&line.name) {
                let tally = electorate.everybody();
                if !tally.is_won() {
                    return Err(CharterError::Unreachable {
                        cluster: line.name.clone(),
                        class: kind.class(),
                        kind,
                        target: target.cloned(),
                        have: tally.have,
                        need: tally.need,
                        operators_have: tally.operators_have,
                        operators_need: tally.operators_need,
                    });
                }
            }
        }
        Ok(())
    }

    /// Where losing one member or operator makes a class unreachable. For `init` and `doctor`.
    pub fn warnings(&self) -> BTreeSet<CharterWarning> {
        let mut warnings = BTreeSet::new();
        if let Some(electorate) = Electorate::of_charter(self) {
            for missing in &electorate.operators {
                if !without(&electorate, missing) {
                    let missing = missing.clone();
                    warnings.insert(CharterWarning::CharterFragile { missing });
                }
            }
        }
        for line in &self.cluster {
            let cluster = &line.name;
            for (kind, target, electorate) in self.electorates(cluster) {
                for (key, missing) in self.losable(cluster, target) {
                    if electorate.has(key) && !without(&electorate, key) {
                        warnings.insert(CharterWarning::ClassFragile {
                            cluster: cluster.clone(),
                            class: kind.class(),
                            kind,
                            missing,
                        });
                    }
                }
            }
        }
        warnings
    }

    /// Everyone who can be lost besides the target itself.
    fn losable<'a>(
        &'a self,
        cluster: &'a ClusterId,
        target: Option<&'a MemberId>,
    ) -> impl Iterator<Item = (&'a KeyName, Missing)> {
        let members = self
            .observers(cluster)
            .filter(move |line| Some(&line.member) != target)
            .map(|line| (line.key.name(), Missing::Member(line.member.clone())));
        let operators = self.operator.iter().map(|line| line.key.name());
        members.chain(operators.map(|name| (name, Missing::Operator(name.clone()))))
    }

    /// Every electorate of a cluster: for no member, and for each member as the target.
    fn electorates<'a>(
        &'a self,
        cluster: &'a ClusterId,
    ) -> impl Iterator<Item = (Kind, Option<&'a MemberId>, Electorate)> {
        let targets = || {
            let members = self.members(cluster).map(|line| Some(&line.member));
            std::iter::once(None).chain(members)
        };
        KINDS.into_iter().flat_map(move |kind| {
            targets().filter_map(move |target| {
                let out = BTreeSet::new();
                let electorate = Electorate::of(self, cluster, kind, target, &out)?;
                Some((kind, target, electorate))
            })
        })
    }
}

/// Whether the electorate can still win when that key never votes.
fn without(electorate: &Electorate, missing: &KeyName) -> bool {
    let mut all = electorate.operators.clone();
    all.extend(electorate.observers.values().flatten().cloned());
    all.remove(missing);
    electorate.tally(&all, &BTreeSet::new(), &BTreeSet::new()).is_won()
}
