//! One connection under load: keeps its payments in flight, takes what the hub sends, writes both down.

use super::{
    keys::Nonces,
    lane::{Lane, Pending},
    payees::Payees,
    tally::{Tally, scrambled},
    wire::Wire,
};
use anyhow::{Context, bail};
use protocol_spec::{
    Amount, ChannelId, Digest, Domain, Op, Payee, Payment, PaymentId, PublicKey, UnixSeconds,
    message::{ErrorCode, Frame, Message, Notification, Request, RpcError, binary},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Bytes;

/// What a payee gets by each payment.
pub(super) const AMOUNT: u128 = 1;
/// Frames with credits that a payee takes before it acknowledges them.
const ANSWER_EVERY: u32 = 64;
/// Messages taken before anything is sent again.
const TAKEN_AT_ONCE: usize = 256;
/// Longest wait before it is looked whether the load has ended.
const TICK: Duration = Duration::from_millis(20);
/// One of so many vouchers of the hub is checked in full.
const CHECK_EVERY: u64 = 512;
/// Longest wait for the last answers.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// What all connections share.
pub(super) struct Stage {
    pub(super) domain: Domain,
    pub(super) hub_key: PublicKey,
    pub(super) nonces: Nonces,
    pub(super) payees: Payees,
    pub(super) per_voucher: u32,
    pub(super) expires_at: UnixSeconds,
    /// Acknowledged so far, for the display.
    pub(super) acknowledged: AtomicU64,
    /// Credited to payees or given back so far.
    pub(super) arrived: AtomicU64,
    phase: AtomicU8,
}

/// Where the load is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Phase {
    /// Payments flow, and nothing counts.
    WarmUp = 0,
    /// Payments flow and count.
    Counting = 1,
    /// No new payments; what is under way is waited for.
    Draining = 2,
    /// All payers have all their answers: what payees have not got by now is late.
    Done = 3,
}

impl Stage {
    pub(super) fn new(
        domain: Domain,
        hub_key: PublicKey,
        nonces: Nonces,
        payees: Payees,
        per_voucher: u32,
        expires_at: UnixSeconds,
    ) -> Self {
        Self {
            domain,
            hub_key,
            nonces,
            payees,
            per_voucher,
            expires_at,
            acknowledged: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            phase: AtomicU8::new(Phase::WarmUp as u8),
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::WarmUp,
            1 => Phase::Counting,
            2 => Phase::Draining,
            _ => Phase::Done,
        }
    }
}

