//! Disputes whose windows run out without the hub's newest voucher on chain: the operator hears of them at half time.
//! Also of those that cannot be read: a window that nobody knows the end of runs out all the same.
//!
//! Apart from the answers themselves: one that is on its way is not looked at again, and this is about those that stay there.

use super::{
    Driver,
    defence::all_of,
    standing::{Newest, Standing},
};
use crate::{chain::ChainError, ledger::Defence};
use futures::FutureExt;
use protocol_spec::{ChannelId, abi};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio::time::Instant;

/// How long a dispute of before the start may stay unread, seconds: nobody knows how much of its window is left.
const OLD_UNREAD_S: u64 = 600;

/// A dispute in which the hub has a voucher to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Window {
    newest: Newest,
    challenge_period_s: u64,
    /// Chain time from which on it is late.
    half: u64,
    /// Chain time at which it is too late; at the latest, while it is not read.
    end: u64,
    /// Chain time at which no lock of that voucher can be collected any more.
    locks_end: u64,
    seen: Seen,
}

/// What the last look has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// Nothing yet: it could not be read.
    Unread,
    /// The hub's newest voucher is not on chain.
    Unanswered,
    /// It is, but the list of its locks is not: that is of no use once they have expired.
    Unopened,
    /// It is, or nothing more can be done.
    Done,
}

impl Window {
    /// First known at chain time `now`; `old`: before the hub's start, perhaps long before.
    fn known(newest: Newest, challenge_period_s: u64, now: u64, old: bool) -> Self {
        let end = now.saturating_add(challenge_period_s);
        let half = half_of(end, challenge_period_s);
        Self {
            newest,
            challenge_period_s,
            half: if old {
                half.min(now.saturating_add(OLD_UNREAD_S))
            } else {
                half
            },
            end,
            locks_end: 0,
            seen: Seen::Unread,
        }
    }

    fn read(&mut self, state: &abi::ChannelState) {
        match state.status {
            abi::Status::Disputed => {
                // Told as unanswered already, and nothing has changed.
                let over = self.seen == Seen::Done && self.end == state.windowEnd;
                self.end = state.windowEnd;
                self.half = half_of(self.end, self.challenge_period_s);
                self.seen = match self.newest.standing(state) {
                    _ if over => Seen::Done,
                    Standing::Unopened => Seen::Unopened,
                    standing if standing.is_due() => Seen::Unanswered,
                    _ => Seen::Done,
                };
            }
            abi::Status::Closed => self.seen = Seen::Done,
            // The dispute is in no block at the moment, and may come back.
            _ => self.seen = Seen::Unread,
        }
    }

    fn is_late(&self, now: u64) -> bool {
        let wanted = match self.seen {
            Seen::Unread | Seen::Unanswered => true,
            Seen::Unopened => now < self.locks_end,
            Seen::Done => false,
        };
        wanted && now >= self.half
    }
}

fn half_of(end: u64, challenge_period_s: u64) -> u64 {
    end.saturating_sub(challenge_period_s.div_euclid(2))
}

/// Why a dispute is late.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Why {
    Unanswered,
    Unread,
}

/// Windows that wait for the hub's answer.
#[derive(Debug, Default)]
pub(super) struct Windows {
    open: HashMap<ChannelId, Window>,
    /// Those that are late.
    late: BTreeMap<ChannelId, Why>,
    /// What of them the operator was told.
    told: BTreeSet<(ChannelId, Why)>,
    /// Chain time at the last block that was read, and when that was.
    clock: Option<(u64, Instant)>,
    /// The disputes of before the start are known.
    begun: bool,
}

impl Windows {
    /// The newest block's time.
    pub(super) fn saw(&mut self, head_s: u64) {
        self.clock = Some((head_s, Instant::now()));
    }

    /// Chain time as far as it is known: it goes on while no block can be read.
    fn now(&self) -> u64 {
        let past = |(at, read): (u64, Instant)| at.saturating_add(read.elapsed().as_secs());
        self.clock.map_or(0, past)
    }

