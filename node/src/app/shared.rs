//! What the tasks of one agent share: one key, one journal, one link, one view of the log, one clock.

use std::sync::Arc;
use std::time::Duration;

use quorate_attest::charter::Charter;
use quorate_attest::id::{MemberId, Nonce};
use quorate_attest::key::NoteSigner;
use quorate_attest::log_time::Span;
use quorate_attest::signed::Signed;
use tokio::sync::watch;

use super::AgentError;
use crate::adapters::Adapters;
use crate::clock::Clock;
use crate::config::Config;
use crate::detect::Settings;
use crate::execute::{Deadlines, Executor};
use crate::gate::Permits;
use crate::journal::{Journal, JournalHandle};
use crate::playbook::Shelf;
use crate::quorum::Quorum;
use crate::trust::{Anchor, Trust, View};
use crate::vote::Guard;
use crate::watchman::Watchman;

/// Handles, cheap to clone: whoever holds one sees what the others do.
pub(super) struct Shared {
    pub(super) signer: Arc<NoteSigner>,
    pub(super) journal: JournalHandle,
    pub(super) adapters: Adapters,
    pub(super) quorum: Arc<dyn Quorum>,
    pub(super) view: watch::Receiver<View>,
    pub(super) clock: Clock,
    pub(super) permits: Permits,
}

impl Shared {
    /// The one that acts.
    pub(super) fn executor(&self, config: &Config, nonce: Nonce) -> Executor {
        Executor {
            name: config.name.clone(),
            cluster: config.cluster.clone(),
            signer: Arc::clone(&self.signer),
            nonce,
            journal: self.journal.clone(),
            adapters: self.adapters.clone(),
            quorum: Arc::clone(&self.quorum),
            view: self.view.clone(),
            clock: self.clock.clone(),
            deadlines: Deadlines {
                measure: config.probe.timeout,
                execute: config.execute,
                verify: config.verify,
            },
            permits: self.permits.clone(),
        }
    }

    /// The one that looks, tells and votes.
    pub(super) fn watchman(
        self,
        config: Config,
        shelf: Shelf,
        stopped: watch::Receiver<Option<MemberId>>,
    ) -> Watchman {
        let Self { signer, journal, adapters, quorum, view, clock, permits: _ } = self;
        Watchman {
            name: config.name,
            cluster: config.cluster,
            member: config.member,
            signer,
            guard: Guard::beside(&config.vote_key),
            journal,
            adapters,
            quorum,
            view,
            stopped,
            clock,
            settings: Settings {
                failures: config.probe.failures,
                freshness: span(config.probe.freshness),
            },
            interval: config.probe.interval,
            shelf,
            automation: config.automation,
        }
    }
}

/// The trust that the journal has kept: what was believed, an alarm, a doubt.
pub(super) fn kept_trust(
    journal: &Journal,
    charter: &Signed<Charter>,
    clock: &Clock,
) -> Result<Trust, AgentError> {
    let anchor = Anchor::of(charter);
    let mut trust = match journal.pinned() {
        Some(pinned) => Trust::resume(anchor, pinned).map_err(Box::new)?,
        None => Trust::new(anchor),
    };
    if let Some(heads) = journal.alarm() {
        trust = trust.alarmed(heads.clone());
    }
    if let Some(heads) = journal.doubted() {
        trust = trust.doubting(heads.clone(), clock.now());
    }
    Ok(trust)
}

fn span(duration: Duration) -> Span {
    Span::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
