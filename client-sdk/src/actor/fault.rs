//! Freezing a channel on which the hub broke the protocol.

use super::{Actor, session::Session};
use crate::{
    ClientEvent, FaultKind, HubFault, PayError,
    store::rows::{self, FaultRow},
};
use protocol_spec::{ChannelId, message::Frame};

impl Actor {
    /// Freezes the channel for good (a rolled-back hub may prove that it has re-synced), keeps the proof, tells everybody.
    pub(super) fn fault(&mut self, id: &ChannelId, kind: FaultKind, text: String, frame: Option<Frame>) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if entry.fault.is_some() {
            if kind == FaultKind::RolledBack {
                entry.session = Session::Offline;
            }
            return;
        }
        let fault = HubFault { kind, text };
        tracing::error!(channel = %id, %fault, "channel frozen");
        entry.fault = Some(fault.clone());
        entry.dirty = true;
        entry.evidence_due = true;
        entry.session = Session::Offline;
        let row = FaultRow {
            fault: fault.clone(),
            frame,
        };
        self.batch.push(rows::put_fault(id, &row));
        let why = || PayError::Frozen {
            channel: *id,
            fault: fault.clone(),
        };
        entry.fail_signed(&mut self.outcomes, &mut self.lock_outcomes);
        entry.fail_cooperation(&fault);
        self.fail_unsigned(id, why);
        self.fail_invoices(id);
        self.emit(ClientEvent::HubMisbehaved {
            channel_id: *id,
            fault,
        });
    }

    /// Ends the waits for invoices that the hub cannot be expected to pay any more.
    fn fail_invoices(&mut self, id: &ChannelId) {
        for hash in self.awaited(id) {
            let entry = self.entries.get(id);
            if let Some(frozen) = entry.and_then(|entry| entry.frozen_for(&hash)) {
                self.fail_invoice(&hash, &frozen);
            }
        }
    }

    /// Ends what waits to be signed, locks too.
    pub(super) fn fail_unsigned(&mut self, id: &ChannelId, why: impl Fn() -> PayError) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        self.spent = self.spent.saturating_minus(entry.queued);
        entry.fail_waiting(&why, &mut self.outcomes);
        for order in std::mem::take(&mut entry.lock_queue) {
            self.answer_lock(order.reply, Err(why()));
        }
    }
}
