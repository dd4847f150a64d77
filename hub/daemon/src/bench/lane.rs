//! One channel of the load: what its client signed last, and what it heard.

use super::{
    keys::{LoadKey, Nonces},
    tally::Heap,
};
use anyhow::{Context, bail};
use protocol_spec::{
    Amount, ChannelId, Config, Digest, Domain, History, Lock, LocksOpening, Op, PaymentId, Seq, Side,
    SignedVoucher, Voucher, VoucherSignature, Witness,
    message::{Frame, Message, Request, binary},
};
use std::collections::{HashMap, VecDeque};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Bytes;

/// What is under way in a channel: one voucher at a time.
pub(super) struct Pending {
    /// When its payments were to be sent.
    pub(super) since: Instant,
    /// Payments that are done when it is answered.
    pub(super) payments: u32,
}

/// A voucher signed before it is sent.
pub(super) struct Signed {
    pub(super) bytes: Bytes,
    /// What the channel is once it was sent.
    after: Sent,
    /// What it acknowledges: of no use when something else was heard meanwhile.
    ack: (Seq, Amount),
    /// Its payments, summed up.
    pub(super) heap: Heap,
}

/// A client's direction.
#[derive(Clone, Copy)]
struct Sent {
    seq: Seq,
    paid: Amount,
    history: History,
    locks: Digest,
}

/// A payment of this channel that is locked.
pub(super) struct Own {
    pub(super) lock: Lock,
    pub(super) since: Instant,
    /// What the hub told while another voucher was under way.
    pub(super) told: Option<Witness>,
}

/// A client's half of one channel.
pub(super) struct Lane {
    pub(super) id: ChannelId,
    pub(super) config: Config,
    pub(super) key: LoadKey,
    sent: Sent,
    /// Newest voucher of the hub: its seq and `paid`.
    pub(super) heard: (Seq, Amount),
    /// Frames with operations since the last own voucher.
    pub(super) unanswered: u32,
    pub(super) pending: Option<Pending>,
    /// The message with the newest own voucher, to be sent again if the hub is busy, and for resuming.
    pub(super) newest: Option<Bytes>,
    /// The hub's newest voucher.
    pub(super) theirs: Option<SignedVoucher>,
    /// Vouchers signed ahead, oldest first.
    pub(super) stock: VecDeque<Signed>,
    /// The one payment that is locked in this direction, and the number of locks so far.
    pub(super) own: Option<Own>,
    pub(super) locks_made: u64,
    /// Locks of the hub: what they carry.
    theirs_locked: HashMap<u64, (PaymentId, Amount)>,
}

impl Lane {
    pub(super) fn new(config: Config, key: LoadKey, domain: &Domain) -> Self {
        let id = config.id(domain);
        Self {
            id,
            config,
            key,
            sent: Sent {
                seq: Seq::NONE,
                paid: Amount::ZERO,
                history: History::initial(&id, Side::Client),
                locks: Digest::ZERO,
            },
            heard: (Seq::NONE, Amount::ZERO),
            unanswered: 0,
            pending: None,
            newest: None,
            theirs: None,
            stock: VecDeque::new(),
            own: None,
            locks_made: 0,
            theirs_locked: HashMap::new(),
        }
    }

    /// Number and sum of the newest own voucher.
    pub(super) fn paid(&self) -> (Seq, Amount) {
        (self.sent.seq, self.sent.paid)
    }

    /// The next voucher with these operations, which cost `cost` together.
    pub(super) fn draft(&self, ops: Vec<Op>, cost: Amount) -> anyhow::Result<Draft> {
        Draft::new(self.id, ops, cost, self.sent, self.heard)
    }

    /// Signs the draft, whose digest this is, as the request `id`.
    pub(super) fn issue(
        &mut self,
        id: u64,
        draft: Draft,
        digest: &Digest,
        nonces: &Nonces,
    ) -> anyhow::Result<Bytes> {
        self.stock.clear();
        self.sent = draft.after;
        let bytes = Bytes::from(draft.signed(id, &self.key, digest, nonces)?);
        self.newest = Some(bytes.clone());
        self.unanswered = 0;
        Ok(bytes)
    }

