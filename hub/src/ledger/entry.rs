//! One channel as the ledger keeps it.

use super::{
    Adopted, PendingTx,
    input::ClientSignature,
    liquidity::ReserveBook,
    locks::Kept,
    log::Log,
    output::Issue,
    payments::{Known, Places},
};
use crate::engine::SessionId;
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{
    Amount, Channel, ChannelId, Digest, Op, PaymentId, Receipt, Reject, ReturnReason, Seq, UnixSeconds,
    channel::{Clock, Phase},
    limits,
    message::{Bounce, ChannelInfo, Cursor, ErrorCode, RpcError},
};
use std::{cell::OnceCell, collections::BTreeMap, sync::Arc};

/// A channel with everything around it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) channel: Channel,
    pub(super) stored: Stored,
    /// Of `stored.payments`, once somebody asked for one of them.
    pub(super) places: OnceCell<Places>,
    /// Credits and returns of the commit under way.
    pub(super) pending: Vec<Op>,
    pub(super) pending_sum: Amount,
    /// Places that they take in the frame.
    pub(super) pending_places: usize,
    /// Connection that resumed the channel.
    pub(super) session: Option<SessionId>,
    pub(super) subscribers: Vec<Subscriber>,
    /// See [`super::remembered`]: of `stored.backlog`.
    pub(super) backlog_weight: u64,
    /// See [`super::remembered`]: of `stored.payments` and `stored.events`.
    pub(super) oldest_row: UnixSeconds,
    /// No resolver is asked about this client's witnesses before.
    pub(super) asks_from: UnixSeconds,
}

/// The part that is stored beside the channel's record.
#[derive(Clone, Debug, Default, BorshSerialize, BorshDeserialize)]
pub(super) struct Stored {
    /// The client asked for service.
    pub(super) registered: bool,
    /// Payments to the client's account arrive here.
    pub(super) routed: bool,
    /// Own vouchers the client has not acknowledged, with their operations.
    pub(super) backlog: Log<Arc<Issue>>,
    /// Receipts kept.
    pub(super) events: Log<EventRow>,
    /// This payer's payments in order of commit.
    pub(super) payments: Log<Known>,
    pub(super) transaction: Option<Box<PendingTx>>,
    /// This client's locks that were forwarded and have not left its voucher, by its lock's id.
    pub(super) forwards: BTreeMap<u64, Forward>,
    /// The hub's locks in this channel, by id, with the payers' locks that they rest on.
    pub(super) resting: BTreeMap<u64, Resting>,
    /// This client's locks that the hub gave up and that have not left its voucher, with the reasons.
    pub(super) consents: BTreeMap<u64, ReturnReason>,
    /// See [`super::reorg`].
    pub(super) frozen: bool,
    /// What the answer to the newest accepted frame said: the same frame again gets the same answer (A1).
    pub(super) bounced: Vec<Bounce>,
    /// See [`super::rollback`].
    pub(super) unsynced: bool,
    /// What was adopted when it was last released; `None`: never was.
    pub(super) adopted: Option<Adopted>,
    /// The hub's start in which it was released; [`super::rollback::LOSS_ACCEPTED`].
    pub(super) released_in: u64,
    /// See [`super::locks`]. What opened locks of the hub here since the channel was in doubt.
    pub(super) kept: Vec<Kept>,
    /// See [`super::liquidity`].
    pub(super) reserve: ReserveBook,
    /// The client is about to sign a close with this deadline: nothing is credited to it before.
    pub(super) leaving_until: UnixSeconds,
}

/// A payer's lock that was forwarded.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct Forward {
    /// Index of the payee's channel.
    pub(super) payee: usize,
    /// The hub's lock there.
    pub(super) lock_id: u64,
    pub(super) payment_id: PaymentId,
    /// The payer's voucher that added it.
    pub(super) seq: Seq,
    pub(super) fee: Amount,
    pub(super) fee_max: Amount,
    /// Of the payer's lock.
    pub(super) expiry: UnixSeconds,
    /// What it takes of the caps (R22).
    pub(super) weight: u64,
}

/// A lock of the hub and the payer's lock that it rests on.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct Resting {
    /// Index of the payer's channel.
    pub(super) payer: usize,
    /// The payer's lock there.
    pub(super) lock_id: u64,
    pub(super) payment_id: PaymentId,
    /// `Credit::payer_of`.
    pub(super) payer_tag: Digest,
    pub(super) invoice: Digest,
    pub(super) amount: Amount,
}

/// A receipt; whose it is, says where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct EventRow {
    pub(super) payment_id: PaymentId,
    pub(super) invoice: Digest,
    pub(super) payer: Digest,
    pub(super) payee_seq: Seq,
    pub(super) amount: Amount,
    pub(super) at: UnixSeconds,
}

impl EventRow {
    pub(super) fn receipt(&self, payee_channel: ChannelId) -> Receipt {
        Receipt {
            payment_id: self.payment_id,
            invoice: self.invoice,
            payer: self.payer,
            payee_channel,
            payee_seq: self.payee_seq,
            amount: self.amount,
            at: self.at,
        }
    }
}

/// A connection that streams the channel's receipts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    pub(super) session: SessionId,
    /// Next position to send.
    pub(super) next: u64,
}

impl Entry {
    pub(super) fn new(channel: Channel) -> Self {
        Self::restored(channel, Stored::default())
    }

