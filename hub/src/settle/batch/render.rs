//! Tables and JSON of `settle batch`.

use super::{Row, exit};
use crate::settle::{
    exit::SettleError,
    outlook::Outcome,
    render::{amount, phase_word, right, table},
    text,
    view::{TokenInfo, share},
};
use protocol_spec::{Address, Amount};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The columns: the outcomes of one channel that are added up.
const OUTCOMES: [(&str, &str); 3] = [
    ("now", "as it stands"),
    ("with_my_evidence", "with my evidence"),
    ("answered", "and answered"),
];

fn name(row: &Row) -> String {
    row.file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// What is this side's in one outcome. One that is missing is like the one before it.
fn yours(row: &Row, outcome: &str) -> Option<Amount> {
    let evidence = row.evidence.as_ref()?;
    let good = row.result.as_ref().ok()?;
    let find = |name: &str| good.outcomes.iter().find(|row: &&Outcome| row.name == name);
    let found = find(outcome)
        .or_else(|| find("with_my_evidence"))
        .or_else(|| find("now"))?;
    Some(share(evidence.side(), (found.client, found.hub)))
}

fn state(row: &Row) -> &'static str {
    let view = row.result.as_ref().ok().and_then(|good| good.view.as_ref());
    view.map_or("", |view| phase_word(view.phase))
}

/// Sums by token, one per outcome.
fn totals(rows: &[Row]) -> BTreeMap<Address, (TokenInfo, [u128; 3])> {
    let mut totals: BTreeMap<Address, (TokenInfo, [u128; 3])> = BTreeMap::new();
    for row in rows {
        let Some(view) = row.result.as_ref().ok().and_then(|good| good.view.as_ref()) else {
            continue;
        };
        let entry = totals
            .entry(view.token.address)
            .or_insert_with(|| (view.token.clone(), [0; 3]));
        for (sum, (outcome, _)) in entry.1.iter_mut().zip(OUTCOMES) {
            *sum = sum.saturating_add(yours(row, outcome).unwrap_or_default().0);
        }
    }
    totals
}

/// `batch plan` for people.
pub(super) fn plan_table(rows: &[Row]) -> String {
    let header: Vec<&str> = ["file", "channel", "you are", "state"]
        .into_iter()
        .chain(OUTCOMES.map(|(_, text)| text))
        .collect();
    let mut table = table(&header);
    for row in rows {
        let mut cells = vec![name(row), short(row)];
        cells.push(
            row.evidence
                .as_ref()
                .map_or_else(String::new, |e| text::side(e.side()).to_owned()),
        );
        match &row.result {
            Ok(good) => {
                cells.push(state(row).to_owned());
                let token = good.view.as_ref().map(|view| &view.token);
                cells.extend(OUTCOMES.map(|(outcome, _)| shown(token, yours(row, outcome))));
            }
            Err(error) => cells.push(error.to_string()),
        }
        table.add_row(cells);
    }
    for (token, sums) in totals(rows).into_values() {
        let mut cells = vec![
            "yours in all".to_owned(),
            token.symbol.clone(),
            String::new(),
            String::new(),
        ];
        cells.extend(sums.map(|sum| amount(&token, Amount(sum))));
        table.add_row(cells);
    }
    right(&mut table);
    table.to_string()
}

fn short(row: &Row) -> String {
    let id = row.id().map(|id| id.to_string()).unwrap_or_default();
    id.chars().take(12).collect()
}

fn shown(token: Option<&TokenInfo>, value: Option<Amount>) -> String {
    match (token, value) {
        (Some(token), Some(value)) => amount(token, value),
        _ => String::new(),
    }
}

/// `batch plan` for programs.
pub(super) fn plan_json(rows: &[Row]) -> Value {
    let totals: Vec<_> = totals(rows)
        .into_values()
        .map(|(token, sums)| {
            let [now, mine, answered] = sums.map(Amount);
            json!({"token": token.address, "now": now, "with_my_evidence": mine, "answered": answered})
        })
        .collect();
    json!({
        "command": "batch plan",
        "exit": exit(rows).word(),
        "channels": rows.iter().map(row_json).collect::<Vec<_>>(),
        "totals": totals,
    })
}

fn row_json(row: &Row) -> Value {
    let error = row.result.as_ref().err();
    let good = row.result.as_ref().ok();
    let outcomes = OUTCOMES.map(|(outcome, _)| (outcome.to_owned(), json!(yours(row, outcome))));
    json!({
        "file": row.file.display().to_string(),
        "channel_id": row.id(),
        "state": state(row),
        "you": outcomes.into_iter().collect::<serde_json::Map<_, _>>(),
        "result": good.map(|good| good.word.clone()),
        "sender": good.and_then(|good| good.sender),
        "transaction": good.and_then(|good| good.transaction),
        "error": error.map(|error: &SettleError| json!({"kind": error.exit().word(), "text": error.to_string()})),
    })
}

/// What became of every channel, for people.
pub(super) fn sent_table(command: &str, rows: &[Row]) -> String {
    let mut table = table(&["file", "channel", command, "transaction"]);
    for row in rows {
        let (word, transaction) = match &row.result {
            Ok(good) => (good.word.clone(), good.transaction),
            Err(error) => (error.to_string(), None),
        };
        let transaction = transaction.map(|hash| hash.to_string()).unwrap_or_default();
        table.add_row([name(row), short(row), word, transaction]);
    }
    let (done, idle, failed) = counts(rows);
    format!("{table}\n{command}: {done} done, {idle} with nothing to do, {failed} failed")
}

/// What became of every channel, for programs.
pub(super) fn sent_json(command: &str, rows: &[Row]) -> Value {
    let (done, idle, failed) = counts(rows);
    json!({
        "command": format!("batch {command}"),
        "exit": exit(rows).word(),
        "channels": rows.iter().map(row_json).collect::<Vec<_>>(),
        "done": done, "nothing_to_do": idle, "failed": failed,
    })
}

fn counts(rows: &[Row]) -> (usize, usize, usize) {
    let done = rows.iter().filter(|row| row.result.is_ok()).count();
    let idle = rows
        .iter()
        .filter(|row| matches!(row.result, Err(SettleError::NothingToDo(_))))
        .count();
    (done, idle, rows.len().saturating_sub(done).saturating_sub(idle))
}
