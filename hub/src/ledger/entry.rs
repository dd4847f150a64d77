//! One channel as the ledger keeps it.

use super::{PendingTx, input::ClientSignature};
use crate::engine::SessionId;
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{
    Amount, Channel, Digest, Op, PaymentId, Receipt, Reject, Seq, Voucher, limits,
    message::{ChannelInfo, Cursor},
};
use std::collections::VecDeque;

/// A channel with everything around it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) channel: Channel,
    pub(super) stored: Stored,
    /// Credits and returns of the commit under way.
    pub(super) pending: Vec<Op>,
    pub(super) pending_sum: Amount,
    /// Connection that resumed the channel.
    pub(super) session: Option<SessionId>,
    pub(super) subscribers: Vec<Subscriber>,
}

/// The part that is stored beside the channel's record.
#[derive(Clone, Debug, Default, BorshSerialize, BorshDeserialize)]
pub(super) struct Stored {
    /// The client asked for service.
    pub(super) registered: bool,
    /// Payments to the client's account arrive here.
    pub(super) routed: bool,
    /// Own vouchers the client has not acknowledged, with their operations.
    pub(super) backlog: VecDeque<Issue>,
    /// Receipts kept; the first one has position `events_from`.
    pub(super) events: VecDeque<EventRow>,
    pub(super) events_from: u64,
    /// Payment ids of this payer in order of commit.
    pub(super) ids: VecDeque<PaymentId>,
    pub(super) transaction: Option<PendingTx>,
}

/// An issued voucher.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct Issue {
    pub(super) voucher: Voucher,
    pub(super) digest: Digest,
    pub(super) ops: Vec<Op>,
}

/// A receipt.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct EventRow {
    pub(super) receipt: Receipt,
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
        let stored = Stored {
            events_from: 1,
            ..Stored::default()
        };
        Self::restored(channel, stored)
    }

    pub(super) fn restored(channel: Channel, stored: Stored) -> Self {
        Self {
            channel,
            stored,
            pending: Vec::new(),
            pending_sum: Amount::ZERO,
            session: None,
            subscribers: Vec::new(),
        }
    }

    /// What the hub can still credit here, the commit under way included.
    pub(super) fn capacity(&self) -> Amount {
        self.channel.spendable().saturating_minus(self.pending_sum)
    }

    /// Adds an operation to the voucher of this commit.
    pub(super) fn push(&mut self, op: Op, amount: Amount) -> Result<(), Reject> {
        self.pending_sum = self.pending_sum.plus(amount)?;
        self.pending.push(op);
        Ok(())
    }

    /// True when the voucher of this commit is full.
    pub(super) fn full(&self) -> bool {
        self.pending.len() >= limits::OPS_PER_FRAME_MAX
    }

    /// Forgets what the client has acknowledged.
    pub(super) fn trim_backlog(&mut self) {
        let acked = self.channel.received().ack_seq;
        while self
            .stored
            .backlog
            .front()
            .is_some_and(|issue| issue.voucher.seq <= acked)
        {
            self.stored.backlog.pop_front();
        }
    }

    /// Position of the newest event; 0 before the first.
    pub(super) fn newest_event(&self) -> u64 {
        self.stored
            .events_from
            .saturating_add(self.stored.events.len() as u64)
            .saturating_sub(1)
    }

    pub(super) fn event(&self, position: u64) -> Option<&EventRow> {
        let index = position.checked_sub(self.stored.events_from)?;
        self.stored.events.get(usize::try_from(index).ok()?)
    }

    /// The hub's view as clients see it.
    pub(super) fn info(&self) -> ChannelInfo {
        let (funds, channel) = (self.channel.funds(), &self.channel);
        ChannelInfo {
            channel_id: channel.id(),
            config: channel.config().clone(),
            phase: channel.phase().name().to_owned(),
            routed: self.stored.routed,
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
    pub(super) fn backlog_after(&self, seen: Seq) -> Vec<Issue> {
        let mut frames: Vec<Issue> = Vec::new();
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
                    last.ops.extend(issue.ops.iter().cloned());
                    last.voucher = issue.voucher.clone();
                    last.digest = issue.digest;
                }
                None => {
                    base = frames.last().map_or(seen, |last| last.voucher.seq);
                    frames.push(issue.clone());
                }
            }
        }
        frames
    }

    pub(super) fn set_transaction(&mut self, kind: super::TxKind, client_signature: ClientSignature) {
        let config = self.channel.config().clone();
        self.stored.transaction = Some(PendingTx {
            config,
            kind,
            client_signature,
        });
    }
}
