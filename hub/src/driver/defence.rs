//! Answers to disputes (R21): the newest vouchers in batches, the locks that are known, finalize. The most urgent and
//! the most valuable first.

use super::{
    Driver,
    outgoing::Urgency,
    sizes::{BASE_GAS, Sizes, payout_gas},
    standing::{Newest, Standing},
};
use crate::{
    chain::{ChainError, SentTx},
    ledger::{Defence, Input},
};
use alloy::{primitives::B256, sol_types::SolCall};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use protocol_spec::{
    Address, Amount, ChannelId, Lock, Room, Side, UnixSeconds, abi, abi::IAdjudicator, calls, limits,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
};
use tokio::time::Instant;

/// A lock that expires within this time may be late for the next block, seconds: two blocks, and a poll.
const SOON_S: u64 = 30;

/// The kinds of answers, as logs and metrics have them.
const SUBMIT: &str = "submit";
const FINALIZE: &str = "finalize";
/// And what starts a dispute.
pub(super) const DISPUTE: &str = "dispute";

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
#[derive(Clone)]
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
    /// Most channels in its transaction: fewer than in the last one for the same, which had no effect.
    company: usize,
}

#[derive(Clone)]
enum What {
    /// A voucher without locks: it goes with others.
    Voucher(abi::HubSide, abi::ClientVoucher),
    /// With locks: transactions of its own, in this order. What cannot be estimated before the one ahead of it is in a
    /// block has its limit of gas.
    Evidence(Vec<Part>),
    Finalize(abi::Config),
}

/// One transaction of several for a channel.
#[derive(Clone)]
struct Part {
    call: IAdjudicator::submitCall,
    gas_limit: Option<u64>,
    /// The last moment for this one; the others may have more time.
    deadline: Option<UnixSeconds>,
}

/// What goes into one transaction, or the transactions of one channel.
type Group = Vec<Answer>;

