//! The answer to `resume`: adopting what signatures prove, detecting a rolled-back hub, re-sending what it lacks.

use super::{Actor, entry::Entry, session::Session};
use crate::{ClientEvent, FaultKind, PaymentState, store::rows};
use protocol_spec::{
    ChannelId, Lock, Reject, Seq, SignedVoucher, VerifiedVoucher, Voucher,
    channel::ShownLocks,
    message::{Frame, ResumeReply},
};

/// A voucher shown without its operations, as the proof to keep.
fn shown_as_frame(shown: Option<SignedVoucher>) -> Option<Frame> {
    shown.map(|voucher| Frame {
        voucher,
        ops: Vec::new(),
    })
}

impl Entry {
    /// False when `shown` has the seq of an own voucher that is still known, and is another one.
    fn sent_before(&self, shown: &Voucher) -> bool {
        let newest = self.channel.sent_voucher();
        let known = self.frames.iter().map(|frame| &frame.voucher);
        let mut known = known.chain(&newest);
        known.all(|own| own.seq != shown.seq || own == shown)
    }
}

impl Actor {
    pub(super) fn resumed(&mut self, id: ChannelId, reply: ResumeReply) {
        self.hub_channel(&reply.channel);
        // A receipt that came meanwhile may have frozen the channel, or it is closed: it must not become live.
        if !self.entries.get(&id).is_some_and(Entry::resumable) {
            return;
        }
        let reply_sent = reply.sent.clone();
        let locks = ShownLocks {
            own: reply.received_locks.as_deref(),
            theirs: reply.sent_locks.as_deref(),
        };
        let shown = match self.check_hub_newest(&id, reply.sent) {
            Ok(shown) => shown,
            Err((kind, text)) => {
                let proof = shown_as_frame(reply_sent);
                return self.fault(&id, kind, text, proof);
            }
        };
        let accepted = reply.received.as_ref().map_or(Seq::NONE, |own| own.voucher.seq);
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let own = entry.channel.sent().seq;
        if accepted < entry.channel.received().ack_seq {
            let acknowledged = entry.channel.received().ack_seq;
            let text = format!("it acknowledged own voucher {acknowledged} and shows {accepted}");
            return self.fault(&id, FaultKind::RolledBack, text, None);
        }
        if let Some(newest) = &reply.received
            && !entry.sent_before(&newest.voucher)
        {
            let text = format!("it shows own voucher {accepted}, which is not the one that was sent");
            return self.fault(
                &id,
                FaultKind::CannotAdopt,
                text,
                shown_as_frame(Some(newest.clone())),
            );
        }
        if accepted > own
            && let Some(newest) = reply.received
            && let Err(text) = self.adopt(&id, newest, shown.as_ref(), locks)
        {
            return self.fault(&id, FaultKind::CannotAdopt, text, None);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            for frame in &mut entry.frames {
                frame.sent = frame.voucher.seq <= accepted;
            }
            entry.accepted = accepted;
            entry.session = Session::Live;
            entry.missed = false;
            entry.retries.works();
            if entry
                .fault
                .as_ref()
                .is_some_and(|fault| fault.kind == FaultKind::RolledBack)
            {
                // The hub has shown everything it ever signed to us: it has re-synced.
                entry.fault = None;
                entry.dirty = true;
            }
            self.emit(ClientEvent::ChannelLive(id));
        }
        self.tell_locks_again(&id);
        self.ask_quotes(id);
        self.resubscribe(&id);
    }

    /// The hub's newest voucher must be ours or newer.
    fn check_hub_newest(
        &self,
        id: &ChannelId,
        sent: Option<SignedVoucher>,
    ) -> Result<Option<VerifiedVoucher>, (FaultKind, String)> {
        let entry = self
            .entries
            .get(id)
            .ok_or((FaultKind::CannotAdopt, "unknown channel".to_owned()))?;
        let have = entry.channel.received();
        let shown = sent
            .map(|sent| sent.verify(&self.hub.domain, &self.hub.key, true))
            .transpose()
            .map_err(|reject| (FaultKind::BadSignature, reject.to_string()))?;
        let seq = shown.as_ref().map_or(Seq::NONE, |shown| shown.voucher().seq);
        if seq < have.seq {
            let text = format!("this client holds its voucher {}, it shows {seq}", have.seq);
            return Err((FaultKind::RolledBack, text));
        }
        if let Some(shown) = &shown
            && seq == have.seq
            && shown.digest() != have.digest
        {
            return Err((FaultKind::Conflict, format!("two vouchers with seq {seq}")));
        }
        Ok(shown)
    }

    /// A11: the hub holds a newer voucher of ours than our store knows. Only our own signature proves it.
    fn adopt(
        &mut self,
        id: &ChannelId,
        newest: SignedVoucher,
        shown: Option<&VerifiedVoucher>,
        locks: ShownLocks<'_>,
    ) -> Result<(), String> {
        let key = self.signer.key().ok_or("the signer has not signed yet")?;
        let own = newest
            .clone()
            .verify(&self.hub.domain, key, false)
            .map_err(|reject| reject.to_string())?;
        let entry = self.entries.get_mut(id).ok_or("unknown channel")?;
        let known = entry.channel.known_witnesses();
        let known = known.filter_map(|(lock_id, _)| entry.channel.received().locks.lock(lock_id));
        let known: Vec<Lock> = known.cloned().collect();
        entry
            .channel
            .adopt(&own, shown, locks)
            .map_err(|reject: Reject| reject.to_string())?;
        let seq = own.voucher().seq;
        entry.credits_lost_until = entry.channel.received().seq;
        entry.own_newest = Some(newest.clone());
        entry.acknowledged = Some(newest);
        entry.dirty = true;
        let guarded = self.guard.permit(*id, seq, own.digest());
        guarded.map_err(|error| error.to_string())?;
        for mut open in self.acknowledged(id, seq) {
            open.row.state = PaymentState::Lost;
            self.batch.push(rows::put_payment(&open.row));
            self.finish(id, open);
        }
        self.own_locks_lost(id, seq);
        self.hub_locks_lost(id, &known);
        self.emit(ClientEvent::Restored { channel_id: *id, seq });
        Ok(())
    }
}
