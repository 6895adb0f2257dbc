//! `min-healthy`: no action takes a healthy member out below the charter's floor (*floor*).

use crate::rule::floor::{self, Takes};
use crate::rule::{Refused, Scene};

pub(super) fn judge(scene: &Scene<'_>) -> Result<(), Refused> {
    let Some(word) = scene.word("min-healthy") else { return Ok(()) };
    let Some(floor) = floor::of(scene) else { return Ok(()) };
    if floor.takes == Takes::Nothing {
        return Ok(());
    }
    let roster = scene.roster().len();
    let Some(least) = least(word, roster) else {
        return Err(Refused::because("unreadable", word));
    };
    if floor.left >= least {
        return Ok(());
    }
    Err(Refused::because("target", &floor.target)
        .and("healthy_after", floor.left)
        .and("min_healthy", least)
        .and("roster", roster))
}

/// Whether the charter's word reads.
pub(super) fn reads(word: &str) -> bool {
    least(word, 1).is_some()
}

/// `<members>`, or `<share>%` of the roster, rounded up.
fn least(word: &str, roster: usize) -> Option<usize> {
    match word.strip_suffix('%') {
        Some(share) => {
            let share: usize = share.parse().ok().filter(|share| *share <= 100)?;
            Some((roster.checked_mul(share)?).div_ceil(100))
        }
        None => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::least;

    #[test]
    fn a_share_is_rounded_up() {
        assert_eq!(least("51%", 3), Some(2));
        assert_eq!(least("51%", 4), Some(3));
        assert_eq!(least("100%", 7), Some(7));
        assert_eq!(least("3", 7), Some(3));
        assert_eq!(least("101%", 7), None);
        assert_eq!(least("most", 7), None);
    }
}
