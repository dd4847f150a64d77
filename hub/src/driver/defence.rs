//! Answers to disputes (R21): the newest vouchers in batches, the locks that are known, finalize. The most urgent and
//! the most valuable first.

use super::{
    Driver,
    outgoing::Urgency,
    sizes::{BASE_GAS, Sizes, payout_gas},
    standing::{Newest, Standing},
};
use crate::{
    chain::ChainError,
    ledger::{Defence, Input},
};
use alloy::{primitives::B256, sol_types::SolCall};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use protocol_spec::{
    Address, Amount, ChannelId, Lock, Side, UnixSeconds, abi, abi::IAdjudicator, calls, limits,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};
use tokio::time::Instant;

/// A lock that expires within this time may be late for the next block, seconds: two blocks, and a poll.
const SOON_S: u64 = 30;

/// Channels looked at on chain at once.
const READS_AT_ONCE: usize = 16;

/// What the chain says of a disputed channel.
struct Look {
    defence: Defence,
    id: ChannelId,
    state: abi::ChannelState,
    /// When it is final; `None`: not asked, since the window is open.
    final_at: Option<u64>,
    /// What the hub gets once it is final.
    share: u128,
    /// Locks that were resolved in time, with the seq of the voucher they were last counted in.
    marks: BTreeMap<u64, u64>,
    /// Locks whose resolvers refuse the witness: with one of them the whole transaction would fail.
    refused: BTreeSet<u64>,
}

/// What one channel needs now.
struct Answer {
    id: ChannelId,
    token: Address,
    what: What,
    /// What the hub gets less without it.
    at_risk: u128,
    /// The last moment; `None`: whenever.
    deadline: Option<UnixSeconds>,
    /// Locks are left that did not fit.
    more: bool,
}

enum What {
    /// A voucher without locks: it goes with others.
    Voucher(abi::HubSide, abi::ClientVoucher),
    /// With locks: transactions of its own, in this order. What cannot be estimated before the one ahead of it is in a
    /// block has its limit of gas.
    Evidence(Vec<Part>),
    Finalize(abi::Config),
}

/// One transaction of several for a channel.
struct Part {
    call: IAdjudicator::submitCall,
    gas_limit: Option<u64>,
    /// The last moment for this one; the others may have more time.
    deadline: Option<UnixSeconds>,
}

/// What is sent, with the limit of gas, if it is not estimated.
struct Call {
    what: &'static str,
    data: Vec<u8>,
    /// Instead, when that is refused, because it needs too much gas for instance: the locks follow.
    voucher_alone: Option<Vec<u8>>,
    gas_limit: Option<u64>,
    deadline: Option<UnixSeconds>,
}

/// Channels that need no look before something changes.
#[derive(Debug, Default)]
pub(super) struct Rests(HashMap<ChannelId, Rest>);

#[derive(Debug)]
struct Rest {
    /// [`mark`] of what was shown.
    mark: Amount,
    /// `None`: a reorg passed since.
    since: Option<Instant>,
    /// What carries the answer: all of them must be on their way.
    hashes: Vec<B256>,
    /// Locks are left that did not fit: they follow as soon as these are in a block.
    more: bool,
    /// When it is too late for them, chain time.
    until: Option<UnixSeconds>,
    /// Chain time at which there is something to do whatever happens; zero: none is known.
    wake: u64,
}

impl Rests {
    fn over(&self, id: &ChannelId, mark: Amount, now: u64, driver: &Driver) -> bool {
        self.0.get(id).is_none_or(|rest| {
            let awake = rest.wake != 0 && now >= rest.wake;
            let after = driver.options.resend_after;
            let lapsed = rest.since.is_none_or(|since| since.elapsed() >= after);
            let late = rest.until.is_some_and(|until| until.0 <= now);
            let carried = !rest.hashes.is_empty() && !late;
            let waits = |hash: &B256| driver.in_flight.waits(Some(*hash));
            let on_its_way = carried && rest.hashes.iter().all(waits);
            let follows = rest.more && !rest.hashes.iter().any(waits);
            rest.mark != mark || awake || follows || (lapsed && !on_its_way)
        })
    }

