//! Laws that hold for whatever is drawn.

use std::collections::BTreeSet;

use proptest::prelude::*;
use quorate_attest::history::{History, LeafRefused};
use quorate_attest::id::KeyName;
use quorate_attest::leaf::{Leaf, VoidCause};
use quorate_attest::quorum::{
    Electorate, Silenced, TallyResult, coordinator_threshold, refusal_threshold,
};
use quorate_attest::remediation::Kind;
use quorate_attest::signed::Signatures;

use crate::fixture::{DOMAINS, OPERATORS, World, charter, key_name, names};

/// Coordinators and how many of them may lie.
const QUORUMS: [(u32, u32); 8] = [(3, 0), (4, 0), (4, 1), (5, 0), (5, 1), (7, 0), (7, 1), (7, 2)];

#[test]
fn the_thresholds_are_those_of_the_table() {
    let expected = [2, 3, 3, 3, 4, 4, 5, 5];
    for ((n, f), k) in QUORUMS.into_iter().zip(expected) {
        assert_eq!(coordinator_threshold(n, f), k, "n = {n}, f = {f}");
        assert!(k <= n - f, "the honest alone can certify");
        assert!(2 * k > n + f, "two quorums share an honest coordinator");
    }
}

#[test]
fn k_of_n_with_f_double_signers_never_certify_two_roots() {
    for (n, f) in QUORUMS {
        let k = coordinator_threshold(n, f);
        for one in 0_u32..1 << n {
            for two in 0_u32..1 << n {
                // Whoever signed both roots lied; with at most f liars not both reach k.
                if (one & two).count_ones() <= f {
                    assert!(one.count_ones() < k || two.count_ones() < k, "n = {n}, f = {f}");
                }
            }
        }
    }
}

#[test]
fn a_decision_is_never_both_certified_and_void() {
    for (n, f) in QUORUMS {
        let (k, refusals) = (coordinator_threshold(n, f), refusal_threshold(n, f));
        for signed in 0_u32..1 << n {
            for refused in 0_u32..1 << n {
                if (signed & refused).count_ones() <= f {
                    let both = signed.count_ones() >= k && refused.count_ones() >= refusals;
                    assert!(!both, "n = {n}, f = {f}");
                }
            }
        }
        // The rule without f would allow both.
        assert!(f == 0 || refusals > n - k + 1);
    }
}

fn everyone() -> Vec<KeyName> {
    DOMAINS.iter().chain(&OPERATORS).map(|short| key_name(short)).collect()
}

fn some_names() -> impl Strategy<Value = BTreeSet<KeyName>> {
    proptest::sample::subsequence(everyone(), 0..=7).prop_map(|names| names.into_iter().collect())
}

fn some_kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(Kind::ALL)
}

proptest! {
    #[test]
    fn a_tally_is_decided_once_and_for_all(
        kind in some_kind(),
        approvers in some_names(),
        rejecters in some_names(),
        more in some_names(),
    ) {
        let charter = charter();
        let cluster = "neo-testnet".parse().unwrap();
        let target = "neo-4".parse().unwrap();
        let electorate =
            Electorate::of(&charter, &cluster, kind, Some(&target), &BTreeSet::new()).unwrap();
        let none = BTreeSet::new();
        let rejecters: BTreeSet<_> = rejecters.difference(&approvers).cloned().collect();
        let before = electorate.tally(&approvers, &rejecters, &none);
        // Votes still to come, by who has not voted.
        let new: BTreeSet<_> =
            more.iter().filter(|name| !rejecters.contains(*name)).cloned().collect();
        let after = electorate.tally(&approvers.union(&new).cloned().collect(), &rejecters, &none);
        match before.result {
            TallyResult::Won => prop_assert!(after.is_won()),
            TallyResult::Lost => prop_assert!(after.is_lost()),
            TallyResult::Pending => {
                let open: BTreeSet<_> =
                    everyone().into_iter().filter(|name| !rejecters.contains(name)).collect();
                prop_assert!(electorate.tally(&open, &rejecters, &none).is_won());
            }
        }
        prop_assert_eq!(before.have as usize, before.approved.len());
        prop_assert!(after.have >= before.have);
    }

    #[test]
    fn who_has_no_voice_changes_no_tally(kind in some_kind(), approvers in some_names()) {
        let charter = charter();
        let cluster = "neo-testnet".parse().unwrap();
        let target = "neo-4".parse().unwrap();
        let electorate =
            Electorate::of(&charter, &cluster, kind, Some(&target), &BTreeSet::new()).unwrap();
        let none = BTreeSet::new();
        let heard: BTreeSet<_> =
            approvers.iter().filter(|name| electorate.has(name)).cloned().collect();
        prop_assert_eq!(
            electorate.tally(&approvers, &none, &none),
            electorate.tally(&heard, &none, &none)
        );
        prop_assert!(!electorate.tally(&approvers, &none, &approvers).is_won());
    }

    #[test]
    fn signatures_trusted_or_verified_the_history_is_the_same(
        steps in proptest::collection::vec(0_u8..4, 1..8)
    ) {
        let mut world = World::new();
        let mut open = None;
        for step in steps {
            world.wait(1);
            match (step, &open) {
                (0, None) => open = Some(world.decide()),
                (1, Some(decision)) => {
                    world.finish(&decision.clone());
                    open = None;
                }
                (2, _) => {
                    let proposal = world.proposal(Kind::Restart);
                    let void = world.void(&proposal, VoidCause::Superseded);
                    world.append(&Leaf::Void(void)).unwrap();
                }
                _ => {
                    let proposal = world.proposal(Kind::Restart);
                    let decision = world.decision(&proposal, &["agent/neo-2"]);
                    world.refuse(&Leaf::Decision(decision));
                }
            }
        }
        let leaves: Vec<Leaf> =
            world.leaves.iter().map(|bytes| Leaf::parse(bytes).unwrap()).collect();
        let (mut trusted, _) = History::found(&leaves[0], Signatures::Trust).unwrap();
        for leaf in &leaves[1..] {
            trusted.append(leaf, Signatures::Trust).unwrap();
            // Stored and read back at every step it goes on the same.
            let bytes = borsh::to_vec(&trusted).unwrap();
            trusted = borsh::from_slice(&bytes).unwrap();
        }
        prop_assert_eq!(trusted.hash(), world.history.hash());
        prop_assert_eq!(trusted, world.history);
    }
}

