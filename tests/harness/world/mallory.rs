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
    Amount, CancelDispute, ChannelId, Digest, DirectionEvidence, Domain, History, Lock, LockSet, Op,
    PaymentId, Seq, Side, SignedVoucher, SignerKey, UnixSeconds, Voucher, Withdraw, Witness,
    message::{
        CancelDisputeCall, Empty, Frame, LockCall, Message, Notification, RegisterCall, Request, Reveal,
        WithdrawCall,
    },
};
use rand::Rng as _;
use std::collections::BTreeMap;

/// Ids of forged requests: far from the SDK's. Their answers do not reach it.
const FORGED: u64 = 1 << 52;
/// Requests of a flood: just within what one connection may ask, or beyond.
const FLOODS: [u64; 2] = [400, 1_500];

/// How long its withdrawals may take to be mined, and how long its wish to end a dispute stands.
const WITHDRAWAL_S: u64 = 600;
pub(super) const CANCEL_S: u64 = 150;

/// Seqs that a gap leaves out: few, as many as one may, one more, and far more.
const JUMPS: [u64; 5] = [1, 1_023, 1_024, 5_000, 1 << 40];

/// One Mallory.
#[derive(Debug)]
pub(super) struct Mallory {
    key: SignerKey,
    domain: Domain,
    /// Own frames, the newest last.
    frames: Vec<Frame>,
    /// The hub's vouchers, each with its locks, the newest last.
    received: Vec<(SignedVoucher, Vec<Lock>)>,
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
    /// What opens the hub's locks.
    witnesses: BTreeMap<u64, Witness>,
    /// How its client registers the own channel.
    registers: Option<RegisterCall>,
    /// All that it ever wanted to withdraw.
    withdrawn: u128,
    /// The hub's voucher that let go a lock which it can open: its client takes none like it.
    let_go: Option<Voucher>,
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
            witnesses: BTreeMap::new(),
            registers: None,
            withdrawn: 0,
            let_go: None,
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
                let withheld = *withheld.or_insert_with(|| plan.strikes(Part::Withhold));
                self.witnesses.insert(call.lock_id, call.witness.clone());
                let both = plan.strikes(Part::Both);
                // Both words now, either first, or both of them in a dispute.
                match both.then(|| plan.dice(Part::Both).random_range(0..3)) {
                    None => (Vec::new(), !withheld),
                    Some(2) => {
                        self.withheld.insert(call.lock_id, true);
                        (Vec::new(), false)
                    }
                    Some(first) => (self.words(call, first == 0), true),
                }
            }
            Request::Register(call) => {
                self.registers.get_or_insert_with(|| call.clone());
                (Vec::new(), true)
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
                    let channel = frame.voucher.voucher.channel_id;
                    let known = self.registers.as_ref().map(|call| call.config.id(&self.domain));
                    // Its client does not know of any other.
                    if known == Some(channel) {
                        self.hub_sends(frame);
                    }
                }
                false
            }
            _ => false,
        }
    }

    fn hub_sends(&mut self, frame: &Frame) {
        let newest = self.received.last();
        if newest.is_some_and(|(newest, _)| frame.voucher.voucher.seq <= newest.voucher.seq) {
            return; // Sent again.
        }
        let mut locks = newest.map(|(_, locks)| locks.clone()).unwrap_or_default();
        for op in &frame.ops {
            match op {
                Op::LockAdd { lock, .. } => locks.push((**lock).clone()),
                Op::LockConvert { id, .. } | Op::LockDrop { id } => locks.retain(|lock| lock.id != *id),
                _ => {}
            }
            if let Op::LockDrop { id } = op
                && self.witnesses.contains_key(id)
            {
                self.let_go = Some(frame.voucher.voucher.clone());
            }
        }
        forge::keep(&mut self.received, (frame.voucher.clone(), locks));
    }

    /// A voucher of the hub for a dispute: any of those that were kept, or none; perhaps with what it can open of it.
    pub(super) fn stale(&mut self, plan: &mut Plan) -> DirectionEvidence {
        let dice = plan.dice(Part::Stale);
        let (mut index, opens) = (dice.random_range(0..=self.received.len()), dice.random::<bool>());
        let can_open = |(_, locks): &(SignedVoucher, Vec<Lock>)| {
            locks.iter().any(|lock| self.witnesses.contains_key(&lock.id))
        };
        let places = (0..self.received.len()).filter(|place| can_open(&self.received[*place]));
        let places: Vec<usize> = places.filter(|_| opens).collect();
        if !places.is_empty() {
            index = places[dice.random_range(0..places.len())];
        }
        let mut evidence = DirectionEvidence::default();
        let Some((signed, locks)) = self.received.get(index).cloned() else {
            return evidence;
        };
        let set = LockSet::of(locks.iter().cloned(), Side::Hub).unwrap_or_default();
        if opens && set.commitment() == signed.voucher.locks {
            evidence.opening = set.opening();
            let known = self.witnesses.iter();
            evidence.witnesses = known
                .map(|(id, witness)| (id.to_string(), witness.clone()))
                .collect();
            evidence.locks = locks;
        }
        evidence.voucher = Some(signed);
        evidence
    }

    /// Its dispute is in a block, or in none any more.
    pub(super) fn disputes(&mut self, does: bool) {
        self.disputes = does;
    }

    /// In its dispute: of each lock that it can open both words. Else what the hub let go is acknowledged, which its client never
    /// does: that knows what opens it.
    pub(super) fn says_both(&mut self, plan: &mut Plan) -> Vec<Unit> {
        let Some((newest, locks)) = self.received.last().cloned() else {
            return Vec::new();
        };
        let channel_id = newest.voucher.channel_id;
        if !self.disputes {
            let let_go = self.let_go.take();
            return let_go
                .and_then(|let_go| self.acknowledges(&let_go))
                .into_iter()
                .collect();
        }
        let mut units = Vec::new();
        for lock in locks {
            if let Some(witness) = self.witnesses.get(&lock.id).cloned() {
                let call = Reveal {
                    channel_id,
                    lock_id: lock.id,
                    witness,
                };
                let opens_first = plan.dice(Part::Both).random();
                units.extend(self.words(&call, opens_first));
            }
        }
        units
    }

    /// What opens a lock, and that it is given up.
    fn words(&mut self, call: &Reveal, opens_first: bool) -> Vec<Unit> {
        let consent = LockCall {
            channel_id: call.channel_id,
            lock_id: call.lock_id,
        };
        let mut said = [Request::Reveal(call.clone()), Request::Consent(consent)];
        if !opens_first {
            said.reverse();
        }
        said.map(|call| self.unit(call, self.text)).into()
    }

    fn acknowledges(&mut self, hub: &Voucher) -> Option<Unit> {
        let newest = &self.frames.last()?.voucher.voucher;
        if newest.ack_seq >= hub.seq {
            return None;
        }
        let history = *self.made.get(&(hub.ack_seq, hub.ack_paid))?;
        let like = Voucher {
            seq: newest.seq.max(hub.ack_seq).next(),
            ack_seq: hub.seq,
            ack_paid: hub.paid,
            ..newest.clone()
        };
        let voucher = forge::extended(&like, (history, hub.ack_paid), &[]);
        let frame = self.frame(voucher, Vec::new());
        self.keep(&frame);
        Some(self.unit(Request::Voucher(frame), self.text))
    }

    /// A withdrawal that names the own newest voucher, and of the hub's none or any.
    pub(super) fn withdraws(&mut self, now: UnixSeconds, plan: &mut Plan) -> Vec<Unit> {
        let dice = plan.dice(Part::WithdrawOld);
        let index = dice.random_range(0..=self.received.len());
        self.withdrawn += dice.random_range(1..500);
        let Some(own) = self.frames.last().map(|frame| &frame.voucher.voucher) else {
            return Vec::new();
        };
        let named = self.received.get(index).map(|(signed, _)| &signed.voucher);
        let withdraw = Withdraw {
            channel_id: own.channel_id,
            side: Side::Client,
            total: Amount(self.withdrawn),
            client_seq: own.seq,
            client_paid: own.paid,
            hub_seq: named.map_or(Seq::NONE, |voucher| voucher.seq),
            hub_paid: named.map_or(Amount::ZERO, |voucher| voucher.paid),
            deadline: now.after(WITHDRAWAL_S),
        };
        let signature = self.key.sign(&withdraw.digest(&self.domain));
        let call = WithdrawCall { withdraw, signature };
        vec![self.unit(Request::Withdraw(call), self.text)]
    }

    /// Its wish to end the dispute with this number.
    pub(super) fn cancels(&mut self, channel_id: ChannelId, dispute_no: u64, now: UnixSeconds) -> Vec<Unit> {
        let cancel = CancelDispute {
            channel_id,
            dispute_no: Seq(dispute_no),
            deadline: now.after(CANCEL_S),
        };
        let signature = self.key.sign(&cancel.digest(&self.domain));
        let call = CancelDisputeCall { cancel, signature };
        vec![self.unit(Request::CancelDispute(call), self.text)]
    }

    /// What is said of a channel that its client does not know; and that of its own is registered again.
    pub(super) fn says(&mut self, said: Vec<Request>) -> Vec<Unit> {
        let again = self.registers.clone().map(Request::Register);
        let said: Vec<Request> = said.into_iter().chain(again).collect();
        said.into_iter().map(|call| self.unit(call, self.text)).collect()
    }

    /// One more payment, like an earlier one, although its channel is in a dispute: after what the hub has acknowledged.
    pub(super) fn persists(&mut self, plan: &mut Plan) -> Option<Unit> {
        let (newest, _) = self.received.last().filter(|_| self.disputes)?;
        let hub = newest.voucher.clone();
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
