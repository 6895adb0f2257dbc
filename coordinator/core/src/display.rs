//! One line for everything: a history of entries reads like a story, in logs and in golden scripts.

use std::fmt::{self, Display, Formatter};

use quorate_attest::quorum::TallyResult;

use crate::command::{Body, Command};
use crate::effect::{Alarm, Effect};
use crate::outcome::{Ending, Novelty, Outcome, SlotChange, Standing};
use crate::rejection::{Lift, RuleRefused};

/// Names under the lines of a note.
struct Signers<'a>(&'a [quorate_attest::note::SignatureLine]);

impl Display for Signers<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, line) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}", line.name)?;
        }
        Ok(())
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.time, self.body)
    }
}

impl Display for Body {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(signed) => write!(f, "found {}", signed.statement.origin),
            Self::Open(proposal) => write!(
                f,
                "open {} {} {} by {}: {}",
                proposal.cluster,
                proposal.kind,
                proposal.target,
                proposal.proposer,
                proposal.id()
            ),
            Self::Vote(signed) => write!(
                f,
                "vote {} {} by {}",
                signed.statement.verdict,
                signed.statement.proposal,
                Signers(&signed.lines)
            ),
            Self::Veto(signed) => {
                write!(f, "veto {} by {}", signed.statement.proposal, Signers(&signed.lines))
            }
            Self::Observe(signed) => {
                let observe = &signed.statement;
                write!(f, "observe {} #{}", observe.agent, observe.sequence)?;
                observe.fact.iter().try_for_each(|fact| write!(f, " [{fact}]"))
            }
            Self::Claim(signed) => {
                let claim = &signed.statement;
                let (cluster, number) = (&claim.cluster, claim.number);
                write!(f, "claim {cluster} {number} by {} #{}", claim.agent, claim.sequence)
            }
            Self::Report(signed) => {
                let report = &signed.statement;
                let (cluster, number, agent) = (&report.cluster, report.number, &report.agent);
                write!(
                    f,
                    "report {cluster} {number} by {agent}: {}, {}",
                    report.answer, report.effect
                )
            }
            Self::Override(signed) => {
                let statement = &signed.statement;
                let (rule, scope) = (&statement.rule, statement.scope);
                write!(f, "override {rule} for {scope} by {}", Signers(&signed.lines))
            }
            Self::Act(signed) => {
                let (act, subject) = (signed.statement.act, &signed.statement.subject);
                write!(f, "act {act} {subject} by {}", Signers(&signed.lines))
            }
            Self::Pause(signed) => {
                let (cluster, word) = (&signed.statement.cluster, signed.statement.automation);
                write!(f, "automation {cluster} {word} by {}", Signers(&signed.lines))
            }
            Self::Amend(signed) => {
                write!(f, "amend to epoch {} by {}", signed.statement.epoch, Signers(&signed.lines))
            }
            Self::Refuse(refusals) => {
                write!(f, "refuse, {} refusals:", refusals.len())?;
                let of = refusals.iter().map(|signed| (&signed.statement, &signed.lines));
                of.into_iter().try_for_each(|(s, l)| write!(f, " {} by {}", s.cause, Signers(l)))
            }
            Self::Continue { cluster, number } => write!(f, "continue {cluster} {number}"),
            Self::Support { coordinator, version } => {
                write!(f, "support {version} by coordinator {coordinator}")
            }
            Self::Tick => f.write_str("tick"),
        }
    }
}

impl Display for Novelty {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "",
            Self::Repeated => " again",
        })
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chartered { epoch, index } => write!(f, "epoch {epoch} at leaf {index}"),
            Self::Opened { proposal, novelty, standing } => {
                write!(f, "opened{novelty} {proposal}: {standing}")
            }
            Self::Voted { novelty, standing, .. } => write!(f, "voted{novelty}: {standing}"),
            Self::Ended { ending, index, .. } => write!(f, "{ending} at leaf {index}"),
            Self::Observed { novelty } => write!(f, "observed{novelty}"),
            Self::Claimed { token, sequence, fresh, .. } => {
                let again = if *fresh { "" } else { " again" };
                write!(f, "claimed{again} {token} #{sequence}")
            }
            Self::Reported { token, novelty, index, slot } => {
                write!(f, "reported{novelty} {token}, ")?;
                match index {
                    Some(index) => write!(f, "leaf {index}, ")?,
                    None => f.write_str("no leaf, ")?,
                }
                f.write_str(match slot {
                    SlotChange::Held => "slot held",
                    SlotChange::Freed => "slot freed",
                    SlotChange::RollbackOrdered => "rollback ordered",
                })
            }
            Self::Recorded { index, novelty } => write!(f, "recorded{novelty} at leaf {index}"),
            Self::Refused { have, need, index, novelty } => {
                write!(f, "refused{novelty} {have}/{need}")?;
                match index {
                    Some(index) => write!(f, ", void at leaf {index}"),
                    None => Ok(()),
                }
            }
            Self::Continued { token, index } => write!(f, "continued as {token} at leaf {index}"),
            Self::Supported { version, novelty } => {
                write!(f, "supported{novelty}, {version} in force")
            }
            Self::Ticked => f.write_str("ticked"),
        }
    }
}

impl Display for Standing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        f.write_str(match tally.result {
            TallyResult::Pending => "pending",
            TallyResult::Won => "won",
            TallyResult::Lost => "lost",
        })?;
        write!(f, " {}/{}", tally.have, tally.need)?;
        if tally.operators_need > 0 {
            write!(f, ", operators {}/{}", tally.operators_have, tally.operators_need)?;
        }
        if let Some(number) = self.decision {
            return write!(f, ", decision {number}");
        }
        for rejection in &self.waiting_for {
            write!(f, "; waits for {rejection}")?;
        }
        Ok(())
    }
}

impl Display for Effect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf { index, bytes } => {
                let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
                write!(f, "leaf {index} {}", String::from_utf8_lossy(first))
            }
            Self::Raise(alarm) => write!(f, "raise {alarm}"),
        }
    }
}

impl Display for Alarm {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuck { cluster, token, awaited } => {
                write!(f, "stuck {cluster} {token}: awaits")?;
                awaited.iter().try_for_each(|agent| write!(f, " {agent}"))
            }
            Self::Equivocation { key, evidence } => {
                write!(f, "equivocation of {key}, evidence at leaf {evidence}")
            }
            Self::Escalated { cluster, incident, severity } => {
                write!(f, "escalated: {cluster} {incident} {severity}")
            }
            Self::BreakerOpen { cluster, target } => write!(f, "breaker open: {cluster} {target}"),
            Self::Inconclusive { cluster, token, agent } => {
                write!(f, "inconclusive {cluster} {token}, says {agent}")
            }
            Self::Harmful { cluster, token } => write!(f, "harmful {cluster} {token}"),
            Self::DecisionRefused { cluster, token, .. } => {
                write!(f, "decision refused: {cluster} {token}")
            }
            Self::JournalRolledBack { agent } => write!(f, "journal rolled back: {agent}"),
        }
    }
}

impl Display for RuleRefused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.rule)?;
        for (name, value) in &self.facts {
            write!(f, " {name}={value}")?;
        }
        match self.lifted_by {
            Lift::Override(1) => f.write_str(" (an operator may override)"),
            Lift::Override(operators) => write!(f, " ({operators} operators may override)"),
            Lift::Acknowledgement => f.write_str(" (an operator may acknowledge)"),
            Lift::Nothing => Ok(()),
        }?;
        match self.next_allowed {
            Some(next) => write!(f, "; next allowed {}", next.utc()),
            None => Ok(()),
        }
    }
}

impl Display for Ending {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
