//! One connection under load: keeps its payments in flight, takes what the hub sends (`take`), writes both down.

use super::{
    lane::{Draft, Lane, Own, Pending},
    shared::{AMOUNT, Phase, Stage},
    tally::{Heap, Tally, scrambled},
    wire::Wire,
};
use alloy::primitives::map::HashMap;
use anyhow::Context;
use hub::{cli::bench::Shape, digests};
use protocol_spec::{Address, Amount, ChannelId, Condition, Digest, Lock, Op, Payee, PaymentId, Preimage};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Bytes;

/// Messages taken before anything is sent again.
const TAKEN_AT_ONCE: usize = 256;
/// Longest wait before it is looked whether the load has ended. Longer than an answer takes, or every connection that waits for one is
/// woken for nothing: at 1,000 connections that was half of all wake-ups.
const TICK: Duration = Duration::from_millis(250);
/// Longest wait for the last answers.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// One connection with its channels.
pub(super) struct Line {
    pub(super) wire: Wire,
    pub(super) lanes: Vec<Lane>,
    pub(super) by_id: HashMap<ChannelId, usize>,
    /// Channels without a payment under way.
    pub(super) idle: VecDeque<usize>,
    /// Vouchers with payments under way, at most; none on a line that only receives.
    depth: usize,
    pub(super) in_flight: usize,
    /// Vouchers sent and not answered, acknowledgements included.
    pub(super) unanswered: usize,
    /// Open loop: time between two vouchers, and when the next is to go.
    pace: Option<(Duration, Instant)>,
    /// Refused as busy: the request that is sent again, and when.
    pub(super) again: VecDeque<(Instant, u64)>,
    /// Witnesses told and not answered, by request.
    pub(super) reveals: HashMap<u64, Bytes>,
    pub(super) reveals_made: u64,
    made: u64,
    pub(super) heard: u64,
    pub(super) tally: Tally,
    random: u64,
}

/// A voucher that is to be signed and sent.
struct Due {
    at: usize,
    draft: Draft,
    pending: Pending,
}

impl Line {
    pub(super) fn new(wire: Wire, lanes: Vec<Lane>, depth: usize, seed: u64) -> anyhow::Result<Self> {
        let by_id = lanes.iter().enumerate().map(|(at, lane)| (lane.id, at)).collect();
        Ok(Self {
            wire,
            by_id,
            idle: (0..lanes.len()).collect(),
            lanes,
            depth,
            in_flight: 0,
            unanswered: 0,
            pace: None,
            again: VecDeque::new(),
            reveals: HashMap::default(),
            reveals_made: 0,
            made: 0,
            heard: 0,
            tally: Tally::new()?,
            random: scrambled(seed),
        })
    }

    /// Runs until the load has ended; returns the line for another run, and what was written down in this one.
    pub(super) async fn run(
        mut self,
        stage: Arc<Stage>,
        every: Option<Duration>,
    ) -> anyhow::Result<(Self, Tally)> {
        self.pace = every.map(|every| (every, Instant::now()));
        let (mut draining_since, mut drained) = (None, false);
        loop {
            let phase = stage.phase();
            if phase < Phase::Draining {
                self.pay(&stage).await?;
            } else {
                let since = *draining_since.get_or_insert_with(Instant::now);
                let answered = self.in_flight == 0 && self.unanswered == 0 && self.reveals.is_empty();
                if answered && !drained {
                    drained = true;
                    stage.sent.fetch_add(self.tally.sent.count, Ordering::Relaxed);
                    stage.drained.fetch_add(1, Ordering::Release);
                }
                // What others pay into these channels may still be on its way.
                if answered && phase == Phase::Done {
                    break;
                }
                anyhow::ensure!(
                    answered || since.elapsed() < DRAIN_MAX,
                    "answers are missing after {DRAIN_MAX:?}"
                );
            }
            self.send_again().await?;
            self.wire.flush().await?;
            let mut next = self.wire.next(self.wait()).await?;
            let mut left = TAKEN_AT_ONCE;
            while let Some(message) = next {
                self.take(message, &stage).await?;
                left = left.saturating_sub(1);
                next = if left == 0 { None } else { self.wire.ready()? };
            }
        }
        let tally = std::mem::replace(&mut self.tally, Tally::new()?);
        Ok((self, tally))
    }

