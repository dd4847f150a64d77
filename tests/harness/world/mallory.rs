//! Mallory: a client with keys of its own whose messages are changed on their way out. It runs the SDK, so that it has a
//! channel, pays and is paid; beside that it sends what an honest client never would, and keeps back what one would send.

use super::{
    bank::DEPOSIT,
    faults::Plan,
    forge,
    frames::{Content, Unit},
    part::Part,
};
use protocol_spec::{
    Amount, Digest, Domain, History, Op, PaymentId, Seq, Side, SignedVoucher, SignerKey, Voucher,
    message::{Empty, Frame, Message, Notification, Request},
};
use rand::Rng as _;
use std::collections::BTreeMap;

/// Ids of forged requests: far from the SDK's. Their answers do not reach it.
const FORGED: u64 = 1 << 52;
/// Requests of a flood: just within what one connection may ask, or beyond.
const FLOODS: [u64; 2] = [400, 1_500];

/// Seqs that a gap leaves out: few, as many as one may, one more, and far more.
const JUMPS: [u64; 5] = [1, 1_023, 1_024, 5_000, 1 << 40];

/// One Mallory.
#[derive(Debug)]
pub(super) struct Mallory {
    key: SignerKey,
    domain: Domain,
    /// Own frames, the newest last.
    frames: Vec<Frame>,
    /// The hub's vouchers, the newest last.
    received: Vec<SignedVoucher>,
    /// History after each own seq.
    histories: BTreeMap<Seq, (Digest, Amount)>,
    /// The same of everything it ever made: what the hub takes is known by what it acknowledges.
    made: BTreeMap<(Seq, Amount), Digest>,
    forged: u64,
    mute: bool,
    /// It started a dispute.
    disputes: bool,
    /// It speaks JSON.
    text: bool,
    /// Locks whose preimages it keeps.
    withheld: BTreeMap<u64, bool>,
}

impl Mallory {
    pub(super) fn new(key: SignerKey, domain: Domain) -> Self {
        Self {
            key,
            domain,
            frames: Vec::new(),
            received: Vec::new(),
            histories: BTreeMap::new(),
            made: BTreeMap::new(),
            forged: 0,
            mute: false,
            disputes: false,
            text: false,
            withheld: BTreeMap::new(),
        }
    }

    /// What it sends before this message, and whether the message itself goes out.
    pub(super) fn sends(&mut self, unit: &Unit, plan: &mut Plan) -> (Vec<Unit>, bool) {
        let Content::Message(message) = &unit.content else {
            return (Vec::new(), true);
        };
        let Message::Request { call, .. } = message.as_ref() else {
            return (Vec::new(), true);
        };
        self.text = unit.text;
        match call.as_ref() {
            Request::Reveal(call) => {
                let withheld = self.withheld.entry(call.lock_id);
                let withheld = withheld.or_insert_with(|| plan.strikes(Part::Withhold));
                (Vec::new(), !*withheld)
            }
            Request::Voucher(frame) => {
                let converts = frame.ops.iter().any(|op| matches!(op, Op::LockConvert { .. }));
                self.mute |= converts && plan.strikes(Part::Mute);
                if self.mute {
                    return (Vec::new(), false);
                }
                let forged = self.forge(frame, plan);
                let units = forged.into_iter().map(|call| self.unit(call, unit.text));
                let units = units.collect();
                self.keep(frame);
                (units, true)
            }
            _ => (Vec::new(), true),
        }
    }

    /// True when the message is the answer to a forged request; the hub's vouchers are kept.
    pub(super) fn takes(&mut self, unit: &Unit) -> bool {
        let Content::Message(message) = &unit.content else {
            return false;
        };
        match message.as_ref() {
            Message::Response { id: Some(id), .. } => *id >= FORGED,
            Message::Notification(body) => {
                if let Notification::Voucher(frame) = body.as_ref() {
                    forge::keep(&mut self.received, frame.voucher.clone());
                }
                false
            }
            _ => false,
        }
    }

    /// A voucher of the hub for a dispute: any of those that were kept, or none.
    pub(super) fn stale(&mut self, plan: &mut Plan) -> Option<SignedVoucher> {
        let index = plan.dice(Part::Stale).random_range(0..=self.received.len());
        self.received.get(index).cloned()
    }

    /// Its dispute is in a block.
    pub(super) fn disputes(&mut self) {
        self.disputes = true;
    }

    /// One more payment, like an earlier one, although its channel is in a dispute: after what the hub has acknowledged.
    pub(super) fn persists(&mut self, plan: &mut Plan) -> Option<Unit> {
        let hub = &self.received.last().filter(|_| self.disputes)?.voucher;
        let pays = |frame: &&Frame| frame.ops.iter().any(|op| matches!(op, Op::Pay(_)));
        let earlier = self.frames.iter().rev().find(pays)?;
        let ops = self.fresh(&earlier.ops, plan.dice(Part::Persist));
        let mut like = self.frames.last()?.voucher.voucher.clone();
        like.seq = hub.ack_seq.next();
        let history = *self.made.get(&(hub.ack_seq, hub.ack_paid))?;
        let voucher = forge::extended(&like, (history, hub.ack_paid), &ops);
        let frame = self.frame(voucher, ops);
        Some(self.unit(Request::Voucher(frame), self.text))
    }

