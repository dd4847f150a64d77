//! Tables and JSON. Amounts in JSON are decimal strings in base units.

use super::{
    evidence::CheckedEvidence,
    exit::SettleError,
    journal::Entry,
    run_send::Done,
    status::Status,
    text::{self, decimal, moment},
    view::{Phase, TokenInfo, share},
    wait::Mined,
};
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use protocol_spec::Amount;
use serde_json::{Value, json};

/// What a sending command arrived at.
pub(super) struct Sent<'a> {
    pub(super) evidence: &'a CheckedEvidence,
    pub(super) token: &'a TokenInfo,
    /// What was asked for.
    pub(super) first: &'a Done,
    /// What followed because the locks were more than fit one transaction.
    pub(super) further: &'a [Done],
}

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    if !header.is_empty() {
        table.set_header(header.iter().copied());
    }
    table
}

/// An amount in base units and, where the token tells its decimals, as people write it.
pub(crate) fn amount(token: &TokenInfo, amount: Amount) -> String {
    match token.decimals {
        Some(decimals) if decimals > 0 => {
            format!("{amount} ({} {})", decimal(amount.0, decimals), token.symbol)
        }
        _ => amount.to_string(),
    }
}

pub(super) fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::None => "none",
        Phase::Open => "open",
        Phase::Disputed { .. } => "disputed",
        Phase::Closed => "closed",
    }
}

/// `settle status` for people.
pub(super) fn status_table(evidence: &CheckedEvidence, status: &Status) -> String {
    let view = &status.view;
    let side = evidence.side();
    let mut facts = table(&[]);
    let token = format!("{} {}", view.token.address, view.token.symbol);
    facts.add_row(["channel", &evidence.id().to_string()]);
    facts.add_row(["you are", text::side(side)]);
    facts.add_row(["token", token.trim_end()]);
    facts.add_row(["state", phase_word(view.phase)]);
    facts.add_row([
        "chain time",
        &format!("{} (block {})", view.head.time, view.head.number),
    ]);
    if let Phase::Disputed {
        no,
        window_end,
        final_at,
    } = view.phase
    {
        facts.add_row(["dispute", &no.to_string()]);
        facts.add_row(["evidence until", &moment(window_end, view.head.time)]);
        facts.add_row(["final at", &moment(final_at, view.head.time)]);
    }
    facts.add_row([
        "deposits",
        &pair(&view.token, view.funds.client_deposit, view.funds.hub_deposit),
    ]);
    facts.add_row([
        "withdrawn",
        &pair(&view.token, view.funds.client_withdrawn, view.funds.hub_withdrawn),
    ]);
    if !view.claimable.is_zero() {
        facts.add_row(["claimable", &amount(&view.token, view.claimable)]);
    }
    facts.add_row(["next", &status.next]);
    let mut shares = table(&["who gets what", "client", "hub (to its vault)", "you"]);
    for row in &status.outcomes {
        let mine = share(side, (row.client, row.hub));
        shares.add_row([
            row.text.clone(),
            amount(&view.token, row.client),
            amount(&view.token, row.hub),
            amount(&view.token, mine),
        ]);
    }
    right(&mut shares);
    match status.outcomes.is_empty() {
        true => format!("{facts}"),
        false => format!("{facts}\n{shares}"),
    }
}

pub(super) fn right(table: &mut Table) {
    table
        .column_iter_mut()
        .skip(1)
        .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
}

fn pair(token: &TokenInfo, client: Amount, hub: Amount) -> String {
    format!("client {}, hub {}", amount(token, client), amount(token, hub))
}

/// `settle status` for programs.
pub(super) fn status_json(evidence: &CheckedEvidence, status: &Status) -> Value {
    let view = &status.view;
    let dispute = match view.phase {
        Phase::Disputed {
            no,
            window_end,
            final_at,
        } => json!({
            "no": no.to_string(),
            "window_end": window_end,
            "final_at": final_at,
            "seconds_until_final": final_at.0.saturating_sub(view.head.time.0).to_string(),
        }),
        _ => Value::Null,
    };
    let outcomes: Vec<_> = status
        .outcomes
        .iter()
        .map(|row| {
            json!({"name": row.name, "client": row.client, "hub": row.hub,
            "you": share(evidence.side(), (row.client, row.hub))})
        })
        .collect();
    json!({
        "command": "status",
        "channel_id": evidence.id(),
        "chain_id": evidence.raw().chain_id.to_string(),
        "adjudicator": evidence.raw().adjudicator,
        "side": evidence.side(),
        "token": token_json(&view.token),
        "state": phase_word(view.phase),
        "block": view.head.number.to_string(),
        "chain_time": view.head.time,
        "dispute": dispute,
        "deposits": {"client": view.funds.client_deposit, "hub": view.funds.hub_deposit},
        "withdrawn": {"client": view.funds.client_withdrawn, "hub": view.funds.hub_withdrawn},
        "claimable": view.claimable,
        "outcomes": outcomes,
        "next": status.next,
        "warnings": status.warnings,
    })
}

pub(super) fn token_json(token: &TokenInfo) -> Value {
    json!({"address": token.address, "symbol": token.symbol, "decimals": token.decimals})
}

