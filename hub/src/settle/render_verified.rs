//! What `settle verify` prints about evidence.

use super::{
    evidence::{CheckedDirection, CheckedEvidence},
    render::table,
    text,
};
use protocol_spec::{Side, VerifiedVoucher, VoucherSignature};
use serde_json::{Value, json};

/// `settle verify` of evidence for programs.
pub(super) fn verified_json(evidence: &CheckedEvidence) -> Value {
    let direction = |direction: &CheckedDirection| {
        direction.voucher.as_ref().map(|verified| {
            let voucher = verified.voucher();
            json!({
                "seq": voucher.seq, "paid": voucher.paid, "ack_seq": voucher.ack_seq, "ack_paid": voucher.ack_paid,
                "signer": verified.signer(), "batch": is_batch(verified), "locks": direction.locks.len(),
                "witnesses": direction.witnesses.len(),
            })
        })
    };
    json!({
        "command": "verify",
        "valid": true,
        "channel_id": evidence.id(),
        "side": evidence.side(),
        "received": direction(evidence.received()),
        "sent": direction(evidence.sent()),
        "warnings": evidence.warnings(),
    })
}

/// `settle verify` of evidence for people.
pub(super) fn verified_table(evidence: &CheckedEvidence) -> String {
    let mut table = table(&[
        "voucher",
        "seq",
        "paid",
        "ack_seq",
        "ack_paid",
        "locks",
        "signature",
    ]);
    let payer = |received: bool| match (evidence.side(), received) {
        (Side::Client, true) | (Side::Hub, false) => "hub pays client",
        _ => "client pays hub",
    };
    for (received, direction) in [(true, evidence.received()), (false, evidence.sent())] {
        let Some(verified) = &direction.voucher else {
            table.add_row([payer(received), "none"]);
            continue;
        };
        let voucher = verified.voucher();
        table.add_row([
            payer(received).to_owned(),
            voucher.seq.to_string(),
            voucher.paid.to_string(),
            voucher.ack_seq.to_string(),
            voucher.ack_paid.to_string(),
            format!(
                "{} ({} witnesses)",
                direction.locks.len(),
                direction.witnesses.len()
            ),
            format!(
                "{} by {}",
                if is_batch(verified) { "batch" } else { "direct" },
                verified.signer()
            ),
        ]);
    }
    format!(
        "evidence of the {} of channel {}: valid\n{table}",
        text::side(evidence.side()),
        evidence.id()
    )
}

fn is_batch(verified: &VerifiedVoucher) -> bool {
    matches!(verified.signed().signature, VoucherSignature::Batch { .. })
}