/// What is sent, with the limit of gas, if it is not estimated.
pub(super) struct Call {
    pub(super) what: &'static str,
    data: Vec<u8>,
    /// Instead, when that is refused, because it needs too much gas for instance: the locks follow.
    voucher_alone: Option<Vec<u8>>,
    /// Those that follow it in the same channel are in vain without it.
    pub(super) begins: bool,
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
    /// What was sent last, and for how many channels together.
    together: Option<(&'static str, usize)>,
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

    /// What was sent for the same `mark` is remembered, also when it cannot be sent again now.
    fn rest(&mut self, id: ChannelId, mark: Amount, wake: u64) {
        let since = Some(Instant::now());
        let before = self.0.get(&id).filter(|rest| rest.mark == mark);
        let together = before.and_then(|rest| rest.together);
        let rest = Rest {
            mark,
            since,
            hashes: Vec::new(),
            more: false,
            until: None,
            wake,
            together,
        };
        self.0.insert(id, rest);
    }

    fn carried(&mut self, id: &ChannelId, sent: &Carried<'_>) {
        if let Some(rest) = self.0.get_mut(id) {
            (rest.hashes, rest.until, rest.more) = (sent.hashes.to_vec(), sent.until, sent.more);
            rest.together = Some(sent.together);
        }
    }

    /// Most channels that go with this one, of which the same was wanted with this `mark` before, without effect: one that
    /// made the whole transaction fail holds up half as many each time.
    fn company(&self, id: &ChannelId, mark: Amount, what: &'static str) -> usize {
        let rest = self.0.get(id).filter(|rest| rest.mark == mark);
        let last = rest
            .and_then(|rest| rest.together)
            .filter(|(sent, _)| *sent == what);
        last.map_or(usize::MAX, |(_, count)| count.div_euclid(2).max(1))
    }

    /// After a reorg nothing is where it was; what is on its way stays on its way.
    pub(super) fn lapse(&mut self) {
        for rest in self.0.values_mut() {
            (rest.since, rest.together) = (None, None);
        }
    }
}

/// What was sent for a group.
struct Carried<'a> {
    hashes: &'a [B256],
    until: Option<UnixSeconds>,
    more: bool,
    together: (&'static str, usize),
}

/// Changes whenever there is something new to show.
fn mark(defence: &Defence) -> Amount {
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
            let (id, mark, wake) = (look.id, mark(&look.defence), wake(&look, now));
            let answer = answer(look, self.sizes(), now);
            answers.extend(answer.map(|one| {
                let company = self.rests.company(&id, mark, one.what.verb());
                Answer { company, ..one }
            }));
            self.rests.rest(id, mark, wake);
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

    /// In order; what goes together leaves with the first of it. A group of which the chain refuses the whole is halved
    /// until the one is alone that it is refused for.
    async fn send_answers(&mut self, answers: Vec<Answer>, urgent_until: UnixSeconds) {
        let mut groups: VecDeque<Group> = grouped(answers, self.sizes(), urgent_until).into();
        while let Some(mut group) = groups.pop_front() {
            let whole = group.clone();
            if !self.send_group(group).await && whole.len() > 1 {
                group = whole;
                let half = group.split_off(group.len().div_euclid(2));
                groups.push_front(half);
                groups.push_front(group);
            }
        }
    }

    /// False: the chain refuses it.
    async fn send_group(&mut self, group: Group) -> bool {
        let ids: Vec<ChannelId> = group.iter().map(|one| one.id).collect();
        let together = group
            .first()
            .map_or(("", 0), |one| (one.what.verb(), group.len()));
        let saved = group.iter().map(|one| (one.token, one.at_risk));
        let budget_wei = self.options.budget.of_all(saved);
        let until = group.iter().filter_map(|one| one.deadline).min();
        let more = group.iter().any(|one| one.more);
        let (mut hashes, mut failed) = (Vec::new(), None);
        for call in calls_of(group) {
            let begins = call.begins;
            match self.send_call(call, budget_wei).await {
                Ok(sent) => hashes.push(sent.hash),
                Err(error) => {
                    let ends = begins || !is_of_the_call(&error);
                    failed.get_or_insert(error);
                    if ends {
                        break;
                    }
                }
            }
        }
        for id in ids {
            match &failed {
                None => {
                    let hashes = &hashes;
                    let sent = Carried {
                        hashes,
                        until,
                        more,
                        together,
                    };
                    self.rests.carried(&id, &sent);
                }
                // What reverts or is too dear now is so again at once: then it waits its turn.
                Some(ChainError::Reverted { .. } | ChainError::TooDear { .. }) => {}
                // Looked at again at once; how many went together stays known.
                Some(_) => {
                    if let Some(rest) = self.rests.0.get_mut(&id) {
                        rest.since = None;
                    }
                }
            }
        }
        !matches!(failed, Some(ChainError::Reverted { .. }))
    }

    /// Sends it, or the voucher alone where that is refused with its locks.
    pub(super) async fn send_call(
        &mut self,
        call: Call,
        budget_wei: Option<u128>,
    ) -> Result<SentTx, ChainError> {
        let deadline = call.deadline;
        let urgency = Urgency { deadline, budget_wei };
        let sent = self.send(call.what, call.data, call.gas_limit, urgency).await;
        match (sent, call.voucher_alone) {
            (Err(ChainError::Reverted { .. } | ChainError::Rejected { .. }), Some(voucher)) => {
                self.send(call.what, voucher, call.gas_limit, urgency).await
            }
            (sent, _) => sent,
        }
    }
}

/// What goes together, in the order of the first of each: vouchers, and payouts, of one token, since a token can make all of
/// its own fail.
fn grouped(answers: Vec<Answer>, sizes: Sizes, urgent_until: UnixSeconds) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut open: HashMap<(Address, u64, bool, bool, usize), usize> = HashMap::new();
    for one in answers {
        // The urgent keep to themselves: a batch is as urgent as its first.
        let urgent = one.deadline.is_some_and(|deadline| deadline <= urgent_until);
        let (key, max) = match &one.what {
            What::Voucher(side, _) => {
                let key = (side.token, side.challengePeriodS, false, urgent, one.company);
                (Some(key), sizes.batch)
            }
            What::Finalize(_) => {
                let key = (one.token, 0, true, false, one.company);
                (Some(key), sizes.payouts)
            }
            What::Evidence(_) => (None, 1),
        };
        let max = max.min(one.company);
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
    groups
}

impl What {
    fn verb(&self) -> &'static str {
        match self {
            Self::Voucher(..) | Self::Evidence(_) => SUBMIT,
            Self::Finalize(_) => FINALIZE,
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
            (SUBMIT, call.abi_encode())
        }
        None if configs.is_empty() => return Vec::new(),
        None => {
            let call = IAdjudicator::finalizeManyCall { configs };
            (FINALIZE, call.abi_encode())
        }
    };
    vec![Call {
        what,
        data,
        voucher_alone: None,
        begins: true,
        gas_limit,
        deadline,
    }]
}

