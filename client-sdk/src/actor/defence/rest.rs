//! What a channel's defence may spend: after each transaction the next one rests, twice as long each time, until as many endpoints as
//! must agree show that there is something new to do. What one endpoint tells alone can have the same done for ever.

use super::step::{Sighting, Step};
use crate::actor::entry::Entry;
use protocol_spec::Seq;
use std::time::Duration;
use tokio::time::Instant;

/// A rest is two polls, doubled at most so many times.
const DOUBLED_MAX: u32 = 12;

/// Between transactions of one kind.
#[derive(Default)]
struct Rest {
    /// How many were sent since something was new.
    times: u32,
    until: Option<Instant>,
    /// What was new: dispute, voucher, witnesses known.
    of: (Seq, Seq, usize),
    /// Locks resolved.
    resolved: usize,
}

/// Of one channel, in this process.
#[derive(Default)]
pub(super) struct Rests {
    starts: Rest,
    shows: Rest,
    others: Rest,
}

impl Rests {
    fn of(&mut self, step: &Step) -> &mut Rest {
        match step {
            Step::Dispute { .. } => &mut self.starts,
            Step::Show { .. } => &mut self.shows,
            Step::Finalize | Step::Claim | Step::Withdraw { .. } => &mut self.others,
        }
    }
}

impl Entry {
    /// Whether `step` is to wait although it is due.
    pub(super) fn rests(&mut self, step: &Step, seen: &Sighting<'_>, now: Instant) -> bool {
        let agreed = match step {
            // A dispute that as many see open is one that can be started.
            Step::Dispute { .. } => (seen.open >= seen.needed).then_some(Seq::NONE),
            Step::Show { .. } => seen.shared,
            Step::Finalize | Step::Claim | Step::Withdraw { .. } => None,
        };
        let (voucher, witnesses) = (
            self.channel.received().seq,
            self.channel.known_witnesses().count(),
        );
        let resolved = self.defence.resolved.2.len();
        let rest = self.defence.rests.of(step);
        if let Some(dispute) = agreed {
            let of = (dispute.max(rest.of.0), voucher, witnesses);
            if of != rest.of || resolved > rest.resolved {
                *rest = Rest {
                    of,
                    resolved,
                    ..Rest::default()
                };
            }
        }
        rest.until.is_some_and(|until| now < until)
    }

    /// Coins were spent for `step`. The longest rest leaves time for several more within what the rules give (R16, R21).
    pub(super) fn spent(&mut self, step: &Step, poll: Duration, now: Instant) {
        let longest = match step {
            Step::Dispute { .. } => self.channel.delays().act_s >> 2,
            _ => self.channel.config().challenge_period_s >> 3,
        };
        let rest = self.defence.rests.of(step);
        let wait = poll.saturating_mul(2 << rest.times.min(DOUBLED_MAX));
        rest.times = rest.times.saturating_add(1);
        rest.until = now.checked_add(wait.min(Duration::from_secs(longest)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "a test may fail by panicking")]

    use super::*;
    use crate::{
        actor::samples::{NOW, credit_of, with_first_voucher},
        chain::Facts,
    };
    use protocol_spec::Amount;
    use std::collections::BTreeSet;

    const POLL: Duration = Duration::from_secs(2);

    fn show() -> Step {
        Step::Show {
            voucher: true,
            locks: BTreeSet::new(),
            left: POLL,
        }
    }

    static NO_MARKS: BTreeSet<u64> = BTreeSet::new();

    fn seen(disputes: &[Facts], shared: Option<Seq>) -> Sighting<'_> {
        Sighting {
            disputes,
            open: 2,
            needed: 2,
            shared,
            marked: &NO_MARKS,
            withdrawn: Amount::ZERO,
            now: NOW,
            latest: NOW,
        }
    }

    /// How often coins are spent for `step` in so many seconds, with a look at every poll.
    fn spends(entry: &mut Entry, step: &Step, seconds: u64, shared: impl Fn(u64) -> Option<Seq>) -> u64 {
        let begun = Instant::now();
        let looks = (0..seconds).step_by(2);
        let spends = looks.filter(|at| {
            let now = begun + Duration::from_secs(*at);
            let rests = entry.rests(step, &seen(&[], shared(*at)), now);
            if !rests {
                entry.spent(step, POLL, now);
            }
            !rests
        });
        u64::try_from(spends.count()).unwrap_or_default()
    }

    #[test]
    fn what_one_of_three_tells_costs_less_and_less_whatever_number_it_gives() {
        let mut entry = with_first_voucher(&[credit_of(100)]);
        assert_eq!(spends(&mut entry, &show(), 60, |_| None), 4);
        // Rests that double from four seconds, then three hours each: an eighth of a day.
        let mut entry = with_first_voucher(&[credit_of(100)]);
        assert_eq!(spends(&mut entry, &show(), 86_400, |_| None), 19);
    }

    #[test]
    fn what_as_many_tell_as_must_agree_is_done_at_once() {
        let mut entry = with_first_voucher(&[credit_of(100)]);
        assert!(spends(&mut entry, &show(), 86_400, |_| None) > 10);
        let now = Instant::now();
        assert!(entry.rests(&show(), &seen(&[], None), now));
        assert!(!entry.rests(&show(), &seen(&[], Some(Seq(1))), now), "it is real");
        entry.spent(&show(), POLL, now);
        assert!(entry.rests(&show(), &seen(&[], Some(Seq(1))), now), "it is done");
        assert!(
            entry.rests(&show(), &seen(&[], Some(Seq(0))), now),
            "no number is new twice"
        );
        assert!(
            !entry.rests(&show(), &seen(&[], Some(Seq(2))), now),
            "another one"
        );
    }

    #[test]
    fn a_dispute_is_started_again_at_least_every_quarter_of_act() {
        let mut entry = with_first_voucher(&[credit_of(100)]);
        let step = Step::Dispute {
            locks: BTreeSet::new(),
            left: POLL,
        };
        let act_s = entry.channel.delays().act_s;
        let times = spends(&mut entry, &step, act_s.saturating_mul(4), |_| None);
        assert!((16..30).contains(&times), "{times}");
    }
}
