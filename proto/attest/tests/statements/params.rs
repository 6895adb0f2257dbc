//! *authority*, *floor*: a parameter means something for its own kinds only, and cannot be misread.

use quorate_attest::history::{LeafRefused, judge_proposal};
use quorate_attest::leaf::Leaf;
use quorate_attest::log_time::Span;
use quorate_attest::proposal::Proposal;
use quorate_attest::quorum::{Electorate, Silenced};
use quorate_attest::remediation::{Class, Kind};

use crate::fixture::{DOMAINS, World};

fn with(world: &mut World, kind: Kind, params: &[&str]) -> Proposal {
    let mut proposal = world.proposal(kind);
    if kind == Kind::Abandon {
        proposal.executor.clear();
        proposal.target = "decision:1".parse().unwrap();
    }
    proposal.param = params.iter().map(|param| param.parse().unwrap()).collect();
    proposal.param.sort();
    proposal
}

fn electorate(world: &World, proposal: &Proposal) -> Electorate {
    Electorate::of_proposal(world.history.charter(), proposal, Silenced::NOBODY).unwrap()
}

fn judge(world: &World, proposal: &Proposal) -> Result<(), LeafRefused> {
    judge_proposal(world.history.charter(), world.history.charter_id(), proposal)
}

#[test]
fn a_list_of_dead_takes_no_voice_from_any_kind_but_a_declaration() {
    let mut world = World::new();
    let dead = ["dead neo-1 attest:x", "dead neo-2 attest:x", "dead neo-3 attest:x"];
    let samples = [
        (Class::Local, Kind::Restart),
        (Class::Cluster, Kind::Quiesce),
        (Class::Irreversible, Kind::RestoreBackup),
        (Class::Irreversible, Kind::WipeMember),
        (Class::Abandon, Kind::Abandon),
    ];
    for (class, kind) in samples {
        assert_eq!(kind.class(), class);
        let plain = with(&mut world, kind, &[]);
        let listed = with(&mut world, kind, &dead);
        assert_eq!(electorate(&world, &listed), electorate(&world, &plain), "{kind}");
    }
    let plain = with(&mut world, Kind::DeclareDead, &[]);
    let listed = with(&mut world, Kind::DeclareDead, &dead);
    assert!(electorate(&world, &listed).voices < electorate(&world, &plain).voices);
}

#[test]
fn what_belongs_to_other_kinds_is_refused() {
    let mut world = World::new();
    let lines = [
        ("dead neo-2 attest:x", &[Kind::DeclareDead][..]),
        ("fenced neo-2 attest:x", &[Kind::DeclareDead]),
        ("identity neo-2 -", &[Kind::DeclareDead]),
        ("survivor neo-1", &[Kind::DeclareDead, Kind::RestoreBackup]),
        ("stopped power", &[Kind::Abandon]),
        ("ttl-ms 60000", &[Kind::BanPeer, Kind::IsolateMember, Kind::Quiesce, Kind::Throttle]),
    ];
    for kind in Kind::ALL {
        for (line, kinds) in lines {
            let proposal = with(&mut world, *kind, &[line]);
            let elsewhere =
                matches!(judge(&world, &proposal), Err(LeafRefused::ParamElsewhere { .. }));
            assert_eq!(elsewhere, !kinds.contains(kind), "{kind} {line}");
        }
    }
    // A restore that names a survivor is a declaration, and has its sets.
    let proposal =
        with(&mut world, Kind::RestoreBackup, &["dead neo-2 attest:x", "survivor neo-1"]);
    let refused = judge(&world, &proposal).unwrap_err();
    assert!(!matches!(refused, LeafRefused::ParamElsewhere { .. }), "{refused}");
}

#[test]
fn adapters_keep_their_own_parameters() {
    let mut world = World::new();
    let own = ["directory /srv/data", "host h-7", "method soft", "rate 5", "view 7"];
    for kind in [Kind::Restart, Kind::Quiesce, Kind::WipeMember, Kind::AddMember] {
        let proposal = with(&mut world, kind, &own);
        assert_eq!(judge(&world, &proposal), Ok(()), "{kind}");
    }
}

#[test]
fn no_leaf_carries_a_shrunk_electorate() {
    let mut world = World::new();
    let dead = ["dead neo-1 attest:x", "dead neo-2 attest:x"];
    let proposal = with(&mut world, Kind::Quiesce, &dead);
    let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
    assert!(matches!(refused, LeafRefused::ParamElsewhere { .. }), "{refused}");
}

#[test]
fn a_ban_has_one_readable_time_to_live() {
    let mut world = World::new();
    let bad: [&[&str]; 7] = [
        &[],
        &["ttl-ms 1h"],
        &["ttl-ms 0"],
        &["ttl-ms -1"],
        &["ttl-ms 60000 ms"],
        &["ttl-ms 60000", "ttl-ms 70000"],
        &["ttl-ms 60000", "ttl-ms never"],
    ];
    for params in bad {
        let proposal = with(&mut world, Kind::BanPeer, params);
        assert_eq!(proposal.ttl(), None, "{params:?}");
        let refused = world.refuse(&Leaf::Decision(world.decision(&proposal, &DOMAINS)));
        assert!(matches!(refused, LeafRefused::TimeToLive { .. }), "{params:?}: {refused}");
    }
    let proposal = with(&mut world, Kind::BanPeer, &["ttl-ms 60000"]);
    assert_eq!(proposal.ttl(), Some(Span::from_secs(60)));
    world.decide_on(&proposal);
}

#[test]
fn other_kinds_may_last_but_not_for_an_unreadable_time() {
    let mut world = World::new();
    for kind in [Kind::IsolateMember, Kind::Quiesce, Kind::Throttle] {
        let lasting = with(&mut world, kind, &[]);
        assert_eq!((judge(&world, &lasting), lasting.ttl()), (Ok(()), None), "{kind}");
        let unreadable = with(&mut world, kind, &["ttl-ms soon"]);
        let refused = judge(&world, &unreadable).unwrap_err();
        assert!(matches!(refused, LeafRefused::TimeToLive { .. }), "{kind}: {refused}");
    }
}
