//! Answers to disputes (R21): while a channel is disputed its newest voucher is shown, its locks are resolved, and in the end it
//! is finalized, by this client's own transactions.
//!
//! What is to be done follows from the chain and the store at every reading, so nothing of it needs to be remembered: after
//! a restart, a reorg or a failure the same question has the same answer.

use super::{Actor, Retries, entry::Entry, pay::later};
use crate::{
    ChainError, ClientEvent, Defence,
    chain::{ChainAccess, Facts, Shown},
    task::OwnedTask,
};
use alloy::sol_types::SolCall;
use protocol_spec::{
    Amount, ChannelId, Config, DirectionEvidence, Lock, Seq, Side, UnixSeconds, abi::IAdjudicator, calls,
    channel::Phase,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// Between two attempts at the same.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
const DONE: usize = 64;
/// The longest rest after showing the same again is two polls, doubled so many times.
const RESTS_MAX: u32 = 12;
/// Locks on preimages resolved in one transaction, so that it stays far below 2^24 gas (EIP-7825).
const LOCKS_PER_TX_MAX: u64 = 150;

/// Transactions under way and their ends.
pub(super) struct Defences {
    chain: Option<ChainAccess>,
    sender: mpsc::Sender<Done>,
    pub(super) done: mpsc::Receiver<Done>,
    under_way: BTreeMap<ChannelId, OwnedTask<()>>,
}

/// News of one step.
pub(super) struct Done {
    channel_id: ChannelId,
    news: News,
}

enum News {
    /// No block took its transaction for so long; it offers more.
    Waits,
    Over(Step, Result<Option<String>, ChainError>),
}

/// What is to be done for a disputed channel.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    /// Show the voucher unless the chain has it, and resolve these locks, before the window ends.
    Show {
        voucher: bool,
        locks: BTreeSet<u64>,
        left: Duration,
    },
    Finalize,
    /// Fetch what the payout could not push.
    Claim,
}

/// How far a channel's defence is, in this process.
#[derive(Default)]
pub(super) struct Progress {
    next: Option<Instant>,
    /// What was shown is not shown again before, unless there is more to show.
    again: Option<Instant>,
    retries: Retries,
    /// Locks resolved in the dispute and the voucher of these numbers.
    resolved: (Seq, Seq, BTreeSet<u64>),
    /// How often the same was shown in a row, and what it was: voucher, witnesses known, and locks resolved before.
    shown: (u32, (Seq, usize, usize)),
    /// Nothing is left to be claimed.
    claimed: bool,
    /// The failure that was told last.
    told: Option<String>,
}

impl Defences {
    pub(super) fn new(chain: Option<ChainAccess>) -> Self {
        let (sender, done) = mpsc::channel(DONE);
        Self {
            chain,
            sender,
            done,
            under_way: BTreeMap::new(),
        }
    }

    /// Who answers for a channel with `config`.
    pub(super) fn answer(&self, config: &Config, wanted: bool) -> Defence {
        let sender = self.chain.as_ref().and_then(ChainAccess::sender);
        match sender {
            Some(sender) if wanted && (sender == config.client || sender == config.client_signer) => {
                Defence::Automatic
            }
            _ => Defence::ByHand,
        }
    }
}

impl Entry {
    /// What this client should do now, as far as the newest blocks of the endpoints that show a dispute say. One that says
    /// something is missing is believed: showing it again costs gas, and not showing it everything.
    fn step(&mut self, disputes: &[Facts], closed: bool, now: UnixSeconds) -> Option<Step> {
        if closed {
            let due = self.ever_disputed == Some(true) && !self.defence.claimed;
            return due.then_some(Step::Claim);
        }
        let (open, over): (Vec<&Facts>, Vec<&Facts>) =
            disputes.iter().partition(|facts| now < facts.shown.window_end);
        self.forget_resolved(disputes);
        let (mut voucher, mut locks) = (false, BTreeSet::new());
        let mut left_s = 0;
        for facts in &open {
            let (missing, unresolved) = self.unshown(&facts.shown, now);
            if missing || !unresolved.is_empty() {
                voucher |= missing;
                locks.extend(unresolved);
                // The longest: whoever gives up early begins at the market's fees again.
                left_s = left_s.max(facts.shown.window_end.0.saturating_sub(now.0));
            }
        }
        if voucher || !locks.is_empty() {
            let left = Duration::from_secs(left_s);
            return Some(Step::Show { voucher, locks, left });
        }
        (over.len() > open.len()).then_some(Step::Finalize)
    }

