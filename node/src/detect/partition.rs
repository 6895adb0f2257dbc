//! Partition is not death: whoever cannot reach most of its peers doubts itself.

use crate::probe::Reading;

/// What an agent believes of its own place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surroundings {
    /// It reaches enough of the other members to judge one of them.
    Connected,
    /// It does not: what it cannot reach may work for everybody else.
    CutOff,
}

/// Judges from the readings of the *other* members, the suspected one left out.
///
/// A machine that refuses a connection was reached, so *down* counts as reached. With nobody else
/// to look at there is nothing that speaks against this agent's own network.
pub fn surroundings(others: impl IntoIterator<Item = Reading>) -> Surroundings {
    let (mut reached, mut silent) = (0_usize, 0_usize);
    for reading in others {
        match reading {
            Reading::Up | Reading::Down => reached += 1,
            Reading::Unreachable => silent += 1,
        }
    }
    if silent > reached || (silent > 0 && reached == 0) {
        Surroundings::CutOff
    } else {
        Surroundings::Connected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_others_silent_means_cut_off() {
        use Reading::{Down, Unreachable, Up};
        for (others, wanted) in [
            (vec![], Surroundings::Connected),
            (vec![Up], Surroundings::Connected),
            (vec![Unreachable], Surroundings::CutOff),
            (vec![Up, Unreachable], Surroundings::Connected),
            (vec![Up, Unreachable, Unreachable], Surroundings::CutOff),
            (vec![Down, Down, Unreachable], Surroundings::Connected),
        ] {
            assert_eq!(surroundings(others.clone()), wanted, "{others:?}");
        }
    }
}
