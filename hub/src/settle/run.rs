//! Runs a parsed command line: reads files, calls the library, writes stdout and stderr.

use super::{
    Exit, Node, Settle, SettleError, Verb,
    args::{ChainArgs, ClaimArgs, CooperativeArgs, Format, KeyArgs, LocksArgs, PlanArgs},
    batch,
    cli::{Cli, Command},
    cooperative::CooperativeFile,
    files::{load, read, say},
    forecast,
    output::{Output, line},
    render, render_forecast, run_export,
    run_send::{What, send, signer},
    run_verify, watch,
};
use serde_json::json;
use std::io::Write as _;

/// Runs the command and says how it ended.
pub(super) async fn run(cli: Cli) -> Exit {
    let format = cli.format();
    let result = dispatch(cli.command, format).await;
    let (exit, data) = match result {
        Ok(output) => {
            let data = match format {
                Format::Table => output.text,
                Format::Json => pretty(&output.json),
                Format::Ndjson => output.json.to_string(),
            };
            (output.exit, data)
        }
        Err(error) => {
            say(&format!("settle: {error}"));
            let json = render::error_json(&error);
            let data = match format {
                Format::Table => String::new(),
                Format::Json => pretty(&json),
                Format::Ndjson => {
                    line(&json);
                    String::new()
                }
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

async fn dispatch(command: Command, format: Format) -> Result<Output, SettleError> {
    let verb = |verb, force| What::Verb {
        verb,
        force,
        without_evidence: false,
        left_out: Vec::new(),
    };
    let showing = |verb, force, locks: LocksArgs| What::Verb {
        verb,
        force,
        without_evidence: false,
        left_out: locks.leave_out_locks,
    };
    match command {
        Command::Status(args) => status(&args).await,
        Command::Plan(args) => plan(&args).await,
        Command::Dispute(args) => {
            let what = What::Verb {
                verb: Verb::Dispute,
                force: args.force,
                without_evidence: args.without_evidence,
                left_out: args.locks.leave_out_locks,
            };
            send(&args.send, format, what).await
        }
        Command::Submit(args) => {
            let what = showing(Verb::Submit, args.force, args.locks);
            send(&args.send, format, what).await
        }
        Command::Resolve(args) => send(&args.send, format, showing(Verb::Resolve, false, args.locks)).await,
        Command::Finalize(args) => send(&args, format, verb(Verb::Finalize, false)).await,
        Command::Claim(args) => claim(&args, format).await,
        Command::Close(args) => cooperate(&args, format, "close").await,
        Command::Withdraw(args) => cooperate(&args, format, "withdraw").await,
        Command::CancelDispute(args) => cooperate(&args, format, "cancel-dispute").await,
        Command::Export(args) => run_export::export(&args).await,
        Command::Watch(args) => watch::run(&args, format).await,
        Command::Batch(args) => batch::run(&args.verb, format).await,
        Command::Address(args) => address(&args).await,
        Command::Verify(args) => run_verify::verify(&args),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Evidence and a node that was checked against it.
pub(super) async fn open(args: &ChainArgs) -> Result<Settle, SettleError> {
    let evidence = load(&args.evidence)?;
    Settle::open(Node::open(&args.node).await?, evidence).await
}

async fn address(args: &KeyArgs) -> Result<Output, SettleError> {
    let signer = signer(args, false).await?.ok_or_else(|| {
        SettleError::Usage(
            "whose address? --key-file PATH, --key-env NAME, --signer SIGNER or --ledger".to_owned(),
        )
    })?;
    let address = signer.address();
    Ok(Output::done(
        address.to_string(),
        json!({"command": "address", "address": address}),
    ))
}

async fn status(args: &ChainArgs) -> Result<Output, SettleError> {
    let settle = open(args).await?;
    let status = settle.status().await?;
    status
        .warnings
        .iter()
        .for_each(|warning| say(&format!("warning: {warning}")));
    Ok(Output::done(
        render::status_table(settle.evidence(), &status),
        render::status_json(settle.evidence(), &status),
    ))
}

async fn plan(args: &PlanArgs) -> Result<Output, SettleError> {
    let settle = open(&args.chain).await?;
    let forecast = forecast::forecast(&settle, args.from).await?;
    forecast
        .status
        .warnings
        .iter()
        .for_each(|warning| say(&format!("warning: {warning}")));
    Ok(Output::done(
        render_forecast::table(settle.evidence(), &forecast),
        render_forecast::json(settle.evidence(), &forecast),
    ))
}

async fn claim(args: &ClaimArgs, format: Format) -> Result<Output, SettleError> {
    let token = match args.token {
        Some(token) => token,
        None => load(&args.send.chain.evidence)?.raw().config.token,
    };
    let what = What::Verb {
        verb: Verb::Claim { token, to: args.to },
        force: false,
        without_evidence: false,
        left_out: Vec::new(),
    };
    send(&args.send, format, what).await
}

async fn cooperate(
    args: &CooperativeArgs,
    format: Format,
    command: &'static str,
) -> Result<Output, SettleError> {
    let evidence = load(&args.send.chain.evidence)?;
    let file = CooperativeFile::from_json(&read("message", &args.message)?, command, &evidence)?;
    let what = What::Message {
        file: Box::new(file),
        force: args.force,
    };
    send(&args.send, format, what).await
}
