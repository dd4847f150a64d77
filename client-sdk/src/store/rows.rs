//! The rows of the store's tables: keys and values as bytes.

use super::{Store, Table, Write};
use crate::{HubFault, LockedReceived, PaymentState, StoreError};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{
    Amount, Channel, ChannelId, Digest, Invoice, Lock, Op, Payment, PaymentId, Preimage, ReturnReason, Seq,
    Side, Signature, SignedVoucher, UnixSeconds, Voucher, Witness,
    canary::{Canary, planted},
    channel::{LockFacts, LockKey},
    message::{Cursor, Frame, HubInfo},
};
use std::collections::BTreeMap;

/// A channel with what the SDK adds to it.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(crate) struct ChannelRow {
    /// `Channel::to_record_without_locks`.
    pub(crate) record: Vec<u8>,
    /// Set once: nothing is signed any more.
    pub(crate) fault: Option<HubFault>,
    /// Credits of hub vouchers up to this seq are not known singly (restore from backup).
    pub(crate) credits_lost_until: Seq,
    /// Seen open on chain with enough confirmations.
    pub(crate) confirmed: bool,
    /// Newest own voucher that the hub acknowledged.
    pub(crate) acknowledged: Option<SignedVoucher>,
    /// The hub was paid for its reserve: no release is agreed to before.
    pub(crate) keep_capacity_until: UnixSeconds,
    /// Both signatures of the pending withdrawal: own, hub's.
    pub(crate) countersigned: Option<(Signature, Signature)>,
    /// Set while it is closed on chain.
    pub(crate) closing: Option<Closing>,
}

/// How a channel was closed on chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub(crate) enum Closing {
    /// By both, or nobody here can tell.
    Otherwise,
    /// By a dispute. Of own vouchers `seq` is the newest that was shown; `counted` is the sum of the locks resolved in it.
    Judged { seq: Seq, counted: Amount },
}

/// A lock of either side, with what the SDK adds to it.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub(crate) struct LockRow {
    pub(crate) facts: LockFacts,
    /// What it pays: an own lock, or one that pays an own invoice.
    pub(crate) payment: Option<PaymentId>,
    /// The own invoice, of a lock of the hub.
    pub(crate) invoice: Option<Digest>,
}

/// All that is stored of one channel.
pub(crate) struct Stored {
    pub(crate) channel: Channel,
    pub(crate) row: ChannelRow,
    pub(crate) locks: BTreeMap<LockKey, LockRow>,
    /// Not acknowledged, in ascending seq.
    pub(crate) frames: Vec<FrameRow>,
}

/// An own frame without its signature, which is made again deterministically.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(crate) struct FrameRow {
    pub(crate) voucher: Voucher,
    pub(crate) ops: Vec<Op>,
    /// Own locks that it took out: a hub that forgot them is shown the list without it (A10).
    pub(crate) left: Vec<Lock>,
}

/// An own payment.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(crate) struct PaymentRow {
    pub(crate) channel_id: ChannelId,
    pub(crate) payment: Payment,
    pub(crate) state: PaymentState,
    /// Returned by hub vouchers so far.
    pub(crate) returned: Amount,
    /// Set once the hub returned it for a reason other than change; of a lock once the hub says that it gives it up.
    pub(crate) bounced: Option<ReturnReason>,
    /// Of a locked payment.
    pub(crate) lock: Option<OwnLock>,
}

impl PaymentRow {
    /// The own voucher that carries the payment or added its lock.
    pub(crate) fn seq(&self) -> Seq {
        match self.state {
            PaymentState::InFlight { seq }
            | PaymentState::Delivered { seq, .. }
            | PaymentState::Bounced { seq, .. }
            | PaymentState::NotPaid { seq } => seq,
            PaymentState::Queued | PaymentState::Lost => Seq::NONE,
        }
    }

    /// What the hub keeps of the limit: all that it has not returned.
    pub(crate) fn fee(&self) -> Amount {
        self.payment.fee_max.saturating_minus(self.returned)
    }
}

/// The lock of an own locked payment.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(crate) struct OwnLock {
    pub(crate) id: u64,
    /// The proof of payment, once it was told.
    pub(crate) witness: Option<Witness>,
    /// The own voucher that converted it, or dropped it because the hub gave it up.
    pub(crate) folded_at: Option<Seq>,
}