    /// Whether the newest voucher adds something to what was shown.
    fn adds(&self, shown: &Shown) -> bool {
        let newest = self.channel.received();
        // Its acks end own locks, which an older voucher of ours would show again.
        let locks = newest.newest_lock > 0 || self.channel.sent().newest_lock > 0;
        // `paid` goes by maximum, whatever the seq: a hub that was restored may have signed two vouchers of one seq.
        newest.paid > shown.paid || (newest.seq > shown.seq && locks)
    }

    /// What was resolved counts in one dispute and one voucher, and not when nobody shows it any more.
    fn forget_resolved(&mut self, disputes: &[Facts]) {
        let Some(dispute_no) = disputes.iter().map(|facts| facts.dispute_no).max() else {
            return;
        };
        let gone = disputes
            .iter()
            .all(|facts| facts.shown.counted.is_zero() && !self.adds(&facts.shown));
        let newest = self.channel.received().seq;
        let (of_dispute, of_voucher, resolved) = &mut self.defence.resolved;
        if (*of_dispute, *of_voucher) != (dispute_no, newest) || gone {
            (*of_dispute, *of_voucher) = (dispute_no, newest);
            resolved.clear();
        }
    }

    /// Whether the newest voucher adds something, and the locks to be resolved next.
    fn unshown(&self, shown: &Shown, now: UnixSeconds) -> (bool, BTreeSet<u64>) {
        let newest = self.channel.received();
        let voucher = self.adds(shown);
        if newest.seq < shown.seq || (newest.seq == shown.seq && newest.paid > shown.paid) {
            // Locks are counted in the stored voucher only.
            return (voucher, BTreeSet::new());
        }
        let known = self.channel.known_witnesses();
        let known = known.filter_map(|(id, _)| newest.locks.lock(id));
        let mut known: Vec<&Lock> = known.filter(|lock| now < lock.expiry).collect();
        known.sort_by_key(|lock| lock.expiry);
        let sum = known
            .iter()
            .fold(0_u128, |sum, lock| sum.saturating_add(lock.amount.0));
        if !voucher && shown.counted >= Amount(sum) {
            return (false, BTreeSet::new());
        }
        let (mut room, mut chosen) = (LOCKS_PER_TX_MAX, BTreeSet::new());
        let resolved = &self.defence.resolved.2;
        for lock in known.into_iter().filter(|lock| !resolved.contains(&lock.id)) {
            match room.checked_sub(lock.condition().weight()) {
                Some(left) => room = left,
                None => break,
            }
            chosen.insert(lock.id);
        }
        (voucher, chosen)
    }

    /// A reading that shows the newest step undone is not believed for a while: an endpoint that lies could have the same
    /// shown for ever. The rest doubles with each time in a row.
    fn rest_after(&mut self, step: &Step, poll: Duration) -> Duration {
        if !matches!(step, Step::Show { .. }) {
            return Duration::ZERO;
        }
        let (seq, witnesses) = self.to_show();
        let this = (seq, witnesses, self.defence.resolved.2.len());
        let (times, before) = self.defence.shown;
        let again = before == this;
        let times = if again { times.saturating_add(1) } else { 0 };
        self.defence.shown = (times, this);
        poll.saturating_mul(2 << times.min(RESTS_MAX))
    }

    fn to_show(&self) -> (Seq, usize) {
        (
            self.channel.received().seq,
            self.channel.known_witnesses().count(),
        )
    }

    /// Nothing is tried at `now`.
    fn rests(&self, now: Instant) -> bool {
        let (_, (seq, witnesses, _)) = self.defence.shown;
        let nothing_new = self.to_show() == (seq, witnesses);
        let before = |at: Option<Instant>| at.is_some_and(|at| at > now);
        before(self.defence.next) || (nothing_new && before(self.defence.again))
    }

