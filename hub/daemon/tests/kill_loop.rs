//! SIGKILL of the real `hub serve` under load, again and again: real WebSocket sessions, redb on a real disk, a chain
//! that outlives every hub, and real SDK clients that log here, in another process than the hub, what was acknowledged
//! to them. `KILL_ROUNDS` (5), `KILL_SEED` (1) and `KILL_DIR` (a temporary directory) choose the run.
//!
//! A kill is aimed: the hub is stopped (SIGSTOP) at drawn moments until its threads are in the wanted stage, then
//! killed there. The lines and the table tell apart what was observed and what was inferred.
//!
//! What it cannot show: lost writes of a power failure (the page cache outlives a kill; the simulated disk of the store's
//! tests loses it) and a kill at an exact call (the simulated world cuts at each message).

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

#[path = "../../tests/settle/anvil.rs"]
mod anvil;
#[path = "kill_loop/examine.rs"]
mod examine;
#[path = "kill_loop/judge.rs"]
mod judge;
#[path = "kill_loop/log.rs"]
mod log;
#[path = "kill_loop/people.rs"]
mod people;
#[path = "support/process.rs"]
mod process;
#[path = "kill_loop/stage.rs"]
mod stage;
#[path = "kill_loop/threads.rs"]
mod threads;
#[path = "support/world.rs"]
mod world;

use log::Log;
use people::{MERCHANTS, PAYERS, People};
use process::Hub;
use stage::{Stage, Wanted};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use world::World;

const ACKS_PER_ROUND: u64 = 1_000;
/// Payments one payer has under way at once; a merchant pays one back at a time.
const LANES: usize = 10;
/// Longest time for the acknowledgements of a round.
const ROUND_MAX: Duration = Duration::from_secs(120);
/// Longest time until everything acknowledged is read by its payee.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// The hub is killed once more while it starts, after so many kills under load.
const STARTS_CUT_EVERY: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_payment_is_lost_or_doubled_by_sigkill() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (rounds, seed) = (number("KILL_ROUNDS", 5), number("KILL_SEED", 1));
    println!("KILL_ROUNDS={rounds} KILL_SEED={seed}");
    let temporary = tempfile::tempdir().unwrap();
    let dir = std::env::var_os("KILL_DIR").map_or(temporary.path().to_owned(), PathBuf::from);
    run(&dir, rounds, seed).await;
}

async fn run(dir: &Path, rounds: u64, mut seed: u64) {
    let began = Instant::now();
    let world = World::embedded(dir).await;
    let log = Arc::new(Log::create(&dir.join("clients.log")));
    let mut hub = Hub::spawn(&world);
    hub.ready();
    let mut people = People::arrive(&world, &log).await;
    println!(
        "{PAYERS} payers and {MERCHANTS} merchants have open channels after {:.1?}; they pay until the last kill",
        began.elapsed()
    );
    people.pay(&log, LANES, Duration::ZERO);
    let mut draw = move |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut stages: BTreeMap<Stage, (u64, u64)> = BTreeMap::new();
    let (mut least, mut before, mut cut, mut loaded) = (u64::MAX, 0, 0_u64, Duration::ZERO);
    let (mut checkpoint, mut start_ms) = (0, 200);
    for (round, wanted) in (1..=rounds).zip(Wanted::DECK.into_iter().cycle()) {
        let up = Instant::now();
        let enough = log.wait(|counts| counts.failed > 0 || counts.acked >= before + ACKS_PER_ROUND);
        let enough = tokio::time::timeout(ROUND_MAX, enough).await;
        if enough.is_err() || log.counts().failed > 0 {
            // The judge says more than this.
            println!("round {round} does not go on: {:?}", log.counts());
            break;
        }
        let caught = stage::kill(&mut hub, &world, &log, wanted, checkpoint, &mut draw).await;
        let killed = Instant::now();
        loaded += killed - up;
        people.offline().await;
        let death = stage::post_mortem(&world, &log, checkpoint, caught).await;
        let acked = log.counts().acked;
        let looked = killed.elapsed();
        hub = Hub::spawn(&world);
        let mut once_more = "";
        if round % STARTS_CUT_EVERY == 0 {
            tokio::time::sleep(Duration::from_millis(draw(start_ms))).await;
            hub.kill();
            (hub, cut, once_more) = (Hub::spawn(&world), cut + 1, "; killed once more while starting");
        }
        let starting = Instant::now();
        hub.ready();
        start_ms = u64::try_from(starting.elapsed().as_millis()).unwrap() + 1;
        println!(
            "kill {round:3}: {death}; {} acknowledged since the last; back after {:.0?}{once_more}",
            acked - before,
            killed.elapsed() - looked,
        );
        let (kills, unsent) = stages.entry(death.stage).or_default();
        *kills += 1;
        *unsent += u64::from(death.found.durable > 0);
        checkpoint = death.found.upto;
        (least, before) = (least.min(acked - before), acked);
    }
    people.rest(DRAIN_MAX).await;
    let drained = log.wait(|counts| counts.events >= counts.acked && counts.credits >= counts.acked);
    // What is lost does not come; the judge counts it.
    let drained = tokio::time::timeout(DRAIN_MAX, drained).await.is_ok();
    let half = judge::judge(&log.read(), false);
    people.read_again(&log, &half.received).await;
    let verdict = judge::judge(&log.read(), true);
    println!("{}", table(&stages));
    println!(
        "{} kills under load and {cut} while starting: {} payments sent, {} acknowledged (at least {least} between kills, {:.0}/s), {} bounced, {} credited; {} lost, {} doubled, {} wrong; {:.1?} in all",
        stages.values().map(|(kills, _)| kills).sum::<u64>(),
        verdict.sent,
        verdict.acked,
        verdict.acked as f64 / loaded.as_secs_f64(),
        verdict.bounced,
        verdict.credited,
        verdict.lost,
        verdict.doubled,
        verdict.wrong.len(),
        began.elapsed(),
    );
    assert!(
        verdict.wrong.is_empty(),
        "{:#?}",
        &verdict.wrong[..verdict.wrong.len().min(10)]
    );
    assert_eq!((verdict.lost, verdict.doubled, drained), (0, 0, true));
    assert_eq!(judge::vouchers(&people, &verdict), [""; 0]);
    people.close().await;
    let (clients, vault, wrong) = judge::chain(&world, &people, &verdict).await;
    println!(
        "{} channels closed; tokens on chain: clients {clients}, vault {vault}; {} differences from the clients' own ledgers",
        people.all.len(),
        wrong.len()
    );
    assert_eq!(wrong, [""; 0]);
    people.shutdown().await;
    hub.stop();
}

fn table(stages: &BTreeMap<Stage, (u64, u64)>) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "stage of the kill",
        "kills",
        "with payments durable and not acknowledged",
        "how it is known",
    ]);
    for (stage, words, how) in Stage::ALL {
        let how = match how {
            "observed" => "observed: what the threads were in when the process was stopped",
            _ => "inferred: threads idle, and what a copy of the database holds",
        };
        let (kills, unsent) = stages.get(&stage).copied().unwrap_or_default();
        table.add_row([words, &kills.to_string(), &unsent.to_string(), how]);
    }
    table
}
