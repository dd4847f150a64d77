//! What the hub passes on from one channel to another, held against R22-R24 by somebody who sees all channels.

use protocol_spec::{
    Amount, ChannelId, Credit, Digest, Lock, Op, PaymentId, Seq, UnixSeconds, limits, message::Frame,
};
use std::collections::{BTreeMap, BTreeSet};

/// A client's lock, as it was sent to the hub.
#[derive(Clone, Debug)]
struct Given {
    channel: ChannelId,
    lock: Lock,
    payment_id: PaymentId,
    /// The hub's lock that rests on it.
    forwarded: Option<(ChannelId, u64)>,
    /// The hub gave it up, or it left: nothing may rest on it any more.
    over: bool,
}

/// What became of a lock of the hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Lives,
    Paid,
    /// It is not in the voucher with this seq any more.
    DroppedAt(Seq),
}

/// Everything that came from clients, and what rests on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Forwarding {
    /// Amounts of unconditional payments, by what names the payer to the payee. How often each is credited only receipts
    /// tell (O4): a voucher that is sent again may come with others, in one frame.
    paid: BTreeMap<Digest, BTreeSet<Amount>>,
    given: Vec<Given>,
    /// The hub's locks, with their expiries.
    locks: BTreeMap<(ChannelId, u64), (UnixSeconds, Fate)>,
    /// The highest seq of the hub that each client acknowledged.
    acknowledged: BTreeMap<ChannelId, Seq>,
    /// The hub forgot something, once.
    restored: bool,
}

impl Forwarding {
    /// The hub has an older database: it may have forgotten what it forwarded.
    pub(super) fn hub_restored(&mut self) {
        self.restored = true;
    }

    pub(super) fn client_sends(&mut self, frame: &Frame) {
        let voucher = &frame.voucher.voucher;
        let channel = voucher.channel_id;
        let acknowledged = self.acknowledged.entry(channel).or_default();
        *acknowledged = voucher.ack_seq.max(*acknowledged);
        for op in &frame.ops {
            match op {
                Op::Pay(payment) => {
                    let payer = Credit::payer_of(&channel, &payment.payment_id);
                    self.paid.entry(payer).or_default().insert(payment.amount);
                }
                Op::LockAdd { lock, payment_id, .. } => {
                    let known = |given: &Given| given.channel == channel && given.lock == **lock;
                    if !self.given.iter().any(known) {
                        self.given.push(Given {
                            channel,
                            lock: (**lock).clone(),
                            payment_id: *payment_id,
                            forwarded: None,
                            over: false,
                        });
                    }
                }
                Op::LockConvert { id, .. } | Op::LockDrop { id } => self.end_given(channel, *id),
                Op::Credit(_) | Op::Return(_) => {}
            }
        }
    }

    fn end_given(&mut self, channel: ChannelId, lock_id: u64) {
        let of_id = |given: &&mut Given| given.channel == channel && given.lock.id == lock_id;
        self.given
            .iter_mut()
            .filter(of_id)
            .for_each(|given| given.over = true);
    }

    /// R22, R24. Sent again is nothing new.
    pub(super) fn hub_sends(&mut self, frame: &Frame) -> Result<(), String> {
        let voucher = &frame.voucher.voucher;
        let channel = voucher.channel_id;
        for op in &frame.ops {
            match op {
                Op::Credit(credit) => {
                    let paid = self.paid.get(&credit.payer);
                    if !paid.is_some_and(|amounts| amounts.contains(&credit.amount)) {
                        return Err(format!("R24: nobody paid what the hub credits: {credit:?}"));
                    }
                }
                Op::LockAdd { lock, payment_id, .. } => self.forwards(channel, lock, *payment_id)?,
                Op::LockConvert { id, .. } => self.ends(channel, *id, Fate::Paid),
                Op::LockDrop { id } => self.ends(channel, *id, Fate::DroppedAt(voucher.seq)),
                Op::Pay(_) | Op::Return(_) => {}
            }
        }
        Ok(())
    }

    fn forwards(&mut self, channel: ChannelId, lock: &Lock, payment_id: PaymentId) -> Result<(), String> {
        let place = (channel, lock.id);
        if self.locks.contains_key(&place) {
            return Ok(());
        }
        self.locks.insert(place, (lock.expiry, Fate::Lives));
        let restored = self.restored;
        let rests = |given: &&mut Given| {
            given.payment_id == payment_id
                && given.lock.hash == lock.hash
                && given.lock.resolver == lock.resolver
                && given.lock.amount >= lock.amount
                && given.lock.expiry >= lock.expiry.after(limits::DELTA_DEFAULT_S)
                && !given.over
                && (given.forwarded.is_none() || restored)
        };
        match self.given.iter_mut().find(rests) {
            Some(given) => {
                given.forwarded = Some(place);
                Ok(())
            }
            None => Err(format!("R22: nothing carries what the hub forwards: {lock:?}")),
        }
    }

    fn ends(&mut self, channel: ChannelId, id: u64, fate: Fate) {
        if let Some((_, lives)) = self.locks.get_mut(&(channel, id))
            && *lives == Fate::Lives
        {
            *lives = fate;
        }
    }

