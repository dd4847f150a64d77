//! What a transaction offers per gas: what endpoints name, and how much of that is believed.

use super::merge::{lower_middle, upper_middle};

/// Nothing offers more than so many times what most endpoints agreed on last.
pub(super) const OVER_MARKET_MAX: u128 = 8;

/// Wei per gas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Fees {
    pub(super) max: u128,
    pub(super) tip: u128,
}

impl Fees {
    fn by(all: &[Self], choose: impl Fn(Vec<u128>) -> Option<u128>) -> Option<Self> {
        Some(Self {
            max: choose(all.iter().map(|fees| fees.max).collect())?,
            tip: choose(all.iter().map(|fees| fees.tip).collect())?,
        })
    }

    fn at_most(self, most: Self) -> Self {
        let max = self.max.min(most.max);
        Self {
            max,
            tip: self.tip.min(most.tip).min(max),
        }
    }

    fn times(self, factor: u128) -> Self {
        Self {
            max: self.max.saturating_mul(factor),
            tip: self.tip.saturating_mul(factor),
        }
    }

    /// An eighth more, as mempools want of what replaces another.
    fn raised(self) -> Self {
        let more = |fee: u128| fee.saturating_add(fee >> 3).saturating_add(1);
        Self {
            max: more(self.max),
            tip: more(self.tip),
        }
    }

    fn at_least(self, least: Self) -> Self {
        Self {
            max: self.max.max(least.max),
            tip: self.tip.max(least.tip),
        }
    }
}

/// What most endpoints agreed on last: one that lies can move it by no more than an honest one is wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Market {
    agreed: Option<Fees>,
    /// What was told last, they did not agree on.
    divided: bool,
}

impl Market {
    /// What all who answered `named`; `endpoints` counts those that did not, too. The one in the middle is agreed on when more
    /// than half of all name no more than eight times more or less.
    pub(super) fn told(&mut self, named: &[Fees], endpoints: usize) {
        let Some(middle) = Fees::by(named, lower_middle) else {
            return;
        };
        let (least, most) = (
            middle.max.div_ceil(OVER_MARKET_MAX),
            middle.times(OVER_MARKET_MAX).max,
        );
        let near = |fees: &&Fees| (least..=most).contains(&fees.max);
        self.divided = named.iter().filter(near).count() <= endpoints >> 1;
        if !self.divided {
            self.agreed = Some(middle);
        }
    }

    /// What to offer when `named` was answered, `before` was offered and no block took it, for so many `attempts`: the middle, of
    /// two the lower; later an eighth more, or the higher of two, if that is more. Never more than eight times what was agreed on.
    /// Before that, than eight times the lowest, and as much again with every attempt: what no block takes was named too low.
    pub(super) fn offer(self, named: &[Fees], before: Option<Fees>, attempts: u32) -> Option<Fees> {
        let lowest = || Fees::by(named, |all| all.into_iter().min());
        let most = match self.agreed {
            Some(agreed) => agreed.times(OVER_MARKET_MAX),
            None => {
                let factor = OVER_MARKET_MAX.saturating_pow(attempts.saturating_add(1));
                let floor = Fees { max: 1, tip: 1 };
                lowest()?.at_least(floor).times(factor)
            }
        };
        let least = self.agreed.filter(|_| self.divided).unwrap_or_default();
        let now = Fees::by(named, lower_middle)?.at_least(least);
        let wanted = match before {
            None => now,
            Some(before) => before.raised().at_least(Fees::by(named, upper_middle)?),
        };
        Some(wanted.at_most(most))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    fn fees(all: &[u128]) -> Vec<Fees> {
        all.iter().map(|fee| Fees { max: *fee, tip: *fee }).collect()
    }

    fn agreed(named: &[u128], endpoints: usize) -> Market {
        let mut market = Market::default();
        market.told(&fees(named), endpoints);
        market
    }

    fn offered(market: Market, named: &[u128], before: Option<u128>, attempts: u32) -> u128 {
        let before = before.map(|fee| Fees { max: fee, tip: fee });
        market.offer(&fees(named), before, attempts).unwrap().max
    }

    #[test]
    fn the_middle_is_offered_and_of_two_the_lower() {
        let new = Market::default();
        assert_eq!(offered(new, &[10, 1_000_000, 12], None, 0), 12);
        assert_eq!(
            offered(new, &[10, 0, 12], None, 0),
            8,
            "eight times the lowest, which is counted as one"
        );
        assert_eq!(offered(new, &[10, 1_000_000], None, 0), 10);
        assert!(new.offer(&[], None, 0).is_none());
    }

    #[test]
    fn one_that_lies_moves_no_market() {
        assert_eq!(agreed(&[10, 1_000_000, 12], 3).agreed, Some(fees(&[12])[0]));
        assert_eq!(agreed(&[10, 0, 12], 3).agreed, Some(fees(&[10])[0]));
        assert_eq!(agreed(&[10, 1_000_000], 3).agreed, None, "they agree on nothing");
        assert_eq!(agreed(&[10, 1_000_000], 2).agreed, None);
        assert_eq!(agreed(&[1_000_000], 3).agreed, None, "one alone is not most");
        assert_eq!(agreed(&[10, 12], 3).agreed, Some(fees(&[10])[0]));
        assert_eq!(agreed(&[10], 1).agreed, Some(fees(&[10])[0]));
    }

    /// The one that lies is alone for a moment, or one of two: an absolute bound holds whatever it says.
    #[test]
    fn never_more_than_eight_times_what_was_agreed_on() {
        let market = agreed(&[10, 10, 12], 3);
        let (mut before, mut most) = (None, 0);
        for attempts in 0..60 {
            let now = offered(market, &[1_000_000], before, attempts);
            most = most.max(now);
            before = Some(now);
        }
        assert_eq!(most, 80);
    }

    #[test]
    fn while_they_are_divided_no_less_is_offered_than_was_agreed_on() {
        let mut market = agreed(&[100, 100], 2);
        for named in [[0, 100], [100, 0], [1, 90]] {
            market.told(&fees(&named), 2);
            assert_eq!(offered(market, &named, None, 0), 100);
        }
        market.told(&fees(&[100, 1_000_000]), 2);
        assert_eq!(offered(market, &[100, 1_000_000], None, 0), 100);
        market.told(&fees(&[10, 12]), 2);
        assert_eq!(offered(market, &[10, 12], None, 0), 10, "it has fallen");
    }

    /// Of two one names nothing: a defence is mined in the end all the same.
    #[test]
    fn one_of_two_that_names_too_little_delays_a_defence_by_minutes() {
        let (mut before, mut attempts) = (None, 0);
        while before.is_none_or(|fee| fee < 1_000_000_000) {
            before = Some(offered(Market::default(), &[0, 1_000_000_000], before, attempts));
            attempts += 1;
            assert!(attempts < 12);
        }
        assert_eq!(before, Some(1_000_000_000), "what the other names");
    }
}
