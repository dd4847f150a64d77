//! How old the view of the chain is, and what may be done with it (R6, R22).
//!
//! Old is what its newest confirmed block is, whoever answers: a node that stands still answers as quickly as ever.

use super::{Actor, entry::Entry};
use crate::{ChannelError, ClientEvent, PayError};
use protocol_spec::ChannelId;
use std::time::Duration;

/// So long nobody is told that the chain was not read yet.
const FIRST_READING_MAX: Duration = Duration::from_secs(20);

/// What the view of the chain is good for, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Sight {
    /// Older than a quarter of the challenge period, or endpoints disagree whether the channel is closed: nothing is accepted
    /// or signed, because a dispute may be missed (R6).
    Stale,
    /// Older than `lag`: no lock is made, and no witness told.
    NoLocks,
    /// Everything.
    Good,
}

impl Entry {
    /// `age` of the view; `None` when the hub's is trusted.
    fn sight_at(&self, age: Option<Duration>) -> Sight {
        let quarter = self.channel.config().challenge_period_s >> 2;
        let lag = self.channel.delays().lag_s;
        match age {
            Some(age) if self.doubted || age > Duration::from_secs(quarter) => Sight::Stale,
            Some(age) if age > Duration::from_secs(lag) => Sight::NoLocks,
            _ => Sight::Good,
        }
    }
}

impl Actor {
    /// Age of the newest confirmed block, by the own clock or by how long none has come: either may be told wrong.
    fn view_age(&self) -> Option<Duration> {
        self.watched.as_ref()?;
        let now = self.options.ports.now();
        let by_clock = now.0.saturating_sub(self.reading.confirmed.0);
        Some(Duration::from_secs(by_clock).max(self.advanced_at.elapsed()))
    }

    /// Looks how old the view is now, tells what has changed, and takes up what waited for it.
    pub(super) fn look(&mut self) {
        let age = self.view_age();
        let never = self.reading.confirmed.0 == 0;
        let patient = never && self.started_at.elapsed() < FIRST_READING_MAX;
        let (mut told, mut fresh, mut good) = (Vec::new(), Vec::new(), Vec::new());
        for (id, entry) in &mut self.entries {
            let sight = entry.sight_at(age);
            let before = std::mem::replace(&mut entry.sight, sight);
            if before == Sight::Stale && sight > before {
                // What waited for the view did not wait for the hub.
                entry.held_since = None;
                fresh.push(*id);
            }
            if before < Sight::Good && sight == Sight::Good {
                good.push(*id);
            }
            if sight != entry.sight_told && !patient {
                entry.sight_told = sight;
                told.push((*id, sight));
            }
        }
        for (id, sight) in told {
            self.tell_sight(id, sight);
        }
        for id in fresh {
            self.retry_held(&id);
        }
        for id in good {
            self.open_locks(&id);
            self.release_waiting(&id);
        }
    }

    fn tell_sight(&mut self, channel_id: ChannelId, sight: Sight) {
        if sight == Sight::Good {
            return self.emit(ClientEvent::ChainFresh { channel_id });
        }
        let block_at = self.reading.confirmed;
        tracing::warn!(channel = %channel_id, %block_at, "the view of the chain is too old");
        self.emit(ClientEvent::ChainStale {
            channel_id,
            block_at,
            only_locks: sight == Sight::NoLocks,
        });
        let Some(entry) = self.entries.get_mut(&channel_id) else {
            return;
        };
        let releases = std::mem::take(&mut entry.release_queue);
        for order in std::mem::take(&mut entry.lock_queue) {
            self.refuse_lock(order, PayError::ChainStale);
        }
        for order in releases {
            self.after_commit(order.reply, Err(ChannelError::ChainStale));
        }
    }

    /// Whether a payment may be made, as far as the view is concerned. A payment without locks waits for the first reading.
    pub(super) fn seen_well(&self, entry: &Entry, needed: Sight) -> Result<(), PayError> {
        (entry.sight_told >= needed)
            .then_some(())
            .ok_or(PayError::ChainStale)
    }
}
