//! Words of the model in those of the protocol: steps are seconds, locks have hashes, vouchers have digests.

use crate::chain::{Close, LOCKS, Terms, Voucher, Withdraw};
use crate::honest::{LAG, Op};
use protocol_spec::{
    Address, Amount, Channel, Close as RealClose, Condition, Config, Credit, Digest, Domain, History, Lock,
    Op as RealOp, Opened, Payee, Payment, PaymentId, Preimage, Seq, Side, Signature, SignedVoucher,
    UnixSeconds, VerifiedVoucher, Voucher as RealVoucher, VoucherSignature, Withdraw as RealWithdraw,
    Witness,
    channel::{Clock, Delays},
};

/// A step, so that a window of three of them is a challenge period the adjudicator would open with.
const STEP_S: u64 = 1800;
const START_S: u64 = 1_800_000_000;
const CLIENT: Address = Address::repeat_byte(1);
const HUB: Address = Address::repeat_byte(2);

/// What does not change, and is the same in every replay of an instance.
#[derive(Debug)]
pub(super) struct World {
    /// The adjudicator's.
    pub(super) domain: Domain,
    /// Of the model.
    pub(super) terms: Terms,
}

/// An amount.
#[must_use]
pub(super) fn amount(value: u8) -> Amount {
    Amount(value.into())
}

/// A step's point in time.
#[must_use]
pub(super) fn at(step: u8) -> UnixSeconds {
    UnixSeconds(START_S + u64::from(step) * STEP_S)
}

/// Both times in a step.
#[must_use]
pub(super) fn clock(now: u8) -> Clock {
    Clock {
        now: at(now),
        chain: at(now.saturating_sub(LAG)),
    }
}

fn preimage(payer: usize, lock: usize) -> Preimage {
    let mut bytes = [7; 32];
    (bytes[0], bytes[1]) = (u8::from(payer == 1), u8::from(lock == 1));
    Preimage(bytes)
}

/// What opens a lock.
#[must_use]
pub(super) fn opened(payer: usize, lock: usize) -> Opened {
    let preimage = preimage(payer, lock);
    Opened::by_hash(Condition::preimage(&preimage), Witness::from(preimage)).expect("it opens")
}

