//! What several endpoints say, as one reading: the newest head counts, and of what they say about a channel the more cautious.

use super::{Facts, Reading, Seen};
use protocol_spec::{ChannelId, limits};

/// The readings of all endpoints that answered last time, as one. `None` when there is none.
///
/// An endpoint whose head is more than `lag` behind the newest has its say only about disputes that the others do not know
/// of. Of the others: a dispute or a withdrawal of the hub counts when one shows it; a deposit, an own withdrawal, and that
/// a channel is open or closed, when all do.
pub(crate) fn merge<'a>(nodes: impl Iterator<Item = &'a Reading> + Clone) -> Option<Reading> {
    let best = nodes.clone().max_by_key(|reading| reading.number)?;
    let fresh = |reading: &&Reading| reading.now.after(limits::LAG_DEFAULT_S) >= best.now;
    let confirmed_number = nodes
        .clone()
        .filter(fresh)
        .map(|reading| reading.confirmed_number);
    let mut merged = Reading {
        number: best.number,
        confirmed_number: confirmed_number.min()?,
        now: best.now,
        confirmed: best.confirmed,
        ..Reading::default()
    };
    for (id, of_best) in &best.channels {
        // One that was asked before the channel was known is waited for.
        let seen: Option<Vec<Seen>> = nodes
            .clone()
            .filter(fresh)
            .map(|reading| reading.channels.get(id).copied())
            .collect();
        let behind = nodes.clone().filter(|reading| !fresh(reading));
        if let Some(mut all) = seen.and_then(|seen| together(*of_best, &seen)) {
            older_disputes(&mut all.newest, id, behind);
            merged.channels.insert(*id, all);
        }
    }
    Some(merged)
}

/// What endpoints that are up to date say of one channel.
fn together(best: Seen, all: &[Seen]) -> Option<Seen> {
    let confirmed = || all.iter().map(|seen| seen.confirmed);
    let newest = || all.iter().map(|seen| seen.newest);
    let disputed = newest().find(|facts| facts.disputed);
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
            ..best.confirmed
        },
        newest: Facts {
            open: newest().all(|facts| facts.open),
            disputed: disputed.is_some(),
            dispute_no: newest().map(|facts| facts.dispute_no).max()?,
            shown: match disputed {
                Some(disputed) if !best.newest.disputed => disputed.shown,
                _ => best.newest.shown,
            },
            ..best.newest
        },
        agreed: confirmed().all(|facts| facts.closed == best.confirmed.closed),
    })
}

/// A dispute that only an endpoint behind the others tells of, newer than any they know.
fn older_disputes<'a>(newest: &mut Facts, id: &ChannelId, behind: impl Iterator<Item = &'a Reading>) {
    for told in behind.filter_map(|reading| reading.channels.get(id)) {
        if told.newest.disputed && told.newest.dispute_no > newest.dispute_no {
            newest.open = false;
            newest.disputed = true;
            newest.dispute_no = told.newest.dispute_no;
            newest.shown = told.newest.shown;
        }
    }
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

    fn all(readings: &[Reading]) -> Reading {
        merge(readings.iter()).unwrap()
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
            let seen = all(&readings).channels[&ID];
            assert!(seen.newest.disputed && !seen.newest.open, "{readings:?}");
        }
    }

    #[test]
    fn a_dispute_that_was_cancelled_is_not_told_for_ever_by_who_stands_still() {
        let cancelled = Facts {
            dispute_no: Seq(1),
            ..facts(100)
        };
        let seen = all(&[reading(400, disputed(1)), reading(503, cancelled)]).channels[&ID];
        assert!(seen.newest.open && !seen.newest.disputed);
    }

    #[test]
    fn a_channel_is_closed_when_all_say_so_and_in_doubt_until_then() {
        let closed = Facts {
            open: false,
            closed: true,
            ..facts(100)
        };
        let seen = all(&[reading(500, facts(100)), reading(503, closed)]).channels[&ID];
        assert!(!seen.confirmed.closed && !seen.confirmed.open && !seen.agreed);
        let seen = all(&[reading(502, closed), reading(503, closed)]).channels[&ID];
        assert!(seen.confirmed.closed && seen.agreed);
    }
}
