//! Streams of received payments: positions without gaps or doubles, receipts backed by accepted vouchers.

use super::{Actor, entry::Entry, session::Pending};
use crate::{
    FaultKind, HubFault, ReceivedPayment, StoreError, StreamError,
    store::rows::{self, CreditRow},
};
use protocol_spec::{
    ChannelId, VoucherSignature, batch,
    canary::{Canary, planted},
    message::{ChannelCall, Cursor, ErrorCode, Event, Request, RpcError, SubscribeCall},
};
use std::collections::VecDeque;
use tokio::sync::mpsc::{self, error::TrySendError};

/// Receipts that wait for their voucher.
const WAITING_MAX: usize = 16_384;

type Sink = mpsc::Sender<Result<ReceivedPayment, StreamError>>;

/// What the hub refuses a subscription with when it may grant the same one later.
const PASSING: [ErrorCode; 5] = [
    ErrorCode::Busy,
    ErrorCode::RateLimited,
    ErrorCode::NotResumed,
    ErrorCode::ShuttingDown,
    ErrorCode::Internal,
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    /// To be asked for on a live channel.
    Idle,
    Asked,
    Flowing,
    /// The reader is slow; asked for again when it has caught up.
    Paused,
}

/// The stream of one channel.
pub(super) struct StreamState {
    sink: Sink,
    /// Last event handed over, or where the caller started.
    last: Option<Cursor>,
    /// Last event received, with those that wait for their voucher.
    seen: Option<Cursor>,
    waiting: VecDeque<Event>,
    flow: Flow,
}

/// Checks that `credit` covers the event, and that no other event used it up. Gives the credit to be stored, marked with
/// the event's place; `None` when it is marked already.
fn used(credit: Option<CreditRow>, event: &Event) -> Result<Option<CreditRow>, String> {
    let (receipt, place) = (&event.receipt, &event.cursor);
    // A coalesced frame carries several seqs under the newest one.
    let covers = |credit: &CreditRow| {
        credit.amount == receipt.amount
            && credit.invoice == receipt.invoice
            && credit.seq >= receipt.payee_seq
    };
    let Some(credit) = credit.filter(covers) else {
        return Err(format!(
            "receipt {} of {} has no credit in an accepted voucher",
            receipt.payment_id, receipt.amount
        ));
    };
    match &credit.told_at {
        Some(told) if told == place => Ok(None),
        // One credit is one payment received, also when the log shows it twice.
        Some(told) if told.epoch == place.epoch => Err(format!(
            "receipt {} stands at position {} and again at {}",
            receipt.payment_id, told.position, place.position
        )),
        _ => Ok(Some(CreditRow {
            told_at: Some(place.clone()),
            ..credit
        })),
    }
}

impl Entry {
    pub(super) fn stream_offline(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.rewind();
        }
    }

    pub(super) fn fail_stream(&mut self, error: StreamError) {
        if let Some(stream) = self.stream.take() {
            // A full stream ends without the error; its reader has enough to do.
            let _ = stream.sink.try_send(Err(error));
        }
    }
}

impl StreamState {
    fn rewind(&mut self) {
        self.flow = Flow::Idle;
        self.seen = self.last.clone();
        self.waiting.clear();
    }
}

impl Actor {
    pub(super) fn subscribe(&mut self, id: ChannelId, after: Option<Cursor>, sink: Sink) {
        let Some(entry) = self.entries.get_mut(&id) else {
            let _ = sink.try_send(Err(StreamError::NoChannel));
            return;
        };
        if entry.stream.is_some() {
            entry.fail_stream(StreamError::Replaced);
            self.unsubscribe(&id);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.stream = Some(StreamState {
                sink,
                seen: after.clone(),
                last: after,
                waiting: VecDeque::new(),
                flow: Flow::Idle,
            });
        }
        self.resubscribe(&id);
    }

