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
    /// How many of them must agree. `None`: all that are up to date, if they are at least half.
    pub(crate) agree: Option<usize>,
    pub(crate) own: UnixSeconds,
}

impl Panel {
    /// The readings of all endpoints that answered last time, as one. `None` when there is none.
    ///
    /// An endpoint whose head is more than `lag` behind has its say only about disputes that the others do not know of. Of
    /// the others: a dispute counts when one shows it; a deposit, an own withdrawal, and that a channel is open or closed, when
    /// as many do as must agree; that the hub has withdrawn no more than it said, too. By default all must agree, and for a
    /// deposit be at least half of the endpoints.
    pub(crate) fn merge(self, readings: &[&Reading]) -> Option<Reading> {
        let reference = self.reference(readings)?;
        let fresh = |reading: &&Reading| reading.now.after(limits::LAG_DEFAULT_S) >= reference;
        let (fresh, behind): (Vec<&Reading>, Vec<&Reading>) = readings.iter().copied().partition(fresh);
        let middle =
            |of: fn(&Reading) -> u64| upper_middle(fresh.iter().map(|reading| of(reading)).collect());
        let needed = self.agree.unwrap_or(fresh.len());
        let shared = |of: fn(&Reading) -> u64| reached(fresh.iter().map(|reading| of(reading)), needed);
        let confirmed = |reading: &Reading| reading.confirmed.0;
        let confirmed = match self.agree {
            Some(_) => shared(confirmed),
            None => middle(confirmed),
        };
        let mut merged = Reading {
            number: middle(|reading| reading.number)?,
            confirmed_number: shared(|reading| reading.confirmed_number).unwrap_or_default(),
            now: UnixSeconds(middle(|reading| reading.now.0)?),
            confirmed: UnixSeconds(confirmed.unwrap_or_default()),
            too_few: fresh.len() < needed,
            ..Reading::default()
        };
        let enough = match self.agree {
            Some(agree) => fresh.len() >= agree,
            None => fresh.len().saturating_mul(2) >= self.endpoints,
        };
        let ids: BTreeSet<&ChannelId> = fresh.iter().flat_map(|reading| reading.channels.keys()).collect();
        for id in ids {
            // One that was asked before the channel was known is waited for.
            let seen: Option<Vec<&Seen>> = fresh.iter().map(|reading| reading.channels.get(id)).collect();
            let behind = behind.iter().filter_map(|reading| reading.channels.get(id));
            let behind: Vec<&Seen> = behind.collect();
            if let Some(mut all) = seen.and_then(|seen| together(&seen, &behind, needed)) {
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

/// The most that so many of them reach; `None` when there are fewer.
fn reached<T: Ord>(all: impl Iterator<Item = T>, needed: usize) -> Option<T> {
    let mut all: Vec<T> = all.collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.into_iter().nth(needed.checked_sub(1)?)
}

/// Of several the one in the middle; of the two in the middle the larger.
pub(super) fn upper_middle<T: Ord + Copy>(mut all: Vec<T>) -> Option<T> {
    all.sort_unstable();
    all.get(all.len() >> 1).copied()
}

/// What endpoints that are up to date say of one channel, of which so many must agree, with the disputes that one `behind` them
/// tells of.
fn together(fresh: &[&Seen], behind: &[&Seen], needed: usize) -> Option<Seen> {
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
    let most = |of: fn(&Facts) -> Amount| reached(confirmed().map(|facts| of(&facts)), needed);
    let agree = |of: fn(&Facts) -> bool| confirmed().filter(of).count() >= needed;
    let closed = agree(|facts| facts.closed);
    // Less is better for the hub: that it took no more is for as many to say.
    let taken = reached(confirmed().map(|facts| Reverse(facts.hub_withdrawn)), needed);
    let most_taken = confirmed().map(|facts| facts.hub_withdrawn).max()?;
    Some(Seen {
        confirmed: Facts {
            open: agree(|facts| facts.open),
            disputed: confirmed().any(|facts| facts.disputed),
            closed,
            client_deposit: most(|facts| facts.client_deposit).unwrap_or_default(),
            hub_deposit: most(|facts| facts.hub_deposit).unwrap_or_default(),
            client_withdrawn: most(|facts| facts.client_withdrawn).unwrap_or_default(),
            hub_withdrawn: taken.map_or(most_taken, |Reverse(taken)| taken),
            dispute_no: confirmed().map(|facts| facts.dispute_no).max()?,
            ..first.confirmed
        },
        newest: Facts {
            open: disputes.is_empty() && newest().filter(|facts| facts.open).count() >= needed,
            disputed: !disputes.is_empty(),
            dispute_no: of_disputes.or_else(|| newest().map(|facts| facts.dispute_no).max())?,
            ..first.newest
        },
        disputes,
        open: newest().filter(|facts| facts.open).count(),
        agreed: closed || agree(|facts| !facts.closed) || confirmed().all(|facts| !facts.closed),
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
            too_few: false,
            channels: [(ID, Seen::by_one(facts, facts))].into(),
        }
    }

    fn of(endpoints: usize, readings: &[Reading]) -> Reading {
        let own = UnixSeconds(1_000_000 + 503 * 12);
        let readings: Vec<&Reading> = readings.iter().collect();
        let agree = None;
        let panel = Panel {
            endpoints,
            agree,
            own,
        };
        panel.merge(&readings).unwrap()
    }

    /// Three endpoints, of which those that answered said this.
    fn agreeing(agree: usize, readings: &[Reading]) -> Reading {
        let panel = Panel {
            endpoints: 3,
            agree: Some(agree),
            own: UnixSeconds(1_000_000 + 503 * 12),
        };
        panel.merge(&readings.iter().collect::<Vec<_>>()).unwrap()
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

    #[test]
    fn of_three_endpoints_of_which_two_must_agree_one_neither_hides_nor_invents() {
        let honest = Facts {
            client_deposit: Amount(70),
            client_withdrawn: Amount(5),
            hub_withdrawn: Amount(9),
            ..facts(100)
        };
        let hides = Facts {
            hub_deposit: Amount(0),
            client_deposit: Amount(0),
            client_withdrawn: Amount(0),
            hub_withdrawn: Amount(0),
            closed: true,
            open: false,
            ..honest
        };
        let invents = Facts {
            hub_deposit: Amount(1_000_000),
            client_deposit: Amount(1_000_000),
            client_withdrawn: Amount(1_000_000),
            hub_withdrawn: Amount(1_000_000),
            ..honest
        };
        for lie in [hides, invents] {
            for at in 0..3 {
                let mut all = vec![reading(503, honest), reading(503, honest)];
                all.insert(at, reading(503, lie));
                let seen = agreeing(2, &all).channels[&ID].clone();
                assert_eq!(seen.confirmed, honest, "{lie:?} at {at}");
                assert!(seen.newest.open && seen.agreed);
            }
        }
        // One is down: the two that are left must agree.
        let seen = agreeing(2, &[reading(503, honest), reading(503, hides)]).channels[&ID].clone();
        assert_eq!(seen.confirmed.hub_deposit, Amount(0));
        assert_eq!(seen.confirmed.hub_withdrawn, Amount(9));
        assert!(!seen.confirmed.closed && !seen.agreed);
    }

    #[test]
    fn where_all_three_must_agree_two_that_lie_invent_nothing() {
        let lie = || reading(503, facts(1_000_000));
        let seen = agreeing(3, &[lie(), reading(503, facts(100)), lie()]).channels[&ID].clone();
        assert_eq!(seen.confirmed.hub_deposit, Amount(100));
        // What one hides is hidden: that is what was asked for.
        let seen = agreeing(
            3,
            &[
                reading(503, facts(100)),
                reading(503, facts(0)),
                reading(503, facts(100)),
            ],
        );
        assert_eq!(seen.channels[&ID].confirmed.hub_deposit, Amount(0));
    }

    #[test]
    fn a_view_that_too_few_share_grows_old_and_still_shows_disputes() {
        let merged = agreeing(2, &[reading(503, disputed(1))]);
        assert!(merged.too_few && merged.channels[&ID].newest.disputed);
        assert_eq!(merged.channels[&ID].confirmed.hub_deposit, Amount(0));
        let merged = agreeing(2, &[reading(400, facts(100)), reading(503, facts(100))]);
        assert!(merged.too_few, "one stands still");
        let merged = agreeing(2, &[reading(500, facts(100)), reading(503, facts(100))]);
        assert!(!merged.too_few);
        assert_eq!(
            merged.confirmed,
            reading(500, facts(0)).confirmed,
            "what both have reached"
        );
    }
}
