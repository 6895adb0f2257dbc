//! The question before a dangerous act. It grows with the danger, and nothing ever requires a
//! terminal.
//!
//! * local: `[y/N]`, or `--confirm`
//! * cluster: the impact, then `[y/N]`, or `--confirm`
//! * irreversible: the impact, then the cluster's name is typed, then a number that changes with
//!   the state; or `--confirm=CLUSTER --expect-answering N`, which the server checks in the same
//!   command

use std::io::{BufRead, IsTerminal, Write};

use crate::args::Confirmation;
use crate::failure::{Failure, LocalReason};
use crate::output::Printer;

/// How much is at stake; the class of the remediation decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Danger {
    /// One member, nothing lost.
    Local,
    /// The whole cluster; can be taken back.
    Cluster,
    /// Cannot be taken back.
    Irreversible,
}

/// What is asked, and what it would mean.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// How much is at stake.
    pub danger: Danger,
    /// The guarded cluster, whose name confirms an irreversible act.
    pub cluster: String,
    /// The act in a few words: `restart member:n4`.
    pub act: String,
    /// Who and what is hit, one fact a line.
    pub impact: Vec<String>,
    /// How many members of the cluster answered lately, of how many.
    pub answering: Option<(u32, u32)>,
}

impl Question {
    /// Asks, or takes the flags as the answer. Returns how many members the person, or the flag,
    /// believes to answer: the server compares it in the same command.
    ///
    /// # Errors
    /// `NOT_CONFIRMED`, with the flags to add.
    pub(crate) fn settle(
        &self,
        flags: &Confirmation,
        expect_answering: Option<u32>,
        printer: &Printer,
    ) -> Result<Option<u32>, Failure> {
        match &flags.confirm {
            Some(name) => self.by_flag(name.as_deref(), expect_answering),
            None if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => {
                self.by_person(expect_answering, printer)
            }
            None => Err(self.refused("this needs a confirmation")),
        }
    }

    /// The flags that confirm without a terminal.
    fn flags(&self) -> String {
        match (self.danger, self.answering) {
            (Danger::Local | Danger::Cluster, _) => "--confirm".to_owned(),
            (Danger::Irreversible, None) => format!("--confirm={}", self.cluster),
            (Danger::Irreversible, Some((answering, _))) => {
                format!("--confirm={} --expect-answering {answering}", self.cluster)
            }
        }
    }

    fn refused(&self, why: &str) -> Failure {
        let flags = self.flags();
        Failure::local(LocalReason::NotConfirmed, format!("{}: {why}; add {flags}", self.act))
            .with("flags", flags)
            .with("cluster", &self.cluster)
    }

    fn by_flag(&self, name: Option<&str>, answering: Option<u32>) -> Result<Option<u32>, Failure> {
        if self.danger < Danger::Irreversible {
            return Ok(answering);
        }
        match name {
            None => return Err(self.refused("it cannot be undone, so the cluster must be named")),
            Some(name) if name != self.cluster => {
                return Err(self.refused(&format!("{name:?} is another cluster")));
            }
            Some(_) => {}
        }
        if answering.is_none() && self.answering.is_some() {
            return Err(self.refused("say how many members answer"));
        }
        Ok(answering)
    }

    fn by_person(&self, expected: Option<u32>, printer: &Printer) -> Result<Option<u32>, Failure> {
        if self.danger > Danger::Local {
            for line in &self.impact {
                printer.say(format!("  {line}"));
            }
        }
        if self.danger < Danger::Irreversible {
            let answer = ask(&format!("{}? [y/N] ", self.act))?;
            return match answer.to_lowercase().as_str() {
                "y" | "yes" => Ok(expected),
                _ => Err(self.refused("the answer was no")),
            };
        }
        let typed = ask(&format!("{} cannot be undone. Type the cluster's name: ", self.act))?;
        if typed != self.cluster {
            return Err(self.refused("that is not the cluster's name"));
        }
        let Some((answering, members)) = self.answering else { return Ok(expected) };
        let typed =
            ask(&format!("{answering} of {members} members answered lately. Type that number: "))?;
        match typed.parse() {
            Ok(number) if number == answering => Ok(Some(expected.unwrap_or(number))),
            _ => Err(self.refused("that is not the number")),
        }
    }
}

fn ask(question: &str) -> Result<String, Failure> {
    let failed = |error| Failure::local(LocalReason::NotConfirmed, format!("no answer: {error}"));
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{question}").and_then(|()| stderr.flush()).map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn question(danger: Danger) -> Question {
        Question {
            danger,
            cluster: "shop".to_owned(),
            act: "wipe-member member:n4".to_owned(),
            impact: Vec::new(),
            answering: Some((2, 5)),
        }
    }

    #[test]
    fn small_dangers_take_the_bare_flag() {
        for danger in [Danger::Local, Danger::Cluster] {
            assert_eq!(question(danger).by_flag(None, None).ok(), Some(None));
        }
    }

    #[test]
    fn an_irreversible_act_wants_the_name_and_the_number() {
        let question = question(Danger::Irreversible);
        assert_eq!(question.by_flag(Some("shop"), Some(2)).ok(), Some(Some(2)));
        for (name, number) in [(None, Some(2)), (Some("shop2"), Some(2)), (Some("shop"), None)] {
            let failure = question.by_flag(name, number).expect_err("refused");
            assert_eq!(failure.exit, Exit::NotConfirmed);
            assert_eq!(failure.metadata["flags"], "--confirm=shop --expect-answering 2");
        }
    }
}