impl Part {
    /// The same as the beginning of a dispute: with the voucher alone only where something follows that may collect.
    fn dispute(self, followed: bool) -> Call {
        let (deadline, gas_limit) = (self.deadline, self.gas_limit);
        let IAdjudicator::submitCall {
            config,
            submissions,
            resolutions,
        } = self.call;
        let mut call = IAdjudicator::disputeCall {
            config,
            submissions,
            resolutions,
        };
        let data = call.abi_encode();
        let voucher_alone = (followed && !call.resolutions.is_empty()).then(|| {
            call.resolutions.clear();
            call.abi_encode()
        });
        Call {
            what: DISPUTE,
            data,
            voucher_alone,
            begins: true,
            gas_limit,
            deadline,
        }
    }

    /// When the first of the locks that it opens expires.
    fn opens_until(&self) -> Option<UnixSeconds> {
        let unlocks = self.call.resolutions.iter().flat_map(|one| &one.unlocks);
        unlocks.map(|unlock| UnixSeconds(unlock.lock.expiry)).min()
    }

    fn call(self) -> Call {
        let data = self.call.abi_encode();
        let begins = !self.call.submissions.is_empty();
        let both = begins && !self.call.resolutions.is_empty();
        let voucher_alone = both.then(|| {
            let mut call = self.call;
            call.resolutions.clear();
            call.abi_encode()
        });
        Call {
            what: SUBMIT,
            data,
            voucher_alone,
            begins,
            gas_limit: self.gas_limit,
            deadline: self.deadline,
        }
    }
}

/// R21: what a dispute that the hub starts can collect at chain time `now`: locks that have not expired and whose resolvers do
/// not refuse, the first to expire first, as many as there is `room` for. The rest follows once it is started.
pub(super) fn collectable(defence: &Defence, refused: &BTreeSet<u64>, mut room: Room, now: u64) -> Vec<Lock> {
    let locks = openable(defence).into_iter();
    let locks = locks.filter(|lock| lock.expiry.0 > now && !refused.contains(&lock.id));
    locks.filter(|lock| room.take(lock)).cloned().collect()
}

/// What the hub sends to start a dispute and to collect by it.
pub(super) struct Collection {
    /// The dispute and what follows it, in order.
    pub(super) calls: Vec<Call>,
    /// When the first lock expires that the dispute itself opens: later it fails. `None`: it opens none.
    until: Option<UnixSeconds>,
}

impl Collection {
    /// Whether a dispute that opens nothing itself can be followed by what does, at this gas price; unknown: it is tried.
    pub(super) fn may_collect(&self, budget_wei: Option<u128>, gas_price_wei: Option<u128>) -> bool {
        let followers = self.calls.iter().filter(|call| !call.begins);
        let least = followers.filter_map(|call| call.gas_limit).min();
        match (self.until, budget_wei, gas_price_wei, least) {
            (None, Some(budget), Some(price), Some(gas)) => budget >= price.saturating_mul(gas.into()),
            _ => true,
        }
    }
}

/// The disputes that were sent last.
#[derive(Debug, Default)]
pub(super) struct Started(HashMap<ChannelId, Start>);

#[derive(Debug)]
struct Start {
    /// [`mark`] of the evidence.
    of: Amount,
    /// Until when what was sent last can be taken.
    until: Option<UnixSeconds>,
    /// How often that came too late.
    late: u128,
}

impl Started {
    /// Changes whenever there is something new to collect, and when what was sent comes too late; not when a lock expires that
    /// only follows the dispute.
    pub(super) fn mark(&mut self, id: ChannelId, defence: &Defence, now: u64) -> Amount {
        let of = mark(defence);
        let new = || Start {
            of,
            until: None,
            late: 0,
        };
        let one = self.0.entry(id).or_insert_with(new);
        if one.of != of {
            *one = new();
        }
        if one.until.is_some_and(|until| until.0 <= now) {
            (one.until, one.late) = (None, one.late.saturating_add(1));
        }
        Amount(one.late.saturating_mul(1 << 80).saturating_add(of.0))
    }

