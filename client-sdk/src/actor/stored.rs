//! A channel in the store: read back at the start, and written where it has changed.

use super::{
    entry::{Entry, LockedPayment, OpenPayment, OwnFrame, cost, payments},
    locks::{LocksIn, Paying},
};
use crate::{
    Store, StoreError, Write,
    store::rows::{self, ChannelRow, FrameRow, LockRow, Stored},
};
use protocol_spec::{
    Amount, Side,
    channel::{LockKey, Phase},
};
use std::collections::BTreeMap;
use tokio::time::Instant;

impl Entry {
    /// As it was when it was stored last.
    pub(super) fn restore(stored: Stored) -> Self {
        let Stored {
            channel,
            row,
            locks,
            frames,
        } = stored;
        let mut locks_in = LocksIn::default();
        for ((_, id), row) in &locks {
            if let (Some(lock), Some(payment_id), Some(invoice)) = (&row.facts.lock, row.payment, row.invoice)
            {
                let hash = lock.hash;
                locks_in.insert(
                    *id,
                    Paying {
                        payment_id,
                        invoice,
                        hash,
                    },
                );
            }
        }
        let own = |row: FrameRow| OwnFrame {
            voucher: row.voucher,
            ops: row.ops,
            left: row.left,
            signature: None,
            sent: false,
        };
        Self {
            fault: row.fault,
            credits_lost_until: row.credits_lost_until,
            keep_capacity_until: row.keep_capacity_until,
            confirmed: row.confirmed,
            locks_in,
            stored_locks: locks,
            acknowledged: row.acknowledged,
            frames: frames.into_iter().map(own).collect(),
            accepted: channel.received().ack_seq,
            close_left_open: matches!(channel.phase(), Phase::Closing { .. }),
            // It may have been told of one just before the process ended.
            close_called_off: *channel.phase() == Phase::Open,
            withdrawal_left_open: channel.is_withdraw_pending() && row.countersigned.is_none(),
            countersigned: row.countersigned,
            closing: row.closing,
            // What a tower has is not stored: it is handed over again.
            package_due: channel.received_signed().is_some(),
            ..Self::new(channel)
        }
    }

    /// Opens again the payments of the frames that are not acknowledged, and of own locks.
    pub(super) async fn load_payments(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let locks = self.stored_locks.iter();
        let own = locks.filter(|((payer, _), _)| *payer == Side::Client);
        for ((_, id), payment) in own.filter_map(|(key, row)| Some((key, row.payment?))) {
            if let Some(row) = rows::payment(store, &payment).await? {
                let locked = LockedPayment {
                    row,
                    reply: None,
                    deadline: Instant::now(),
                    counted: false,
                };
                self.locked.insert(*id, locked);
            }
        }
        for frame in &self.frames {
            for payment in payments(&frame.ops) {
                let Some(row) = rows::payment(store, &payment.payment_id).await? else {
                    continue;
                };
                self.in_flight = Amount(self.in_flight.0.saturating_add(cost(payment).0));
                let open = OpenPayment {
                    row,
                    replies: Vec::new(),
                    deadline: Instant::now(),
                    counted: false,
                };
                self.open.insert(payment.payment_id, open);
            }
        }
        Ok(())
    }

    /// What the store lacks of this channel.
    pub(super) fn writes(&mut self) -> Vec<Write> {
        let id = self.channel.id();
        let mut writes = vec![rows::put_channel(&id, &self.row())];
        let locks = self.lock_rows();
        let stored = std::mem::take(&mut self.stored_locks);
        let changed = locks.iter().filter(|(key, row)| stored.get(key) != Some(row));
        writes.extend(changed.map(|(key, row)| rows::put_lock(&id, *key, row)));
        let gone = stored.keys().filter(|key| !locks.contains_key(key));
        writes.extend(gone.map(|key| rows::delete_lock(&id, *key)));
        self.stored_locks = locks;
        writes
    }

    /// The rows of its locks as they should be.
    fn lock_rows(&self) -> BTreeMap<LockKey, LockRow> {
        let row = |facts| LockRow {
            facts,
            ..LockRow::default()
        };
        let facts = self.channel.lock_facts().into_iter();
        let mut locks: BTreeMap<LockKey, LockRow> = facts.map(|(key, facts)| (key, row(facts))).collect();
        for (id, locked) in &self.locked {
            let row = locks.entry((Side::Client, *id)).or_default();
            row.payment = Some(locked.row.payment.payment_id);
        }
        for (id, paying) in self.locks_in.iter() {
            let row = locks.entry((Side::Hub, id)).or_default();
            row.payment = Some(paying.payment_id);
            row.invoice = Some(paying.invoice);
        }
        locks
    }

    fn row(&self) -> ChannelRow {
        ChannelRow {
            record: self.channel.to_record_without_locks(),
            fault: self.fault.clone(),
            credits_lost_until: self.credits_lost_until,
            confirmed: self.confirmed,
            acknowledged: self.acknowledged.clone(),
            keep_capacity_until: self.keep_capacity_until,
            countersigned: self.countersigned.filter(|_| self.channel.is_withdraw_pending()),
            closing: self.closing,
        }
    }
}
