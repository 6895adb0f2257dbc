//! The world's people and agents: what each of them would sign now.

use quorate_attest::agent_statement::{Answer, Claim, Effect as Verified, Fact, Observe, Report};
use quorate_attest::id::{Digest, JournalInstance, Nonce, ProposalId, Word};
use quorate_attest::number::{DecisionNumber, LeafIndex, Sequence};
use quorate_attest::operator_statement::{Act, ActKind, Automation, Override, Pause, Scope};
use quorate_attest::proposal::Proposal;
use quorate_attest::refusal::{Cause, Refusal};
use quorate_attest::signed::Signed;
use quorate_attest::text::Statement;
use quorate_attest::vote::{Verdict, Veto, Vote};
use quorate_core::Body;

use super::charter::charter_text;
use super::{World, at, coordinator, key_name, origin, sentence, sign_charter, signer};

impl World {
    pub(crate) fn id(&self, name: &str) -> ProposalId {
        self.proposals.get(name).map_or_else(|| ProposalId::of_text(name), Proposal::id)
    }

    pub(crate) fn vote(&self, proposal: &str, verdict: Verdict, by: &[&str]) -> Body {
        let vote = Vote::on(&self.proposals[proposal], verdict);
        let lines = by.iter().map(|id| signer(id).sign(&vote)).collect();
        Body::Vote(Signed::new(vote, lines))
    }

    pub(crate) fn veto(&self, proposal: &str, by: &str) -> Body {
        let veto = Veto {
            origin: origin(),
            epoch: self.epoch(),
            proposal: self.id(proposal),
            reason: sentence("no"),
        };
        Body::Veto(signer(by).signed(veto))
    }

    /// Facts such as `a:down`, seen `age` ms ago; negative: by a clock that is ahead.
    pub(crate) fn observe(
        &self,
        cluster: &str,
        by: &str,
        sequence: u64,
        age: i64,
        facts: &[&str],
    ) -> Body {
        let observe = Observe {
            origin: origin(),
            epoch: self.epoch(),
            cluster: cluster.parse().expect("a cluster"),
            agent: key_name("agent", by),
            sequence: Sequence::new(sequence).expect("a sequence"),
            observed: at(self.now.saturating_add_signed(-age)),
            fact: facts.iter().map(|fact| read_fact(fact)).collect(),
        };
        let observe = Observe::parse(&observe.text()).expect("an observation");
        Body::Observe(signer(by).signed(observe))
    }

    /// Facts of a cluster's agent under a line that it did not sign.
    pub(crate) fn forge(&self, by: &str, sequence: u64, facts: &[&str]) -> Body {
        let mut body = self.observe("c", by, sequence, 0, facts);
        if let Body::Observe(signed) = &mut body {
            signed.lines[0].payload[0] ^= 1;
        }
        body
    }

    pub(crate) fn claim(
        &self,
        cluster: &str,
        by: &str,
        number: u64,
        instance: u8,
        sequence: u64,
        nonce: u8,
    ) -> Body {
        let of = cluster.parse().expect("a cluster");
        let slot = self.machine.state().ledger().and_then(|ledger| ledger.slot(&of));
        let claim = Claim {
            origin: origin(),
            epoch: slot.map_or(self.epoch(), |slot| slot.epoch),
            cluster: of,
            number: DecisionNumber::new(number).expect("a number"),
            agent: key_name("agent", by),
            instance: JournalInstance::from_bytes([instance; 16]),
            sequence: Sequence::new(sequence).expect("a sequence"),
            nonce: Nonce::from_bytes([nonce; 16]),
        };
        Body::Claim(signer(by).signed(claim))
    }

    pub(crate) fn report(
        &self,
        proposal: &str,
        by: &str,
        number: u64,
        answer: &str,
        effect: &str,
    ) -> Body {
        let of = &self.proposals[proposal];
        let report = Report {
            origin: origin(),
            epoch: of.epoch,
            cluster: of.cluster.clone(),
            number: DecisionNumber::new(number).expect("a number"),
            proposal: of.id(),
            agent: key_name("agent", by),
            answer: answer.parse::<Answer>().expect("an answer"),
            effect: effect.parse::<Verified>().expect("an effect"),
            witness: Digest::of(b"witness"),
            evidence: vec![],
            started: None,
            // Signed once and sent again as it is, whenever that may be.
            finished: at(0),
        };
        Body::Report(signer(by).signed(report))
    }

