//! How much a channel received lately: two windows, the older one fading.

use crate::ledger::policy::VOLUME_WINDOW_S;
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Amount, UnixSeconds};

/// Sums of the present window and the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(in crate::ledger) struct Volume {
    from: UnixSeconds,
    current: Amount,
    before: Amount,
}

impl Volume {
    /// Counts `amount` received at `now`.
    pub(in crate::ledger) fn add(&mut self, amount: Amount, now: UnixSeconds) {
        let age_s = now.0.saturating_sub(self.from.0);
        if age_s >= VOLUME_WINDOW_S {
            let next = age_s < VOLUME_WINDOW_S.saturating_mul(2);
            self.before = if next { self.current } else { Amount::ZERO };
            self.current = Amount::ZERO;
            self.from = if next {
                self.from.after(VOLUME_WINDOW_S)
            } else {
                now
            };
        }
        self.current = Amount(self.current.0.saturating_add(amount.0));
    }

    /// Received within one window before `now`, with the older window taken as evenly spread.
    pub(in crate::ledger) fn recent(&self, now: UnixSeconds) -> Amount {
        let window = u128::from(VOLUME_WINDOW_S);
        let faded = |sum: Amount, gone: u128| {
            let left = window.saturating_sub(gone);
            Amount(sum.0.saturating_mul(left).checked_div(window).unwrap_or(0))
        };
        let age_s = u128::from(now.0.saturating_sub(self.from.0));
        match age_s.checked_sub(window) {
            None => Amount(self.current.0.saturating_add(faded(self.before, age_s).0)),
            Some(over) => faded(self.current, over),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "test code on small numbers")]

    use super::*;

    const START: UnixSeconds = UnixSeconds(1_000_000);

    fn at(hours: u64) -> UnixSeconds {
        START.after(hours * 3600)
    }

    #[test]
    fn what_was_received_fades_over_a_day() {
        let mut volume = Volume::default();
        volume.add(Amount(2_400), at(0));
        assert_eq!(volume.recent(at(0)), Amount(2_400));
        assert_eq!(volume.recent(at(24)), Amount(2_400));
        assert_eq!(volume.recent(at(36)), Amount(1_200));
        assert_eq!(volume.recent(at(48)), Amount::ZERO);
        volume.add(Amount(100), at(30));
        assert_eq!(
            volume.recent(at(30)),
            Amount(1_900),
            "18 of 24 hours of the day before"
        );
        volume.add(Amount(7), at(300));
        assert_eq!(volume.recent(at(300)), Amount(7));
    }

    #[test]
    fn the_largest_sums_do_not_overflow() {
        let mut volume = Volume::default();
        volume.add(Amount(u128::MAX), at(0));
        volume.add(Amount(u128::MAX), at(1));
        assert!(volume.recent(at(30)).0 > 0);
    }
}
