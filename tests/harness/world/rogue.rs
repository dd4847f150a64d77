//! A hub that lies: the real one runs, and whoever owns it changes, adds and keeps back what it says, with its keys. What it may
//! do to a client's money is bounded by what that client signed: here is written down what a client may have believed.

use super::{
    bank::DEPOSIT,
    clock::Clock,
    faults::Plan,
    forge,
    frames::{Content, Unit},
    part::Part,
};
use protocol_spec::{
    Amount, ChannelId, Credit, Digest, Domain, History, Op, PaymentId, ReturnReason, Seq, Side, Signature,
    SignedVoucher, SignerKey, Voucher, VoucherSignature, Witness, limits,
    message::{
        Bounce, ChannelInfo, Consent, ErrorCode, Event, Frame, Message, Notification, PaymentReply,
        PaymentStatus, Release, Reply, Request, ResumeReply, Reveal, RpcError, VoucherReply, WithdrawCall,
    },
};
use rand::{Rng as _, rngs::StdRng};
use std::collections::{BTreeMap, BTreeSet};

/// Seqs that a jump leaves out: few, as many as one may, one more, and far more.
const JUMPS: [u64; 4] = [1, 1_023, 1_024, 1 << 20];
/// What comes before a voucher of the hub.
const BEFORE: [Part; 9] = [
    Part::LieConflict,
    Part::LieUnderpay,
    Part::LieOverspend,
    Part::LieAck,
    Part::LieJump,
    Part::LieReplay,
    Part::LieReveal,
    Part::LieConsent,
    Part::LieRelease,
];
/// How long the hub's wish for its reserve stands.
const RELEASE_S: u64 = 300;

/// The liar.
#[derive(Debug)]
pub(super) struct Rogue {
    key: SignerKey,
    domain: Domain,
    channels: BTreeMap<ChannelId, Known>,
    muted: BTreeSet<usize>,
    /// Withdrawals of the hub's that clients have signed, and no block has yet.
    withdrawals: Vec<WithdrawCall>,
    clock: Clock,
}

/// One channel, as it goes over the wires.
#[derive(Debug, Default)]
struct Known {
    /// The client's vouchers, the newest last.
    shown: Vec<SignedVoucher>,
    /// The client's locks that nothing took out for good: amount, and the voucher that dropped it.
    locks: BTreeMap<u64, (Amount, Option<Seq>)>,
    /// The hub's locks that it has neither paid nor taken back, and those of them that the client told how to open.
    owed: BTreeMap<u64, Amount>,
    told: BTreeSet<u64>,
    /// The hub's own frames, the newest last.
    frames: Vec<Frame>,
    /// History and sum after each of its vouchers.
    after: BTreeMap<Seq, (Digest, Amount)>,
    /// Seq and sum of what a client may take.
    sound: BTreeSet<(Seq, Amount)>,
    /// And of what it must not.
    foul: BTreeSet<(Seq, Amount)>,
}

/// What becomes of a message.
pub(super) struct Said {
    /// Goes before it.
    pub(super) before: Vec<Unit>,
    pub(super) then: Then,
}

/// And of itself.
pub(super) enum Then {
    Passes,
    Instead(Unit),
    Nothing,
}

impl Said {
    fn then(then: Then) -> Self {
        let before = Vec::new();
        Self { before, then }
    }

    fn instead(message: Message, text: bool) -> Self {
        Self::then(Then::Instead(Unit::from_hub(message, text)))
    }
}

impl Rogue {
    pub(super) fn new(key: SignerKey, domain: Domain, clock: Clock) -> Self {
        Self {
            key,
            domain,
            channels: BTreeMap::new(),
            muted: BTreeSet::new(),
            withdrawals: Vec::new(),
            clock,
        }
    }

