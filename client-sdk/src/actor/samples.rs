//! What several tests of the actor begin with.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use super::entry::Entry;
use protocol_spec::{
    Address, Amount, Channel, Config, Credit, Digest, Domain, Lock, Op, Payee, PaymentId, Side,
    SignedVoucher, SignerKey, UnixSeconds, VoucherSignature,
    channel::{Clock, Delays},
};

pub(super) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

const CLOCK: Clock = Clock { now: NOW, chain: NOW };

fn key(byte: u8) -> SignerKey {
    SignerKey::from_bytes(&[byte; 32]).unwrap()
}

fn domain() -> Domain {
    Domain::new(31337, Address::repeat_byte(6))
}

/// One side of a channel without vouchers, in which the hub has 1000.
fn channel(side: Side) -> Channel {
    let (client, hub) = (key(1), key(2));
    let config = Config {
        client: client.address(),
        client_signer: client.address(),
        hub: Address::repeat_byte(3),
        hub_signer: hub.address(),
        token: Address::ZERO,
        challenge_period_s: 86_400,
        salt: Digest([5; 32]),
    };
    let mut channel = Channel::new(config, &domain(), side, Delays::default()).unwrap();
    channel.deposit_confirmed(Side::Hub, Amount(1000));
    channel
}

/// A client's channel without vouchers.
pub(super) fn untouched() -> Entry {
    Entry::new(channel(Side::Client))
}

/// A client's channel whose newest voucher is the hub's first one, with `ops`.
pub(super) fn with_first_voucher(ops: &[Op]) -> Entry {
    let hub = key(2);
    let issued = channel(Side::Hub).issue(ops, &domain(), CLOCK).unwrap();
    let signature = VoucherSignature::Direct(hub.sign(&issued.digest));
    let voucher = SignedVoucher {
        voucher: issued.voucher,
        signature,
    };
    let verified = voucher.verify(&domain(), &hub.public(), true).unwrap();
    let mut mine = channel(Side::Client);
    mine.accept(&verified, ops, CLOCK).unwrap();
    Entry::new(mine)
}

pub(super) fn lock_of(amount: u128) -> Op {
    let lock = Lock {
        id: 1,
        amount: Amount(amount),
        expiry: NOW.after(3600),
        hash: Digest([7; 32]),
        resolver: Address::ZERO,
    };
    Op::LockAdd {
        lock: Box::new(lock),
        payment_id: PaymentId([1; 16]),
        payee: Payee::Account(Address::repeat_byte(4)),
        fee_max: Amount::ZERO,
        invoice: Digest::ZERO,
    }
}

pub(super) fn credit_of(amount: u128) -> Op {
    Op::Credit(Credit {
        payment_id: PaymentId([2; 16]),
        payer: Digest([8; 32]),
        amount: Amount(amount),
        invoice: Digest::ZERO,
    })
}