    /// Exactly these channels are disputed; with the hub's newest voucher, the challenge period, and when the last of the
    /// voucher's locks expires.
    fn know(&mut self, disputed: &[(ChannelId, Option<Newest>, u64, u64)]) {
        let (now, old) = (self.now(), !std::mem::replace(&mut self.begun, true));
        let ids: BTreeSet<ChannelId> = disputed.iter().map(|(id, ..)| *id).collect();
        self.open.retain(|id, _| ids.contains(id));
        for (id, newest, challenge_period_s, locks_end) in disputed {
            let Some(newest) = *newest else { continue };
            let window = Window::known(newest, *challenge_period_s, now, old);
            let window = self.open.entry(*id).or_insert(window);
            window.locks_end = *locks_end;
            if window.newest != newest {
                window.newest = newest;
                window.seen = Seen::Unread;
            }
        }
    }

    /// What a look at the channel has shown.
    pub(super) fn looked(&mut self, channel: ChannelId, state: &abi::ChannelState) {
        if let Some(window) = self.open.get_mut(&channel) {
            window.read(state);
        }
    }

    /// After a reorg an answer may be gone.
    pub(super) fn lapse(&mut self) {
        for window in self.open.values_mut() {
            window.seen = Seen::Unread;
        }
    }

    fn late_at(&self, now: u64) -> Vec<ChannelId> {
        let late = self.open.iter().filter(|(_, window)| window.is_late(now));
        late.map(|(channel, _)| *channel).collect()
    }

    /// One that was late at chain time `now`, as it is, or why it could not be read.
    fn judge(&mut self, channel: ChannelId, now: u64, found: Result<&abi::ChannelState, &str>) {
        let Some(window) = self.open.get_mut(&channel) else {
            return;
        };
        if let Ok(state) = found {
            window.read(state);
        }
        let (seq, left_s) = (window.newest.seq, window.end.saturating_sub(now));
        let why = match (window.seen, found) {
            _ if !window.is_late(now) => None,
            (Seen::Unanswered | Seen::Unopened, _) => Some(Why::Unanswered),
            (_, Err(_)) => Some(Why::Unread),
            (_, Ok(_)) => None,
        };
        let Some(why) = why else {
            self.late.remove(&channel);
            self.told.retain(|(told, _)| *told != channel);
            return;
        };
        if why == Why::Unanswered && found.is_ok() && left_s == 0 {
            tracing::error!(%channel, seq, "a dispute's window is over, and the hub's newest voucher is not on chain");
            metrics::counter!("hub_disputes_unanswered_total").increment(1);
            window.seen = Seen::Done;
            return;
        }
        self.late.insert(channel, why);
        if !self.told.insert((channel, why)) {
            return;
        }
        match (why, found) {
            (Why::Unread, Err(error)) => tracing::error!(
                %channel, seq, left_s, error,
                "half of a dispute's window has passed, and the channel cannot be read: its nodes do not answer, or disagree, and nobody knows whether the hub's newest voucher is on chain; look at the nodes"
            ),
            _ => tracing::error!(
                %channel, seq, left_s,
                "half of a dispute's window has passed, and the hub's newest voucher is not on chain: look at its transactions, the owner's coins and the nodes"
            ),
        }
    }
}

impl Driver {
    /// Exactly these channels are disputed.
    pub(super) fn know_disputes(&mut self, disputed: &[Defence]) {
        let known = disputed.iter().map(|defence| {
            let newest = defence.received.voucher.as_ref().map(Newest::of);
            let (config, locks) = (&defence.config, &defence.received.locks);
            let locks_end = locks.iter().map(|lock| lock.expiry.0).max();
            (
                config.id(&self.options.domain),
                newest,
                config.challenge_period_s,
                locks_end.unwrap_or(0),
            )
        });
        let known: Vec<_> = known.collect();
        self.windows.know(&known);
    }