    /// A client's message arrives. Errors: it believes what it must not.
    pub(super) fn hears(&mut self, unit: &Unit) -> Result<(), String> {
        let Content::Message(message) = &unit.content else {
            return Ok(());
        };
        let Message::Request { call, .. } = message.as_ref() else {
            return Ok(());
        };
        match call.as_ref() {
            Request::Voucher(frame) => {
                let voucher = &frame.voucher.voucher;
                let known = self.channels.entry(voucher.channel_id).or_default();
                known.client_sends(frame);
                known.believed(voucher.ack_seq, voucher.ack_paid)
            }
            Request::Withdraw(call) if call.withdraw.side == Side::Hub => {
                self.withdrawals.push(call.clone());
                Ok(())
            }
            Request::Reveal(call) => {
                let known = self.channels.entry(call.channel_id).or_default();
                known.told.insert(call.lock_id);
                Ok(())
            }
            Request::Resume(call) => {
                let known = self.channels.entry(call.channel_id).or_default();
                match call.received.as_ref().map(|signed| &signed.voucher) {
                    Some(voucher) => known.believed(voucher.seq, voucher.paid),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// The real hub says something.
    pub(super) fn says(&mut self, person: usize, unit: &Unit, plan: &mut Plan) -> Said {
        let Content::Message(message) = &unit.content else {
            return Said::then(Then::Passes);
        };
        if self.muted.contains(&person) {
            return Said::then(Then::Nothing);
        }
        match message.as_ref() {
            Message::Notification(body) => match body.as_ref() {
                Notification::Voucher(frame) => self.voucher(person, frame, unit.text, plan),
                Notification::Event(event) if plan.strikes(Part::LieReceipt) => {
                    let event = Notification::Event(self.receipt(event, plan));
                    Said::instead(Message::Notification(Box::new(event)), unit.text)
                }
                Notification::Channel(info) if plan.strikes(Part::LieNumbers) => {
                    let info = Notification::Channel(numbers(info, plan));
                    Said::instead(Message::Notification(Box::new(info)), unit.text)
                }
                _ => Said::then(Then::Passes),
            },
            Message::Response {
                id,
                result: Ok(reply),
            } => match self.reply(reply, plan) {
                Some(result) => Said::instead(Message::Response { id: *id, result }, unit.text),
                None => Said::then(Then::Passes),
            },
            Message::Response { .. } | Message::Request { .. } => Said::then(Then::Passes),
        }
    }

    /// A voucher of the client for a dispute: any of those that were kept, or none.
    pub(super) fn stale(&mut self, channel: ChannelId, plan: &mut Plan) -> Option<SignedVoucher> {
        let shown = &self.channels.entry(channel).or_default().shown;
        let index = plan.dice(Part::LieCourt).random_range(0..=shown.len());
        shown.get(index).cloned()
    }

    /// Withdrawals of the hub's that clients have signed, with its own signatures.
    pub(super) fn withdrawals(&mut self) -> Vec<(WithdrawCall, Signature)> {
        let calls = std::mem::take(&mut self.withdrawals);
        let signed = calls.into_iter().map(|call| {
            let signature = self.key.sign(&call.withdraw.digest(&self.domain));
            (call, signature)
        });
        signed.collect()
    }

    /// What the client may have to pay for its locks.
    pub(super) fn locked(&self, channel: ChannelId) -> u128 {
        let known = self.channels.get(&channel);
        let locks = known.into_iter().flat_map(|known| known.locks.values());
        locks.map(|(amount, _)| amount.0).sum()
    }

    /// What the hub owes the client for its locks, because the client can open them.
    pub(super) fn opened(&self, channel: ChannelId) -> u128 {
        let known = self.channels.get(&channel);
        let owed = known.into_iter().flat_map(|known| {
            let told = known.owed.iter().filter(|(id, _)| known.told.contains(id));
            told.map(|(_, amount)| amount.0)
        });
        owed.sum()
    }

    fn voucher(&mut self, person: usize, frame: &Frame, text: bool, plan: &mut Plan) -> Said {
        let id = frame.voucher.voucher.channel_id;
        let mut before = Vec::new();
        for part in BEFORE {
            if plan.strikes(part)
                && let Some(lie) = self.lie(part, frame, plan)
            {
                before.push(Unit::from_hub(Message::Notification(Box::new(lie)), text));
            }
        }
        let pays = frame.ops.iter().any(|op| matches!(op, Op::LockConvert { .. }));
        let mutes = plan.strikes(Part::LieMute) || (pays && plan.strikes(Part::LieUnpaid));
        if mutes {
            self.muted.insert(person);
        }
        let passes = !mutes && !plan.strikes(Part::LieSwallow);
        self.channels.entry(id).or_default().hub_sends(frame, passes);
        let then = if passes { Then::Passes } else { Then::Nothing };
        Said { before, then }
    }

    /// `None`: there is nothing to make it of yet.
    fn lie(&mut self, part: Part, frame: &Frame, plan: &mut Plan) -> Option<Notification> {
        let channel_id = frame.voucher.voucher.channel_id;
        let dice = plan.dice(part);
        let known = self.channels.entry(channel_id).or_default();
        Some(match part {
            Part::LieReplay => {
                let index = dice.random_range(0..known.frames.len().max(1));
                let frame = known.frames.get(index)?.clone();
                // Perhaps one that never left.
                known.reaches(&frame);
                Notification::Voucher(frame)
            }
            Part::LieReveal => Notification::Reveal(Reveal {
                channel_id,
                lock_id: known.any_lock(dice)?,
                witness: Witness::new(dice.random::<[u8; 32]>().to_vec()).ok()?,
            }),
            Part::LieRelease => Notification::Release(Release {
                channel_id,
                total: Amount(dice.random_range(1..DEPOSIT)),
                deadline: self.clock.now().after(RELEASE_S),
            }),
            Part::LieConsent => Notification::Consent(Consent {
                channel_id,
                lock_id: known.any_lock(dice)?,
                reason: ReturnReason::Cancelled,
            }),
            _ => {
                let (voucher, ops) = known.forgery(part, frame, dice)?;
                Notification::Voucher(forge::frame(&self.key, &self.domain, voucher, ops))
            }
        })
    }

    /// More than was credited.
    fn receipt(&self, event: &Event, plan: &mut Plan) -> Event {
        let mut lie = event.clone();
        let more = plan.dice(Part::LieReceipt).random_range(1..1_000);
        lie.receipt.amount = Amount(lie.receipt.amount.0 + more);
        lie.signature = VoucherSignature::Direct(self.key.sign(&lie.receipt.digest(&self.domain)));
        lie
    }

    /// Another answer than the real one, if it lies now.
    fn reply(&mut self, reply: &Reply, plan: &mut Plan) -> Option<Result<Box<Reply>, RpcError>> {
        match reply {
            Reply::Voucher(reply) if plan.strikes(Part::LieAnswer) => {
                let bounced = match plan.dice(Part::LieAnswer).random_range(0..3) {
                    0 => return Some(Err(RpcError::of(ErrorCode::Internal))),
                    1 => Vec::new(),
                    _ => vec![Bounce {
                        payment_id: PaymentId([7; 16]),
                        reason: ReturnReason::Expired,
                        ready_at: None,
                    }],
                };
                let seq = reply.seq;
                Some(Ok(Box::new(Reply::Voucher(VoucherReply { seq, bounced }))))
            }
            Reply::Payment(_) if plan.strikes(Part::LieAnswer) => {
                let status = PaymentStatus::Bounced {
                    seq: Seq(1),
                    reason: ReturnReason::Expired,
                };
                Some(Ok(Box::new(Reply::Payment(PaymentReply { status }))))
            }
            Reply::Channel(info) if plan.strikes(Part::LieNumbers) => {
                let info = numbers(info, plan);
                Some(Ok(Box::new(Reply::Channel(Box::new(info)))))
            }
            Reply::Resume(reply) if plan.strikes(Part::LieForget) => {
                let older = self.older(reply, plan);
                Some(Ok(Box::new(Reply::Resume(Box::new(older)))))
            }
            _ => None,
        }
    }

    /// As if the newest vouchers of the client had never come.
    fn older(&mut self, reply: &ResumeReply, plan: &mut Plan) -> ResumeReply {
        let mut older = reply.clone();
        let known = self.channels.entry(reply.channel.channel_id).or_default();
        let index = plan.dice(Part::LieForget).random_range(0..=known.shown.len());
        let shown = known.shown.get(index).cloned();
        let voucher = shown.as_ref().map(|signed| &signed.voucher);
        older.channel.client_seq = voucher.map_or(Seq::NONE, |voucher| voucher.seq);
        older.channel.client_paid = voucher.map_or(Amount::ZERO, |voucher| voucher.paid);
        older.received = shown;
        older
    }
}

impl Known {
    fn client_sends(&mut self, frame: &Frame) {
        let seq = frame.voucher.voucher.seq;
        // Sent again, nothing in it is new.
        let is_new = self.shown.last().is_none_or(|last| last.voucher.seq < seq);
        if !is_new {
            return;
        }
        forge::keep(&mut self.shown, frame.voucher.clone());
        for op in &frame.ops {
            match op {
                Op::LockAdd { lock, .. } => drop(self.locks.insert(lock.id, (lock.amount, None))),
                Op::LockConvert { id, .. } => drop(self.locks.remove(id)),
                Op::LockDrop { id } => {
                    if let Some((_, dropped)) = self.locks.get_mut(id) {
                        *dropped = Some(seq);
                    }
                }
                _ => {}
            }
        }
    }

    fn hub_sends(&mut self, frame: &Frame, passes: bool) {
        let voucher = &frame.voucher.voucher;
        self.sound.insert((voucher.seq, voucher.paid));
        self.after.insert(voucher.seq, (voucher.history, voucher.paid));
        for op in &frame.ops {
            if let Op::LockAdd { lock, .. } = op {
                self.owed.insert(lock.id, lock.amount);
            }
        }
        if passes {
            self.reaches(frame);
        }
        forge::keep(&mut self.frames, frame.clone());
    }

    /// The client has it, or may have had it before.
    fn reaches(&mut self, frame: &Frame) {
        let acknowledged = frame.voucher.voucher.ack_seq;
        // R10: what it acknowledges is all that counts, without the locks that left by then.
        self.locks
            .retain(|_, (_, dropped)| dropped.is_none_or(|seq| seq > acknowledged));
        for op in &frame.ops {
            if let Op::LockConvert { id, .. } | Op::LockDrop { id } = op {
                self.owed.remove(id);
            }
        }
    }

    /// A voucher that the hub has not made, beside the one of `frame`. `None`: there is nothing to make it of yet.
    fn forgery(&mut self, part: Part, frame: &Frame, dice: &mut StdRng) -> Option<(Voucher, Vec<Op>)> {
        let mut ops = frame.ops.clone();
        let voucher = match part {
            // The last operation left out, or a cent less for it.
            Part::LieConflict => {
                match ops.last_mut() {
                    Some(Op::Credit(credit)) if credit.amount.0 > 1 && dice.random() => {
                        credit.amount = Amount(credit.amount.0 - 1);
                    }
                    _ => drop(ops.pop()?),
                }
                self.following(frame, &ops)?
            }
            Part::LieUnderpay => {
                let mut voucher = frame.voucher.voucher.clone();
                voucher.paid = Amount(voucher.paid.0.checked_sub(dice.random_range(1..500))?);
                voucher
            }
            // More than it ever had here.
            Part::LieOverspend => {
                ops.push(credit(2 * DEPOSIT, dice));
                self.following(frame, &ops)?
            }
            // What the client has not signed: a voucher, or a sum.
            Part::LieAck => {
                let newest = self.shown.last().map_or(Seq::NONE, |signed| signed.voucher.seq);
                ops.push(credit(1, dice));
                let mut voucher = self.following(frame, &ops)?;
                if dice.random() {
                    voucher.ack_seq = Seq(newest.0 + dice.random_range(1_000..2_000));
                }
                voucher.ack_paid = Amount(voucher.ack_paid.0 + dice.random_range(1..1_000));
                voucher
            }
            Part::LieJump => {
                let mut voucher = frame.voucher.voucher.clone();
                voucher.seq = Seq(voucher.seq.0 + JUMPS[dice.random_range(0..JUMPS.len())]);
                voucher
            }
            _ => return None,
        };
        // It may have believed a jump before.
        let newest = self.sound.last().map_or(Seq::NONE, |(seq, _)| *seq);
        let believable = match part {
            Part::LieConflict => true,
            Part::LieJump => voucher.seq.0 <= newest.0 + limits::SEQ_JUMP_MAX,
            _ => false,
        };
        let list = if believable {
            &mut self.sound
        } else {
            &mut self.foul
        };
        list.insert((voucher.seq, voucher.paid));
        Some((voucher, ops))
    }

    /// The client says that it took the hub's voucher with this seq and sum.
    fn believed(&self, seq: Seq, paid: Amount) -> Result<(), String> {
        let key = (seq, paid);
        match () {
            () if seq == Seq::NONE || self.sound.contains(&key) => Ok(()),
            () if self.foul.contains(&key) => Err(format!(
                "the client took the hub's voucher {seq} with {paid}, which breaks a rule"
            )),
            () => Err(format!(
                "the client says that it took the hub's voucher {seq} with {paid}, which was never sent"
            )),
        }
    }

    /// The voucher of `frame` with other operations, right in every other respect.
    fn following(&self, frame: &Frame, ops: &[Op]) -> Option<Voucher> {
        let genuine = &frame.voucher.voucher;
        if frame.ops.iter().any(Op::is_lock) {
            return None;
        }
        let start = (History::initial(&genuine.channel_id, Side::Hub).0, Amount::ZERO);
        let before = self.after.range(..genuine.seq).next_back();
        let before = before.map_or(start, |(_, after)| *after);
        let whole = forge::extended(genuine, before, &frame.ops);
        (whole == *genuine).then(|| forge::extended(genuine, before, ops))
    }

    fn any_lock(&self, dice: &mut impl rand::RngCore) -> Option<u64> {
        let ids: Vec<u64> = self.locks.keys().copied().collect();
        let index = dice.random_range(0..ids.len().max(1));
        ids.get(index).copied()
    }
}

/// A credit of nobody's.
fn credit(amount: u128, dice: &mut StdRng) -> Op {
    Op::Credit(Credit {
        payment_id: PaymentId(dice.random()),
        payer: Digest(dice.random()),
        amount: Amount(amount),
        invoice: Digest::ZERO,
    })
}

/// The same channel, as if less had been paid by the hub, or more by the client.
fn numbers(info: &ChannelInfo, plan: &mut Plan) -> ChannelInfo {
    let dice = plan.dice(Part::LieNumbers);
    let mut lie = info.clone();
    let by = dice.random_range(1..5_000);
    match dice.random_range(0..4) {
        0 => lie.hub_paid = Amount(lie.hub_paid.0.saturating_sub(by)),
        1 => lie.client_paid = Amount(lie.client_paid.0 + by),
        2 => lie.hub_seq = Seq(lie.hub_seq.0.saturating_sub(1)),
        _ => lie.hub_withdrawn = Amount(lie.hub_withdrawn.0 + by),
    }
    lie
}
