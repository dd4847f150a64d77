//! What a connection under load does with the hub's messages.

use super::{
    lane::Pending,
    load::{Line, preimage},
    shared::{Phase, Stage},
};
use anyhow::{Context, bail};
use protocol_spec::{
    Amount, Op, VoucherSignature, Witness, batch,
    message::{ErrorCode, Frame, Message, Notification, Request, Reveal, RpcError, binary},
};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::Instant;

/// Frames with operations that a channel takes before it acknowledges them.
const ANSWER_EVERY: u32 = 64;
/// One of so many vouchers of the hub is checked in full.
const CHECK_EVERY: u64 = 256;
/// Requests from here on tell witnesses; those below are vouchers of the channel with that number.
const REVEALS: u64 = 1 << 40;

impl Line {
    pub(super) async fn take(&mut self, message: Message, stage: &Stage) -> anyhow::Result<()> {
        match message {
            Message::Notification(told) => match *told {
                Notification::Voucher(frame) => self.hear(frame, stage).await,
                Notification::Reveal(told) => self.told(told, stage).await,
                Notification::Consent(given) => {
                    bail!("the hub gives up a lock: {:?}", given.reason)
                }
                _ => Ok(()),
            },
            Message::Response { id: Some(id), result } => match result {
                Ok(_) if id >= REVEALS => {
                    self.reveals.remove(&id);
                    Ok(())
                }
                Ok(_) => self.answered(usize::try_from(id)?, stage).await,
                Err(error) => self.refused(id, &error),
            },
            Message::Response { .. } | Message::Request { .. } => Ok(()),
        }
    }