    /// This is sent now.
    pub(super) fn sent(&mut self, id: ChannelId, collection: &Collection) {
        if let Some(one) = self.0.get_mut(&id) {
            one.until = collection.until;
        }
    }

    /// The others are disputed, or need it no more.
    pub(super) fn keep(&mut self, ids: &BTreeSet<ChannelId>) {
        self.0.retain(|id, _| ids.contains(id));
    }
}

/// `first`: when the first of the locks expires; the dispute comes before all. It is started only where it may collect: with
/// locks that are safe to show, or before several that fail apart from each other. One group that may fail is a part of it.
pub(super) fn collection(defence: &Defence, locks: &[Lock], first: UnixSeconds, now: u64) -> Collection {
    let (open, marks): (Vec<&Lock>, _) = (locks.iter().collect(), BTreeMap::new());
    let mut parts = shown(defence, Some(first), &open, &marks, now);
    if let [start, _] = parts.as_slice()
        && start.call.resolutions.is_empty()
    {
        parts = vec![part(defence, Some(first), &open, &marks, None)];
    }
    let until = parts.first().and_then(Part::opens_until);
    let followed = parts.len() > 1;
    let calls = parts.into_iter().enumerate().map(|(place, part)| match place {
        0 => part.dispute(followed),
        _ => part.call(),
    });
    Collection {
        calls: calls.collect(),
        until,
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

/// Refused for what it is, not because nothing can be sent now.
fn is_of_the_call(error: &ChainError) -> bool {
    matches!(
        error,
        ChainError::Reverted { .. } | ChainError::Rejected { .. } | ChainError::TooDear { .. }
    )
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
            company: usize::MAX,
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
    // What nothing can be collected by any more needs no opening.
    let live = defence.received.locks.iter().filter(|lock| lock.expiry.0 > now);
    let live = live.fold(0_u128, |sum, lock| sum.saturating_add(lock.amount.0));
    if open.is_empty() && (!due || (standing == Standing::Unopened && live == 0)) {
        return None;
    }
    let opened = open.iter().map(|lock| lock.amount.0);
    let paid = signed.voucher.paid.0.saturating_sub(state.clientPaid);
    let at_risk = opened.fold(paid, u128::saturating_add);
    // What an older voucher of the hub would let its client collect, of locks that were given up since, is not known here; nor
    // which of the locks open later.
    let stale = due && defence.gave_locks && signed.voucher.ack_seq.0 > state.hubSeq;
    let at_risk = match standing {
        Standing::Unacknowledged => at_risk.max(state.total),
        _ if stale => at_risk.max(state.total),
        Standing::Unopened => at_risk.max(live),
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
        company: usize::MAX,
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
            defence: Defence {
                config,
                received,
                gave_locks: false,
            },
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

    /// Locks of the hub that were given up since end with the acknowledgement of the voucher that dropped them, and only then.
    #[test]
    fn what_an_acknowledgement_saves_counts_where_the_hub_ever_gave_locks() {
        let saves = |gave_locks, hub_seq| {
            let mut one = look(4, vec![], &[]);
            one.defence.gave_locks = gave_locks;
            if let Some(signed) = &mut one.defence.received.voucher {
                signed.voucher.ack_seq = Seq(9);
            }
            (one.state.total, one.state.hubSeq) = (5_000, hub_seq);
            answer(one, NOW).unwrap().at_risk
        };
        assert_eq!(saves(true, 8), 5_000);
        assert_eq!(saves(true, 9), 60, "known already");
        assert_eq!(saves(false, 8), 60, "there are none");
    }

    #[test]
    fn a_stored_voucher_is_shown_again_with_the_list_of_its_locks() {
        let expiry = NOW + SOON_S + 1;
        let unopened = |expiry, opened| {
            let mut stored = look(5, vec![lock(1, expiry)], &[]);
            stored.defence.received.witnesses.clear();
            let voucher = stored.defence.received.voucher.as_ref().unwrap();
            stored.state.clientLocks.commitment = voucher.voucher.locks.0.into();
            stored.state.clientLocks.opened = opened;
            stored
        };
        let again = answer(unopened(expiry, false), NOW).unwrap();
        assert_eq!(
            (again.at_risk, again.deadline),
            (10, Some(UnixSeconds(WINDOW_END)))
        );
        let What::Evidence(parts) = again.what else {
            panic!("no evidence");
        };
        assert_eq!(parts[0].call.submissions[0].opening.len(), 1);
        assert!(answer(unopened(expiry, true), NOW).is_none());
        assert!(
            answer(unopened(NOW, false), NOW).is_none(),
            "none can be collected"
        );
        assert!(
            answer(unopened(WINDOW_END + 9, false), WINDOW_END).is_none(),
            "too late to open them"
        );
    }

    #[test]
    fn a_dispute_is_started_without_what_may_fail_and_that_follows_it() {
        let resolved = Lock {
            resolver: Address::repeat_byte(7),
            ..lock(4, NOW + SOON_S + 9)
        };
        let soon = lock(2, NOW + SOON_S);
        let locks = vec![lock(1, NOW), soon, lock(3, NOW + SOON_S + 5), resolved];
        let defence = look(4, locks, &[]).defence;
        let room = Sizes::of_block(30_000_000).locks;
        let collected = collectable(&defence, &BTreeSet::new(), room, NOW);
        let ids = |locks: &[Lock]| locks.iter().map(|lock| lock.id).collect::<Vec<_>>();
        assert_eq!(ids(&collected), [2, 3, 4], "1 has expired");
        assert_eq!(ids(&collectable(&defence, &[4].into(), room, NOW)), [2, 3]);
        let first = collected[0].expiry;
        let sent = collection(&defence, &collected, first, NOW);
        let [dispute, after @ ..] = sent.calls.as_slice() else {
            panic!("nothing is sent");
        };
        let opened = |resolutions: &[abi::Resolution]| {
            let unlocks = resolutions.iter().flat_map(|one| &one.unlocks);
            unlocks.map(|unlock| unlock.lock.id).collect::<Vec<_>>()
        };
        let started = IAdjudicator::disputeCall::abi_decode(&dispute.data).unwrap();
        let shown = (started.submissions.len(), opened(&started.resolutions));
        assert_eq!((dispute.what, shown), (DISPUTE, (1, vec![3])));
        assert_eq!((dispute.deadline, dispute.gas_limit), (Some(first), None));
        let alone = dispute.voucher_alone.as_ref().unwrap();
        let alone = IAdjudicator::disputeCall::abi_decode(alone).unwrap();
        assert_eq!((alone.submissions.len(), alone.resolutions.len()), (1, 0));
        let followed = after.iter().map(|call| {
            let submit = IAdjudicator::submitCall::abi_decode(&call.data).unwrap();
            assert!(submit.submissions.is_empty() && call.gas_limit.is_some());
            opened(&submit.resolutions)
        });
        assert_eq!(followed.collect::<Vec<_>>(), [vec![2], vec![4]]);
        // Too late for the first: the others are wanted in a transaction of their own.
        let later = collectable(&defence, &BTreeSet::new(), room, first.0);
        assert_eq!(ids(&later), [3, 4]);
        assert!(sent.may_collect(Some(0), Some(1)), "3 is in the dispute");
        let (mut started, id) = (Started::default(), ChannelId([1; 32]));
        let began = started.mark(id, &defence, NOW);
        started.sent(id, &sent);
        let mut mark = |now| started.mark(id, &defence, now);
        assert_eq!(mark(NOW + SOON_S), began, "2 was no part of the dispute");
        let late = mark(NOW + SOON_S + 5);
        assert_ne!(late, began, "3 was");
        assert_eq!(mark(NOW + SOON_S + 6), late, "nothing was sent since");
        let dear = locks_that_follow(&defence);
        assert!(!dear.may_collect(Some(99_999), Some(1)), "nothing would follow");
        assert!(dear.may_collect(Some(u128::MAX), Some(1)) && dear.may_collect(Some(0), None));
    }

    /// Two groups, none of them safe.
    fn locks_that_follow(defence: &Defence) -> Collection {
        let resolved = Lock {
            resolver: Address::repeat_byte(7),
            ..lock(4, NOW + SOON_S + 9)
        };
        let locks = [lock(2, NOW + SOON_S), resolved];
        collection(defence, &locks, locks[0].expiry, NOW)
    }

    #[test]
    fn no_dispute_is_started_for_the_one_thing_that_may_fail_unless_it_is_a_part_of_it() {
        let on = |resolver, lock: Lock| Lock {
            resolver: Address::repeat_byte(resolver),
            ..lock
        };
        let (soon, later) = (NOW + SOON_S, NOW + SOON_S + 9);
        let opened = |locks: Vec<Lock>| {
            let defence = look(4, locks.clone(), &[]).defence;
            let sent = collection(&defence, &locks, locks[0].expiry, NOW);
            let dispute = &sent.calls[0];
            let call = IAdjudicator::disputeCall::abi_decode(&dispute.data).unwrap();
            assert_eq!((call.submissions.len(), dispute.gas_limit), (1, None));
            let unlocks = call.resolutions.iter().flat_map(|one| &one.unlocks);
            let ids: Vec<u64> = unlocks.map(|unlock| unlock.lock.id).collect();
            (ids, sent.calls.len(), dispute.voucher_alone.is_some())
        };
        let late = vec![lock(1, soon - 1), lock(2, soon)];
        assert_eq!(opened(late), (vec![1, 2], 1, false), "only late ones");
        let resolved = vec![on(7, lock(1, later)), on(7, lock(2, later))];
        assert_eq!(opened(resolved), (vec![1, 2], 1, false), "only of one resolver");
        let safe = vec![lock(1, later)];
        assert_eq!(opened(safe), (vec![1], 1, false), "nothing would follow");
        let several = vec![lock(1, soon), on(7, lock(2, later))];
        assert_eq!(
            opened(several),
            (vec![], 3, false),
            "one may fail without the other"
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

    fn payout(number: u8, token: u8, company: usize) -> Answer {
        let mut done = look(4, vec![], &[]);
        (done.id, done.final_at) = (ChannelId([number; 32]), Some(NOW));
        done.defence.config.token = Address::repeat_byte(token);
        Answer {
            company,
            ..answer(done, WINDOW_END).unwrap()
        }
    }

    #[test]
    fn payouts_of_one_token_go_together_and_with_no_other() {
        let all = usize::MAX;
        let together = |answers: Vec<Answer>| {
            let groups = grouped(answers, Sizes::of_block(30_000_000), UnixSeconds(NOW));
            let numbers = |group: &Group| group.iter().map(|one| one.id.0[0]).collect::<Vec<_>>();
            groups.iter().map(numbers).collect::<Vec<_>>()
        };
        let of_two = vec![payout(1, 7, all), payout(2, 8, all), payout(3, 7, all)];
        assert_eq!(together(of_two), [vec![1, 3], vec![2]]);
        let after_a_failure = (1..=5).map(|number| payout(number, 7, 2)).collect();
        assert_eq!(together(after_a_failure), [vec![1, 2], vec![3, 4], vec![5]]);
    }

    #[test]
    fn what_had_no_effect_goes_with_half_as_many_until_something_is_new() {
        let (mut rests, id, mark) = (Rests::default(), ChannelId([1; 32]), Amount(5));
        let sent = |rests: &mut Rests, together| {
            rests.rest(id, mark, 0);
            let (hashes, until, more) = (&[][..], None, false);
            let sent = Carried {
                hashes,
                until,
                more,
                together,
            };
            rests.carried(&id, &sent);
        };
        assert_eq!(rests.company(&id, mark, FINALIZE), usize::MAX);
        sent(&mut rests, (FINALIZE, 50));
        assert_eq!(rests.company(&id, mark, FINALIZE), 25);
        rests.rest(id, mark, 0);
        assert_eq!(
            rests.company(&id, mark, FINALIZE),
            25,
            "refused since, or too dear"
        );
        assert_eq!(rests.company(&id, mark, SUBMIT), usize::MAX, "something else");
        assert_eq!(rests.company(&id, Amount(6), FINALIZE), usize::MAX, "news");
        sent(&mut rests, (FINALIZE, 1));
        assert_eq!(rests.company(&id, mark, FINALIZE), 1);
        rests.lapse();
        assert_eq!(rests.company(&id, mark, FINALIZE), usize::MAX, "a reorg took it");
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