    /// R23: the hub gives a client's lock up, at this chain time.
    pub(super) fn hub_consents(
        &mut self,
        channel: ChannelId,
        lock_id: u64,
        now: UnixSeconds,
    ) -> Result<(), String> {
        let given = |given: &&Given| given.channel == channel && given.lock.id == lock_id;
        let forwarded = self
            .given
            .iter()
            .filter(given)
            .filter_map(|given| given.forwarded);
        for place in forwarded.filter(|_| !self.restored) {
            let Some((expiry, fate)) = self.locks.get(&place) else {
                continue;
            };
            let expired = now >= expiry.after(limits::LAG_DEFAULT_S);
            let acknowledged = self.acknowledged.get(&place.0).copied().unwrap_or_default();
            let dead = match fate {
                Fate::Lives => expired,
                Fate::Paid => false,
                Fate::DroppedAt(seq) => expired || acknowledged >= *seq,
            };
            if !dead {
                return Err(format!(
                    "R23: the hub gives lock {lock_id} of {channel} up, and {place:?}, which rests on it, is {fate:?}"
                ));
            }
        }
        self.end_given(channel, lock_id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::forge::unsigned as frame;
    use protocol_spec::{Address, Payee, Payment};

    const PAYER: ChannelId = ChannelId([1; 32]);
    const PAYEE: ChannelId = ChannelId([2; 32]);
    const ID: PaymentId = PaymentId([3; 16]);

    fn lock(amount: u128, expiry: u64) -> Op {
        Op::LockAdd {
            lock: Box::new(Lock {
                id: 1,
                amount: Amount(amount),
                expiry: UnixSeconds(expiry),
                hash: Digest([7; 32]),
                resolver: Address::default(),
            }),
            payment_id: ID,
            payee: Payee::Channel(PAYEE),
            fee_max: Amount::ZERO,
            invoice: Digest::ZERO,
        }
    }

    /// The payer's lock of 10 that expires at 10,000, and the hub's on it.
    fn forwarded(amount: u128, expiry: u64) -> (Forwarding, Result<(), String>) {
        let mut forwarding = Forwarding::default();
        forwarding.client_sends(&frame(PAYER, 1, 0, vec![lock(10, 10_000)]));
        let sent = forwarding.hub_sends(&frame(PAYEE, 1, 0, vec![lock(amount, expiry)]));
        (forwarding, sent)
    }

    #[test]
    fn r22_a_lock_rests_on_one_that_pays_as_much_and_lasts_longer() {
        let latest = 10_000 - limits::DELTA_DEFAULT_S;
        assert_eq!(forwarded(10, latest).1, Ok(()));
        assert!(forwarded(11, latest).1.is_err_and(|why| why.starts_with("R22")));
        assert!(
            forwarded(10, latest + 1)
                .1
                .is_err_and(|why| why.starts_with("R22"))
        );
        let nothing = Forwarding::default().hub_sends(&frame(PAYEE, 1, 0, vec![lock(10, latest)]));
        assert!(nothing.is_err_and(|why| why.starts_with("R22")));
    }

    #[test]
    fn r23_a_lock_is_given_up_when_what_rests_on_it_is_dead() {
        let expiry = 10_000 - limits::DELTA_DEFAULT_S;
        let (mut forwarding, _) = forwarded(10, expiry);
        let consents = |of: &Forwarding, now| of.clone().hub_consents(PAYER, 1, UnixSeconds(now));
        let late = expiry + limits::LAG_DEFAULT_S;
        assert!(consents(&forwarding, 0).is_err_and(|why| why.starts_with("R23")));
        assert_eq!(consents(&forwarding, late), Ok(()));
        let mut paid = forwarding.clone();
        let witness = vec![0; 32];
        paid.hub_sends(&frame(PAYEE, 2, 0, vec![Op::LockConvert { id: 1, witness }]))
            .unwrap();
        assert!(consents(&paid, late).is_err_and(|why| why.starts_with("R23")));
        forwarding
            .hub_sends(&frame(PAYEE, 2, 0, vec![Op::LockDrop { id: 1 }]))
            .unwrap();
        assert!(consents(&forwarding, 0).is_err());
        forwarding.client_sends(&frame(PAYEE, 1, 2, Vec::new()));
        assert_eq!(consents(&forwarding, 0), Ok(()));
    }

    #[test]
    fn r22_nothing_rests_on_a_lock_that_was_given_up() {
        let mut forwarding = Forwarding::default();
        forwarding.client_sends(&frame(PAYER, 1, 0, vec![lock(10, 10_000)]));
        assert_eq!(forwarding.hub_consents(PAYER, 1, UnixSeconds(0)), Ok(()));
        let sent = forwarding.hub_sends(&frame(PAYEE, 1, 0, vec![lock(10, 0)]));
        assert!(sent.is_err_and(|why| why.starts_with("R22")));
    }

    #[test]
    fn r24_a_credit_is_what_somebody_paid() {
        let credit = |amount| {
            let mut forwarding = Forwarding::default();
            let payment = Payment {
                payment_id: ID,
                payee: Payee::Channel(PAYEE),
                amount: Amount(5),
                fee_max: Amount::ZERO,
                expires_at: UnixSeconds(1),
                invoice: Digest::ZERO,
            };
            forwarding.client_sends(&frame(PAYER, 1, 0, vec![Op::Pay(payment)]));
            let credit = Credit {
                payment_id: ID,
                payer: Credit::payer_of(&PAYER, &ID),
                amount: Amount(amount),
                invoice: Digest::ZERO,
            };
            forwarding.hub_sends(&frame(PAYEE, 1, 0, vec![Op::Credit(credit)]))
        };
        assert_eq!(credit(5), Ok(()));
        assert!(credit(6).is_err_and(|why| why.starts_with("R24")));
    }
}