    /// The answer follows the hub's voucher, so everything is written down already but that the channel is free.
    async fn answered(&mut self, at: usize, stage: &Stage) -> anyhow::Result<()> {
        let lane = self.lanes.get_mut(at).context("lane")?;
        let Some(pending) = lane.pending.take() else {
            return Ok(());
        };
        self.unanswered = self.unanswered.saturating_sub(1);
        if let Some(own) = &mut lane.own {
            // What the hub told while the voucher was under way.
            if let Some(witness) = own.told.take() {
                return self.convert(at, witness, stage).await;
            }
            return Ok(());
        }
        self.idle.push_back(at);
        if pending.payments == 0 {
            return Ok(());
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        let payments = u64::from(pending.payments);
        stage.acknowledged.fetch_add(payments, Ordering::Relaxed);
        if stage.phase() == Phase::Counting {
            self.tally.counted = self.tally.counted.saturating_add(payments);
            let us = u64::try_from(pending.since.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.tally.latency.saturating_record_n(us.max(1), payments);
        }
        Ok(())
    }

    fn refused(&mut self, id: u64, error: &RpcError) -> anyhow::Result<()> {
        if !error.is(ErrorCode::Busy) {
            bail!("the hub refuses a payment: {error}");
        }
        self.tally.busy = self.tally.busy.saturating_add(1);
        let wait = Duration::from_millis(u64::from(error.data.retry_after_ms.unwrap_or(50)));
        let when = Instant::now().checked_add(wait).context("clock")?;
        self.again.push_back((when, id));
        Ok(())
    }

    pub(super) async fn send_again(&mut self) -> anyhow::Result<()> {
        while let Some((when, id)) = self.again.front().copied() {
            if when > Instant::now() {
                break;
            }
            self.again.pop_front();
            let bytes = if id >= REVEALS {
                self.reveals.get(&id).cloned()
            } else {
                let lane = self.lanes.get(usize::try_from(id)?);
                lane.filter(|lane| lane.pending.is_some())
                    .and_then(|lane| lane.newest.clone())
            };
            if let Some(bytes) = bytes {
                self.wire.feed(bytes).await?;
            }
        }
        Ok(())
    }

    async fn hear(&mut self, frame: Frame, stage: &Stage) -> anyhow::Result<()> {
        let at = self.by_id.get(&frame.voucher.voucher.channel_id);
        let at = *at.context("a voucher of a channel that is not here")?;
        self.heard = self.heard.wrapping_add(1);
        if self.heard.is_multiple_of(CHECK_EVERY) {
            check(&frame, stage)?;
            self.tally.checked = self.tally.checked.saturating_add(1);
        }
        let lane = self.lanes.get(at).context("lane")?;
        let channel_id = lane.id;
        for op in &frame.ops {
            match op {
                Op::Return(_) => self.tally.bounced = self.tally.bounced.saturating_add(1),
                Op::LockAdd { lock, payment_id, .. } => {
                    let witness = Witness::new(preimage(payment_id).0.to_vec())?;
                    let lock_id = lock.id;
                    self.reveal(Reveal {
                        channel_id,
                        lock_id,
                        witness,
                    })
                    .await?;
                }
                _ => {}
            }
        }
        let before = self.tally.credited.count.saturating_add(self.tally.bounced);
        let lane = self.lanes.get_mut(at).context("lane")?;
        let credited = &mut self.tally.credited;
        lane.hear(frame, |id, amount| credited.put(id, amount.0))?;
        let after = self.tally.credited.count.saturating_add(self.tally.bounced);
        stage
            .arrived
            .fetch_add(after.saturating_sub(before), Ordering::Relaxed);
        if lane.unanswered >= ANSWER_EVERY && lane.pending.is_none() && lane.own.is_none() {
            self.idle.retain(|idle| *idle != at);
            let pending = Pending {
                since: Instant::now(),
                payments: 0,
            };
            self.send(at, Vec::new(), Amount::ZERO, pending, stage).await?;
        }
        Ok(())
    }

    /// The payee's part: tells the hub what opens its lock.
    async fn reveal(&mut self, reveal: Reveal) -> anyhow::Result<()> {
        let id = REVEALS.saturating_add(self.reveals_made);
        self.reveals_made = self.reveals_made.wrapping_add(1);
        let call = Box::new(Request::Reveal(reveal));
        let bytes: tokio_tungstenite::tungstenite::Bytes =
            binary::encode(&Message::Request { id, call }).into();
        self.reveals.insert(id, bytes.clone());
        self.wire.feed(bytes).await
    }

    /// The hub tells what opens a payer's lock. It tells again what it has told before.
    async fn told(&mut self, told: Reveal, stage: &Stage) -> anyhow::Result<()> {
        let at = *self.by_id.get(&told.channel_id).context("a lock elsewhere")?;
        let lane = self.lanes.get_mut(at).context("lane")?;
        let waits = lane.pending.is_some();
        match lane.own.as_mut().filter(|own| own.lock.id == told.lock_id) {
            Some(own) if waits => own.told = Some(told.witness),
            Some(_) => self.convert(at, told.witness, stage).await?,
            None => {}
        }
        Ok(())
    }

    /// The payer's part: folds its lock into what it has paid.
    async fn convert(&mut self, at: usize, witness: Witness, stage: &Stage) -> anyhow::Result<()> {
        let lane = self.lanes.get_mut(at).context("lane")?;
        let own = lane.own.take().context("no lock to convert")?;
        anyhow::ensure!(
            own.lock.condition().opened_by(witness.as_bytes()),
            "the hub told what does not open the lock"
        );
        let convert = Op::LockConvert {
            id: own.lock.id,
            witness: witness.as_bytes().to_vec(),
        };
        let pending = Pending {
            since: own.since,
            payments: 1,
        };
        self.send(at, vec![convert], own.lock.amount, pending, stage)
            .await
    }
}

/// Checks a voucher of the hub in full. The signature over a batch is checked once for all vouchers in it.
fn check(frame: &Frame, stage: &Stage) -> anyhow::Result<()> {
    let signed = &frame.voucher;
    let (domain, key) = (&stage.domain, &stage.hub_key);
    let VoucherSignature::Batch {
        root_signature,
        proof,
    } = &signed.signature
    else {
        signed.clone().verify(domain, key, true)?;
        return Ok(());
    };
    let root = batch::root_of(&signed.voucher.digest(domain), proof)?;
    let mut verified = match stage.verified.lock() {
        Ok(verified) => verified,
        Err(poisoned) => poisoned.into_inner(),
    };
    if *verified == Some((root, *root_signature)) {
        return Ok(());
    }
    signed.clone().verify(domain, key, true)?;
    *verified = Some((root, *root_signature));
    Ok(())
}