impl World {
    /// Of these terms.
    #[must_use]
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            domain: Domain::new(31_337, Address::repeat_byte(3)),
            terms,
        }
    }

    /// The side of party 0 or 1.
    #[must_use]
    pub(super) fn side(&self, party: usize) -> Side {
        if party == 0 {
            self.terms.side
        } else {
            self.terms.side.other()
        }
    }

    /// The party of a side.
    #[must_use]
    pub(super) fn party(&self, side: Side) -> usize {
        usize::from(side != self.terms.side)
    }

    /// The honest party's channel before anything happened.
    #[must_use]
    pub(super) fn channel(&self) -> Channel {
        let config = Config {
            client: CLIENT,
            client_signer: CLIENT,
            hub: HUB,
            hub_signer: HUB,
            token: Address::ZERO,
            challenge_period_s: u64::from(self.terms.window) * STEP_S,
            salt: Digest::ZERO,
        };
        let delays = Delays {
            lag_s: STEP_S,
            act_s: STEP_S,
        };
        Channel::new(config, &self.domain, self.terms.side, delays).expect("the terms are good")
    }

    /// The operations of a voucher of `payer` with this seq. `id` is the lock's.
    #[must_use]
    pub(super) fn ops(&self, payer: usize, seq: u8, op: Op, id: u64) -> Vec<RealOp> {
        let payment_id = PaymentId([seq; 16]);
        let payee = Payee::Account(HUB);
        vec![match op {
            Op::Ack => return Vec::new(),
            Op::Pay if self.side(payer) == Side::Client => RealOp::Pay(Payment {
                payment_id,
                payee,
                amount: amount(1),
                fee_max: Amount::ZERO,
                expires_at: at(u8::MAX),
                invoice: Digest::ZERO,
            }),
            Op::Pay => RealOp::Credit(Credit {
                payment_id,
                payer: Digest::ZERO,
                amount: amount(1),
                invoice: Digest::ZERO,
            }),
            Op::Add(i) => RealOp::LockAdd {
                lock: Box::new(self.lock(payer, i, id)),
                payment_id,
                payee,
                fee_max: Amount::ZERO,
                invoice: Digest::ZERO,
            },
            Op::Convert(i) => RealOp::LockConvert {
                id,
                witness: preimage(payer, i).0.to_vec(),
            },
            Op::Drop(_) => RealOp::LockDrop { id },
        }]
    }

    fn lock(&self, payer: usize, i: usize, id: u64) -> Lock {
        Lock {
            id,
            amount: amount(1),
            expiry: at(self.terms.expiry[payer][i]),
            hash: Condition::preimage(&preimage(payer, i)).hash,
            resolver: Address::ZERO,
        }
    }

    /// These locks of a voucher of `payer`, in ascending id.
    #[must_use]
    pub(super) fn locks(&self, payer: usize, locks: [u8; LOCKS], ids: &[u64; LOCKS]) -> Vec<Lock> {
        let mut listed: Vec<_> = (0..LOCKS)
            .filter(|i| locks[*i] > 0)
            .map(|i| self.lock(payer, i, ids[i]))
            .collect();
        listed.sort_by_key(|lock| lock.id);
        listed
    }

    /// What a voucher of `payer` commits to with these locks.
    #[must_use]
    pub(super) fn commitment(&self, payer: usize, locks: [u8; LOCKS], ids: &[u64; LOCKS]) -> Digest {
        let listed = self.locks(payer, locks, ids);
        if listed.is_empty() {
            return Digest::ZERO;
        }
        let leaves = listed.iter().map(Lock::leaf).collect();
        protocol_spec::LocksOpening {
            root: protocol_spec::batch::Tree::new(leaves).root(),
            total: Amount(listed.iter().map(|lock| lock.amount.0).sum()),
            max_expiry: listed.iter().map(|lock| lock.expiry).max().unwrap_or_default(),
        }
        .commitment()
    }

    /// The other party's voucher, after `history`, as if its signature had been checked.
    #[must_use]
    pub(super) fn signed(
        &self,
        channel: &Channel,
        v: &Voucher,
        locks: Digest,
        ops: &[RealOp],
    ) -> VerifiedVoucher {
        let history = ops
            .iter()
            .fold(History(channel.received().history), History::extended);
        self.verified(
            1,
            RealVoucher {
                channel_id: channel.id(),
                seq: Seq(v.seq.into()),
                paid: amount(v.paid),
                ack_seq: Seq(v.ack_seq.into()),
                ack_paid: amount(v.ack_paid),
                locks,
                history: history.0,
            },
        )
    }

    /// A voucher of `payer`, as if its signature had been checked.
    #[must_use]
    pub(super) fn verified(&self, payer: usize, voucher: RealVoucher) -> VerifiedVoucher {
        let signature = VoucherSignature::Direct(Signature([0; 65]));
        let signer = if self.side(payer) == Side::Client {
            CLIENT
        } else {
            HUB
        };
        VerifiedVoucher::assume_verified(SignedVoucher { voucher, signature }, &self.domain, signer)
    }

    /// A withdrawal.
    #[must_use]
    pub(super) fn withdraw(&self, channel: &Channel, w: &Withdraw) -> RealWithdraw {
        let (client, hub) = (self.party(Side::Client), self.party(Side::Hub));
        RealWithdraw {
            channel_id: channel.id(),
            side: self.side(w.side.into()),
            total: amount(w.total),
            client_seq: Seq(w.seq[client].into()),
            client_paid: amount(w.paid[client]),
            hub_seq: Seq(w.seq[hub].into()),
            hub_paid: amount(w.paid[hub]),
            deadline: at(w.deadline),
        }
    }

    /// A close.
    #[must_use]
    pub(super) fn close(&self, channel: &Channel, c: &Close) -> RealClose {
        let (client, hub) = (self.party(Side::Client), self.party(Side::Hub));
        RealClose {
            channel_id: channel.id(),
            client_deposit: amount(c.dep[client]),
            hub_deposit: amount(c.dep[hub]),
            client_balance: amount(c.balance[client]),
            hub_balance: amount(c.balance[hub]),
            deadline: at(c.deadline),
        }
    }
}
