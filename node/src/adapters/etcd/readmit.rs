//! `readmit`: an id that was declared dead may start again, on one host, in one empty directory.
//!
//! The decision itself clears the tombstone, and its gate holds host and directory against it. What is
//! left for the agent beside the member is to look whether the directory is really empty.

use std::path::Path;

use quorate_attest::agent_statement::{Answer, Effect};

use super::super::{Action, Execution, Held, Precondition, PrepareRefused, Prepared, Verdict};
use super::EtcdAdapter;
use crate::witness::{Measure, Witness};

const ENTRIES: &str = "entries";

impl EtcdAdapter {
    pub(super) fn before_readmission(
        &self,
        action: &Action,
        name: &str,
        directory: &str,
    ) -> Result<(Witness, Vec<Precondition>), PrepareRefused> {
        let refused = |why: String| {
            let target = action.target.to_string();
            Err(PrepareRefused::TargetRefused { target, why })
        };
        if name != self.member {
            return refused(format!("this agent runs beside {}", self.member));
        }
        if Path::new(directory) != self.data_dir {
            return refused(format!("its data_dir is {}", self.data_dir.display()));
        }
        let entries = entries(&self.data_dir);
        let held = match &entries {
            Measure::Absent => Held::Yes,
            Measure::Value(_) => Held::No,
            Measure::Unreachable => Held::Unknown,
        };
        let fact = format!("{directory}: entries {entries}");
        let empty = Precondition { name: "empty-directory".to_owned(), held, fact };
        Ok((Witness::default().with(ENTRIES, entries), vec![empty]))
    }

    pub(super) fn readmit(&self) -> Execution {
        match entries(&self.data_dir) {
            Measure::Absent => Execution::new(Answer::Applied, "the directory is empty"),
            found @ (Measure::Value(_) | Measure::Unreachable) => {
                Execution::new(Answer::RefusedPrecondition, format!("entries {found}"))
            }
        }
    }

    /// What stands before its gate by now may be the member that was re-admitted.
    pub(super) fn verify_readmitted(&self, prepared: &Prepared) -> Verdict {
        let after = entries(&self.data_dir);
        let was_empty = prepared.witness.get(ENTRIES) == &Measure::Absent;
        let effect = if was_empty { Effect::Effective } else { Effect::Inconclusive };
        let difference = format!("entries {} before, {after} now", prepared.witness.get(ENTRIES));
        Verdict { effect, after: Witness::default().with(ENTRIES, after), difference }
    }
}

/// How many entries a directory has; absent if it has none, or is not there.
fn entries(directory: &Path) -> Measure {
    match std::fs::read_dir(directory) {
        Ok(entries) => match entries.count() {
            0 => Measure::Absent,
            count => Measure::Value(count.to_string()),
        },
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Measure::Absent,
        Err(_) => Measure::Unreachable,
    }
}