    fn rest(&mut self, id: ChannelId, mark: Amount, wake: u64) {
        let since = Some(Instant::now());
        let rest = Rest {
            mark,
            since,
            hashes: Vec::new(),
            more: false,
            until: None,
            wake,
        };
        self.0.insert(id, rest);
    }

    fn carried(&mut self, id: &ChannelId, hashes: &[B256], until: Option<UnixSeconds>, more: bool) {
        if let Some(rest) = self.0.get_mut(id) {
            (rest.hashes, rest.until, rest.more) = (hashes.to_vec(), until, more);
        }
    }

    /// After a reorg nothing is where it was; what is on its way stays on its way.
    pub(super) fn lapse(&mut self) {
        for rest in self.0.values_mut() {
            rest.since = None;
        }
    }
}

/// Changes whenever there is something new to show.
pub(super) fn mark(defence: &Defence) -> Amount {
    let seq = seq_of(defence);
    let known = defence.received.witnesses.len() as u128;
    Amount(u128::from(seq).saturating_mul(1 << 16).saturating_add(known))
}

fn seq_of(defence: &Defence) -> u64 {
    let voucher = defence.received.voucher.as_ref();
    voucher.map_or(0, |signed| signed.voucher.seq.0)
}

impl Driver {
    /// R21, for every disputed channel. What could not be sent is tried again at the next look.
    pub(super) async fn defend(&mut self, disputed: Vec<Defence>) -> Result<(), ChainError> {
        metrics::gauge!("hub_disputed_channels").set(u32::try_from(disputed.len()).unwrap_or(u32::MAX));
        self.know_disputes(&disputed);
        if disputed.is_empty() {
            self.rests.0.clear();
            self.vanished.clear();
            self.watch_windows(0, &HashMap::new()).await;
            return Ok(());
        }
        let head = match self.options.chain.head().await {
            Ok(head) => head,
            Err(error) => {
                self.watch_blindly(&error).await;
                return Err(error);
            }
        };
        let now = head.timestamp_s;
        let ids: BTreeSet<ChannelId> = disputed.iter().map(|one| self.id(one)).collect();
        self.rests.0.retain(|id, _| ids.contains(id));
        let due = disputed.into_iter().filter(|one| {
            let (id, mark) = (self.id(one), mark(one));
            self.rests.over(&id, mark, now, self)
        });
        let due: Vec<Defence> = due.collect();
        let this = &*self;
        let whose: Vec<ChannelId> = due.iter().map(|one| self.id(one)).collect();
        let looks = due.into_iter().map(|defence| this.look(defence, now).boxed());
        let looks = all_of(looks.collect()).await;
        let mut failed = HashMap::new();
        let (mut answers, mut open) = (Vec::new(), BTreeSet::new());
        for (id, look) in whose.into_iter().zip(looks) {
            // One that cannot be read keeps nobody else waiting.
            let look = match look {
                Ok(look) => look,
                Err(error) => {
                    failed.insert(id, error.to_string());
                    continue;
                }
            };
            self.windows.looked(look.id, &look.state);
            if matches!(look.state.status, abi::Status::Open) {
                open.insert(look.id);
                continue;
            }
            self.rests.rest(look.id, mark(&look.defence), wake(&look, now));
            answers.extend(answer(look, self.sizes(), now));
        }
        let urgent_until = UnixSeconds(now).after(self.options.delays.act_s);
        answers.sort_by_key(|one| {
            let deadline = one.deadline.unwrap_or(UnixSeconds(u64::MAX));
            let calm = deadline > urgent_until;
            (calm, Reverse(one.at_risk), deadline, one.id)
        });
        self.send_answers(answers, urgent_until).await;
        if let Some((channel, error)) = failed.iter().next()
            && let Some(held_back) = self.warnings.due("unread disputes")
        {
            let channels = failed.len();
            tracing::warn!(%channel, error, channels, held_back, "disputed channels could not be read; trying again");
        }
        self.watch_windows(now, &failed).await;
        self.reopen(open, head.number).await
    }

