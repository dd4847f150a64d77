//! Runs a parsed command line: reads files, calls the library, writes stdout and stderr.

use super::{
    CheckedEvidence, Exit, Intent, Node, Plan, Progress, ReceiptFile, Settle, SettleError, TokenInfo, Verb,
    cli::{ChainArgs, Cli, Command, SendArgs, VerifyArgs},
    key, render, render_verified, view,
};
use alloy::{eips::BlockId, network::EthereumWallet, signers::local::PrivateKeySigner};
use protocol_spec::Address;
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    path::Path,
    time::Duration,
};

/// Largest evidence or receipt file, bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What goes to stdout.
struct Output {
    text: String,
    json: Value,
}

/// Runs the command and says how it ended.
pub(super) async fn run(cli: Cli) -> Exit {
    let as_json = cli.json;
    let result = match cli.command {
        Command::Status(args) => status(&args).await,
        Command::Dispute(args) => send(&args.send, Verb::Dispute, args.force, args.without_evidence).await,
        Command::Submit(args) => send(&args.send, Verb::Submit, args.force, false).await,
        Command::Finalize(args) => send(&args, Verb::Finalize, false, false).await,
        Command::Claim(args) => claim(&args).await,
        Command::Verify(args) => verify(&args),
    };
    let (exit, data) = match result {
        Ok(output) if as_json => (Exit::Done, pretty(&output.json)),
        Ok(output) => (Exit::Done, output.text),
        Err(error) => {
            say(&format!("settle: {error}"));
            let data = if as_json {
                pretty(&render::error_json(&error))
            } else {
                String::new()
            };
            (error.exit(), data)
        }
    };
    let written = match data.is_empty() {
        true => Ok(()),
        false => writeln!(std::io::stdout().lock(), "{data}"),
    };
    match written {
        Ok(()) => exit,
        Err(_) => Exit::Internal,
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Words to stderr; nobody listening is no failure.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn read(what: &str, path: &Path) -> Result<Vec<u8>, SettleError> {
    let unreadable =
        |error: std::io::Error| SettleError::Usage(format!("--{what} {}: {error}", path.display()));
    let mut bytes = Vec::new();
    // The length that the file system tells is not asked: a pipe or a device has none.
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(SettleError::Usage(format!(
            "--{what} {}: larger than 4 MiB",
            path.display()
        )));
    }
    Ok(bytes)
}

fn load(path: &Path) -> Result<CheckedEvidence, SettleError> {
    Ok(CheckedEvidence::from_json(&read("evidence", path)?)?)
}

async fn open(args: &ChainArgs) -> Result<Settle, SettleError> {
    let evidence = load(&args.evidence)?;
    Settle::open(Node::connect(&args.rpc_url).await?, evidence).await
}

async fn status(args: &ChainArgs) -> Result<Output, SettleError> {
    let settle = open(args).await?;
    let status = settle.status().await?;
    status
        .warnings
        .iter()
        .for_each(|warning| say(&format!("warning: {warning}")));
    Ok(Output {
        text: render::status_table(settle.evidence(), &status),
        json: render::status_json(settle.evidence(), &status),
    })
}

async fn claim(args: &super::cli::ClaimArgs) -> Result<Output, SettleError> {
    let token = match args.token {
        Some(token) => token,
        None => load(&args.send.chain.evidence)?.raw().config.token,
    };
    send(&args.send, Verb::Claim { token, to: args.to }, false, false).await
}

/// The key, if one was named. A literal is refused before anything else happens.
fn signer(args: &SendArgs) -> Result<Option<PrivateKeySigner>, SettleError> {
    if args.key.is_some() {
        return Err(SettleError::Usage(key::LITERAL.to_owned()));
    }
    let signer = match (&args.key_file, &args.key_env) {
        (Some(path), _) => Some(key::from_file(path)?),
        (None, Some(name)) => Some(key::from_env(name)?),
        (None, None) => None,
    };
    match (&signer, args.broadcast) {
        (None, true) => Err(SettleError::Usage(
            "--broadcast needs --key-file PATH or --key-env NAME".to_owned(),
        )),
        _ => Ok(signer),
    }
}

async fn send(
    args: &SendArgs,
    verb: Verb,
    force: bool,
    without_evidence: bool,
) -> Result<Output, SettleError> {
    let signer = signer(args)?;
    let settle = open(&args.chain).await?;
    let config = &settle.evidence().raw().config;
    let account = config.account(settle.evidence().side());
    let sender = match &signer {
        Some(signer) => signer.address(),
        None => args.from.unwrap_or(account),
    };
    let plan = settle
        .plan(Intent {
            verb,
            sender,
            force,
            without_evidence,
        })
        .await?;
    plan.notes.iter().for_each(|note| say(&format!("note: {note}")));
    let call = plan.transaction();
    let cost = settle.node().simulate(&call).await?;
    if cost.too_expensive() {
        say(&format!(
            "note: {sender} holds {} wei, it may need {} wei",
            cost.balance,
            cost.wei_max()
        ));
    }
    let token = token(&settle, verb).await?;
    let (mut hash, mut mined) = (None, None);
    if let (Some(signer), true) = (signer, args.broadcast) {
        let wallet = EthereumWallet::from(signer);
        let sent = settle.node().broadcast(&call, &cost, &wallet).await?;
        say(&format!("sent {sent}"));
        hash = Some(sent);
        if let Some(confirmations) = args.wait {
            let mut told = None;
            let mut tell = |progress: Progress| told = progress.told_after(told);
            mined = Some(
                settle
                    .node()
                    .wait_telling(&call, sent, confirmations, &mut tell)
                    .await?,
            );
        }
        after(&settle, &plan, mined.is_some()).await;
    }
    let sent = render::Sent {
        evidence: settle.evidence(),
        plan: &plan,
        cost: &cost,
        token: &token,
        hash,
        mined,
    };
    Ok(Output {
        text: render::sent_table(&sent),
        json: render::sent_json(&sent),
    })
}

async fn token(settle: &Settle, verb: Verb) -> Result<TokenInfo, SettleError> {
    let address = match verb {
        Verb::Claim { token, .. } => token,
        _ => settle.evidence().raw().config.token,
    };
    view::token_info(settle.node(), address, BlockId::latest()).await
}

/// Pause between two lines about a transaction that is in no block yet.
const TELL_EVERY: Duration = Duration::from_secs(15);

impl Progress {
    /// Says how far it is when that is news since `told`; what was told last.
    fn told_after(self, told: Option<Self>) -> Option<Self> {
        let news = match (told, self) {
            (Some(Self::Pending { waited: before, .. }), Self::Pending { waited, .. }) => {
                waited >= before.saturating_add(TELL_EVERY)
            }
            (told, now) => told != Some(now),
        };
        if news {
            say(&self.to_string());
        }
        if news { Some(self) } else { told }
    }
}

/// What to do next. The transaction is what counts, so a failure here is not one of the command.
async fn after(settle: &Settle, plan: &Plan, mined: bool) {
    if !mined {
        return say("not waited for: run `settle status` to see it happen");
    }
    if matches!(plan.verb, Verb::Claim { .. }) {
        return;
    }
    if let Ok(status) = settle.status().await {
        say(&format!("next: {}", status.next));
    }
}

fn verify(args: &VerifyArgs) -> Result<Output, SettleError> {
    let evidence = args.evidence.as_deref().map(load).transpose()?;
    match (&args.receipt, evidence) {
        (Some(path), evidence) => verify_receipt(path, args.hub_signer, evidence.as_ref()),
        (None, Some(evidence)) => {
            evidence
                .warnings()
                .iter()
                .for_each(|warning| say(&format!("warning: {warning}")));
            Ok(Output {
                text: render_verified::verified_table(&evidence),
                json: render_verified::verified_json(&evidence),
            })
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
    Ok(Output {
        text: format!(
            "receipt of {} base units in channel {} (voucher {}), at {}, signed by hub {signer}: valid{held}",
            receipt.amount, receipt.payee_channel, receipt.payee_seq, receipt.at
        ),
        json: json!({
            "command": "verify", "valid": true, "hub_signer": signer, "receipt": receipt, "enforceable": enforceable,
        }),
    })
}
