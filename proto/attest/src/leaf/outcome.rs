//! The outcome leaf: one executor's signed report, put on record.

use super::LeafError;
use super::block::Blocks;
use crate::agent_statement::Report;
use crate::id::{ClusterId, KeyName, Origin};
use crate::log_time::LogTime;
use crate::number::{DecisionNumber, Epoch};
use crate::signed::Signed;
use crate::text::{TextReader, TextWriter};

/// `quorate-outcome/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the lines and blocks of the grammar")]
pub struct Outcome {
    pub origin: Origin,
    pub epoch: Epoch,
    pub time: LogTime,
    pub cluster: ClusterId,
    pub number: DecisionNumber,
    pub agent: KeyName,
    /// With exactly one line, the agent's.
    pub report: Signed<Report>,
}

impl Outcome {
    /// The first line.
    pub const FIRST_LINE: &'static str = "quorate-outcome/v1";

    pub(super) fn parse(text: &str) -> Result<Self, LeafError> {
        let mut blocks = Blocks::split(text)?;
        let header = blocks.next("the header")?;
        let report: Signed<Report> = blocks.signed("the report")?;
        blocks.finish()?;
        if report.lines.len() != 1 {
            return Err(LeafError::ReportLines { lines: report.lines.len() });
        }
        let mut reader = TextReader::start(&header, Self::FIRST_LINE)?;
        let outcome = Self {
            origin: reader.value("origin")?,
            epoch: reader.value("epoch")?,
            time: reader.value("time")?,
            cluster: reader.value("cluster")?,
            number: reader.value("number")?,
            agent: reader.value("agent")?,
            report,
        };
        reader.finish()?;
        Ok(outcome)
    }

    pub(super) fn to_text(&self) -> String {
        let mut writer = TextWriter::start(Self::FIRST_LINE);
        writer
            .line("origin", &self.origin)
            .line("epoch", self.epoch)
            .line("time", self.time)
            .line("cluster", &self.cluster)
            .line("number", self.number)
            .line("agent", &self.agent);
        format!("{}\n{}", writer.finish(), self.report.note())
    }
}