    /// Signs vouchers ahead, after those that are signed already, with what `payments` orders: operations, what they cost, and
    /// their sum. The hub will have answered each with one voucher. Their bytes lie one behind the other: a voucher is sent
    /// long after it was signed, and what is far away is slow to come.
    pub(super) fn sign_ahead(
        &mut self,
        id: u64,
        payments: Vec<(Vec<Op>, Amount, Heap)>,
        domain: &Domain,
        nonces: &Nonces,
    ) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        let mut signed = Vec::with_capacity(payments.len());
        let (mut before, mut ack) = match self.stock.back() {
            Some(last) => (last.after, (last.ack.0.next(), last.ack.1)),
            None => (self.sent, self.heard),
        };
        for (ops, cost, heap) in payments {
            let draft = Draft::new(self.id, ops, cost, before, ack)?;
            let (after, digest) = (draft.after, draft.voucher.digest(domain));
            let begins = bytes.len();
            bytes.extend(draft.signed(id, &self.key, &digest, nonces)?);
            signed.push((begins..bytes.len(), after, ack, heap));
            (before, ack) = (after, (ack.0.next(), ack.1));
        }
        bytes.shrink_to_fit();
        let bytes = Bytes::from(bytes);
        let signed = signed.into_iter().map(|(range, after, ack, heap)| Signed {
            bytes: bytes.slice(range),
            after,
            ack,
            heap,
        });
        self.stock.extend(signed);
        Ok(())
    }

    /// The next voucher that was signed ahead. None: there is none, or what it acknowledges has changed.
    pub(super) fn take_signed(&mut self) -> Option<Signed> {
        let next = self.stock.pop_front()?;
        if next.ack != self.heard {
            self.stock.clear();
            return None;
        }
        self.sent = next.after;
        self.newest = Some(next.bytes.clone());
        self.unanswered = 0;
        Some(next)
    }

    /// A next voucher with these operations, of one unit, by another key. The channel stays as it is.
    pub(super) fn forged(
        &self,
        key: &LoadKey,
        ops: Vec<Op>,
        domain: &Domain,
        nonces: &Nonces,
    ) -> anyhow::Result<Bytes> {
        let draft = self.draft(ops, super::shared::AMOUNT)?;
        let digest = draft.voucher.digest(domain);
        Ok(draft.signed(0, key, &digest, nonces)?.into())
    }

    /// Own newest voucher.
    pub(super) fn newest_voucher(&self) -> Option<SignedVoucher> {
        match binary::decode(self.newest.as_ref()?).ok()? {
            Message::Request { call, .. } => match *call {
                Request::Voucher(frame) => Some(frame.voucher),
                _ => None,
            },
            _ => None,
        }
    }

    /// Takes a voucher of the hub and hands each payment in it that is money now to `credited`.
    /// Errors: it is not the next one, or its sum is another.
    pub(super) fn hear(
        &mut self,
        frame: Frame,
        mut credited: impl FnMut(&PaymentId, Amount),
    ) -> anyhow::Result<()> {
        let voucher = &frame.voucher.voucher;
        let mut sum = self.heard.1;
        for op in &frame.ops {
            match op {
                Op::Credit(credit) => {
                    sum = sum.plus(credit.amount)?;
                    credited(&credit.payment_id, credit.amount);
                }
                Op::Return(back) => sum = sum.plus(back.amount)?,
                Op::LockAdd { lock, payment_id, .. } => {
                    self.theirs_locked.insert(lock.id, (*payment_id, lock.amount));
                }
                Op::LockConvert { id, .. } => {
                    let locked = self.theirs_locked.remove(id);
                    let (payment_id, amount) =
                        locked.context("the hub converts a lock that it never made")?;
                    sum = sum.plus(amount)?;
                    credited(&payment_id, amount);
                }
                Op::LockDrop { id } => bail!("the hub drops its lock {id}"),
                Op::Pay(_) => bail!("the hub orders a payment"),
            }
        }
        anyhow::ensure!(
            voucher.seq > self.heard.0,
            "voucher {} of the hub came after {}",
            voucher.seq,
            self.heard.0
        );
        anyhow::ensure!(
            voucher.paid == sum,
            "the hub's sum is {}, its operations make {sum}",
            voucher.paid
        );
        self.heard = (voucher.seq, voucher.paid);
        self.unanswered = self.unanswered.saturating_add(u32::from(!frame.ops.is_empty()));
        self.theirs = Some(frame.voucher);
        Ok(())
    }
}

/// A voucher before it is signed.
pub(super) struct Draft {
    pub(super) voucher: Voucher,
    ops: Vec<Op>,
    /// What the direction is after it.
    after: Sent,
}

impl Draft {
    /// The voucher that follows `before`, acknowledging `ack`.
    fn new(
        channel_id: ChannelId,
        ops: Vec<Op>,
        cost: Amount,
        before: Sent,
        ack: (Seq, Amount),
    ) -> anyhow::Result<Self> {
        let after = Sent {
            seq: before.seq.next(),
            paid: before.paid.plus(cost)?,
            history: ops.iter().fold(before.history, History::extended),
            locks: ops.iter().fold(before.locks, locked),
        };
        let voucher = Voucher {
            channel_id,
            seq: after.seq,
            paid: after.paid,
            ack_seq: ack.0,
            ack_paid: ack.1,
            locks: after.locks,
            history: after.history.0,
        };
        Ok(Self { voucher, ops, after })
    }

    /// The message with it, as the request `id`.
    fn signed(self, id: u64, key: &LoadKey, digest: &Digest, nonces: &Nonces) -> anyhow::Result<Vec<u8>> {
        let Self { voucher, ops, .. } = self;
        let turn = voucher.seq.0.wrapping_add(first_eight(&voucher.channel_id));
        let signature = key.sign(digest, nonces, turn).context("no nonces")?;
        let signature = VoucherSignature::Direct(signature);
        let voucher = SignedVoucher { voucher, signature };
        let call = Box::new(Request::Voucher(Frame { voucher, ops }));
        Ok(binary::encode(&Message::Request { id, call }))
    }
}

/// The commitment after an operation of a direction that has one lock at most.
fn locked(before: Digest, op: &Op) -> Digest {
    match op {
        Op::LockAdd { lock, .. } => {
            let alone = LocksOpening {
                root: lock.leaf(),
                total: lock.amount,
                max_expiry: lock.expiry,
            };
            alone.commitment()
        }
        Op::LockConvert { .. } | Op::LockDrop { .. } => Digest::ZERO,
        _ => before,
    }
}

fn first_eight(id: &ChannelId) -> u64 {
    id.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
