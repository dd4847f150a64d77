//! What several endpoints say, as one reading. Any of them may be down, stand still or lie: of what they say the more cautious
//! counts, and one alone moves neither the clock nor a deposit as long as more of them answer.

use super::{Facts, Reading, Seen};
use protocol_spec::{Amount, ChannelId, UnixSeconds, limits};
use std::{cmp::Reverse, collections::BTreeSet};

/// Endpoints, and the own clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    /// How many there are, those included that do not answer.
    pub(crate) endpoints: usize,
    pub(crate) own: UnixSeconds,
}

impl Panel {
    /// The readings of all endpoints that answered last time, as one. `None` when there is none.
    ///
    /// An endpoint whose head is more than `lag` behind has its say only about disputes that the others do not know of. Of
    /// the others: a dispute or a withdrawal of the hub counts when one shows it; an own withdrawal, and that a channel is
    /// open or closed, when all do; a deposit when all do and they are at least half of the endpoints.
    pub(crate) fn merge(self, readings: &[&Reading]) -> Option<Reading> {
        let reference = self.reference(readings)?;
        let fresh = |reading: &&Reading| reading.now.after(limits::LAG_DEFAULT_S) >= reference;
        let (fresh, behind): (Vec<&Reading>, Vec<&Reading>) = readings.iter().copied().partition(fresh);
        let middle =
            |of: fn(&Reading) -> u64| upper_middle(fresh.iter().map(|reading| of(reading)).collect());
        let mut merged = Reading {
            number: middle(|reading| reading.number)?,
            confirmed_number: fresh.iter().map(|reading| reading.confirmed_number).min()?,
            now: UnixSeconds(middle(|reading| reading.now.0)?),
            confirmed: UnixSeconds(middle(|reading| reading.confirmed.0)?),
            ..Reading::default()
        };
        let enough = fresh.len().saturating_mul(2) >= self.endpoints;
        let ids: BTreeSet<&ChannelId> = fresh.iter().flat_map(|reading| reading.channels.keys()).collect();
        for id in ids {
            // One that was asked before the channel was known is waited for.
            let seen: Option<Vec<&Seen>> = fresh.iter().map(|reading| reading.channels.get(id)).collect();
            let behind = behind.iter().filter_map(|reading| reading.channels.get(id));
            let behind: Vec<&Seen> = behind.collect();
            if let Some(mut all) = seen.and_then(|seen| together(&seen, &behind)) {
                if !enough {
                    // Deposits only grow: this says nothing.
                    (all.confirmed.client_deposit, all.confirmed.hub_deposit) = (Amount::ZERO, Amount::ZERO);
                }
                merged.channels.insert(*id, all);
            }
        }
        Some(merged)
    }

    /// The time that heads are measured by: the newest that the own clock finds possible, and at least what half of those who
    /// answered have reached. A head from the future makes nobody else old.
    fn reference(self, readings: &[&Reading]) -> Option<UnixSeconds> {
        let latest = self.own.after(limits::LAG_DEFAULT_S);
        let possible = readings
            .iter()
            .map(|reading| reading.now)
            .filter(|now| *now <= latest);
        // Of the two in the middle the earlier.
        let half = upper_middle(readings.iter().map(|reading| Reverse(reading.now)).collect());
        possible.max().max(half.map(|Reverse(half)| half))
    }
}

/// Of several the one in the middle; of the two in the middle the larger.
pub(super) fn upper_middle<T: Ord + Copy>(mut all: Vec<T>) -> Option<T> {
    all.sort_unstable();
    all.get(all.len() >> 1).copied()
}

