//! The closing table: token balances on chain beside everybody's own ledger. Never the hub's database.

use super::{
    people::{Ledger, People},
    traffic::Report,
};
use crate::stage::{
    child::Usage,
    world::{VAULT, World},
};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use std::io::Write;

/// A group of accounts in the table.
struct Group {
    name: String,
    given: u128,
    paid: u128,
    fees: u128,
    received: u128,
    expected: u128,
    on_chain: u128,
}

/// Prints the table and the figures; returns what does not add up.
pub(super) async fn print(
    world: &World,
    people: &People,
    (payers, merchants): &(Vec<Ledger>, Vec<Ledger>),
    report: &Report,
    usage: &Usage,
    left_open: bool,
) -> anyhow::Result<Vec<String>> {
    let mut differences = Vec::new();
    // A channel whose dispute is still open has not paid out.
    let (open, settled) = payers.split_at(usize::from(left_open));
    let (open_shop, settled_shops) = merchants.split_at(usize::from(left_open));
    let clients = group(world, "clients", settled, &mut differences).await?;
    let shops = group(world, "merchants", settled_shops, &mut differences).await?;
    let fees = sum(payers, |ledger| ledger.fees);
    let hub = Group {
        name: "hub (vault)".to_owned(),
        given: VAULT,
        paid: 0,
        fees,
        received: 0,
        expected: VAULT.saturating_add(fees),
        on_chain: world.vault().await?,
    };
    let held = world.tokens_of(world.deployed.adjudicator).await?;
    let in_channels = held.saturating_sub(hub.on_chain);
    let minted = VAULT.saturating_add(sum(payers, |ledger| ledger.endowment));
    let kept_by_open = keep_open(world, open)
        .await?
        .saturating_add(keep_open(world, open_shop).await?);
    let found = clients
        .on_chain
        .saturating_add(shops.on_chain)
        .saturating_add(held)
        .saturating_add(kept_by_open);
    check(&mut differences, "all tokens together", minted, found);
    check(
        &mut differences,
        "money in the merchants' streams",
        sum(payers, |l| l.paid),
        sum(merchants, |l| l.received),
    );
    let delivered = report
        .paid
        .iter()
        .map(|paid| u128::from(paid.count))
        .fold(0, u128::saturating_add);
    check(
        &mut differences,
        "payments in the merchants' streams",
        delivered,
        report.received_count.into(),
    );
    if !left_open {
        check(&mut differences, "the hub's vault", hub.expected, hub.on_chain);
        check(&mut differences, "left in channels", 0, in_channels);
    }
    let text = format!(
        "{}\n{}",
        table(&[clients, shops, hub], left_open),
        figures(people, report, usage, minted, found, delivered)
    );
    writeln!(std::io::stdout().lock(), "{text}")?;
    if differences.is_empty() {
        writeln!(std::io::stdout().lock(), "everything adds up to the unit")?;
    }
    Ok(differences)
}

/// Compares every member's ledger with the chain, and sums them up.
async fn group(
    world: &World,
    name: &str,
    ledgers: &[Ledger],
    differences: &mut Vec<String>,
) -> anyhow::Result<Group> {
    let mut on_chain: u128 = 0;
    for ledger in ledgers {
        let has = world.tokens_of(ledger.address).await?;
        let gone = ledger.paid.saturating_add(ledger.fees);
        let expected = ledger
            .endowment
            .saturating_add(ledger.received)
            .saturating_sub(gone);
        check(
            differences,
            &format!("{name}: {} by its own ledger", ledger.address),
            expected,
            has,
        );
        check(
            differences,
            &format!("{name}: {} by its vouchers", ledger.address),
            ledger.proven,
            has,
        );
        on_chain = on_chain.saturating_add(has);
    }
    let given = sum(ledgers, |ledger| ledger.endowment);
    let (paid, fees) = (
        sum(ledgers, |ledger| ledger.paid),
        sum(ledgers, |ledger| ledger.fees),
    );
    let received = sum(ledgers, |ledger| ledger.received);
    let expected = given
        .saturating_add(received)
        .saturating_sub(paid.saturating_add(fees));
    Ok(Group {
        name: format!("{name} ({})", ledgers.len()),
        given,
        paid,
        fees,
        received,
        expected,
        on_chain,
    })
}

async fn keep_open(world: &World, open: &[Ledger]) -> anyhow::Result<u128> {
    let mut kept: u128 = 0;
    for ledger in open {
        kept = kept.saturating_add(world.tokens_of(ledger.address).await?);
    }
    Ok(kept)
}

fn table(groups: &[Group], left_open: bool) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "",
        "given",
        "paid",
        "fees",
        "received",
        "own ledger says",
        "chain says",
        "difference",
    ]);
    for group in groups {
        let sign = if group.on_chain < group.expected { "-" } else { "" };
        let difference = format!("{sign}{}", group.on_chain.abs_diff(group.expected));
        table.add_row([
            group.name.clone(),
            group.given.to_string(),
            group.paid.to_string(),
            group.fees.to_string(),
            group.received.to_string(),
            group.expected.to_string(),
            group.on_chain.to_string(),
            if left_open && group.name.starts_with("hub") {
                "(dispute open)".to_owned()
            } else {
                difference
            },
        ]);
    }
    table
}

fn figures(
    people: &People,
    report: &Report,
    usage: &Usage,
    minted: u128,
    found: u128,
    delivered: u128,
) -> String {
    let per_s = delivered.checked_div(report.seconds.into()).unwrap_or(0);
    let bounced = report
        .paid
        .iter()
        .map(|paid| paid.bounced)
        .fold(0, u64::saturating_add);
    let cpu_us = u128::from(usage.cpu_ms)
        .saturating_mul(1000)
        .checked_div(delivered)
        .unwrap_or(0);
    let ms = |quantile: u64| {
        let us = report
            .latency_us
            .value_at_percentile(f64::from(u32::try_from(quantile).unwrap_or(0)));
        format!("{}.{:01}", us / 1000, us % 1000 / 100)
    };
    format!(
        "tokens minted {minted}, found on chain {found}\n\
         {delivered} payments delivered in {} s ({per_s}/s, the kill included), {bounced} bounced; latency p50 {} ms, p99 {} ms\n\
         {} channels; hub: {} ms of processor time in all ({cpu_us} us per payment), {} disk commits; away {} ms after kill -9",
        report.seconds,
        ms(50),
        ms(99),
        people.payers.len().saturating_add(people.merchants.len()),
        usage.cpu_ms,
        usage.commits,
        report.away.as_millis(),
    )
}

fn check(differences: &mut Vec<String>, what: &str, expected: u128, got: u128) {
    if expected != got {
        differences.push(format!("{what}: expected {expected}, got {got}"));
    }
}

fn sum(ledgers: &[Ledger], of: impl Fn(&Ledger) -> u128) -> u128 {
    ledgers.iter().map(of).fold(0, u128::saturating_add)
}
