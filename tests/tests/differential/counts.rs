//! What happened in the sequences.

use std::collections::BTreeMap;
use std::fmt;

/// Occurrences by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// What a run of the default size must have seen, or it would show little.
    pub(crate) const MUST: [&'static str; 17] = [
        "sequence: clamped high",
        "sequence: clamped low",
        "sequence: stale best",
        "sequence: cancelled",
        "sequence: second dispute finalized",
        "sequence: payout left to claim",
        "voucher: stale",
        "voucher: equal seq, other content",
        "voucher: batch signature",
        "voucher: countersigned",
        "lock: resolved",
        "lock: re-counted",
        "lock: already counted",
        "step ok: withdraw",
        "batch: several done",
        "batch: some done, some skipped",
        "batch: the same withdrawal twice",
    ];

    /// One more of `name`.
    pub(crate) fn bump(&mut self, name: &str) {
        self.by(name, 1);
    }

    fn by(&mut self, name: &str, number: u64) {
        match self.0.get_mut(name) {
            Some(count) => *count += number,
            None => {
                self.0.insert(name.to_owned(), number);
            }
        }
    }

    /// How many of `name`.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Adds another thread's.
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, number) in &other.0 {
            self.by(name, *number);
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, number) in &self.0 {
            writeln!(f, "  {name:<44} {number:>10}")?;
        }
        Ok(())
    }
}