/// An own invoice.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(crate) struct InvoiceRow {
    pub(crate) invoice: Invoice,
    /// `None`: a resolver says what opens it.
    pub(crate) preimage: Option<Preimage>,
    pub(crate) paid: Option<LockedReceived>,
}

/// A credit of an accepted hub voucher.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub(crate) struct CreditRow {
    pub(crate) seq: Seq,
    pub(crate) amount: Amount,
    pub(crate) invoice: Digest,
    /// Where in the channel's log it was told as received; `None` until then.
    pub(crate) told_at: Option<Cursor>,
}

/// What the hub did, with the frame that shows it.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(crate) struct FaultRow {
    pub(crate) fault: HubFault,
    pub(crate) frame: Option<Frame>,
}

const HUB_KEY: &[u8] = b"hub";

fn bytes<T: BorshSerialize>(value: &T) -> Vec<u8> {
    // Writing to a Vec cannot fail.
    borsh::to_vec(value).unwrap_or_default()
}

fn read<T: BorshDeserialize>(what: &str, bytes: &[u8]) -> Result<T, StoreError> {
    borsh::from_slice(bytes).map_err(|error| StoreError::Corrupt {
        path: "store".to_owned(),
        why: format!("{what}: {error}"),
    })
}

fn put<T: BorshSerialize>(table: Table, key: Vec<u8>, value: &T) -> Write {
    Write {
        table,
        key,
        value: Some(bytes(value)),
    }
}

fn frame_key(channel: &ChannelId, seq: Seq) -> Vec<u8> {
    [channel.0.as_slice(), &seq.0.to_be_bytes()].concat()
}

fn lock_key(channel: &ChannelId, (payer, id): LockKey) -> Vec<u8> {
    let payer = match payer {
        Side::Client => 0,
        Side::Hub => 1,
    };
    [channel.0.as_slice(), &[payer], &id.to_be_bytes()].concat()
}

fn read_lock_key(key: &[u8]) -> Option<(ChannelId, LockKey)> {
    let (channel, rest) = key.split_first_chunk::<32>()?;
    let (payer, id) = rest.split_first()?;
    let payer = match payer {
        0 => Side::Client,
        1 => Side::Hub,
        _ => return None,
    };
    let id = u64::from_be_bytes(id.try_into().ok()?);
    Some((ChannelId(*channel), (payer, id)))
}

/// Key of a credit. Every payer chooses ids of its own; `whose` tells their payments apart: the payer's tag, of a folded lock the
/// digest of the own invoice that it paid.
pub(crate) fn credit_key(channel: &ChannelId, payment_id: &PaymentId, whose: &Digest) -> Vec<u8> {
    [channel.0.as_slice(), &payment_id.0, &whose.0].concat()
}

/// Key of the credit of a lock that was folded, which does not name its payer.
pub(crate) fn lock_credit_key(channel: &ChannelId, payment_id: &PaymentId, invoice: &Digest) -> Vec<u8> {
    match planted(Canary::ShareCredits) {
        false => credit_key(channel, payment_id, invoice),
        true => credit_key(channel, payment_id, &Digest::ZERO),
    }
}

/// The hub as it last presented itself: with it a client starts without the hub.
pub(crate) fn put_hub(info: &HubInfo) -> Write {
    put(Table::Meta, HUB_KEY.to_vec(), info)
}

pub(crate) fn put_channel(id: &ChannelId, row: &ChannelRow) -> Write {
    put(Table::Channels, id.0.to_vec(), row)
}

pub(crate) fn put_lock(id: &ChannelId, key: LockKey, row: &LockRow) -> Write {
    put(Table::Locks, lock_key(id, key), row)
}

pub(crate) fn delete_lock(id: &ChannelId, key: LockKey) -> Write {
    Write {
        table: Table::Locks,
        key: lock_key(id, key),
        value: None,
    }
}

pub(crate) fn put_frame(id: &ChannelId, row: &FrameRow) -> Write {
    put(Table::Frames, frame_key(id, row.voucher.seq), row)
}

