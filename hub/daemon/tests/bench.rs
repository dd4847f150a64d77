//! `hub bench` for a moment: not how fast, but that it measures what it says.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use serde_json::Value;
use std::{ops::Range, path::Path, process::Command};

/// Signatures for a payment, and for one that is locked. What is under way when counting begins or ends belongs to one
/// side of it only.
const ONE: Range<f64> = 0.5..2.0;
const TWO: Range<f64> = 1.0..4.0;

/// Runs it with these arguments and a few clients; its figures, and what it wrote.
fn bench(dir: &Path, arguments: &str) -> (Value, String) {
    let json = dir.join("out.json");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_hub"));
    bench.arg("bench").args(arguments.split_whitespace());
    bench.args("--payers 60 --payees 10 --payee-connections 2 --warm-up 0".split_whitespace());
    bench.arg("--json").arg(&json).arg("--dir").arg(dir.join("work"));
    let output = bench.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{table}");
    (
        serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap(),
        table,
    )
}

fn figures(found: &Value, runs: &str, name: &str) -> Vec<f64> {
    let values = found[runs][name].as_array().unwrap();
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Everything arrived, and the hub verified about so many signatures for every payment.
fn adds_up(found: &Value, runs: &str, count: usize, signatures: Range<f64>) {
    assert_eq!(found["differences"], serde_json::json!([]));
    let rates = figures(found, runs, "payments_per_s");
    assert_eq!(rates.len(), count);
    assert!(rates.iter().all(|rate| *rate > 0.0));
    for share in figures(found, runs, "verified") {
        assert!(
            signatures.contains(&share),
            "signatures verified per payment: {share}"
        );
    }
}

#[test]
fn a_short_load_adds_up_and_every_payment_has_its_signature() {
    let dir = tempfile::tempdir().unwrap();
    let plot = dir.path().join("out.svg");
    let load = format!(
        "--connections 6 --depth 8 --seconds 1 --runs 2 --presign 240 --plot {}",
        plot.display()
    );
    let (found, table) = bench(dir.path(), &load);
    assert!(table.contains("every credit came once"), "{table}");
    adds_up(&found, "runs", 2, ONE);
    assert_eq!(found["channels_compared_after_kill"], 70);
    // Four for each payer, and then the payer signs as it goes.
    for share in figures(&found, "runs", "signed_ahead") {
        assert!(share > 0.0, "nothing was signed ahead");
    }
    assert!(std::fs::read_to_string(plot).unwrap().contains("<polyline"));
}

#[test]
fn locked_payments_arrive_once_beside_channels_that_nobody_uses() {
    let dir = tempfile::tempdir().unwrap();
    let load = "--shape locked --connections 6 --depth 8 --seconds 1 --channels 400 --idle-connections 3";
    let (found, _) = bench(dir.path(), load);
    // One to lock, one to fold the lock in.
    adds_up(&found, "runs", 1, TWO);
    assert!(found["bytes_per_idle_channel"].is_number(), "{found}");
    assert!(found["bytes_per_idle_connection"].is_number(), "{found}");
}

#[test]
fn abusers_do_not_keep_the_honest_from_paying() {
    let dir = tempfile::tempdir().unwrap();
    let (found, _) = bench(dir.path(), "--connections 8 --depth 4 --seconds 2 --abusers 50");
    adds_up(&found, "runs", 1, ONE);
    assert_eq!(found["differences"], serde_json::json!([]));
    assert_eq!(figures(&found, "runs_with_abusers", "payments_per_s").len(), 1);
    // Each of the four kinds was at work.
    let messages = found["messages_of_abusers"][0].as_array().unwrap();
    assert_eq!(messages.len(), 4);
    assert!(
        messages.iter().all(|count| count.as_u64().unwrap() > 0),
        "{found}"
    );
}

#[test]
fn a_sweep_measures_each_value_on_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let plot = dir.path().join("out.svg");
    let sweep = format!(
        "--connections 2 --seconds 1 --sweep depth=1,4 --plot {}",
        plot.display()
    );
    let (found, table) = bench(dir.path(), &sweep);
    let points = found["points"].as_array().unwrap();
    assert_eq!(points.len(), 2);
    for point in points {
        adds_up(point, "runs", 1, ONE);
    }
    assert!(table.contains("depth"), "{table}");
    assert!(std::fs::read_to_string(plot).unwrap().contains("against depth"));
}

#[test]
fn a_sweep_over_the_engines_has_tables_where_there_are_some() {
    let dir = tempfile::tempdir().unwrap();
    let (found, table) = bench(
        dir.path(),
        "--connections 4 --depth 8 --seconds 2 --sweep engine=one_lane,k256",
    );
    let [one_lane, k256] = found["points"].as_array().unwrap().as_slice() else {
        panic!("{found}")
    };
    for point in [one_lane, k256] {
        adds_up(point, "runs", 1, ONE);
    }
    assert!(figures(one_lane, "runs", "table_hits")[0] > 0.0, "{one_lane}");
    assert!(k256["runs"]["table_hits"].is_null(), "{k256}");
    assert!(table.contains("one_lane") && table.contains("k256"), "{table}");
}