    /// Looks at the windows that are half over at chain time `now`; those that `failed` to be read just now, not again.
    pub(super) async fn watch_windows(&mut self, now: u64, failed: &HashMap<ChannelId, String>) {
        let late = self.windows.late_at(now);
        let (unread, open): (Vec<_>, Vec<_>) = late.into_iter().partition(|one| failed.contains_key(one));
        let this = &*self;
        let states = all_of(open.iter().map(|channel| this.state(*channel).boxed()).collect()).await;
        for (channel, state) in open.into_iter().zip(states) {
            let state = state.map_err(|error| error.to_string());
            let found = state.as_ref().map_err(String::as_str);
            self.windows.judge(channel, now, found);
        }
        for channel in unread {
            let error = failed.get(&channel).map_or("", String::as_str);
            self.windows.judge(channel, now, Err(error));
        }
        self.tell_late(now);
    }

    /// The same while no block can be read: time goes on.
    pub(super) async fn watch_blindly(&mut self, error: &ChainError) {
        // Nothing may have been read since the start.
        if let Some(snapshot) = self.control.snapshot().await {
            if self.windows.clock.is_none() {
                self.windows.saw(snapshot.chain.timestamp.0);
            }
            self.know_disputes(&snapshot.disputed);
        }
        let (now, error) = (self.windows.now(), error.to_string());
        for channel in self.windows.late_at(now) {
            self.windows.judge(channel, now, Err(&error));
        }
        self.tell_late(now);
    }

    fn tell_late(&mut self, now: u64) {
        let still: BTreeSet<ChannelId> = self.windows.late_at(now).into_iter().collect();
        self.windows.late.retain(|channel, _| still.contains(channel));
        self.windows.told.retain(|(channel, _)| still.contains(channel));
        let late = self.windows.late.len();
        let unread = self.windows.late.values().filter(|why| **why == Why::Unread);
        metrics::gauge!("hub_disputes_late").set(u32::try_from(late).unwrap_or(u32::MAX));
        self.status.answers_late(late, unread.count());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::quiet_channel, *};
    use protocol_spec::{Amount, Digest, Seq, SignedVoucher, SignerKey, Voucher, VoucherSignature};

    const CHANNEL: ChannelId = ChannelId([1; 32]);
    const PERIOD: u64 = 86_401;

    /// The hub's newest voucher: number 5, paid 1.
    fn newest(seq: u64) -> Newest {
        let voucher = Voucher {
            channel_id: CHANNEL,
            seq: Seq(seq),
            paid: Amount(1),
            ack_seq: Seq::NONE,
            ack_paid: Amount::ZERO,
            locks: Digest::ZERO,
            history: Digest::ZERO,
        };
        let key = SignerKey::from_bytes(&[3; 32]).unwrap();
        let signature = VoucherSignature::Direct(key.sign(&Digest::ZERO));
        Newest::of(&SignedVoucher { voucher, signature })
    }

    fn state(status: abi::Status, client_seq: u64, client_paid: u128) -> abi::ChannelState {
        abi::ChannelState {
            status,
            clientSeq: client_seq,
            clientPaid: client_paid,
            windowEnd: 100_000,
            ..quiet_channel()
        }
    }

    /// Windows of a hub that runs since before the dispute, which it heard of at chain time `now`.
    fn heard(now: u64) -> Windows {
        let mut windows = Windows::default();
        windows.know(&[]);
        windows.saw(now);
        windows.know(&[(CHANNEL, Some(newest(5)), PERIOD, 0)]);
        windows
    }

    #[test]
    fn a_window_is_late_from_its_half_on_and_only_without_the_newest_voucher() {
        let late_from = |status, seq, paid| {
            let mut windows = heard(20_000);
            windows.looked(CHANNEL, &state(status, seq, paid));
            let half = 100_000 - PERIOD / 2;
            assert!(!windows.open[&CHANNEL].is_late(half - 1));
            windows.open[&CHANNEL].is_late(half)
        };
        assert!(late_from(abi::Status::Disputed, 4, 1));
        assert!(!late_from(abi::Status::Disputed, 5, 1));
        assert!(late_from(abi::Status::Disputed, 5, 0), "its paid is news");
        assert!(!late_from(abi::Status::Disputed, 6, 1));
        assert!(!late_from(abi::Status::Closed, 4, 1));
    }