    fn calldata(&self, step: &Step) -> Vec<u8> {
        let config = self.channel.config();
        match step {
            Step::Show { voucher, locks, .. } => {
                let mut received = DirectionEvidence::received_by(&self.channel);
                let chosen = |id: &str| id.parse().is_ok_and(|id| locks.contains(&id));
                received.witnesses.retain(|(id, _)| chosen(id));
                let (submissions, resolutions) = calls::evidence(Side::Hub, &received);
                let call = IAdjudicator::submitCall {
                    config: config.to_abi(),
                    submissions: if *voucher { submissions } else { Vec::new() },
                    resolutions,
                };
                call.abi_encode()
            }
            Step::Finalize => calls::finalize(config).abi_encode(),
            Step::Claim => {
                let (token, to) = (config.token, config.client);
                IAdjudicator::claimCall { token, to }.abi_encode()
            }
        }
    }
}

impl Actor {
    /// Does what a channel's newest reading asks for, one transaction at a time.
    pub(super) fn defend(&mut self, id: &ChannelId, disputes: &[Facts]) {
        let now = self.reading.now;
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let closed = *entry.channel.phase() == Phase::Closed;
        if disputes.is_empty() && !closed {
            return;
        }
        let config = entry.channel.config().clone();
        let busy = self.defences.under_way.contains_key(id);
        let waits = entry.rests(Instant::now());
        let automatic = self.defences.answer(&config, self.options.defend) == Defence::Automatic;
        if busy || waits || !automatic {
            return;
        }
        let Some(chain) = self.defences.chain.clone() else {
            return;
        };
        let Some(step) = entry.step(disputes, closed, now) else {
            return;
        };
        let data = entry.calldata(&step);
        let (sender, channel_id) = (self.defences.sender.clone(), *id);
        let work = async move {
            let waits = || {
                let news = News::Waits;
                // Full: what is in it says enough.
                let _ = sender.try_send(Done { channel_id, news });
            };
            let result = carry_out(&chain, &step, &config, data, waits).await;
            let done = Done {
                channel_id,
                news: News::Over(step, result),
            };
            // The client has ended: the next one looks at the chain anew.
            let _ = sender.send(done).await;
        };
        self.defences.under_way.insert(*id, OwnedTask::spawn(work));
    }

    pub(super) fn defended(&mut self, done: Done) {
        let id = done.channel_id;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let seq = entry.channel.received().seq;
        let (step, result) = match done.news {
            News::Over(step, result) => (step, result),
            News::Waits => {
                let why = "no block takes the transaction; it offers more".to_owned();
                return self.defence_failed(id, why);
            }
        };
        self.defences.under_way.remove(&id);
        match result {
            Ok(transaction) => {
                entry.defence.retries.succeeded();
                entry.defence.told = None;
                // The next reading shows it.
                entry.defence.next = Some(later(self.options.chain_poll.saturating_mul(2)));
                let rest = entry.rest_after(&step, self.options.chain_poll);
                entry.defence.again = Some(later(rest));
                match step {
                    Step::Show { locks, .. } => entry.defence.resolved.2.extend(locks),
                    Step::Claim => entry.defence.claimed = true,
                    Step::Finalize => {}
                }
                if let Some(transaction) = transaction {
                    self.emit(ClientEvent::Defended {
                        channel_id: id,
                        seq,
                        transaction,
                    });
                }
            }
            Err(error) => {
                let wait = entry
                    .defence
                    .retries
                    .failed(&self.options.ports, RETRY_MIN, RETRY_MAX);
                entry.defence.next = Some(later(wait));
                // Not final yet, or the hub was faster: nobody needs to do anything about it.
                if matches!(step, Step::Finalize) {
                    return tracing::debug!(channel = %id, %error, "cannot be finalized yet");
                }
                self.defence_failed(id, error.to_string());
            }
        }
    }

    /// Told once for each reason.
    fn defence_failed(&mut self, channel_id: ChannelId, why: String) {
        let known = self
            .entries
            .get_mut(&channel_id)
            .and_then(|entry| entry.defence.told.replace(why.clone()));
        if known.as_ref() != Some(&why) {
            self.emit(ClientEvent::DefenceFailed { channel_id, why });
        }
    }
}

