//! A head in doubt: k coordinators signed it, but what was sent under it does not lead to it.
//!
//! Either the one that sent the leaves lies, or the log has two sides. Until it is known which,
//! nothing starts. It is known when a consistency proof shows that the head follows from what is
//! believed, or when the belief has grown over it: the same root, or an alarm. A head that nobody
//! accounts for in time is an alarm too; both heads are the evidence (*log-append-only*).
//!
//! A restart clears no doubt: both heads are in the journal before anybody is answered, and only the
//! coordinators' account takes them out. An alarm ends with a new journal that an operator enrols.

use quorate_attest::head::CosignedHead;
use quorate_attest::history::History;
use quorate_attest::log_time::{LogTime, Span};
use quorate_attest::merkle::{Hash, Head, verify_consistency};
use quorate_attest::number::TreeSize;

use super::{Alarm, Trust, TrustRefused, latest, verify};

/// How long the coordinators have to account for a head that k of them signed. One that lies alone
/// cannot make an alarm while the others show their log within this time.
pub(super) const ACCOUNT_WITHIN: Span = Span::from_secs(60);

/// What ends a doubt, for the log.
const UNTIL_ACCOUNTED: &str = "nothing starts until a coordinator shows that it follows from what is \
                               believed; after a minute it is an alarm";

/// A cosigned head that does not follow from what was sent, beside the head that was believed.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    pub(super) alarm: Alarm,
    head: Head,
    since: LogTime,
}

/// What a consistency proof has to lead from and to: what is believed, and the head in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubted {
    /// The smaller size.
    pub from: TreeSize,
    /// The larger size.
    pub to: TreeSize,
}

impl Trust {
    /// The sizes to ask a consistency proof for, while a head is in doubt.
    #[must_use]
    pub fn doubted(&self) -> Option<Doubted> {
        let (doubted, believed) = (self.doubt.as_ref()?.head.size, self.size());
        Some(Doubted { from: believed.min(doubted), to: believed.max(doubted) })
    }

    /// The two heads of a doubt, to be written down before anybody is answered.
    #[must_use]
    pub fn in_doubt(&self) -> Option<&[Vec<u8>; 2]> {
        self.doubt.as_ref().map(|doubt| doubt.alarm.heads())
    }

    /// Takes up a doubt from before a restart. The coordinators have their whole time to account for
    /// it again: nobody asked them while this agent was down.
    #[must_use]
    pub fn doubting(mut self, heads: [Vec<u8>; 2], now: LogTime) -> Self {
        let alarm = Alarm::new(heads);
        tracing::error!(%alarm, "still in doubt since before the restart; {}", UNTIL_ACCOUNTED);
        match CosignedHead::parse(&alarm.heads()[1]) {
            Ok(head) => {
                let (size, root) = (head.checkpoint.size, head.checkpoint.root);
                self.doubt = Some(Doubt { alarm, head: Head { size, root }, since: now });
            }
            // No head that could ever be accounted for.
            Err(_) => drop(self.alarm.get_or_insert(alarm)),
        }
        self
    }

    /// Takes a consistency proof between the believed head and the head in doubt. One that holds
    /// ends the doubt, whoever sent it; one that does not says nothing, because anybody can make it.
    pub fn account(&mut self, proof: &[Hash]) {
        let (Some(doubt), Some(believed)) = (&self.doubt, &self.believed) else { return };
        let believed = believed.history.head();
        // The belief may have outgrown the doubt by more than the roots that are remembered.
        let (from, to) = if believed.size <= doubt.head.size {
            (&believed, &doubt.head)
        } else {
            (&doubt.head, &believed)
        };
        if verify_consistency(from, to, proof).is_ok() {
            self.doubt = None;
        }
    }

    /// Makes an alarm of a doubt that was not accounted for in time.
    ///
    /// # Errors
    /// [`TrustRefused::Alarm`], once.
    pub fn overdue(&mut self, now: LogTime) -> Result<(), TrustRefused> {
        match &self.doubt {
            Some(doubt) if now.since(doubt.since) >= ACCOUNT_WITHIN => self.alarm_of_doubt(),
            Some(_) | None => Ok(()),
        }
    }

    /// Doubts a head that the keys in `history` cosigned. What is in doubt already stays: a second
    /// head cannot push the first one out.
    pub(super) fn doubt(&mut self, history: &History, head: &CosignedHead, now: LogTime) {
        let Some(believed) = &self.believed else { return };
        let of_this_log = head.checkpoint.origin == *believed.history.origin();
        let signed = verify(history, head, latest(history, now), 0).is_ok();
        if !of_this_log || !signed || self.doubt.is_some() || self.alarm.is_some() {
            return;
        }
        let alarm = Alarm::new([believed.head.to_bytes(), head.to_bytes()]);
        tracing::error!(%alarm, "a cosigned head is not accounted for; {}", UNTIL_ACCOUNTED);
        let (size, root) = (head.checkpoint.size, head.checkpoint.root);
        self.doubt = Some(Doubt { alarm, head: Head { size, root }, since: now });
    }

    /// The belief may have grown over the head in doubt.
    pub(super) fn judge_doubt(&mut self) -> Result<(), TrustRefused> {
        let Some(doubt) = &self.doubt else { return Ok(()) };
        let size = doubt.head.size;
        let known = self.roots.iter().find(|(known, _)| *known == size).map(|(_, root)| *root);
        match known {
            Some(root) if root == doubt.head.root => {
                self.doubt = None;
                Ok(())
            }
            Some(_) => self.alarm_of_doubt(),
            None => Ok(()),
        }
    }

    fn alarm_of_doubt(&mut self) -> Result<(), TrustRefused> {
        let Some(doubt) = self.doubt.take() else { return Ok(()) };
        let alarm = self.alarm.get_or_insert(doubt.alarm).clone();
        Err(TrustRefused::Alarm(alarm))
    }
}
