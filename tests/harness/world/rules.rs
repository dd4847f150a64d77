//! What the hub accepted and signed, held against the rules by somebody who shares no code with it: R1-R4 and R6 on every
//! voucher that it acknowledges, the ids of R5 on every lock that somebody adds, R9 on every one that somebody drops.

use super::bank::DEPOSIT;
use protocol_spec::{Amount, Lock, Op, Seq, Side, UnixSeconds, Voucher, limits, message::Frame};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A dispute is seen by then, whatever the hub's node does. Time that passes, in which nodes are asked: a clock that jumps
/// ahead lets nobody look.
pub(super) const SEEN_AFTER: Duration = Duration::from_secs(40);

/// What was seen of one channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Everything that came under each seq of the client, and how long the world had lived then.
    sent: BTreeMap<Seq, Vec<(Voucher, Vec<Op>, Duration)>>,
    /// `paid` of the hub's vouchers.
    hub_paid: BTreeMap<Seq, Amount>,
    /// What the hub has accepted for sure.
    accepted: Option<Voucher>,
    /// Locks by payer and id, and the seq that added them.
    locks: BTreeMap<(bool, u64), (Lock, Seq)>,
    /// Who has forgotten something, once: by payer.
    restored: [bool; 2],
    /// Those that nothing has taken out, with their amounts.
    live: BTreeMap<(bool, u64), Amount>,
    /// Locks whose payees gave them up.
    consents: BTreeSet<(bool, u64)>,
    disputed_at: Option<Duration>,
    /// There was a dispute, perhaps one that vanished with its block.
    was_disputed: bool,
}

impl Record {
    pub(super) fn client_sends(
        &mut self,
        frame: &Frame,
        now: UnixSeconds,
        lived: Duration,
    ) -> Result<(), String> {
        let voucher = &frame.voucher.voucher;
        let under = self.sent.entry(voucher.seq).or_default();
        if !under.iter().any(|(known, _, _)| known == voucher) {
            under.push((voucher.clone(), frame.ops.clone(), lived));
        }
        self.locks(Side::Client, frame, now)
    }

    /// The payee of a lock gives it up.
    pub(super) fn consents(&mut self, payer: Side, lock_id: u64) {
        self.consents.insert((payer == Side::Hub, lock_id));
    }

    /// The hub has an older database: what it accepted since may be forgotten, and something else accepted in its place.
    pub(super) fn hub_restored(&mut self) {
        self.accepted = None;
        self.restored[1] = true;
    }

    /// The client has an older database.
    pub(super) fn client_restored(&mut self) {
        self.restored[0] = true;
    }

    /// What is locked by the hub, and by the client.
    pub(super) fn locked(&self) -> (u128, u128) {
        let sum = |hub: bool| {
            let of_side = self.live.iter().filter(|((payer, _), _)| *payer == hub);
            of_side.map(|(_, amount)| amount.0).sum()
        };
        (sum(true), sum(false))
    }

    pub(super) fn disputed(&mut self, lived: Duration) {
        self.disputed_at.get_or_insert(lived);
        self.was_disputed = true;
    }

    /// True when anybody may ever have seen it in a dispute.
    pub(super) fn was_disputed(&self) -> bool {
        self.was_disputed
    }

    /// R6: whoever looks at the chain must have seen the dispute.
    pub(super) fn is_seen_disputed(&self, lived: Duration) -> bool {
        let seen = |disputed: Duration| lived > disputed + SEEN_AFTER;
        self.disputed_at.is_some_and(seen)
    }

    pub(super) fn undisputed(&mut self) {
        self.disputed_at = None;
    }

    /// The hub shows a voucher that it signed, without what is in it.
    pub(super) fn hub_shows(&mut self, voucher: &Voucher) {
        self.hub_paid.insert(voucher.seq, voucher.paid);
    }

    /// The hub's voucher leaves.
    pub(super) fn hub_sends(&mut self, frame: &Frame, now: UnixSeconds) -> Result<(), String> {
        let voucher = &frame.voucher.voucher;
        self.hub_paid.insert(voucher.seq, voucher.paid);
        self.adds(Side::Hub, frame)?;
        self.locks(Side::Hub, frame, now)?;
        self.acknowledged(voucher.ack_seq, voucher.ack_paid)
    }

    /// R1-R4, R6: of what came under this seq, something with this sum was right.
    fn acknowledged(&mut self, seq: Seq, paid: Amount) -> Result<(), String> {
        let last = self.accepted.as_ref().map_or(Seq::NONE, |voucher| voucher.seq);
        if seq <= last {
            return Ok(());
        }
        let mut wrong = Err(format!(
            "R3: the hub acknowledges seq {seq} with {paid}, which nobody sent"
        ));
        for (voucher, ops, at) in self.sent.get(&seq).into_iter().flatten() {
            if voucher.paid != paid {
                continue;
            }
            wrong = self.right(voucher, ops, *at);
            if wrong.is_ok() {
                self.accepted = Some(voucher.clone());
                return wrong;
            }
        }
        wrong
    }