#[test]
fn a_judged_leaf_is_not_appended() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let leaf = Leaf::Decision(world.decision(&proposal, &DOMAINS));
    let before = world.history.hash();
    world.history.judge(&leaf, Signatures::Verify).unwrap();
    assert_eq!(world.history.hash(), before);
    let few = Leaf::Decision(world.decision(&proposal, &DOMAINS[..1]));
    let refused = world.history.judge(&few, Signatures::Verify);
    assert!(matches!(refused, Err(LeafRefused::TooFewApprovals { .. })));
}

#[test]
fn silence_never_lowers_the_need_below_the_least() {
    let mut world = World::new();
    let proposal = world.proposal(Kind::Restart);
    let all = ["neo-1", "neo-2", "neo-3", "neo-4"].map(|name| name.parse().unwrap());
    let tombstoned = BTreeSet::from(all);
    let silenced = Silenced { tombstoned: &tombstoned };
    let electorate = Electorate::of_proposal(&charter(), &proposal, silenced).unwrap();
    let none = BTreeSet::new();
    assert!(electorate.need >= 2);
    assert!(!electorate.tally(&names(&DOMAINS), &none, &none).is_won());
}

/// Texts of our own grammar, as leaves and as statements.
const TEXTS: [&str; 6] = [
    include_str!("../vectors/examples/charter.leaf"),
    include_str!("../vectors/examples/decision.leaf"),
    include_str!("../vectors/examples/void.leaf"),
    include_str!("../vectors/examples/act.leaf"),
    include_str!("../vectors/examples/vote.note"),
    include_str!("../vectors/examples/decision.tlog-proof"),
];

/// Every decoder of a leaf or a statement: what it accepts it writes back unchanged.
fn decode(bytes: &[u8]) {
    use quorate_attest::charter::Charter;
    use quorate_attest::proposal::Proposal;
    use quorate_attest::signed::Signed;
    use quorate_attest::text::Statement;
    use quorate_attest::vote::Vote;
    if let Ok(leaf) = Leaf::parse(bytes) {
        assert_eq!(leaf.to_bytes(), bytes);
        let stored = borsh::to_vec(&leaf).unwrap();
        assert_eq!(borsh::from_slice::<Leaf>(&stored).unwrap(), leaf);
    }
    if let Ok(vote) = Signed::<Vote>::parse(bytes) {
        assert_eq!(vote.to_bytes(), bytes);
    }
    if let Ok(charter) = Signed::<Charter>::parse(bytes) {
        assert_eq!(charter.to_bytes(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(proposal) = Proposal::parse(text)
    {
        assert_eq!(proposal.text(), text);
    }
}

proptest! {
    #[test]
    fn no_decoder_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode(&bytes);
    }

    #[test]
    fn what_a_decoder_accepts_has_one_spelling(
        text in proptest::sample::select(&TEXTS),
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0_u8..4), 1..4),
    ) {
        // Lines deleted, repeated, swapped with the next, or joined with it.
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        for (at, what) in cuts {
            let at = at.index(lines.len());
            match what {
                0 if lines.len() > 1 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                2 if at + 1 < lines.len() => lines.swap(at, at + 1),
                _ => {
                    lines[at].pop();
                }
            }
        }
        decode(lines.concat().as_bytes());
    }

    #[test]
    fn a_proposal_reads_back_whatever_it_says(
        executors in proptest::collection::vec("[a-z0-9./:_-]{1,30}", 0..5),
        params in proptest::collection::vec("[a-z][a-z0-9]{0,5} [!-~]{1,20}( [!-~]{1,20})?", 0..5),
        evidence in proptest::collection::vec(any::<[u8; 32]>(), 0..5),
        target in "[!-~]{1,200}",
        reason in "[!-~]([ -~]{0,254}[!-~])?",
        nonce in any::<[u8; 16]>(),
    ) {
        use quorate_attest::id::{Digest, Nonce};
        use quorate_attest::proposal::Proposal;
        use quorate_attest::text::Statement;
        let mut proposal = World::new().proposal(Kind::Restart);
        proposal.executor = executors.iter().map(|name| name.parse().unwrap()).collect();
        proposal.param = params.iter().map(|param| param.parse().unwrap()).collect();
        proposal.evidence = evidence.into_iter().map(Digest::from_bytes).collect();
        proposal.target = target.parse().unwrap();
        proposal.reason = reason.parse().unwrap();
        proposal.nonce = Nonce::from_bytes(nonce);
        prop_assume!(proposal.params("rollback").count() == 0);
        let text = proposal.text();
        let read = Proposal::parse(&text).unwrap();
        prop_assert_eq!(read.text(), &text[..]);
        prop_assert_eq!(read.id(), proposal.id());
        let other = World::new().proposal(Kind::Restart);
        prop_assert!(other.id() != proposal.id());
    }
}
