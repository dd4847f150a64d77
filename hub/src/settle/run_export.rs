//! `settle export`: evidence, countersigned for a watchtower.

use super::{
    CheckedEvidence, Node, SettleError,
    args::ExportArgs,
    files::{load, replace, say},
    output::Output,
    package::{Permission, SignedAccept, countersign, seal_package},
    run_send::signer,
    signer::Signer,
    text,
    view::{Phase, View},
};
use protocol_spec::{Accept, Address, Digest, UnixSeconds};
use serde_json::json;

/// Writes the package.
pub(super) async fn export(args: &ExportArgs) -> Result<Output, SettleError> {
    let signer = signer(&args.key, false).await?.ok_or_else(|| {
        SettleError::Usage(
            "the signer's key is needed: --key-file PATH, --key-env NAME or --signer SIGNER".to_owned(),
        )
    })?;
    if args.submitter == Address::ZERO {
        return Err(SettleError::Usage("--submitter must not be zero".to_owned()));
    }
    let evidence = load(&args.evidence)?;
    if evidence.accept().is_some() {
        return Err(SettleError::Usage(
            "--evidence is a package already; export from the evidence file".to_owned(),
        ));
    }
    evidence
        .warnings()
        .iter()
        .for_each(|warning| say(&format!("warning: {warning}")));
    require_no_mark(args, &evidence).await?;
    let permission = Permission {
        submitter: args.submitter,
        may_dispute: args.may_dispute,
        deadline: args.deadline,
    };
    let accept = countersign(&evidence, permission, signer.address())?;
    let signed = signed(args, &signer, &evidence, accept).await?;
    let package = seal_package(&evidence, signed);
    let text =
        serde_json::to_string_pretty(&package).map_err(|error| SettleError::Internal(error.to_string()))?;
    // It is checked as its reader will check it.
    CheckedEvidence::from_json(text.as_bytes())?;
    match &args.out {
        Some(path) => replace(path, text.as_bytes())?,
        None => {
            let value =
                serde_json::to_value(&package).map_err(|error| SettleError::Internal(error.to_string()))?;
            return Ok(Output::done(text, value));
        }
    }
    let seq = evidence
        .received()
        .voucher
        .as_ref()
        .map_or(0, |voucher| voucher.voucher().seq.0);
    let path = args
        .out
        .as_deref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    Ok(Output::done(
        format!(
            "{path}: voucher {seq} of channel {}, for {}{}, {}",
            evidence.id(),
            args.submitter,
            if args.may_dispute {
                ", which may also start a dispute"
            } else {
                ""
            },
            args.deadline.map_or_else(
                || "without an end".to_owned(),
                |at| format!("until {}", text::utc(at))
            )
        ),
        json!({
            "command": "export", "package": path, "channel_id": evidence.id(), "seq": seq.to_string(),
            "submitter": args.submitter, "may_dispute": args.may_dispute, "deadline": args.deadline,
        }),
    ))
}

/// The countersignature: that of the package that is there already, when it says the same. A person at the signer is asked
/// once for one decision, however often this is run. Either is checked with the package.
async fn signed(
    args: &ExportArgs,
    signer: &Signer,
    evidence: &CheckedEvidence,
    accept: Accept,
) -> Result<SignedAccept, SettleError> {
    let before = args.out.as_deref().and_then(|path| load(path).ok());
    let before = before.and_then(|package| package.accept().cloned());
    if let Some(signed) = before.filter(|signed| signed.accept == accept) {
        return Ok(signed);
    }
    let signature = signer.accept(&accept, evidence.domain()).await?;
    Ok(SignedAccept { accept, signature })
}

/// R28: never while a marked lock is unconverted, because showing a newer voucher drops its count, and a submitter cannot
/// count it again. A voucher without locks has none: a marked lock leaves only by conversion (R5).
async fn require_no_mark(args: &ExportArgs, evidence: &CheckedEvidence) -> Result<(), SettleError> {
    let received = evidence.received();
    let locked = received
        .voucher
        .as_ref()
        .is_some_and(|voucher| voucher.voucher().locks != Digest::ZERO);
    let (true, payer) = (locked, evidence.side().other()) else {
        return Ok(());
    };
    if received.locks.is_empty() {
        return Err(SettleError::Refused(
            "the voucher has locks that this file does not list: whether one is marked (R28) cannot be known"
                .to_owned(),
        ));
    }
    let Some(url) = &args.rpc_url else {
        return Err(SettleError::Usage(
            "--rpc-url is needed: the voucher has locks, and whether one is marked (R28) is on chain"
                .to_owned(),
        ));
    };
    let node = Node::connect(url).await?;
    node.check(evidence.domain()).await?;
    let view = View::read(&node, evidence).await?;
    if matches!(view.phase, Phase::Closed | Phase::None) {
        return Err(SettleError::NothingToDo("the channel is not open".to_owned()));
    }
    let marked = received
        .locks
        .iter()
        .filter(|lock| view.adjudication.marks.contains_key(&(payer, lock.leaf())));
    match marked.count() {
        0 => {
            let last = received
                .locks
                .iter()
                .map(|lock| lock.expiry)
                .max()
                .unwrap_or(UnixSeconds(0));
            say(&format!(
                "warning: {} locks can be resolved by you only, the last by {}",
                received.locks.len(),
                text::utc(last)
            ));
            Ok(())
        }
        count => Err(SettleError::Refused(format!(
            "R28: {count} locks were resolved on chain and are not converted yet: a watchtower that showed this voucher would \
             drop what they count; have them converted first"
        ))),
    }
}
