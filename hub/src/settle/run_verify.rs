//! `settle verify`: an evidence file, a package or a receipt, offline.

use super::{
    CheckedEvidence, ReceiptFile, SettleError,
    args::VerifyArgs,
    files::{load, read, say},
    output::Output,
    render_verified,
};
use protocol_spec::Address;
use serde_json::json;
use std::path::Path;

/// Checks what is named, and whether one belongs to the other.
pub(super) fn verify(args: &VerifyArgs) -> Result<Output, SettleError> {
    let evidence = args.evidence.as_deref().map(load).transpose()?;
    match (&args.receipt, evidence) {
        (Some(path), evidence) => verify_receipt(path, args.hub_signer, evidence.as_ref()),
        (None, Some(evidence)) => {
            evidence
                .warnings()
                .iter()
                .for_each(|warning| say(&format!("warning: {warning}")));
            Ok(Output::done(
                render_verified::verified_table(&evidence),
                render_verified::verified_json(&evidence),
            ))
        }
        (None, None) => Err(SettleError::Usage("--evidence or --receipt is needed".to_owned())),
    }
}

fn verify_receipt(
    path: &Path,
    hub_signer: Option<Address>,
    evidence: Option<&CheckedEvidence>,
) -> Result<Output, SettleError> {
    let file = ReceiptFile::from_json(&read("receipt", path)?)?;
    let by_evidence = evidence.map(|evidence| evidence.raw().config.hub_signer);
    let signer = hub_signer.or(by_evidence).ok_or_else(|| {
        SettleError::Usage(
            "--receipt needs --hub-signer ADDRESS or the payee's --evidence: who the hub is must not come from the receipt"
                .to_owned(),
        )
    })?;
    let refused = |text: &str| Err(SettleError::Refused(text.to_owned()));
    if by_evidence.is_some_and(|known| known != signer) {
        return refused("--hub-signer is not the signer in the evidence's config");
    }
    if let Some(evidence) = evidence {
        if *evidence.domain() != file.domain() {
            return refused("the receipt is for another chain or adjudicator than the evidence");
        }
        if evidence.id() != file.receipt.payee_channel {
            return refused("the receipt credits another channel than the evidence's");
        }
    }
    file.verify(signer)?;
    // Only the payee's evidence shows whether what the receipt proves can also be enforced.
    let enforceable = evidence
        .filter(|evidence| evidence.side() == protocol_spec::Side::Client)
        .map(|evidence| {
            let voucher = evidence.received().voucher.as_ref();
            voucher.is_some_and(|voucher| voucher.voucher().seq >= file.receipt.payee_seq)
        });
    let receipt = &file.receipt;
    let held = match enforceable {
        Some(true) => "; the evidence holds that voucher or a newer one",
        Some(false) => {
            "; the evidence does not hold that voucher yet: the receipt proves, it does not enforce"
        }
        None => "",
    };
    Ok(Output::done(
        format!(
            "receipt of {} base units in channel {} (voucher {}), at {}, signed by hub {signer}: valid{held}",
            receipt.amount, receipt.payee_channel, receipt.payee_seq, receipt.at
        ),
        json!({
            "command": "verify", "valid": true, "hub_signer": signer, "receipt": receipt, "enforceable": enforceable,
        }),
    ))
}
