//! Leaves that operators sign: overrides, pauses, acts.

use super::{Change, History, LeafRefused};
use crate::id::{ClusterId, Digest};
use crate::log_time::LogTime;
use crate::operator_statement::{Act, Override, Pause, Scope, Subject};
use crate::signed::{Signatures, Signed};
use crate::text::Statement;

impl History {
    /// R13, but for its order before the first counted vote, which only cosigners see.
    pub(super) fn judge_override(
        &self,
        signed: &Signed<Override>,
        signatures: Signatures,
    ) -> Result<Change, LeafRefused> {
        let statement = &signed.statement;
        self.check_cluster(&statement.cluster)?;
        let Some(need) = Override::operators_needed(&statement.rule) else {
            return Err(LeafRefused::NoOverride { rule: statement.rule.clone() });
        };
        if self.ended.contains(&statement.scope) {
            return Err(LeafRefused::AlreadyEnded { proposal: statement.scope });
        }
        let digest = self.check_statement(signed, statement.expires, need, signatures)?;
        Ok(Change::Override { digest, statement: statement.clone() })
    }

    pub(super) fn judge_pause(
        &self,
        signed: &Signed<Pause>,
        signatures: Signatures,
    ) -> Result<Change, LeafRefused> {
        let statement = &signed.statement;
        if let Scope::Cluster(cluster) = &statement.cluster {
            self.check_cluster(cluster)?;
        }
        let digest = self.check_statement(signed, statement.expires, 1, signatures)?;
        let signers = signed.lines.iter().filter_map(|line| self.charter.operator_of_line(line));
        let signers = signers.map(|key| key.name().clone()).collect();
        Ok(Change::Pause { digest, statement: statement.clone(), signers })
    }

    pub(super) fn judge_act(
        &self,
        signed: &Signed<Act>,
        signatures: Signatures,
    ) -> Result<Change, LeafRefused> {
        let statement = &signed.statement;
        self.check_cluster(&statement.cluster)?;
        self.check_subject(statement)?;
        let digest = self.check_statement(signed, statement.expires, 1, signatures)?;
        Ok(Change::Act { digest, expires: statement.expires })
    }

    fn check_cluster(&self, cluster: &ClusterId) -> Result<(), LeafRefused> {
        match self.charter.cluster(cluster) {
            Some(_) => Ok(()),
            None => Err(LeafRefused::UnknownCluster { cluster: cluster.clone() }),
        }
    }

    /// In time, once, and by enough operators.
    fn check_statement<S: Statement>(
        &self,
        signed: &Signed<S>,
        expires: LogTime,
        need: u32,
        signatures: Signatures,
    ) -> Result<Digest, LeafRefused> {
        if expires < self.time {
            return Err(LeafRefused::StatementExpired { expires, time: self.time });
        }
        let digest = signed.statement.digest();
        if self.texts.contains(&digest) {
            return Err(LeafRefused::StatementKnown);
        }
        let signers = signed
            .verify_strict(signatures, |line| self.charter.operator_of_line(line))
            .map_err(|source| LeafRefused::Lines { what: "operators' statement", source })?;
        let found = u32::try_from(signers.len()).unwrap_or(u32::MAX);
        if found < need {
            return Err(LeafRefused::TooFewOperators { need, found });
        }
        Ok(digest)
    }

    fn check_subject(&self, act: &Act) -> Result<(), LeafRefused> {
        let cluster = &act.cluster;
        let here = match act.subject() {
            // An ended proposal that was forgotten can no longer be told from an unknown one.
            Some(Subject::Proposal(proposal)) => {
                self.ended.get(&proposal).is_none_or(|ended| ended.cluster == *cluster)
            }
            Some(Subject::Decision(token)) => {
                let newest = self.clusters.get(cluster).and_then(|history| history.number);
                token.incarnation <= self.charter.origin.incarnation
                    && newest.is_some_and(|newest| token.number <= newest)
            }
            Some(Subject::Journal { agent, .. }) => {
                self.charter.agent(&agent).is_some_and(|line| line.cluster == *cluster)
            }
            Some(Subject::Incident(_) | Subject::Target(_)) => true,
            None => false,
        };
        if here {
            return Ok(());
        }
        let subject = act.subject.to_string();
        Err(LeafRefused::SubjectElsewhere { subject, cluster: cluster.clone() })
    }
}