    fn keep(&mut self, frame: &Frame) {
        let voucher = &frame.voucher.voucher;
        self.histories
            .insert(voucher.seq, (voucher.history, voucher.paid));
        self.made.insert((voucher.seq, voucher.paid), voucher.history);
        forge::keep(&mut self.frames, frame.clone());
    }

    fn unit(&mut self, call: Request, text: bool) -> Unit {
        self.forged += 1;
        let id = FORGED + self.forged;
        let call = Box::new(call);
        Unit::from_client(Message::Request { id, call }, text)
    }

    fn forge(&mut self, frame: &Frame, plan: &mut Plan) -> Vec<Request> {
        let mut forged = Vec::new();
        let parts = [
            Part::Replay,
            Part::Equivocate,
            Part::InflateAck,
            Part::Gap,
            Part::Underpay,
            Part::Overspend,
            Part::ReuseId,
        ];
        for part in parts {
            if plan.strikes(part) {
                let made = self.forgery(part, frame, plan);
                forged.extend(made.map(Request::Voucher));
            }
        }
        if plan.strikes(Part::Flood) {
            let count = FLOODS[plan.dice(Part::Flood).random_range(0..FLOODS.len())];
            forged.extend((0..count).map(|_| Request::Ping(Empty {})));
        }
        forged
    }

    /// `None`: there is nothing to make it of yet.
    fn forgery(&mut self, part: Part, frame: &Frame, plan: &mut Plan) -> Option<Frame> {
        let dice = plan.dice(part);
        let (voucher, ops) = (&frame.voucher.voucher, &frame.ops);
        match part {
            Part::Replay => {
                let old = self.frames.len().checked_sub(1)?;
                self.frames.get(dice.random_range(0..=old)).cloned()
            }
            // Its last one again, with other content.
            Part::Equivocate => {
                let last = self.frames.last()?.clone();
                let mut voucher = last.voucher.voucher;
                voucher.paid = Amount(voucher.paid.0.saturating_sub(dice.random_range(1..500)));
                Some(self.frame(voucher, last.ops))
            }
            Part::InflateAck => {
                let fresh = self.fresh(ops, dice);
                let mut voucher = self.following(voucher, &fresh)?;
                voucher.ack_paid = Amount(voucher.ack_paid.0 + dice.random_range(1..1_000));
                Some(self.frame(voucher, fresh))
            }
            Part::Gap => {
                let mut voucher = voucher.clone();
                voucher.seq = Seq(voucher.seq.0 + JUMPS[dice.random_range(0..JUMPS.len())]);
                Some(self.frame(voucher, ops.clone()))
            }
            Part::Underpay => {
                let fresh = self.fresh(ops, dice);
                let mut voucher = self.following(voucher, &fresh)?;
                voucher.paid = Amount(voucher.paid.0.saturating_sub(dice.random_range(1..500)));
                Some(self.frame(voucher, fresh))
            }
            Part::Overspend => {
                let mut fresh = self.fresh(ops, dice);
                let payment = fresh.iter_mut().find_map(|op| match op {
                    Op::Pay(payment) => Some(payment),
                    _ => None,
                })?;
                payment.fee_max = Amount(2 * DEPOSIT + payment.fee_max.0);
                let voucher = self.following(voucher, &fresh)?;
                Some(self.frame(voucher, fresh))
            }
            Part::ReuseId => {
                let used = self.frames.iter().flat_map(|frame| &frame.ops);
                let used: Vec<PaymentId> = used.filter_map(id_of).collect();
                let id = *used.get(dice.random_range(0..used.len().max(1)))?;
                let mut again = ops.clone();
                let mut found = false;
                for op in &mut again {
                    if let Op::Pay(payment) = op {
                        payment.payment_id = id;
                        found = true;
                    }
                }
                let voucher = self.following(voucher, &again)?;
                found.then(|| self.frame(voucher, again))
            }
            _ => None,
        }
    }

    /// The same operations under new ids.
    fn fresh(&self, ops: &[Op], dice: &mut impl rand::RngCore) -> Vec<Op> {
        let mut ops: Vec<Op> = ops.iter().filter(|op| !op.is_lock()).cloned().collect();
        for op in &mut ops {
            if let Op::Pay(payment) = op {
                let mut id = [0; 16];
                dice.fill_bytes(&mut id);
                payment.payment_id = PaymentId(id);
            }
        }
        ops
    }

    /// A voucher with the seq and acks of `like` and these operations, right in every other respect.
    fn following(&self, like: &Voucher, ops: &[Op]) -> Option<Voucher> {
        let before = Seq(like.seq.0.checked_sub(1)?);
        let (history, paid) = match before {
            Seq::NONE => (History::initial(&like.channel_id, Side::Client).0, Amount::ZERO),
            before => *self.histories.get(&before)?,
        };
        Some(forge::extended(like, (history, paid), ops))
    }

    fn frame(&mut self, voucher: Voucher, ops: Vec<Op>) -> Frame {
        self.made.insert((voucher.seq, voucher.paid), voucher.history);
        forge::frame(&self.key, &self.domain, voucher, ops)
    }
}

fn id_of(op: &Op) -> Option<PaymentId> {
    match op {
        Op::Pay(payment) => Some(payment.payment_id),
        _ => None,
    }
}