    pub(super) fn restored(channel: Channel, stored: Stored) -> Self {
        let mut entry = Self {
            channel,
            places: OnceCell::new(),
            stored,
            pending: Vec::new(),
            pending_sum: Amount::ZERO,
            pending_places: 0,
            session: None,
            subscribers: Vec::new(),
            backlog_weight: 0,
            oldest_row: UnixSeconds(u64::MAX),
            asks_from: UnixSeconds::default(),
        };
        // All: none has that number.
        entry.backlog_weight = entry.weight_after(Seq::NONE);
        entry.oldest_row = entry.first_row();
        entry
    }

    /// What the hub can still credit here, the commit under way included.
    pub(super) fn capacity(&self) -> Amount {
        let gone = self.pending_sum.0.saturating_add(self.offered().0);
        self.channel.spendable().saturating_minus(Amount(gone))
    }

    /// Adds an operation to the voucher of this commit.
    pub(super) fn push(&mut self, op: Op, amount: Amount) -> Result<(), Reject> {
        self.pending_sum = self.pending_sum.plus(amount)?;
        self.pending_places = self.pending_places.saturating_add(op.places());
        self.pending.push(op);
        Ok(())
    }

    /// True when the voucher of this commit has a place for `op`.
    pub(super) fn has_place(&self, op: &Op) -> bool {
        self.pending_places.saturating_add(op.places()) <= limits::OPS_PER_FRAME_MAX
    }

    /// True when the adjudicator takes so much more for the channel, beside what the client has deposited.
    pub(super) fn takes(&self, amount: Amount) -> bool {
        let total = self.channel.funds().total().0.checked_add(amount.0);
        total.is_some_and(|total| total <= limits::AMOUNT_MAX)
    }

    /// True when `amount` more fits the widths of the hub's vouchers.
    pub(super) fn fits(&self, amount: Amount) -> bool {
        let sent = self.channel.sent();
        // Locks that may be converted and fees that may come back count as well.
        let change = self.stored.forwards.values().map(|forward| forward.fee_max.0);
        let sum = change
            .chain([sent.locks.total().0, self.pending_sum.0, amount.0])
            .try_fold(sent.paid.0, u128::checked_add);
        sum.is_some_and(|sum| sum <= limits::AMOUNT_MAX)
    }

    /// True while the chain decides what becomes of something both sides signed.
    pub(super) fn waits(&self) -> bool {
        self.stored.transaction.is_some()
            || self.stored.reserve.offer.is_some()
            || self.channel.is_withdraw_pending()
            || matches!(self.channel.phase(), Phase::Closing { .. })
    }

    /// R6: a hub whose view of the chain is older than a quarter of the challenge period may miss a dispute.
    pub(super) fn require_fresh(&self, clock: Clock) -> Result<(), RpcError> {
        let age_s = clock.now.0.saturating_sub(clock.chain.0);
        let max_s = self.channel.config().challenge_period_s >> 2;
        match age_s <= max_s {
            true => Ok(()),
            false => Err(RpcError::because(
                ErrorCode::ChainStale,
                format!("the newest confirmed block is {age_s} s old, at most {max_s} s; try again later"),
            )),
        }
    }

    /// Position of the newest event; 0 before the first.
    pub(super) fn newest_event(&self) -> u64 {
        self.stored.events.end().saturating_sub(1)
    }

    /// The hub's view as clients see it.
    pub(super) fn info(&self) -> ChannelInfo {
        let (funds, channel) = (self.channel.funds(), &self.channel);
        ChannelInfo {
            channel_id: channel.id(),
            config: channel.config().clone(),
            phase: channel.phase().name().to_owned(),
            routed: self.stored.routed,
            locks_ended: self.doubted(),
            client_deposit: funds.client_deposit,
            hub_deposit: funds.hub_deposit,
            client_withdrawn: funds.client_withdrawn,
            hub_withdrawn: funds.hub_withdrawn,
            client_seq: channel.received().seq,
            client_paid: channel.received().paid,
            hub_seq: channel.sent().seq,
            hub_paid: channel.sent().paid,
        }
    }

    pub(super) fn cursor(epoch: u64, position: u64) -> Cursor {
        Cursor { epoch, position }
    }

    /// Frames after `seen`, coalesced into jumps of lock-free vouchers.
    pub(super) fn backlog_after(&self, seen: Seq) -> Vec<Arc<Issue>> {
        let mut frames: Vec<Arc<Issue>> = Vec::new();
        let mut base = seen;
        for issue in self
            .stored
            .backlog
            .iter()
            .filter(|issue| issue.voucher.seq > seen)
        {
            let fits = frames.last().is_some_and(|last| {
                let ops = last.ops.len().saturating_add(issue.ops.len());
                let jump = issue.voucher.seq.0.saturating_sub(base.0);
                let locks = last.ops.iter().chain(&issue.ops).any(Op::is_lock);
                ops <= limits::OPS_PER_FRAME_MAX && jump <= limits::SEQ_JUMP_MAX && !locks
            });
            match frames.last_mut().filter(|_| fits) {
                Some(last) => {
                    let last = Arc::make_mut(last);
                    last.ops.extend(issue.ops.iter().cloned());
                    last.voucher = issue.voucher.clone();
                    last.digest = issue.digest;
                }
                None => {
                    base = frames.last().map_or(seen, |last| last.voucher.seq);
                    frames.push(issue);
                }
            }
        }
        frames
    }

    pub(super) fn set_transaction(&mut self, kind: super::TxKind, client_signature: ClientSignature) {
        let config = self.channel.config().clone();
        self.stored.transaction = Some(Box::new(PendingTx {
            config,
            kind,
            client_signature,
        }));
    }
}