/// What endpoints that are up to date say of one channel, with the disputes that one `behind` them tells of.
fn together(fresh: &[&Seen], behind: &[&Seen]) -> Option<Seen> {
    let confirmed = || fresh.iter().map(|seen| seen.confirmed);
    let newest = || fresh.iter().map(|seen| seen.newest);
    let first = fresh.first()?;
    // A dispute that was cancelled is not told for ever by who stands still.
    let known = newest().map(|facts| facts.dispute_no).min()?;
    let older = behind
        .iter()
        .map(|seen| seen.newest)
        .filter(|facts| facts.dispute_no > known);
    let disputes: Vec<Facts> = newest().chain(older).filter(|facts| facts.disputed).collect();
    let of_disputes = disputes.iter().map(|facts| facts.dispute_no).max();
    Some(Seen {
        confirmed: Facts {
            open: confirmed().all(|facts| facts.open),
            disputed: confirmed().any(|facts| facts.disputed),
            closed: confirmed().all(|facts| facts.closed),
            client_deposit: confirmed().map(|facts| facts.client_deposit).min()?,
            hub_deposit: confirmed().map(|facts| facts.hub_deposit).min()?,
            client_withdrawn: confirmed().map(|facts| facts.client_withdrawn).min()?,
            hub_withdrawn: confirmed().map(|facts| facts.hub_withdrawn).max()?,
            dispute_no: confirmed().map(|facts| facts.dispute_no).max()?,
            ..first.confirmed
        },
        newest: Facts {
            open: disputes.is_empty() && newest().all(|facts| facts.open),
            disputed: !disputes.is_empty(),
            dispute_no: of_disputes.or_else(|| newest().map(|facts| facts.dispute_no).max())?,
            ..first.newest
        },
        disputes,
        open: newest().filter(|facts| facts.open).count(),
        agreed: confirmed().all(|facts| facts.closed == first.confirmed.closed),
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a test may fail by panicking"
    )]

    use super::*;
    use protocol_spec::{Amount, Seq, UnixSeconds};

    const ID: ChannelId = ChannelId([7; 32]);

    fn facts(hub_deposit: u128) -> Facts {
        Facts {
            open: true,
            hub_deposit: Amount(hub_deposit),
            ..Facts::default()
        }
    }

    fn disputed(number: u64) -> Facts {
        Facts {
            open: false,
            disputed: true,
            dispute_no: Seq(number),
            ..facts(100)
        }
    }

    fn reading(number: u64, facts: Facts) -> Reading {
        let at = UnixSeconds(1_000_000 + number * 12);
        Reading {
            number,
            confirmed_number: number - 2,
            now: at,
            confirmed: at,
            channels: [(ID, Seen::by_one(facts, facts))].into(),
        }
    }

    fn of(endpoints: usize, readings: &[Reading]) -> Reading {
        let own = UnixSeconds(1_000_000 + 503 * 12);
        let readings: Vec<&Reading> = readings.iter().collect();
        Panel { endpoints, own }.merge(&readings).unwrap()
    }

    fn all(readings: &[Reading]) -> Reading {
        of(readings.len(), readings)
    }

    /// Ahead of all others by more than they may be behind.
    fn from_the_future(facts: Facts) -> Reading {
        reading(503 + 100, facts)
    }

    #[test]
    fn the_newest_head_counts_and_a_deposit_when_all_show_it() {
        let merged = all(&[reading(500, facts(100)), reading(503, facts(250))]);
        assert_eq!((merged.number, merged.confirmed_number), (503, 498));
        assert_eq!(merged.channels[&ID].confirmed.hub_deposit, Amount(100));
    }

    #[test]
    fn an_endpoint_that_stands_still_holds_up_nothing() {
        let merged = all(&[reading(400, facts(100)), reading(503, facts(250))]);
        assert_eq!(merged.channels[&ID].confirmed.hub_deposit, Amount(250));
        assert_eq!(merged.confirmed_number, 501);
    }

    #[test]
    fn a_dispute_counts_when_one_shows_it_whichever_is_ahead() {
        for readings in [
            [reading(500, disputed(1)), reading(503, facts(100))],
            [reading(503, disputed(1)), reading(500, facts(100))],
            // Far behind: the newest knows of no dispute at all.
            [reading(400, disputed(1)), reading(503, facts(100))],
        ] {
            let seen = all(&readings).channels[&ID].clone();
            assert!(seen.newest.disputed && !seen.newest.open, "{readings:?}");
        }
    }

    #[test]
    fn a_dispute_that_was_cancelled_is_not_told_for_ever_by_who_stands_still() {
        let cancelled = Facts {
            dispute_no: Seq(1),
            ..facts(100)
        };
        let seen = all(&[reading(400, disputed(1)), reading(503, cancelled)]).channels[&ID].clone();
        assert!(seen.newest.open && !seen.newest.disputed);
    }

    #[test]
    fn a_channel_is_closed_when_all_say_so_and_in_doubt_until_then() {
        let closed = Facts {
            open: false,
            closed: true,
            ..facts(100)
        };
        let seen = all(&[reading(500, facts(100)), reading(503, closed)]).channels[&ID].clone();
        assert!(!seen.confirmed.closed && !seen.confirmed.open && !seen.agreed);
        let seen = all(&[reading(502, closed), reading(503, closed)]).channels[&ID].clone();
        assert!(seen.confirmed.closed && seen.agreed);
    }

    /// Each of these lies cost a client everything in a dispute, with two honest endpoints beside the liar.
    #[test]
    fn one_that_lies_about_the_future_shuts_nobody_out() {
        let honest = || [reading(503, facts(100)), reading(503, facts(100))];
        let with = |liar: Reading| {
            let [a, b] = honest();
            all(&[a, b, liar])
        };
        // A deposit that nobody else sees.
        let merged = with(from_the_future(facts(1_000_000)));
        assert_eq!(merged.channels[&ID].confirmed.hub_deposit, Amount(100));
        assert_eq!((merged.number, merged.now), (503, reading(503, facts(0)).now));
        // A dispute hidden behind a later one that is over.
        let hidden = Facts {
            dispute_no: Seq(99),
            ..facts(100)
        };
        let merged = all(&[
            reading(503, disputed(1)),
            reading(503, disputed(1)),
            from_the_future(hidden),
        ]);
        let seen = &merged.channels[&ID];
        assert!(seen.newest.disputed && !seen.newest.open);
        assert_eq!((seen.newest.dispute_no, seen.disputes.len()), (Seq(1), 2));
        // Of two, too.
        let merged = all(&[reading(503, disputed(1)), from_the_future(hidden)]);
        assert!(merged.channels[&ID].newest.disputed);
        let merged = all(&[reading(503, facts(100)), from_the_future(facts(9_999))]);
        assert_eq!(merged.channels[&ID].confirmed.hub_deposit, Amount(100));
    }

    #[test]
    fn what_each_shows_of_a_dispute_is_kept_apart() {
        let mut shown = disputed(1);
        shown.shown.paid = Amount(1_000_000);
        let merged = all(&[reading(503, disputed(1)), reading(505, shown)]);
        let paid: Vec<Amount> = merged.channels[&ID]
            .disputes
            .iter()
            .map(|one| one.shown.paid)
            .collect();
        assert_eq!(paid, [Amount(0), Amount(1_000_000)]);
    }

    #[test]
    fn one_of_three_that_alone_answers_makes_no_deposit() {
        let alone = [reading(503, facts(100))];
        assert_eq!(of(3, &alone).channels[&ID].confirmed.hub_deposit, Amount(0));
        assert_eq!(of(2, &alone).channels[&ID].confirmed.hub_deposit, Amount(100));
    }
}
