//! What `settle plan` prints.

use super::{
    evidence::CheckedEvidence,
    forecast::{Forecast, Price, Step},
    outlook::Outcome,
    render::{amount, phase_word, right, table as new_table, token_json},
    text::{self, decimal, duration, utc},
    view::share,
};
use protocol_spec::{Amount, UnixSeconds};
use serde_json::{Value, json};

/// How much more or less than as it stands, with a sign.
fn against(now: Amount, then: Amount) -> String {
    match then.0.checked_sub(now.0) {
        Some(0) => "=".to_owned(),
        Some(more) => format!("+{more}"),
        None => format!("-{}", now.0.saturating_sub(then.0)),
    }
}

fn now_of(evidence: &CheckedEvidence, outcomes: &[Outcome]) -> Amount {
    let first = outcomes.first();
    first.map_or(Amount::ZERO, |row| share(evidence.side(), (row.client, row.hub)))
}

/// For people.
pub(super) fn table(evidence: &CheckedEvidence, forecast: &Forecast) -> String {
    let view = &forecast.status.view;
    let now = now_of(evidence, &forecast.outcomes);
    let mut facts = new_table(&[]);
    facts.add_row(["channel", &evidence.id().to_string()]);
    facts.add_row(["you are", text::side(evidence.side())]);
    facts.add_row(["state", phase_word(view.phase)]);
    let block_time = forecast.block_time_ms.map_or_else(String::new, |ms| {
        format!(", a block every {} s", decimal(ms.into(), 3))
    });
    facts.add_row([
        "chain time",
        &format!("{} (block {}{block_time})", utc(view.head.time), view.head.number),
    ]);
    if let Some(ahead) = forecast.clock_ahead_s {
        let word = if ahead < 0 { "behind" } else { "ahead of" };
        facts.add_row([
            "note",
            &format!(
                "the chain's clock is {} {word} this machine's; deadlines are in the chain's",
                duration(ahead.unsigned_abs())
            ),
        ]);
    }
    facts.add_row(["next", &forecast.status.next]);
    let mut shares = new_table(&[
        "who gets what",
        "client",
        "hub (to its vault)",
        "you",
        "against now",
    ]);
    for row in &forecast.outcomes {
        let mine = share(evidence.side(), (row.client, row.hub));
        shares.add_row([
            row.text.clone(),
            amount(&view.token, row.client),
            amount(&view.token, row.hub),
            amount(&view.token, mine),
            against(now, mine),
        ]);
    }
    right(&mut shares);
    let mut steps = new_table(&["step", "what", "from", "before", "gas", "at most"]);
    for step in &forecast.steps {
        let (gas, cost) = price(&step.price);
        steps.add_row([
            step.name.to_owned(),
            step.text.clone(),
            when(forecast, step.from),
            step.until.map_or_else(String::new, |until| when(forecast, until)),
            gas,
            cost,
        ]);
    }
    let tables = [
        (true, facts),
        (!forecast.outcomes.is_empty(), shares),
        (!forecast.steps.is_empty(), steps),
    ];
    let shown: Vec<_> = tables
        .into_iter()
        .filter(|(shown, _)| *shown)
        .map(|(_, table)| table.to_string())
        .collect();
    shown.join("\n")
}

fn price(price: &Price) -> (String, String) {
    match price {
        Price::Simulated(cost) => (
            cost.gas_estimate.to_string(),
            format!("{} coins", decimal(cost.wei_max().saturating_to(), 18)),
        ),
        Price::About(gas) => (format!("about {gas}"), "not yet known".to_owned()),
        Price::None => Default::default(),
        Price::Refused(error) => (String::new(), error.to_string()),
    }
}

/// Blocks until `at`, rounded up, when the block time is known and it is to come.
fn blocks(forecast: &Forecast, at: UnixSeconds) -> Option<u64> {
    let left_ms =
        at.0.checked_sub(forecast.status.view.head.time.0)?
            .checked_mul(1000)?;
    let block_ms = forecast.block_time_ms.filter(|ms| *ms > 0)?;
    Some(left_ms.div_ceil(block_ms))
}

fn when(forecast: &Forecast, at: UnixSeconds) -> String {
    let now = forecast.status.view.head.time;
    let Some(left) = at.0.checked_sub(now.0).filter(|left| *left > 0) else {
        return "now".to_owned();
    };
    let blocks = blocks(forecast, at).map_or_else(String::new, |blocks| format!(", {blocks} blocks"));
    format!("{}\n(in {}{blocks})", utc(at), duration(left))
}

/// For programs.
pub(super) fn json(evidence: &CheckedEvidence, forecast: &Forecast) -> Value {
    let view = &forecast.status.view;
    let outcomes: Vec<_> = forecast
        .outcomes
        .iter()
        .map(|row| {
            json!({"name": row.name, "text": row.text, "client": row.client, "hub": row.hub,
            "you": share(evidence.side(), (row.client, row.hub))})
        })
        .collect();
    let steps: Vec<_> = forecast
        .steps
        .iter()
        .map(|step| step_json(forecast, step))
        .collect();
    json!({
        "command": "plan",
        "channel_id": evidence.id(),
        "side": evidence.side(),
        "state": phase_word(view.phase),
        "token": token_json(&view.token),
        "block": view.head.number.to_string(),
        "chain_time": view.head.time,
        "block_time_ms": forecast.block_time_ms.map(|ms| ms.to_string()),
        "outcomes": outcomes,
        "steps": steps,
        "next": forecast.status.next,
        "warnings": forecast.status.warnings,
    })
}

fn step_json(forecast: &Forecast, step: &Step) -> Value {
    let (gas, simulated, cost, refused) = match &step.price {
        Price::Simulated(cost) => (Some(cost.gas_estimate), true, Some(cost.wei_max()), None),
        Price::About(gas) => (Some(*gas), false, None, None),
        Price::None => (None, false, None, None),
        Price::Refused(error) => (None, false, None, Some(error)),
    };
    let moment = |at: UnixSeconds| {
        json!({
            "chain_time": at, "utc": utc(at), "blocks": blocks(forecast, at).map(|blocks| blocks.to_string()),
        })
    };
    json!({
        "step": step.name,
        "text": step.text,
        "from": moment(step.from),
        "before": step.until.map(moment),
        "gas": gas.map(|gas| gas.to_string()),
        "simulated": simulated,
        "cost_max_wei": cost.map(|cost| cost.to_string()),
        "refused": refused.map(|error| json!({"kind": error.exit().word(), "text": error.to_string()})),
    })
}
