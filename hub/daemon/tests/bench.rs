//! `hub bench` for a moment: not how fast, but that it measures what it says.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use serde_json::Value;
use std::process::Command;

#[test]
fn a_short_load_adds_up_and_every_payment_has_its_signature() {
    let dir = tempfile::tempdir().unwrap();
    let (json, plot) = (dir.path().join("out.json"), dir.path().join("out.svg"));
    let mut bench = Command::new(env!("CARGO_BIN_EXE_hub"));
    bench.args([
        "bench",
        "--payers",
        "60",
        "--connections",
        "6",
        "--depth",
        "8",
        "--payees",
        "10",
    ]);
    bench.args([
        "--payee-connections",
        "2",
        "--warm-up",
        "0",
        "--seconds",
        "2",
        "--runs",
        "2",
    ]);
    bench
        .arg("--json")
        .arg(&json)
        .arg("--plot")
        .arg(&plot)
        .arg("--dir")
        .arg(dir.path().join("work"));
    let output = bench.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let table = String::from_utf8_lossy(&output.stdout);
    println!("{table}");
    assert!(table.contains("every credit came once"), "{table}");

    let found: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(found["differences"], serde_json::json!([]));
    assert_eq!(found["channels_compared_after_kill"], 70);
    let runs = |name: &str| found["runs"][name].as_array().unwrap().clone();
    assert_eq!(runs("payments_per_s").len(), 2);
    assert!(
        runs("payments_per_s")
            .iter()
            .all(|rate| rate.as_f64().unwrap() > 0.0)
    );
    // What is under way when counting begins or ends belongs to one side of it only.
    for share in runs("verified") {
        let share = share.as_f64().unwrap();
        assert!(
            (0.5..2.0).contains(&share),
            "signatures verified per payment: {share}"
        );
    }
    assert!(std::fs::read_to_string(plot).unwrap().contains("<polyline"));
}