/// The transaction's hash; `None` when there is nothing to do.
async fn carry_out(
    chain: &ChainAccess,
    step: &Step,
    config: &Config,
    data: Vec<u8>,
    waits: impl Fn() + Send + Sync,
) -> Result<Option<String>, ChainError> {
    let sent = match step {
        Step::Show { left, .. } => chain.defend(data, Some(*left), waits).await,
        Step::Finalize => chain.defend(data, None, waits).await,
        Step::Claim => {
            let own = chain.sender() == Some(config.client);
            if !own || chain.claimable(config.token).await?.is_zero() {
                return Ok(None);
            }
            chain.defend(data, None, waits).await
        }
    };
    sent.map(|hash| Some(hash.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{
        super::samples::{NOW, credit_of, lock_of, with_first_voucher},
        *,
    };

    /// In a dispute in which voucher `seq` with `paid` was shown of the hub.
    fn facts(seq: u64, paid: u128) -> Facts {
        let shown = Shown {
            seq: Seq(seq),
            paid: Amount(paid),
            window_end: NOW.after(1000),
            ..Shown::default()
        };
        Facts {
            disputed: true,
            shown,
            ..Facts::default()
        }
    }

    /// A restored hub may have signed two vouchers of one seq: the one that pays less does not keep back the other.
    #[test]
    fn r21_a_voucher_is_shown_when_it_pays_more_whatever_its_seq() {
        for ops in [vec![credit_of(100)], vec![credit_of(100), lock_of(5)]] {
            let mut entry = with_first_voucher(&ops);
            let mut shows = |seq, paid| match entry.step(&[facts(seq, paid)], false, NOW) {
                Some(Step::Show { voucher, locks, .. }) => {
                    assert!(locks.is_empty(), "no witness is known");
                    voucher
                }
                Some(step) => panic!("{step:?}"),
                None => false,
            };
            for seq in [0, 1, 2] {
                assert!(shows(seq, 99), "seq {seq}");
            }
            assert!(!shows(1, 100), "it is there");
            assert!(!shows(2, 100), "a newer one is there");
            // Without locks of either side a newer seq alone changes nothing.
            assert_eq!(shows(0, 100), ops.len() > 1);
            assert_eq!(
                entry.step(&[facts(1, 99)], false, NOW.after(1000)),
                Some(Step::Finalize)
            );
        }
    }

    /// One endpoint that says the voucher is there, or that the window is over, keeps nothing back.
    #[test]
    fn r21_what_one_endpoint_does_not_show_is_shown_whatever_the_others_say() {
        let mut entry = with_first_voucher(&[credit_of(100)]);
        let (honest, satisfied) = (facts(0, 0), facts(9, 1_000_000));
        let mut over = facts(0, 0);
        over.shown.window_end = NOW;
        for disputes in [
            vec![honest, satisfied],
            vec![satisfied, honest, over],
            vec![over, honest],
        ] {
            let step = entry.step(&disputes, false, NOW);
            assert!(matches!(step, Some(Step::Show { voucher: true, .. })), "{step:?}");
        }
        assert_eq!(
            entry.step(&[satisfied, over], false, NOW),
            None,
            "half is not most"
        );
        assert_eq!(entry.step(&[over], false, NOW), Some(Step::Finalize));
        assert_eq!(entry.step(&[], false, NOW), None);
    }

    #[test]
    fn the_same_is_shown_again_after_longer_and_longer_rests_and_more_at_once() {
        let mut entry = with_first_voucher(&[credit_of(100)]);
        let poll = Duration::from_secs(4);
        let step = entry.step(&[facts(0, 0)], false, NOW).unwrap();
        let rests: Vec<u64> = (0..15).map(|_| entry.rest_after(&step, poll).as_secs()).collect();
        assert_eq!(rests[..4], [8, 16, 32, 64]);
        assert_eq!(rests[13..], [8 << 12, 8 << 12]);
        assert_eq!(entry.rest_after(&Step::Finalize, poll), Duration::ZERO);
        let now = Instant::now();
        entry.defence.again = Some(now + poll);
        assert!(entry.rests(now) && !entry.rests(now + poll));
        // A witness that was learned since.
        entry.defence.shown.1.1 = 9;
        assert!(!entry.rests(now));
        entry.defence.next = Some(now + poll);
        assert!(entry.rests(now), "the chain shows the last step first");
    }
}
