//! What Mallory and a hub that lies have in common: vouchers that nobody else made, and what they keep for them.

use protocol_spec::{
    Amount, Digest, Domain, History, Op, SignedVoucher, SignerKey, Voucher, VoucherSignature, message::Frame,
};
#[cfg(test)]
use protocol_spec::{ChannelId, Seq, Signature};

/// Frames and vouchers kept for later.
const KEPT_MAX: usize = 64;

/// Keeps the newest.
pub(super) fn keep<T>(list: &mut Vec<T>, item: T) {
    list.push(item);
    if list.len() > KEPT_MAX {
        list.remove(0);
    }
}

/// The voucher with these operations, locks not among them, after that history and sum.
pub(super) fn extended(like: &Voucher, (history, paid): (Digest, Amount), ops: &[Op]) -> Voucher {
    let extend = |history: History, op: &Op| history.extended(op);
    let more = ops.iter().map(|op| match op {
        Op::Pay(payment) => payment.amount.0 + payment.fee_max.0,
        Op::Credit(credit) => credit.amount.0,
        Op::Return(returned) => returned.amount.0,
        _ => 0,
    });
    Voucher {
        history: ops.iter().fold(History(history), extend).0,
        paid: Amount(paid.0 + more.sum::<u128>()),
        ..like.clone()
    }
}

/// Signed, as it goes over the wire.
pub(super) fn frame(key: &SignerKey, domain: &Domain, voucher: Voucher, ops: Vec<Op>) -> Frame {
    let signature = VoucherSignature::Direct(key.sign(&voucher.digest(domain)));
    let voucher = SignedVoucher { voucher, signature };
    Frame { voucher, ops }
}

/// With a sum and acknowledged sum of nothing, and a signature that nobody verifies.
#[cfg(test)]
pub(super) fn unsigned(channel_id: ChannelId, seq: u64, ack_seq: u64, ops: Vec<Op>) -> Frame {
    let voucher = Voucher {
        channel_id,
        seq: Seq(seq),
        paid: Amount::ZERO,
        ack_seq: Seq(ack_seq),
        ack_paid: Amount::ZERO,
        locks: Digest::ZERO,
        history: Digest::ZERO,
    };
    let signature = VoucherSignature::Direct(Signature([0; 65]));
    let voucher = SignedVoucher { voucher, signature };
    Frame { voucher, ops }
}
