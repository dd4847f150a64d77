//! `settle plan`: who gets what, steps, gas and deadlines, in every phase.

use crate::{
    vouchers::{CLIENT, PERIOD_S, STRANGER},
    world::World,
};
use protocol_spec::{DirectionEvidence, Side};
use serde_json::Value;

fn row<'a>(plan: &'a Value, list: &str, key: &str, name: &str) -> &'a Value {
    let rows = plan[list].as_array().unwrap();
    rows.iter()
        .find(|row| row[key] == name)
        .unwrap_or_else(|| panic!("no {name} in {plan:#}"))
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_follows_the_channel_from_open_to_closed() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    // Voucher 2 of the client acknowledges nothing of what the hub paid; voucher 3 of the hub acknowledges it.
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (1, 30)),
        p.paid(Side::Client, (2, 80), (0, 0)),
    );
    let file = world.file(&evidence);
    let plan = world.settle("plan", &file, &["--json"]).exits(0).json();
    let you = |plan: &Value, name: &str| row(plan, "outcomes", "name", name)["you"].clone();
    assert_eq!(you(&plan, "now"), "1000");
    assert_eq!(you(&plan, "unanswered"), "920");
    assert_eq!(you(&plan, "with_my_evidence"), "1270");
    assert_eq!(you(&plan, "answered"), "1220");
    let dispute = row(&plan, "steps", "step", "dispute");
    assert_eq!(dispute["simulated"], true);
    let forecast = number(&dispute["gas"]);
    let finalize = row(&plan, "steps", "step", "finalize");
    let now = number(&plan["chain_time"]);
    assert_eq!(number(&finalize["from"]["chain_time"]), now + PERIOD_S);
    assert!(finalize["from"]["utc"].as_str().unwrap().ends_with("UTC"));
    let table = world.settle("plan", &file, &[]).exits(0).stdout;
    assert!(
        table.contains("if I show nothing") && table.contains("+270") && table.contains("in 1 h 0 min"),
        "{table}"
    );

    // What was forecast is what it takes.
    let sent = world
        .send_as(CLIENT, "dispute", &file, &["--json"])
        .exits(0)
        .json();
    let used = number(&sent["mined"]["gas_used"]);
    assert!(
        used <= forecast && forecast - used < forecast / 5,
        "{used} of {forecast}"
    );
    let plan = world.settle("plan", &file, &["--json"]).exits(0).json();
    let submit = row(&plan, "steps", "step", "submit");
    assert_eq!(submit["refused"]["kind"], "nothing_to_do");
    assert!(number(&submit["before"]["chain_time"]) > now);
    world.pass(PERIOD_S).await;
    let plan = world.settle("plan", &file, &["--json"]).exits(0).json();
    let finalize = row(&plan, "steps", "step", "finalize");
    assert_eq!(finalize["simulated"], true);
    let sent = world
        .send_as(STRANGER, "finalize", &file, &["--json"])
        .exits(0)
        .json();
    let used = number(&sent["mined"]["gas_used"]);
    assert!(number(&finalize["gas"]) >= used && used <= 90_000, "{used}");
    let plan = world.settle("plan", &file, &["--json"]).exits(0).json();
    assert_eq!(
        (&plan["state"], &plan["steps"]),
        (&"closed".into(), &Value::Array(Vec::new()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_why_a_step_makes_no_sense() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let only_paid = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (1, 0), (6, 600)),
        p.paid(Side::Client, (6, 600), (1, 0)),
    );
    let file = world.file(&only_paid);
    let plan = world.settle("plan", &file, &["--json"]).exits(0).json();
    let dispute = row(&plan, "steps", "step", "dispute");
    assert_eq!(dispute["simulated"], true, "with nothing shown: {dispute}");
    let unshown = |text: &Value| text.as_str().unwrap().contains("dispute --without-evidence");
    assert!(unshown(&dispute["text"]) && unshown(&plan["next"]), "{plan:#}");
    // The hub has started one with nothing: answering it is the step, and it has an end.
    world.empty_dispute(p).await;
    let received = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (0, 0)),
        DirectionEvidence::default(),
    );
    let file = world.file(&received);
    let plan = world.settle("plan", &file, &["--json"]).exits(0).json();
    let submit = row(&plan, "steps", "step", "submit");
    assert_eq!(submit["simulated"], true);
    assert!(number(&submit["cost_max_wei"]) > 0);
    let stranger = crate::vouchers::key(STRANGER).address().to_string();
    let plan = world
        .settle("plan", &file, &["--json", "--from", &stranger])
        .exits(0)
        .json();
    assert_eq!(
        row(&plan, "steps", "step", "submit")["refused"]["kind"],
        "refused"
    );
    crate::cli::settle(&["plan", "--evidence", &file, "--rpc-url", "http://127.0.0.1:1"]).exits(6);
}
