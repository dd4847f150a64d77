//! Which channels go cold: those that nothing has changed for a checkpoint and longer, and that nobody looks at again and
//! again.

use super::Ledger;

/// Looks at hot channels at a time, and channels made cold at a time: payments wait meanwhile.
const LOOKS: usize = 256;
const COLD_AT_ONCE: usize = 64;

impl Ledger {
    /// True while there may be channels to make cold.
    pub(crate) fn is_cooling(&self) -> bool {
        self.cooling > 0
    }

    /// Makes some channels cold. Between two checkpoints each hot one is looked at once.
    pub(crate) fn cool(&mut self) {
        let looks = LOOKS.min(self.cooling);
        // Those that are looked at with every snapshot, or with every block, stay as they are.
        let watched = [
            &self.frozen,
            &self.waiting,
            &self.disputed,
            &self.lagging,
            &self.locked,
            &self.payers,
            &self.keepers,
            &self.promising,
            &self.needy,
            &self.awaiting,
        ];
        let dirty = &self.dirty;
        let looked = self.entries.cool(looks, COLD_AT_ONCE, |index| {
            !dirty.is_recent(index) && !watched.iter().any(|set| set.contains(&index))
        });
        self.cooling = match looked {
            0 => 0,
            _ => self.cooling.saturating_sub(looked),
        };
        if self.cooling == 0 {
            self.entries.fit();
        }
    }

    /// After a checkpoint: another look at all.
    pub(super) fn start_cooling(&mut self) {
        self.cooling = self.entries.hot();
    }

    /// Channels held in full.
    pub(crate) fn hot(&self) -> usize {
        self.entries.hot()
    }
}