/// One connection with its channels.
pub(super) struct Line {
    pub(super) wire: Wire,
    pub(super) lanes: Vec<Lane>,
    by_id: HashMap<ChannelId, usize>,
    /// Channels without a voucher under way.
    idle: VecDeque<usize>,
    /// Vouchers under way, at most; none on a line that only receives.
    depth: usize,
    in_flight: usize,
    /// Open loop: time between two vouchers, and when the next is to go.
    pace: Option<(Duration, Instant)>,
    /// Refused as busy: what is sent again, and when.
    again: VecDeque<(Instant, usize)>,
    made: u64,
    heard: u64,
    tally: Tally,
    random: u64,
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
            pace: None,
            again: VecDeque::new(),
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
        let mut draining_since = None;
        loop {
            let phase = stage.phase();
            if phase < Phase::Draining {
                self.pay(&stage).await?;
            } else {
                let since = *draining_since.get_or_insert_with(Instant::now);
                let over = self.in_flight == 0 && (self.depth > 0 || phase == Phase::Done);
                if over {
                    break;
                }
                anyhow::ensure!(
                    since.elapsed() < DRAIN_MAX,
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
        while self.in_flight < self.depth {
            let now = Instant::now();
            let since = match &mut self.pace {
                None => now,
                Some((every, next)) if *next <= now => {
                    let due = *next;
                    *next = due.checked_add(*every).unwrap_or(now);
                    due
                }
                Some(_) => return Ok(()),
            };
            let Some(at) = self.idle.pop_front() else {
                return Ok(());
            };
            self.pay_from(at, since, stage).await?;
        }
        Ok(())
    }

    async fn pay_from(&mut self, at: usize, since: Instant, stage: &Stage) -> anyhow::Result<()> {
        let own = self.lanes.get(at).context("lane")?.id;
        let mut ops = Vec::with_capacity(stage.per_voucher as usize);
        for _ in 0..stage.per_voucher {
            self.random = scrambled(self.random);
            let payee = stage.payees.pick(self.random, &own);
            self.made = self.made.wrapping_add(1);
            let payment_id = payment_id(&own, self.random, self.made);
            self.tally.sent.put(&payment_id, AMOUNT);
            ops.push(Op::Pay(Payment {
                payment_id,
                payee: Payee::Channel(payee),
                amount: Amount(AMOUNT),
                fee_max: Amount::ZERO,
                expires_at: stage.expires_at,
                invoice: Digest::ZERO,
            }));
        }
        let cost = Amount(AMOUNT.saturating_mul(stage.per_voucher.into()));
        self.send(at, ops, cost, since, stage.per_voucher, stage).await
    }

    async fn send(
        &mut self,
        at: usize,
        ops: Vec<Op>,
        cost: Amount,
        since: Instant,
        payments: u32,
        stage: &Stage,
    ) -> anyhow::Result<()> {
        let lane = self.lanes.get_mut(at).context("lane")?;
        let frame = lane.issue(ops, cost, &stage.domain, &stage.nonces)?;
        let call = Box::new(Request::Voucher(frame));
        let bytes = Bytes::from(binary::encode(&Message::Request { id: at as u64, call }));
        lane.pending = Some(Pending {
            bytes: bytes.clone(),
            since,
            payments,
        });
        self.tally.signatures = self.tally.signatures.saturating_add(1);
        self.in_flight = self.in_flight.saturating_add(1);
        self.wire.feed(bytes).await
    }

    async fn send_again(&mut self) -> anyhow::Result<()> {
        while let Some((when, at)) = self.again.front().copied() {
            if when > Instant::now() {
                break;
            }
            self.again.pop_front();
            let pending = self.lanes.get(at).and_then(|lane| lane.pending.as_ref());
            if let Some(bytes) = pending.map(|pending| pending.bytes.clone()) {
                self.wire.feed(bytes).await?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, message: Message, stage: &Stage) -> anyhow::Result<()> {
        match message {
            Message::Notification(told) => {
                if let Notification::Voucher(frame) = *told {
                    self.hear(&frame, stage).await?;
                }
            }
            Message::Response { id: Some(id), result } => match result {
                Ok(_) => self.answered(usize::try_from(id)?, stage),
                Err(error) => self.refused(id, &error).await?,
            },
            Message::Response { .. } | Message::Request { .. } => {}
        }
        Ok(())
    }

    /// The answer follows the hub's voucher, so everything is written down already but that the channel is free.
    fn answered(&mut self, at: usize, stage: &Stage) {
        let pending = self.lanes.get_mut(at).and_then(|lane| lane.pending.take());
        let Some(pending) = pending else { return };
        self.in_flight = self.in_flight.saturating_sub(1);
        self.idle.push_back(at);
        if pending.payments == 0 {
            return;
        }
        let payments = u64::from(pending.payments);
        stage.acknowledged.fetch_add(payments, Ordering::Relaxed);
        if stage.phase() == Phase::Counting {
            self.tally.counted = self.tally.counted.saturating_add(payments);
            let us = u64::try_from(pending.since.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.tally.latency.saturating_record_n(us.max(1), payments);
        }
    }

    async fn refused(&mut self, id: u64, error: &RpcError) -> anyhow::Result<()> {
        if !error.is(ErrorCode::Busy) {
            bail!("the hub refuses a payment: {error}");
        }
        self.tally.busy = self.tally.busy.saturating_add(1);
        let wait = Duration::from_millis(u64::from(error.data.retry_after_ms.unwrap_or(50)));
        let when = Instant::now().checked_add(wait).context("clock")?;
        self.again.push_back((when, usize::try_from(id)?));
        Ok(())
    }

    async fn hear(&mut self, frame: &Frame, stage: &Stage) -> anyhow::Result<()> {
        let at = self.by_id.get(&frame.voucher.voucher.channel_id);
        let at = *at.context("a voucher of a channel that is not here")?;
        self.heard = self.heard.wrapping_add(1);
        if self.heard.is_multiple_of(CHECK_EVERY) {
            frame
                .voucher
                .clone()
                .verify(&stage.domain, &stage.hub_key, true)?;
            self.tally.checked = self.tally.checked.saturating_add(1);
        }
        for op in &frame.ops {
            match op {
                Op::Credit(credit) => self.tally.credited.put(&credit.payment_id, credit.amount.0),
                Op::Return(_) => self.tally.bounced = self.tally.bounced.saturating_add(1),
                _ => {}
            }
        }
        stage.arrived.fetch_add(frame.ops.len() as u64, Ordering::Relaxed);
        let lane = self.lanes.get_mut(at).context("lane")?;
        lane.hear(frame)?;
        if lane.unanswered >= ANSWER_EVERY && lane.pending.is_none() {
            self.idle.retain(|idle| *idle != at);
            self.send(at, Vec::new(), Amount::ZERO, Instant::now(), 0, stage)
                .await?;
        }
        Ok(())
    }
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