/// A plan, or what became of it, for people.
pub(super) fn sent_table(sent: &Sent<'_>) -> String {
    let (plan, cost) = (&sent.first.plan, &sent.first.cost);
    let mut table = table(&[]);
    let result = match (sent.first.hash, sent.first.mined) {
        (_, Some(mined)) => format!("mined in block {}, {} seen", mined.block, plan.proof.name),
        (Some(_), None) => "sent, not yet seen in a block".to_owned(),
        (None, None) => "dry run: nothing was sent; add --broadcast".to_owned(),
    };
    table.add_row([plan.command, &result]);
    table.add_row(["channel", &sent.evidence.id().to_string()]);
    table.add_row(["sender", &plan.sender.to_string()]);
    for (name, shares) in [("as it stands", plan.now), ("afterwards", plan.after)] {
        if let Some((client, hub)) = shares {
            table.add_row([name, &pair(sent.token, client, hub)]);
        }
    }
    if plan.unlocks > 0 {
        table.add_row(["locks resolved", &plan.unlocks.to_string()]);
    }
    match sent.first.mined {
        Some(mined) => table.add_row(["gas", &format!("{} used, {} wei paid", mined.gas_used, mined.wei)]),
        None => table.add_row([
            "gas",
            &format!(
                "about {}, limit {}, at most {} wei ({} coins)",
                cost.gas_estimate,
                cost.gas_limit,
                cost.wei_max(),
                decimal(cost.wei_max().saturating_to(), 18)
            ),
        ]),
    };
    if let Some(hash) = sent.first.hash {
        table.add_row(["transaction", &hash.to_string()]);
    }
    if let Some(last) = sent.further.last() {
        let count = |count: fn(&Done) -> u64| sent.further.iter().map(count).fold(0, u64::saturating_add);
        let locks = count(|done| done.plan.unlocks as u64);
        let gas = count(|done| done.mined.map_or(0, |mined| mined.gas_used));
        let text = format!(
            "{} more transactions: {locks} locks resolved, {gas} gas used",
            sent.further.len()
        );
        table.add_row(["then", &text]);
        if let Some((client, hub)) = last.plan.after {
            table.add_row(["after these", &pair(sent.token, client, hub)]);
        }
    }
    table.to_string()
}

/// A plan, or what became of it, for programs.
pub(super) fn sent_json(sent: &Sent<'_>) -> Value {
    let (plan, cost) = (&sent.first.plan, &sent.first.cost);
    json!({
        "command": plan.command,
        "channel_id": sent.evidence.id(),
        "sender": plan.sender,
        "to": plan.to,
        "calldata": plan.calldata,
        "now": shares_json(plan.now),
        "after": shares_json(plan.after),
        "locks_resolved": plan.unlocks,
        "gas_estimate": cost.gas_estimate.to_string(),
        "gas_limit": cost.gas_limit.to_string(),
        "fee_per_gas_max_wei": cost.fee_per_gas_max.to_string(),
        "cost_max_wei": cost.wei_max().to_string(),
        "broadcast": sent.first.hash.is_some(),
        "transaction": sent.first.hash,
        "mined": sent.first.mined.as_ref().map(mined_json),
        "further": sent.further.iter().map(further_json).collect::<Vec<_>>(),
        "notes": plan.notes,
    })
}

/// Without the calldata, which is 110 kB with 150 locks and can be read in the transaction.
fn further_json(done: &Done) -> Value {
    json!({
        "command": done.plan.command,
        "after": shares_json(done.plan.after),
        "locks_resolved": done.plan.unlocks,
        "transaction": done.hash,
        "mined": done.mined.as_ref().map(mined_json),
    })
}

fn shares_json(shares: Option<(Amount, Amount)>) -> Option<Value> {
    shares.map(|(client, hub)| json!({"client": client, "hub": hub}))
}

/// What an earlier run sent and this one found, for people.
pub(super) fn resumed_table(evidence: &CheckedEvidence, entry: &Entry, mined: &Mined) -> String {
    let mut table = table(&[]);
    let result = format!("mined in block {}; an earlier run sent it", mined.block);
    table.add_row([entry.purpose.command.as_str(), &result]);
    table.add_row(["channel", &evidence.id().to_string()]);
    table.add_row(["sender", &entry.sender.to_string()]);
    table.add_row(["gas", &format!("{} used, {} wei paid", mined.gas_used, mined.wei)]);
    table.add_row(["transaction", &mined.hash.to_string()]);
    table.to_string()
}

/// The same for programs.
pub(super) fn resumed_json(evidence: &CheckedEvidence, entry: &Entry, mined: &Mined) -> Value {
    json!({
        "command": entry.purpose.command,
        "channel_id": evidence.id(),
        "sender": entry.sender,
        "nonce": entry.nonce,
        "broadcast": true,
        "resumed": true,
        "transaction": mined.hash,
        "mined": mined_json(mined),
    })
}

pub(super) fn mined_json(mined: &Mined) -> Value {
    json!({
        "block": mined.block.to_string(),
        "gas_used": mined.gas_used.to_string(),
        "cost_wei": mined.wei.to_string(),
        "confirmations": mined.confirmations.to_string(),
    })
}

/// A failure for programs.
pub(super) fn error_json(error: &SettleError) -> Value {
    let exit = error.exit();
    json!({"error": {"exit": exit.code(), "kind": exit.word(), "text": error.to_string()}})
}