    fn right(&self, voucher: &Voucher, ops: &[Op], at: Duration) -> Result<(), String> {
        let none = (Seq::NONE, Amount::ZERO, Seq::NONE);
        let (last, paid, acked) = self
            .accepted
            .as_ref()
            .map_or(none, |voucher| (voucher.seq, voucher.paid, voucher.ack_seq));
        // The newest that it may have accepted before: what came between may have been right.
        let before = self.sent.range(last.next()..voucher.seq).next_back();
        let between = before.is_some();
        let before = before.map_or(last, |(seq, _)| *seq);
        let cost = ops.iter().map(|op| match op {
            Op::Pay(payment) => payment.amount.0 + payment.fee_max.0,
            _ => 0,
        });
        let known = match voucher.ack_seq {
            Seq::NONE => Some(Amount::ZERO),
            seq => self.hub_paid.get(&seq).copied(),
        };
        let converts = ops.iter().any(|op| matches!(op, Op::LockConvert { .. }));
        let seen = self.is_seen_disputed(at);
        let broken = match () {
            () if voucher.seq.0 > before.0 + limits::SEQ_JUMP_MAX => "R1: too far ahead",
            () if !between && !converts && voucher.paid.0 != paid.0 + cost.sum::<u128>() => {
                "R2: its sum is not that of its payments"
            }
            () if voucher.ack_seq < acked => "R3: its acknowledgement goes back",
            () if known != Some(voucher.ack_paid) => "R3: it acknowledges what the hub did not sign",
            () if voucher.paid.0 > DEPOSIT + voucher.ack_paid.0 => "R4: there is no money for it",
            () if seen => "R6: the channel is in a dispute",
            () => return Ok(()),
        };
        Err(format!("{broken}, and the hub accepted {voucher:?}"))
    }

    /// R5: the id of a new lock is above all earlier ones. One that is sent again is the same lock under the same seq.
    pub(super) fn adds(&self, payer: Side, frame: &Frame) -> Result<(), String> {
        let hub = payer == Side::Hub;
        if self.restored[usize::from(hub)] {
            return Ok(());
        }
        let of_side = (hub, 0)..=(hub, u64::MAX);
        let newest = self.locks.range(of_side).next_back();
        let mut newest = newest.map_or(0, |((_, id), _)| *id);
        let seq = frame.voucher.voucher.seq;
        for op in &frame.ops {
            let Op::LockAdd { lock, .. } = op else {
                continue;
            };
            let known = self.locks.get(&(hub, lock.id));
            if lock.id <= newest && known != Some(&((**lock).clone(), seq)) {
                return Err(format!(
                    "R5: {payer:?} adds a lock under an id that is not above {newest}: {lock:?}"
                ));
            }
            newest = newest.max(lock.id);
        }
        Ok(())
    }

    /// R9: a lock leaves without payment after a consent, or when it has expired for everybody.
    fn locks(&mut self, payer: Side, frame: &Frame, now: UnixSeconds) -> Result<(), String> {
        let hub = payer == Side::Hub;
        let seq = frame.voucher.voucher.seq;
        for op in &frame.ops {
            match op {
                Op::LockAdd { lock, .. } => {
                    let before = self.locks.insert((hub, lock.id), ((**lock).clone(), seq));
                    // Not again with a frame that is sent again.
                    if before.is_none() {
                        self.live.insert((hub, lock.id), lock.amount);
                    }
                }
                Op::LockConvert { id, .. } => {
                    self.live.remove(&(hub, *id));
                }
                Op::LockDrop { id } => {
                    let expired = |(lock, _): &(Lock, Seq)| now >= lock.expiry.after(limits::LAG_DEFAULT_S);
                    let dead = self.locks.get(&(hub, *id)).is_none_or(expired);
                    if !dead && !self.consents.contains(&(hub, *id)) {
                        return Err(format!(
                            "R9: {payer:?} drops lock {id} at {now}, it expires at {:?}",
                            self.locks.get(&(hub, *id)).map(|(lock, _)| lock.expiry)
                        ));
                    }
                    self.live.remove(&(hub, *id));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::forge::unsigned;
    use protocol_spec::ChannelId;

    fn first(ack_seq: u64) -> Frame {
        unsigned(ChannelId([1; 32]), 1, ack_seq, Vec::new())
    }

    /// A client's voucher comes so long after a dispute, by clocks that jumped, and is acknowledged.
    fn judged(lived: Duration, jumped_s: u64) -> Result<(), String> {
        let mut record = Record::default();
        record.disputed(Duration::ZERO);
        let now = UnixSeconds(lived.as_secs() + jumped_s);
        record.client_sends(&first(0), now, lived)?;
        record.hub_sends(&first(1), now)
    }

    #[test]
    fn r6_a_jump_of_the_clocks_shows_nobody_a_dispute_and_time_does() {
        assert_eq!(judged(Duration::from_secs(1), 120), Ok(()));
        assert_eq!(judged(SEEN_AFTER, 0), Ok(()));
        let late = judged(SEEN_AFTER + Duration::from_millis(1), 0);
        assert!(late.is_err_and(|why| why.starts_with("R6")));
    }
}