    /// Asks the hub to go on after the last event handed over.
    pub(super) fn resubscribe(&mut self, id: &ChannelId) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let live = entry.live();
        let Some(stream) = entry
            .stream
            .as_mut()
            .filter(|stream| live && stream.flow == Flow::Idle)
        else {
            return;
        };
        stream.flow = Flow::Asked;
        let call = SubscribeCall {
            channel_id: *id,
            after: stream.last.clone(),
        };
        self.call(Request::Subscribe(call), Pending::Subscribe(*id));
    }

    fn unsubscribe(&mut self, id: &ChannelId) {
        let call = ChannelCall { channel_id: *id };
        self.call(Request::Unsubscribe(call), Pending::Ignore);
    }

    pub(super) fn subscribed(&mut self, id: &ChannelId) {
        let stream = self.entries.get_mut(id).and_then(|entry| entry.stream.as_mut());
        if let Some(stream) = stream
            && stream.flow == Flow::Asked
        {
            stream.flow = Flow::Flowing;
        }
    }

    /// A hub that cannot now is asked again once the channel has been resumed; what it says of the cursor ends the stream.
    pub(super) fn subscribe_refused(&mut self, id: &ChannelId, error: RpcError) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if PASSING.into_iter().any(|code| error.is(code)) {
            entry.stream_offline();
            self.refused(id, &error.to_string());
        } else {
            let after = entry.stream.as_ref().and_then(|stream| stream.last.clone());
            entry.fail_stream(StreamError::Refused { after, error });
        }
    }

    /// Takes an event; it is handed over once the turn is durable.
    pub(super) fn hub_event(&mut self, event: Event) {
        let id = event.receipt.payee_channel;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let Some(stream) = entry
            .stream
            .as_mut()
            .filter(|stream| stream.flow == Flow::Flowing)
        else {
            return;
        };
        if let Some(seen) = &stream.seen {
            let (last, got) = (seen.position, event.cursor.position);
            let problem = match () {
                () if seen.epoch != event.cursor.epoch => Some(StreamError::Epoch {
                    expected: seen.epoch,
                    got: event.cursor.epoch,
                }),
                // Sent again: handed over or waiting already.
                () if got <= last => return,
                () if got > last.saturating_add(1) => Some(StreamError::Gap { last, got }),
                () => None,
            };
            if let Some(problem) = problem {
                entry.fail_stream(problem);
                self.unsubscribe(&id);
                return;
            }
        }
        stream.seen = Some(event.cursor.clone());
        stream.waiting.push_back(event);
        if stream.waiting.len() > WAITING_MAX {
            self.pause(&id);
        }
    }

    fn pause(&mut self, id: &ChannelId) {
        let stream = self.entries.get_mut(id).and_then(|entry| entry.stream.as_mut());
        if let Some(stream) = stream {
            stream.rewind();
            stream.flow = Flow::Paused;
        }
        self.unsubscribe(id);
    }

    /// Hands over what waits in all streams. Only after the turn's commit: what is told as received must be in the store.
    pub(super) async fn hand_over_all(&mut self) -> Result<(), StoreError> {
        let waits = |entry: &Entry| {
            entry
                .stream
                .as_ref()
                .is_some_and(|stream| !stream.waiting.is_empty())
        };
        let ids = self.entries.iter().filter(|(_, entry)| waits(entry));
        let ids: Vec<ChannelId> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            self.hand_over(&id).await?;
        }
        Ok(())
    }

    /// Hands over the receipts whose vouchers were accepted.
    async fn hand_over(&mut self, id: &ChannelId) -> Result<(), StoreError> {
        loop {
            let Some(entry) = self.entries.get_mut(id) else {
                return Ok(());
            };
            let newest = entry.channel.received().seq;
            let Some(stream) = &mut entry.stream else {
                return Ok(());
            };
            if stream
                .waiting
                .front()
                .is_none_or(|event| event.receipt.payee_seq > newest)
            {
                return Ok(());
            }
            let Some(event) = stream.waiting.pop_front() else {
                return Ok(());
            };
            let cursor = event.cursor.clone();
            match self.received(id, event).await? {
                Err(text) => {
                    let fault = HubFault {
                        kind: FaultKind::BadReceipt,
                        text: text.clone(),
                    };
                    if let Some(entry) = self.entries.get_mut(id) {
                        entry.fail_stream(StreamError::Fault(fault));
                    }
                    self.fault(id, FaultKind::BadReceipt, text, None);
                    return Ok(());
                }
                Ok(payment) => {
                    if !self.deliver(id, cursor, payment) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// False when the stream is gone or paused.
    fn deliver(&mut self, id: &ChannelId, cursor: Cursor, payment: ReceivedPayment) -> bool {
        let Some(entry) = self.entries.get_mut(id) else {
            return false;
        };
        let Some(stream) = &mut entry.stream else {
            return false;
        };
        match stream.sink.try_send(Ok(payment)) {
            Ok(()) => {
                stream.last = Some(cursor);
                true
            }
            Err(TrySendError::Full(_)) => {
                self.pause(id);
                false
            }
            Err(TrySendError::Closed(_)) => {
                entry.stream = None;
                self.unsubscribe(id);
                false
            }
        }
    }

    /// Checks a receipt: the hub's signature, and the credit in an accepted voucher.
    async fn received(
        &mut self,
        id: &ChannelId,
        event: Event,
    ) -> Result<Result<ReceivedPayment, String>, StoreError> {
        let receipt = &event.receipt;
        if let Err(reject) = self.verify_receipt(&event) {
            return Ok(Err(format!("receipt {}: {reject}", receipt.payment_id)));
        }
        let Some(entry) = self.entries.get(id) else {
            return Ok(Err("unknown channel".to_owned()));
        };
        let backed = receipt.payee_seq > entry.credits_lost_until;
        if backed {
            let mut key = rows::credit_key(id, &receipt.payment_id, &receipt.payer);
            let mut credit = self.credit(id, &key).await?;
            if credit.is_none() {
                // A lock that was folded: its voucher does not name the payer.
                key = rows::lock_credit_key(id, &receipt.payment_id, &receipt.invoice);
                credit = self.credit(id, &key).await?;
            }
            match used(credit, &event) {
                Ok(Some(credit)) => self.put_credit(id, key, credit),
                Ok(None) => {}
                Err(text) if !planted(Canary::TrustReceipt) => return Ok(Err(text)),
                Err(_) => {}
            }
        }
        Ok(Ok(ReceivedPayment {
            cursor: event.cursor,
            receipt: event.receipt,
            signature: event.signature,
            backed,
        }))
    }

    async fn credit(&self, id: &ChannelId, key: &[u8]) -> Result<Option<CreditRow>, StoreError> {
        let known = self.entries.get(id).and_then(|entry| entry.credits.get(key));
        match known {
            Some(credit) => Ok(Some(credit.clone())),
            None => rows::credit(self.store.as_ref(), key).await,
        }
    }

    fn verify_receipt(&self, event: &Event) -> Result<(), protocol_spec::Reject> {
        let digest = event.receipt.digest(&self.hub.domain);
        if let VoucherSignature::Batch {
            root_signature,
            proof,
        } = &event.signature
            && !proof.is_empty()
        {
            let root = batch::root_of(&digest, proof)?;
            if self.roots.contains(&(root, *root_signature)) {
                return Ok(());
            }
        }
        event
            .signature
            .verify(&self.hub.domain, &digest, &self.hub.key, true)
    }

    /// Wakes paused streams whose readers have caught up, drops those without a reader.
    pub(super) fn sweep_streams(&mut self) {
        let ids: Vec<ChannelId> = self.entries.keys().copied().collect();
        for id in ids {
            let Some(stream) = self.entries.get_mut(&id).and_then(|entry| entry.stream.as_mut()) else {
                continue;
            };
            if stream.sink.is_closed() {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.stream = None;
                }
                self.unsubscribe(&id);
                continue;
            }
            let half = stream.sink.max_capacity().checked_div(2).unwrap_or_default();
            if stream.flow == Flow::Paused && stream.sink.capacity() >= half {
                stream.flow = Flow::Idle;
            }
            self.resubscribe(&id);
        }
    }
}