pub(crate) fn delete_frame(id: &ChannelId, seq: Seq) -> Write {
    Write {
        table: Table::Frames,
        key: frame_key(id, seq),
        value: None,
    }
}

pub(crate) fn put_payment(row: &PaymentRow) -> Write {
    put(Table::Payments, row.payment.payment_id.0.to_vec(), row)
}

pub(crate) fn put_credit(key: Vec<u8>, row: &CreditRow) -> Write {
    put(Table::Credits, key, row)
}

pub(crate) fn put_invoice(row: &InvoiceRow) -> Write {
    put(Table::Invoices, row.invoice.hash.0.to_vec(), row)
}

pub(crate) async fn invoices(store: &dyn Store) -> Result<BTreeMap<Digest, InvoiceRow>, StoreError> {
    let mut all = BTreeMap::new();
    for (_, value) in store.scan(Table::Invoices).await? {
        let row: InvoiceRow = read("invoice", &value)?;
        all.insert(row.invoice.hash, row);
    }
    Ok(all)
}

pub(crate) fn put_cursor(id: &ChannelId, cursor: &Cursor) -> Write {
    put(Table::Cursors, id.0.to_vec(), cursor)
}

pub(crate) fn put_fault(id: &ChannelId, row: &FaultRow) -> Write {
    put(Table::Faults, id.0.to_vec(), row)
}

pub(crate) async fn hub(store: &dyn Store) -> Result<Option<HubInfo>, StoreError> {
    let value = store.get(Table::Meta, HUB_KEY).await?;
    value.map(|value| read("hub", &value)).transpose()
}

pub(crate) async fn payment(store: &dyn Store, id: &PaymentId) -> Result<Option<PaymentRow>, StoreError> {
    let value = store.get(Table::Payments, &id.0).await?;
    value.map(|value| read_payment(&value)).transpose()
}

pub(crate) fn read_payment(value: &[u8]) -> Result<PaymentRow, StoreError> {
    read("payment", value)
}

pub(crate) async fn credit(store: &dyn Store, key: &[u8]) -> Result<Option<CreditRow>, StoreError> {
    let value = store.get(Table::Credits, key).await?;
    value.map(|value| read("credit", &value)).transpose()
}

pub(crate) async fn cursor(store: &dyn Store, id: &ChannelId) -> Result<Option<Cursor>, StoreError> {
    let value = store.get(Table::Cursors, &id.0).await?;
    value.map(|value| read_cursor(&value)).transpose()
}

pub(crate) fn read_cursor(value: &[u8]) -> Result<Cursor, StoreError> {
    read("cursor", value)
}

/// The channels with everything that is stored of each.
pub(crate) async fn channels(store: &dyn Store) -> Result<Vec<Stored>, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt {
        path: "store".to_owned(),
        why,
    };
    let mut frames: BTreeMap<ChannelId, Vec<FrameRow>> = BTreeMap::new();
    for (_, value) in store.scan(Table::Frames).await? {
        let frame = read::<FrameRow>("frame", &value)?;
        frames.entry(frame.voucher.channel_id).or_default().push(frame);
    }
    let mut locks: BTreeMap<ChannelId, BTreeMap<LockKey, LockRow>> = BTreeMap::new();
    for (key, value) in store.scan(Table::Locks).await? {
        let (id, key) = read_lock_key(&key).ok_or_else(|| corrupt("key of a lock".to_owned()))?;
        locks.entry(id).or_default().insert(key, read("lock", &value)?);
    }
    let mut all = Vec::new();
    for (key, value) in store.scan(Table::Channels).await? {
        let row: ChannelRow = read("channel", &value)?;
        let id = <[u8; 32]>::try_from(key.as_slice()).map(ChannelId);
        let id = id.map_err(|_| corrupt("key of a channel".to_owned()))?;
        let locks = locks.remove(&id).unwrap_or_default();
        let facts = locks.iter().map(|(key, row)| (*key, row.facts.clone()));
        let channel = Channel::from_record_and_locks(&row.record, facts.collect())
            .map_err(|error| corrupt(format!("channel {id}: {error}")))?;
        all.push(Stored {
            channel,
            row,
            locks,
            frames: frames.remove(&id).unwrap_or_default(),
        });
    }
    Ok(all)
}