    pub(crate) fn override_of(&self, rule: &str, proposal: &str, lasts: u64, by: &[&str]) -> Body {
        let cluster = self.proposals[proposal].cluster.clone();
        let statement = Override {
            origin: origin(),
            epoch: self.epoch(),
            cluster,
            rule: rule.parse().expect("a rule"),
            scope: self.id(proposal),
            reason: sentence("it must be"),
            expires: at(self.now + lasts),
            nonce: Nonce::from_bytes([7; 16]),
        };
        let lines = by.iter().map(|id| signer(id).sign(&statement)).collect();
        Body::Override(Signed::new(statement, lines))
    }

    pub(crate) fn act(&self, cluster: &str, act: &str, subject: &str, by: &str) -> Body {
        let statement = Act {
            origin: origin(),
            epoch: self.epoch(),
            cluster: cluster.parse().expect("a cluster"),
            act: act.parse::<ActKind>().expect("an act"),
            subject: subject.parse::<Word>().expect("a subject"),
            reason: sentence("looked at"),
            expires: at(self.now + 60_000),
            nonce: Nonce::from_bytes([8; 16]),
        };
        Body::Act(signer(by).signed(statement))
    }

    pub(crate) fn pause(
        &self,
        cluster: &str,
        word: Automation,
        until: Option<u64>,
        by: &str,
    ) -> Body {
        let scope = if cluster == "*" {
            Scope::All
        } else {
            Scope::Cluster(cluster.parse().expect("a cluster"))
        };
        let statement = Pause {
            origin: origin(),
            epoch: self.epoch(),
            cluster: scope,
            automation: word,
            until: until.map(|until| at(self.now + until)),
            reason: sentence("maintenance"),
            expires: at(self.now + 60_000),
            nonce: Nonce::from_bytes([9; 16]),
        };
        let lines = by.split('+').map(|id| signer(id).sign(&statement)).collect();
        Body::Pause(Signed::new(statement, lines))
    }

    pub(crate) fn amendment(&self, changes: &[String], by: &[&str]) -> Body {
        let ledger = self.machine.state().ledger().expect("founded");
        let epoch = ledger.charter().epoch.get() + 1;
        let previous = ledger.history().charter_id().to_string();
        let mut all = self.charter_changes.clone();
        all.extend_from_slice(changes);
        Body::Amend(sign_charter(&charter_text(epoch, &previous, &all), by))
    }

    pub(crate) fn refusals(&self, cluster: &str, number: u64, cause: Cause, by: &[&str]) -> Body {
        let of = cluster.parse().expect("a cluster");
        let slot = self.machine.state().ledger().and_then(|ledger| ledger.slot(&of));
        let refusal = Refusal {
            origin: origin(),
            epoch: slot.map_or(self.epoch(), |slot| slot.epoch),
            cluster: of,
            number: DecisionNumber::new(number).expect("a number"),
            leaf: slot.map_or(LeafIndex::MIN, |slot| slot.leaf),
            cause,
        };
        let refusals = by
            .iter()
            .map(|id| {
                let line = coordinator(id).refuse(&refusal, self.time().to_cosign_time());
                Signed::new(refusal.clone(), vec![line])
            })
            .collect();
        Body::Refuse(refusals)
    }
}

/// `a:down` is `fact member a down`; `view=7` is `fact view 7`.
fn read_fact(fact: &str) -> Fact {
    let line = match (fact.split_once(':'), fact.split_once('=')) {
        (Some((member, state)), _) => format!("member {member} {state}"),
        (None, Some((key, value))) => format!("{key} {value}"),
        (None, None) => panic!("{fact} is no fact"),
    };
    line.parse().expect("a fact")
}