    fn wait(&self) -> Duration {
        let due = match self.pace {
            Some((_, next)) if self.in_flight < self.depth => next.saturating_duration_since(Instant::now()),
            _ => TICK,
        };
        let again = self
            .again
            .front()
            .map_or(TICK, |(at, _)| at.saturating_duration_since(Instant::now()));
        due.min(again).min(TICK)
    }

    /// Sends what may be under way: at once, or as the clock says.
    async fn pay(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let mut due = Vec::new();
        while self.in_flight < self.depth {
            let now = Instant::now();
            let since = match &mut self.pace {
                None => now,
                Some((every, next)) if *next <= now => {
                    let due = *next;
                    *next = due.checked_add(*every).unwrap_or(now);
                    due
                }
                Some(_) => break,
            };
            let Some(at) = self.idle.pop_front() else { break };
            self.in_flight = self.in_flight.saturating_add(1);
            if stage.shape == Shape::Locked {
                self.lock(at, since, stage).await?;
            } else {
                due.extend(self.pay_from(at, since, stage).await?);
            }
        }
        self.send_all(due, stage).await
    }

    /// Sends what was signed ahead; else what is to be signed.
    async fn pay_from(&mut self, at: usize, since: Instant, stage: &Stage) -> anyhow::Result<Option<Due>> {
        let payments = stage.per_voucher;
        let pending = Pending { since, payments };
        if let Some(signed) = self.lanes.get_mut(at).and_then(Lane::take_signed) {
            self.tally.sent.add(&signed.heap);
            return self.put(at, signed.bytes, pending).await.map(|()| None);
        }
        let (ops, cost, heap) = self.payments(at, stage)?;
        self.tally.sent.add(&heap);
        let draft = self.lanes.get(at).context("lane")?.draft(ops, cost)?;
        Ok(Some(Due { at, draft, pending }))
    }

    /// Hashes the vouchers together, signs and sends them.
    async fn send_all(&mut self, due: Vec<Due>, stage: &Stage) -> anyhow::Result<()> {
        let encoded: Vec<_> = due.iter().map(|due| due.draft.voucher.encoded()).collect();
        let digests = digests::of_structs(&stage.domain, &encoded);
        for (Due { at, draft, pending }, digest) in due.into_iter().zip(digests) {
            self.sign(at, draft, &digest, pending, stage).await?;
        }
        Ok(())
    }

    /// The payments of one voucher, what they cost, and their sum.
    fn payments(&mut self, at: usize, stage: &Stage) -> anyhow::Result<(Vec<Op>, Amount, Heap)> {
        let mut ops = Vec::with_capacity(stage.per_voucher as usize);
        let mut heap = Heap::default();
        for _ in 0..stage.per_voucher {
            let (payment_id, payee) = self.draw(at, stage)?;
            heap.put(&payment_id, AMOUNT.0);
            ops.push(stage.payment(payment_id, payee));
        }
        Ok((ops, Amount(heap.amount), heap))
    }

    /// A new payment's id, and whom it is for.
    fn draw(&mut self, at: usize, stage: &Stage) -> anyhow::Result<(PaymentId, Payee)> {
        let own = self.lanes.get(at).context("lane")?.id;
        self.random = scrambled(self.random);
        self.made = self.made.wrapping_add(1);
        let payee = stage.payees.pick(self.random, &own);
        Ok((payment_id(&own, self.random, self.made), Payee::Channel(payee)))
    }