    /// A dispute that a reorg took away is gone once a block that was not there yet is confirmed without it.
    async fn reopen(&mut self, open: BTreeSet<ChannelId>, head: u64) -> Result<(), ChainError> {
        self.vanished.retain(|id, _| open.contains(id));
        let confirmed = self.view.confirmed().map_or(0, |block| block.number);
        for id in open {
            let since = *self.vanished.entry(id).or_insert(head);
            if confirmed < since {
                continue;
            }
            let state = self.state_at(id, Some(confirmed)).await?;
            if matches!(state.status, abi::Status::Open) {
                tracing::warn!(channel = %id, "a reorg took the dispute away for good; the channel is open again");
                let gone = Input::DisputeGone { channel: id };
                self.control.tell(gone).await;
            }
        }
        Ok(())
    }

    fn id(&self, defence: &Defence) -> ChannelId {
        defence.config.id(&self.options.domain)
    }

    async fn look(&self, defence: Defence, now: u64) -> Result<Look, ChainError> {
        let id = self.id(&defence);
        let state = self.state(id).await?;
        let mut final_at = None;
        if matches!(state.status, abi::Status::Disputed) && now >= state.windowEnd {
            let config = defence.config.to_abi();
            let at = self.read(IAdjudicator::finalAtCall { config }).await?;
            final_at = Some(u64::try_from(at).unwrap_or(u64::MAX));
        }
        let mut share = 0;
        if final_at.is_some_and(|final_at| now >= final_at) {
            let channel = IAdjudicator::balancesCall {
                channelId: id.0.into(),
            };
            share = u128::try_from(self.read(channel).await?.hubBalance).unwrap_or(u128::MAX);
        }
        let marks = openable(&defence).into_iter();
        let marks = marks.map(|lock| self.mark_of(id, lock.clone()).boxed());
        let marks = all_of(marks.collect()).await.into_iter();
        let marks = marks
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect();
        let refused = self.refused(&defence).await;
        Ok(Look {
            defence,
            id,
            state,
            final_at,
            share,
            marks,
            refused,
        })
    }

    /// A lock that was resolved in time, with the seq of the voucher it was last counted in.
    async fn mark_of(&self, id: ChannelId, lock: Lock) -> Result<Option<(u64, u64)>, ChainError> {
        let call = IAdjudicator::markCall {
            channelId: id.0.into(),
            payer: Side::Client.index(),
            leaf: B256::from(lock.leaf().0),
        };
        let mark = u64::try_from(self.read(call).await?).unwrap_or(u64::MAX);
        Ok(mark.checked_sub(1).map(|seq| (lock.id, seq)))
    }

    /// In order; vouchers that go together leave with the first of them.
    async fn send_answers(&mut self, answers: Vec<Answer>, urgent_until: UnixSeconds) {
        let mut groups: Vec<Vec<Answer>> = Vec::new();
        let mut open: HashMap<(Address, u64, bool, bool), usize> = HashMap::new();
        let sizes = self.sizes();
        for one in answers {
            // The urgent keep to themselves: a batch is as urgent as its first.
            let urgent = one.deadline.is_some_and(|deadline| deadline <= urgent_until);
            let (key, max) = match &one.what {
                What::Voucher(side, _) => {
                    let key = (side.token, side.challengePeriodS, false, urgent);
                    (Some(key), sizes.batch)
                }
                What::Finalize(_) => (Some((Address::ZERO, 0, true, false)), sizes.payouts),
                What::Evidence(_) => (None, 1),
            };
            let place = key.and_then(|key| open.get(&key).copied());
            match place.and_then(|place| groups.get_mut(place)) {
                Some(group) if group.len() < max => group.push(one),
                _ => {
                    if let Some(key) = key {
                        open.insert(key, groups.len());
                    }
                    groups.push(vec![one]);
                }
            }
        }
        for group in groups {
            self.send_group(group).await;
        }
    }

