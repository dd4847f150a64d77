//! Every example runs, succeeds, and says so.

use std::{
    io,
    process::Command,
    time::{Duration, Instant},
};

/// One that hangs fails; a slow machine that runs all of them at once does not.
const LONGEST: Duration = Duration::from_secs(180);

fn run(program: &str, expected: &[&str]) -> io::Result<()> {
    let began = Instant::now();
    let output = Command::new(program).output()?;
    let (took, said) = (began.elapsed(), String::from_utf8_lossy(&output.stdout));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);
    for line in expected {
        assert!(
            said.lines().any(|said| said == *line),
            "no line {line:?} in\n{said}"
        );
    }
    assert!(took < LONGEST, "it took {took:?}");
    Ok(())
}

#[test]
fn pay_once() -> io::Result<()> {
    let expected = ["closed; alice has 749750 on chain again", "ok: it adds up"];
    run(env!("CARGO_BIN_EXE_pay_once"), &expected)
}

#[test]
fn stream_payments() -> io::Result<()> {
    let expected = [
        "alice paid 500000 and 1000 in fees",
        "the merchant received 500000; her vouchers are worth 500000 on chain",
        "ok: it adds up",
    ];
    run(env!("CARGO_BIN_EXE_stream_payments"), &expected)
}

#[test]
fn merchant_stream() -> io::Result<()> {
    let expected = [
        "the merchant stops after 4 payments",
        "ok: 20 payments, each exactly once, 210000 in all",
    ];
    run(env!("CARGO_BIN_EXE_merchant_stream"), &expected)
}

#[test]
fn pay_locked() -> io::Result<()> {
    let expected = [
        "alice paid 250000 and holds the merchant's secret as proof",
        "the merchant received 250000",
        "the merchant is away: PayeeOffline; alice pays directly instead",
        "ok: paid once, proven, and nothing left in locks",
    ];
    run(env!("CARGO_BIN_EXE_pay_locked"), &expected)
}

#[test]
fn exit_without_hub() -> io::Result<()> {
    let expected = [
        "the merchant's tokens on chain: 0 before, 334567 now",
        "ok: everything received was paid out, without the hub",
    ];
    run(env!("CARGO_BIN_EXE_exit_without_hub"), &expected)
}

#[test]
fn escrow() -> io::Result<()> {
    let expected = [
        "the seller's own signature releases nothing",
        "the arbiter signs: the seller received 250000",
        "the buyer paid 250000 and holds the arbiter's release as proof",
        "order 18 is off: the buyer has its money back",
        "the seller has 550000 on chain",
        "ok: released off chain and on chain, and by nobody but the arbiter",
    ];
    run(env!("CARGO_BIN_EXE_escrow"), &expected)
}