    /// Locks a payment. Its payee knows the preimage by the payment's id.
    async fn lock(&mut self, at: usize, since: Instant, stage: &Stage) -> anyhow::Result<()> {
        let (payment_id, payee) = self.draw(at, stage)?;
        self.tally.sent.put(&payment_id, AMOUNT.0);
        let lane = self.lanes.get_mut(at).context("lane")?;
        lane.locks_made = lane.locks_made.saturating_add(1);
        let lock = Lock {
            id: lane.locks_made,
            amount: AMOUNT,
            expiry: stage.expires_at,
            hash: Condition::preimage(&preimage(&payment_id)).hash,
            resolver: Address::ZERO,
        };
        lane.own = Some(Own {
            lock: lock.clone(),
            since,
            told: None,
        });
        let add = Op::LockAdd {
            lock: Box::new(lock),
            payment_id,
            payee,
            fee_max: Amount::ZERO,
            invoice: Digest::ZERO,
        };
        let pending = Pending { since, payments: 0 };
        self.send(at, vec![add], Amount::ZERO, pending, stage).await
    }

    /// Signs and sends a voucher with these operations.
    pub(super) async fn send(
        &mut self,
        at: usize,
        ops: Vec<Op>,
        cost: Amount,
        pending: Pending,
        stage: &Stage,
    ) -> anyhow::Result<()> {
        let draft = self.lanes.get(at).context("lane")?.draft(ops, cost)?;
        let digest = draft.voucher.digest(&stage.domain);
        self.sign(at, draft, &digest, pending, stage).await
    }

    async fn sign(
        &mut self,
        at: usize,
        draft: Draft,
        digest: &Digest,
        pending: Pending,
        stage: &Stage,
    ) -> anyhow::Result<()> {
        let lane = self.lanes.get_mut(at).context("lane")?;
        self.tally.signed_live = self.tally.signed_live.saturating_add(1);
        let bytes = lane.issue(at as u64, draft, digest, &stage.nonces)?;
        self.put(at, bytes, pending).await
    }

    async fn put(&mut self, at: usize, bytes: Bytes, pending: Pending) -> anyhow::Result<()> {
        self.lanes.get_mut(at).context("lane")?.pending = Some(pending);
        self.unanswered = self.unanswered.saturating_add(1);
        self.tally.signatures = self.tally.signatures.saturating_add(1);
        self.wire.feed(bytes).await
    }

    /// Signs vouchers ahead until every channel has `each`. Returns their number and the memory they take, bytes.
    pub(super) fn sign_ahead(&mut self, each: usize, stage: &Stage) -> anyhow::Result<(usize, usize)> {
        let mut sum = (0_usize, 0_usize);
        for at in 0..self.lanes.len() {
            let there = self.lanes.get(at).map_or(0, |lane| lane.stock.len());
            let payments: Vec<_> = (there..each)
                .map(|_| self.payments(at, stage))
                .collect::<anyhow::Result<_>>()?;
            let lane = self.lanes.get_mut(at).context("lane")?;
            lane.sign_ahead(at as u64, payments, &stage.domain, &stage.nonces)?;
            for signed in &lane.stock {
                let bytes = signed.bytes.len().saturating_add(size_of_val(signed));
                sum = (sum.0.saturating_add(1), sum.1.saturating_add(bytes));
            }
        }
        Ok(sum)
    }
}

/// What opens the lock of a payment.
pub(super) fn preimage(payment_id: &PaymentId) -> Preimage {
    let mut bytes = [0; 32];
    let (low, high) = bytes.split_at_mut(16);
    low.copy_from_slice(&payment_id.0);
    high.copy_from_slice(&payment_id.0);
    Preimage(bytes)
}

/// Unique in the channel and, by the channel's id, in the world.
fn payment_id(channel: &ChannelId, random: u64, made: u64) -> PaymentId {
    let mut bytes = [0; 16];
    let (low, high) = bytes.split_at_mut(8);
    low.copy_from_slice(&made.to_le_bytes());
    let own = channel
        .0
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    high.copy_from_slice(&(own ^ random).to_le_bytes());
    PaymentId(bytes)
}