    #[test]
    fn a_list_of_locks_is_missed_only_while_one_of_them_can_be_collected() {
        let (mut windows, half) = (heard(20_000), 100_000 - PERIOD / 2);
        let window = windows.open.get_mut(&CHANNEL).unwrap();
        window.newest.locks = Digest([7; 32]);
        window.locks_end = half + 10;
        let mut unopened = state(abi::Status::Disputed, 5, 1);
        (unopened.clientLocks.live, unopened.clientLocks.opened) = (true, false);
        unopened.clientLocks.commitment = [7; 32].into();
        windows.looked(CHANNEL, &unopened);
        assert!(windows.late_at(half - 1).is_empty());
        windows.judge(CHANNEL, half + 9, Ok(&unopened));
        assert_eq!(windows.late.get(&CHANNEL), Some(&Why::Unanswered));
        windows.judge(CHANNEL, half + 10, Ok(&unopened));
        assert!(windows.late.is_empty(), "none can be collected");
        assert!(windows.late_at(half + 10).is_empty());
    }

    #[test]
    fn one_that_cannot_be_read_is_late_half_a_window_after_it_was_known() {
        let (mut windows, half) = (heard(20_000), 20_000 + PERIOD - PERIOD / 2);
        assert_eq!(windows.late_at(half - 1), []);
        assert_eq!(windows.late_at(half), [CHANNEL]);
        windows.judge(CHANNEL, half, Err("the nodes disagree"));
        assert_eq!(windows.late.get(&CHANNEL), Some(&Why::Unread));
        let shows = |windows: &mut Windows, status, seq| {
            windows.judge(CHANNEL, half, Ok(&state(status, seq, 1)));
            windows.late.get(&CHANNEL).copied()
        };
        let mut gone = heard(20_000);
        assert_eq!(shows(&mut gone, abi::Status::Open, 4), None);
        assert_eq!(gone.late_at(half), [CHANNEL], "it may come back");
        assert_eq!(
            shows(&mut windows, abi::Status::Disputed, 4),
            Some(Why::Unanswered)
        );
        windows.judge(CHANNEL, half, Err("down"));
        assert_eq!(windows.late.get(&CHANNEL), Some(&Why::Unanswered), "known before");
        assert_eq!(shows(&mut windows, abi::Status::Disputed, 5), None);
        windows.judge(CHANNEL, half, Err("down"));
        assert!(windows.late_at(half).is_empty(), "answered");
        windows.lapse();
        assert_eq!(windows.late_at(half), [CHANNEL], "a reorg may have taken it away");
    }

    #[test]
    fn a_newer_voucher_is_to_be_shown_again_and_what_is_over_is_told_once() {
        let mut windows = heard(20_000);
        windows.looked(CHANNEL, &state(abi::Status::Disputed, 5, 1));
        assert!(windows.late_at(99_999).is_empty());
        windows.know(&[(CHANNEL, Some(newest(6)), PERIOD, 0)]);
        assert_eq!(windows.late_at(99_999), [CHANNEL]);
        let unanswered = state(abi::Status::Disputed, 5, 1);
        windows.judge(CHANNEL, 99_999, Ok(&unanswered));
        assert!(windows.late_at(100_001) == [CHANNEL]);
        windows.judge(CHANNEL, 100_001, Ok(&unanswered));
        windows.looked(CHANNEL, &unanswered);
        assert!(windows.late_at(100_001).is_empty(), "told");
        windows.know(&[]);
        assert!(windows.open.is_empty());
    }

    #[test]
    fn a_dispute_of_before_the_start_is_not_left_unread_for_long() {
        let mut windows = Windows::default();
        windows.saw(20_000);
        windows.know(&[(CHANNEL, Some(newest(5)), PERIOD, 0)]);
        assert!(windows.late_at(20_000 + OLD_UNREAD_S - 1).is_empty());
        assert_eq!(windows.late_at(20_000 + OLD_UNREAD_S), [CHANNEL]);
        windows.looked(CHANNEL, &state(abi::Status::Disputed, 4, 1));
        assert!(
            windows.late_at(20_000 + OLD_UNREAD_S).is_empty(),
            "its end is known"
        );
    }
}