    async fn send_group(&mut self, group: Vec<Answer>) {
        let ids: Vec<ChannelId> = group.iter().map(|one| one.id).collect();
        let saved = group.iter().map(|one| (one.token, one.at_risk));
        let budget_wei = self.options.budget.of_all(saved);
        let until = group.iter().filter_map(|one| one.deadline).min();
        let more = group.iter().any(|one| one.more);
        let (mut hashes, mut failed) = (Vec::new(), None);
        for call in calls_of(group) {
            let deadline = call.deadline;
            let urgency = Urgency { deadline, budget_wei };
            let mut sent = self.send(call.what, call.data, call.gas_limit, urgency).await;
            if let Err(ChainError::Reverted { .. } | ChainError::Rejected { .. }) = &sent
                && let Some(voucher) = call.voucher_alone
            {
                sent = self.send(call.what, voucher, call.gas_limit, urgency).await;
            }
            match sent {
                Ok(sent) => hashes.push(sent.hash),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        for id in ids {
            match &failed {
                None => self.rests.carried(&id, &hashes, until, more),
                // What reverts or is too dear now is so again at once: then it waits its turn.
                Some(ChainError::Reverted { .. } | ChainError::TooDear { .. }) => {}
                Some(_) => drop(self.rests.0.remove(&id)),
            }
        }
    }
}

/// A few at a time, in order. Boxed, so that it can be seen that they may move between threads.
pub(super) async fn all_of<T: Send>(
    reads: Vec<BoxFuture<'_, Result<T, ChainError>>>,
) -> Vec<Result<T, ChainError>> {
    stream::iter(reads).buffered(READS_AT_ONCE).collect().await
}

/// One call for channels that need the same, or several for one channel.
fn calls_of(group: Vec<Answer>) -> Vec<Call> {
    let deadline = group.iter().filter_map(|one| one.deadline).min();
    let (mut side, mut items, mut configs) = (None, Vec::new(), Vec::new());
    for one in group {
        match one.what {
            What::Evidence(parts) => return parts.into_iter().map(Part::call).collect(),
            What::Voucher(of, item) => {
                side = Some(of);
                items.push(item);
            }
            What::Finalize(config) => configs.push(config),
        }
    }
    let gas_limit = payout_gas(configs.len());
    let (what, data) = match side {
        Some(side) => {
            let call = IAdjudicator::submitManyCall { side, items };
            ("submit", call.abi_encode())
        }
        None if configs.is_empty() => return Vec::new(),
        None => {
            let call = IAdjudicator::finalizeManyCall { configs };
            ("finalize", call.abi_encode())
        }
    };
    vec![Call {
        what,
        data,
        voucher_alone: None,
        gas_limit,
        deadline,
    }]
}

impl Part {
    fn call(self) -> Call {
        let data = self.call.abi_encode();
        let both = !self.call.submissions.is_empty() && !self.call.resolutions.is_empty();
        let voucher_alone = both.then(|| {
            let mut call = self.call;
            call.resolutions.clear();
            call.abi_encode()
        });
        Call {
            what: "submit",
            data,
            voucher_alone,
            gas_limit: self.gas_limit,
            deadline: self.deadline,
        }
    }
}

/// Locks of the newest voucher that the hub can open, the first to expire first, as many as one transaction takes.
fn openable(defence: &Defence) -> Vec<&Lock> {
    let received = &defence.received;
    let known: BTreeSet<u64> = received
        .witnesses
        .iter()
        .filter_map(|(id, _)| id.parse().ok())
        .collect();
    let mut locks: Vec<_> = received
        .locks
        .iter()
        .filter(|lock| known.contains(&lock.id))
        .collect();
    locks.sort_by_key(|lock| (lock.expiry, lock.id));
    locks
}

/// When there is something to do for sure: the window's end, then the final moment. Zero: no such moment lies ahead.
fn wake(look: &Look, now: u64) -> u64 {
    let moment = match look.state.status {
        abi::Status::Disputed => look.final_at.unwrap_or(look.state.windowEnd),
        _ => 0,
    };
    if moment > now { moment } else { 0 }
}

/// What the channel needs at chain time `now`.
fn answer(look: Look, sizes: Sizes, now: u64) -> Option<Answer> {
    if !matches!(look.state.status, abi::Status::Disputed) {
        return None;
    }
    if look.final_at.is_some_and(|final_at| now >= final_at) {
        // Whose channel pays the hub nothing finalizes it himself: gas is no gift.
        return (look.share > 0).then(|| Answer {
            id: look.id,
            token: look.defence.config.token,
            what: What::Finalize(look.defence.config.to_abi()),
            at_risk: look.share,
            deadline: None,
            more: false,
        });
    }
    evidence(look, sizes, now)
}

/// The voucher when it adds to what is stored, and the locks that do not count yet.
fn evidence(look: Look, sizes: Sizes, now: u64) -> Option<Answer> {
    let Look {
        defence,
        id,
        state,
        marks,
        refused,
        ..
    } = look;
    let signed = defence.received.voucher.clone()?;
    let seq = signed.voucher.seq.0;
    let standing = Newest::of(&signed).standing(&state);
    let due = standing.is_due();
    if standing == Standing::Older || (due && now >= state.windowEnd) {
        return None;
    }
    let unresolved: Vec<_> = openable(&defence)
        .into_iter()
        .filter(|_| standing.counts_locks())
        .filter(|lock| match marks.get(&lock.id) {
            // Counted in the stored voucher, it need not be again when that only is acknowledged.
            Some(counted_in) => (due && standing != Standing::Unacknowledged) || *counted_in != seq,
            None => lock.expiry.0 > now && !refused.contains(&lock.id),
        })
        .collect();
    let (all, mut room) = (unresolved.len(), sizes.locks);
    let open: Vec<_> = unresolved.into_iter().filter(|lock| room.take(lock)).collect();
    if !due && open.is_empty() {
        return None;
    }
    let opened = open.iter().map(|lock| lock.amount.0);
    let paid = signed.voucher.paid.0.saturating_sub(state.clientPaid);
    let at_risk = opened.fold(paid, u128::saturating_add);
    // What an older voucher of the hub would let its client collect is not known here.
    let at_risk = match standing {
        Standing::Unacknowledged => at_risk.max(state.total),
        _ => at_risk,
    };
    let unmarked = open.iter().filter(|lock| !marks.contains_key(&lock.id));
    let expiry = unmarked.map(|lock| lock.expiry).min();
    let window = due.then_some(UnixSeconds(state.windowEnd));
    let deadline = expiry.into_iter().chain(window).min();
    let what = match calls::client_voucher(&defence.config, &signed) {
        Some(item) => What::Voucher(calls::hub_side(&defence.config), item),
        None => What::Evidence(shown(&defence, window, &open, &marks, now)),
    };
    Some(Answer {
        id,
        token: defence.config.token,
        what,
        at_risk,
        deadline,
        more: open.len() < all,
    })
}

/// The voucher, if it is newer and has its window, with the locks in `open`. Those that may expire before the next block go in a
/// transaction of their own, and so do those of each resolver, which may say yes when it is asked and no there: what came too
/// late or is refused takes nothing else down with it.
fn shown(
    defence: &Defence,
    window: Option<UnixSeconds>,
    open: &[&Lock],
    marks: &BTreeMap<u64, u64>,
    now: u64,
) -> Vec<Part> {
    let soon = now.saturating_add(SOON_S);
    let mut apart: BTreeMap<(Address, bool), Vec<&Lock>> = BTreeMap::new();
    for lock in open {
        // Of a marked lock neither time nor witness counts.
        let key = match marks.contains_key(&lock.id) {
            true => (Address::ZERO, false),
            false => (lock.resolver, lock.expiry.0 <= soon),
        };
        apart.entry(key).or_default().push(lock);
    }
    if window.is_some() {
        apart.entry((Address::ZERO, false)).or_default();
    }
    let parts = apart.into_iter().enumerate();
    let parts = parts.map(|(place, ((resolver, _), locks))| {
        let window = window.filter(|_| place == 0);
        let estimated = place == 0 && resolver.is_zero();
        part(
            defence,
            window,
            &locks,
            marks,
            (!estimated).then(|| gas_of(&locks)),
        )
    });
    parts.collect()
}

fn gas_of(locks: &[&Lock]) -> u64 {
    let weights = locks.iter().map(|lock| lock.condition().weight());
    let weight = weights.fold(0, u64::saturating_add);
    weight
        .saturating_mul(limits::LOCK_GAS_MAX)
        .saturating_add(BASE_GAS)
}

fn part(
    defence: &Defence,
    window: Option<UnixSeconds>,
    locks: &[&Lock],
    marks: &BTreeMap<u64, u64>,
    gas_limit: Option<u64>,
) -> Part {
    let unmarked = locks.iter().filter(|lock| !marks.contains_key(&lock.id));
    let deadline = unmarked.map(|lock| lock.expiry).chain(window).min();
    let ids: BTreeSet<u64> = locks.iter().map(|lock| lock.id).collect();
    let mut received = defence.received.clone();
    let shows = |id: &String| id.parse().is_ok_and(|id| ids.contains(&id));
    received.witnesses.retain(|(id, _)| shows(id));
    let (mut submissions, resolutions) = calls::evidence(Side::Client, &received);
    if window.is_none() {
        submissions.clear();
    }
    Part {
        call: IAdjudicator::submitCall {
            config: defence.config.to_abi(),
            submissions,
            resolutions,
        },
        gas_limit,
        deadline,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::quiet_channel, *};
    use protocol_spec::{
        Config, Digest, DirectionEvidence, Domain, Preimage, Seq, SignedVoucher, SignerKey, Voucher,
        VoucherSignature, batch::Tree,
    };
    use sha2::{Digest as _, Sha256};

    const NOW: u64 = 1_000_000;
    const WINDOW_END: u64 = NOW + 1000;
    const SECRET: Preimage = Preimage([7; 32]);

    fn lock(id: u64, expiry: u64) -> Lock {
        Lock {
            id,
            amount: Amount(10),
            expiry: UnixSeconds(expiry),
            hash: Digest(Sha256::digest(SECRET.0).into()),
            resolver: Address::ZERO,
        }
    }

    /// The hub holds voucher 5 with `paid` 100 and `locks`, all of which it can open; the chain knows voucher `stored`.
    fn look(stored: u64, locks: Vec<Lock>, marks: &[(u64, u64)]) -> Look {
        let key = SignerKey::from_bytes(&[3; 32]).unwrap();
        let domain = Domain::new(1, Address::repeat_byte(1));
        let config = Config {
            client: key.address(),
            client_signer: key.address(),
            hub: Address::repeat_byte(2),
            hub_signer: Address::repeat_byte(3),
            token: Address::ZERO,
            challenge_period_s: 86_400,
            salt: Digest::ZERO,
        };
        let opening = locks.iter().map(|lock| lock.expiry).max().map(|max_expiry| {
            let root = Tree::new(locks.iter().map(Lock::leaf).collect()).root();
            let total = Amount::sum(locks.iter().map(|lock| lock.amount)).unwrap();
            protocol_spec::LocksOpening {
                root,
                total,
                max_expiry,
            }
        });
        let voucher = Voucher {
            channel_id: config.id(&domain),
            seq: Seq(5),
            paid: Amount(100),
            ack_seq: Seq::NONE,
            ack_paid: Amount::ZERO,
            locks: opening.map_or(Digest::ZERO, |opening| opening.commitment()),
            history: Digest::ZERO,
        };
        let signature = VoucherSignature::Direct(key.sign(&voucher.digest(&domain)));
        let witnesses = locks
            .iter()
            .map(|lock| (lock.id.to_string(), SECRET.into()))
            .collect();
        let received = DirectionEvidence {
            voucher: Some(SignedVoucher { voucher, signature }),
            locks,
            opening,
            witnesses,
        };
        let mut state = abi::ChannelState {
            status: abi::Status::Disputed,
            clientSeq: stored,
            clientPaid: if stored < 5 { 40 } else { 100 },
            windowEnd: WINDOW_END,
            ..quiet_channel()
        };
        state.clientLocks.live = stored == 5;
        Look {
            id: config.id(&domain),
            defence: Defence { config, received },
            state,
            final_at: None,
            share: 9,
            marks: marks.iter().copied().collect(),
            refused: BTreeSet::new(),
        }
    }

    fn answer(look: Look, now: u64) -> Option<Answer> {
        super::answer(look, Sizes::of_block(30_000_000), now)
    }

    #[test]
    fn locks_beyond_what_a_block_takes_follow_later_and_the_voucher_goes_alone_if_it_must() {
        let locks = (1..=40).map(|id| lock(id, NOW + SOON_S + id)).collect();
        let answer = super::answer(look(4, locks, &[]), Sizes::of_block(3_000_000), NOW).unwrap();
        let What::Evidence(parts) = answer.what else {
            panic!("no evidence");
        };
        let calls: Vec<Call> = parts.into_iter().map(Part::call).collect();
        let [call] = calls.as_slice() else {
            panic!("{} transactions", calls.len());
        };
        let shown = |data: &[u8]| {
            let call = IAdjudicator::submitCall::abi_decode(data).unwrap();
            let unlocks = call.resolutions.iter().map(|one| one.unlocks.len());
            (call.submissions.len(), unlocks.sum::<usize>())
        };
        assert_eq!(shown(&call.data), (1, 28));
        assert_eq!(shown(call.voucher_alone.as_ref().unwrap()), (1, 0));
    }

    /// Vouchers and locks shown, by transaction.
    fn parts(answer: Option<Answer>) -> Vec<(usize, Vec<u64>)> {
        match answer.map(|answer| answer.what) {
            Some(What::Voucher(..)) => vec![(1, vec![])],
            Some(What::Evidence(calls)) => {
                let unlocks = |call: &IAdjudicator::submitCall| {
                    let unlocks = call.resolutions.iter().flat_map(|one| &one.unlocks);
                    unlocks.map(|unlock| unlock.lock.id).collect()
                };
                let calls = calls.iter().map(|part| &part.call);
                calls
                    .map(|call| (call.submissions.len(), unlocks(call)))
                    .collect()
            }
            Some(What::Finalize(_)) | None => vec![],
        }
    }

    /// The same of an answer in one transaction.
    fn shown(answer: Option<Answer>) -> Option<(usize, Vec<u64>)> {
        let mut parts = parts(answer);
        assert!(parts.len() < 2, "{parts:?}");
        parts.pop()
    }

    #[test]
    fn r21_a_newer_voucher_is_shown_until_the_window_ends_and_never_an_older_one() {
        let answer_at = |stored, now| shown(answer(look(stored, vec![], &[]), now));
        assert_eq!(answer_at(4, NOW), Some((1, vec![])));
        assert_eq!(answer_at(4, WINDOW_END - 1), Some((1, vec![])));
        assert_eq!(answer_at(4, WINDOW_END), None);
        assert_eq!(answer_at(5, NOW), None, "it adds nothing");
        assert_eq!(answer_at(6, NOW), None);
        assert_eq!(answer(look(4, vec![], &[]), NOW).unwrap().at_risk, 60);
    }

    /// A restored hub accepted voucher 5, paid 100; the client shows another one that the backup did not have.
    #[test]
    fn r21_a_voucher_that_pays_more_is_shown_whatever_its_seq() {
        for stored in [5, 6] {
            let mut other = look(stored, vec![], &[]);
            other.state.clientPaid = 99;
            let answer = answer(other, NOW).unwrap();
            assert_eq!(answer.at_risk, 1);
            assert_eq!(shown(Some(answer)), Some((1, vec![])));
            let mut other = look(stored, vec![lock(1, NOW + SOON_S + 1)], &[]);
            other.state.clientPaid = 99;
            other.state.clientLocks.live = true;
            let answer = self::answer(other, NOW);
            assert_eq!(
                shown(answer),
                Some((1, vec![])),
                "its locks are not the stored one's"
            );
        }
    }

    #[test]
    fn r17_locks_are_resolved_before_they_expire_and_counted_once_per_voucher() {
        let late = NOW + SOON_S;
        let locks = || vec![lock(1, late + 1), lock(2, NOW), lock(3, late + 5)];
        let shows = |stored, marks: &[(u64, u64)]| shown(answer(look(stored, locks(), marks), NOW));
        assert_eq!(shows(4, &[]), Some((1, vec![1, 3])), "2 has expired");
        assert_eq!(
            shows(5, &[]),
            Some((0, vec![1, 3])),
            "the voucher is there already"
        );
        assert_eq!(shows(5, &[(1, 5), (3, 5)]), None, "all of it counts");
        // Marked in time under voucher 3: it may be counted in the stored one, also after its expiry.
        assert_eq!(shows(5, &[(1, 5), (2, 3), (3, 5)]), Some((0, vec![2])));
        // A newer voucher drops what was counted.
        assert_eq!(shows(4, &[(1, 4)]), Some((1, vec![1, 3])));
        let answer = answer(look(4, locks(), &[]), NOW).unwrap();
        assert_eq!(
            (answer.at_risk, answer.deadline),
            (80, Some(UnixSeconds(late + 1)))
        );
    }

    #[test]
    fn a_lock_that_may_come_too_late_takes_nothing_down_with_it() {
        let locks = || vec![lock(1, NOW + 1), lock(2, NOW + SOON_S), lock(3, NOW + SOON_S + 1)];
        let shows = |stored, marks: &[(u64, u64)]| parts(answer(look(stored, locks(), marks), NOW));
        assert_eq!(shows(4, &[]), [(1, vec![3]), (0, vec![1, 2])]);
        assert_eq!(shows(5, &[]), [(0, vec![3]), (0, vec![1, 2])]);
        assert_eq!(shows(5, &[(3, 5)]), [(0, vec![1, 2])], "nothing else to show");
        assert_eq!(
            shows(4, &[(1, 4), (2, 4)]),
            [(1, vec![1, 2, 3])],
            "resolved in time already"
        );
    }

    #[test]
    fn a_resolver_that_refuses_in_a_transaction_takes_nothing_else_down_with_it() {
        let on = |resolver, lock: Lock| Lock {
            resolver: Address::repeat_byte(resolver),
            ..lock
        };
        let locks = || {
            vec![
                on(7, lock(1, NOW + SOON_S + 1)),
                lock(2, NOW + SOON_S + 2),
                on(8, lock(3, NOW + SOON_S)),
                on(7, lock(4, NOW + SOON_S + 3)),
            ]
        };
        let shows = |stored, marks: &[(u64, u64)]| parts(answer(look(stored, locks(), marks), NOW));
        assert_eq!(shows(4, &[]), [(1, vec![2]), (0, vec![1, 4]), (0, vec![3])]);
        assert_eq!(shows(5, &[(2, 5)]), [(0, vec![1, 4]), (0, vec![3])]);
        assert_eq!(
            shows(4, &[(2, 4), (1, 4), (4, 4), (3, 4)]),
            [(1, vec![1, 2, 3, 4])],
            "no witness is looked at any more"
        );
        let only = || vec![on(7, lock(1, NOW + SOON_S + 1))];
        let parts = answer(look(4, only(), &[]), NOW).map(|answer| answer.what);
        let Some(What::Evidence(parts)) = parts else {
            panic!("no evidence");
        };
        let limits: Vec<bool> = parts.iter().map(|part| part.gas_limit.is_some()).collect();
        assert_eq!(
            limits,
            [false, true],
            "an estimate would fail before the first is in a block"
        );
    }

    #[test]
    fn a_voucher_that_was_only_acknowledged_is_shown_for_its_locks() {
        let mut acknowledged = look(5, vec![lock(1, NOW + SOON_S + 1)], &[]);
        acknowledged.state.clientLocks.live = false;
        assert_eq!(shown(answer(acknowledged, NOW)), Some((1, vec![1])));
        let mut without = look(5, vec![], &[]);
        without.state.clientLocks.live = false;
        assert_eq!(shown(answer(without, NOW)), None, "it has nothing to add");
    }

    #[test]
    fn what_is_final_is_finalized_and_what_is_not_disputed_is_left_alone() {
        let mut done = look(4, vec![], &[]);
        done.final_at = Some(WINDOW_END);
        assert!(matches!(
            answer(done, WINDOW_END).unwrap().what,
            What::Finalize(_)
        ));
        let mut empty = look(4, vec![], &[]);
        (empty.final_at, empty.share) = (Some(WINDOW_END), 0);
        assert!(answer(empty, WINDOW_END).is_none(), "nothing in it for the hub");
        let mut early = look(4, vec![], &[]);
        early.final_at = Some(WINDOW_END + 9);
        assert!(answer(early, WINDOW_END + 8).is_none());
        let mut late = look(4, vec![], &[]);
        assert_eq!(wake(&late, NOW), WINDOW_END);
        late.final_at = Some(WINDOW_END + 9);
        assert_eq!(wake(&late, WINDOW_END), WINDOW_END + 9);
        assert_eq!(
            wake(&late, WINDOW_END + 9),
            0,
            "what was sent is not sent at every look"
        );
        let mut open = look(4, vec![], &[]);
        open.state.status = abi::Status::Open;
        assert!(answer(open, NOW).is_none());
    }
}
