//! Hostile roles against a real hub on the embedded chain and on anvil: whoever follows the protocol gets at least its
//! fair balance. Prints a table of cases and amounts.
//!
//! `ROLES=locks` leaves the roles without locks out, `REORGS=all` tries all reorganisations, `MASS_EXIT_CHANNELS=1000` makes the mass exit one of that size,
//! `LOCKS_COLLECTED=4096` has so many locks of one channel collected. The chain tools are those of `npm ci`, or at `ANVIL`; `CHANNELHUB_SKIP_ANVIL=1` skips the second test.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

#[path = "../../tests/settle/anvil.rs"]
mod anvil;
#[path = "roles/clients.rs"]
mod clients;
#[path = "roles/court.rs"]
mod court;
#[path = "support/files.rs"]
mod files;
#[path = "roles/hubs.rs"]
mod hubs;
#[path = "roles/liar.rs"]
mod liar;
#[path = "roles/locks.rs"]
mod locks;
#[path = "roles/mass.rs"]
mod mass;
#[path = "roles/nodes.rs"]
mod nodes;
#[path = "support/people.rs"]
mod people;
#[path = "support/process.rs"]
mod process;
#[path = "roles/reorgs.rs"]
mod reorgs;
#[path = "roles/resolvers.rs"]
mod resolvers;
#[path = "roles/siege.rs"]
mod siege;
#[path = "roles/small_blocks.rs"]
mod small_blocks;
#[path = "roles/spike.rs"]
mod spike;
#[path = "roles/thousands.rs"]
mod thousands;
#[path = "roles/wire.rs"]
mod wire;
#[path = "support/world.rs"]
mod world;

use court::Case;
use world::World;

/// When in the window the honest party answers, percent.
const MOMENTS: [u64; 3] = [1, 50, 99];

async fn all(world: &World) {
    let mut cases = Vec::new();
    let only_locks = std::env::var("ROLES").is_ok_and(|which| which == "locks");
    if !only_locks {
        clients::cheat(world, &mut cases).await;
        hubs::cheat(world, &mut cases).await;
    }
    locks::collude(world, &mut cases).await;
    resolvers::collude(world, &mut cases).await;
    judge(&cases);
}

/// Prints the table; fails when somebody did not get what is fair.
fn judge(cases: &[Case]) {
    println!("{:<66} {:>12} {:>12} {:>12}", "case", "fair", "got", "difference");
    for Case { name, fair, got } in cases {
        println!("{name:<66} {fair:>12} {got:>12} {:>12}", got - fair);
    }
    let unfair: Vec<&Case> = cases.iter().filter(|case| case.fair != case.got).collect();
    assert!(unfair.is_empty(), "{unfair:?}");
}

async fn reorganised(world: &World) {
    let mut cases = Vec::new();
    reorgs::matrix(world, &mut cases).await;
    judge(&cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_online_answers_a_dispute_by_itself() {
    let (dir, mut cases) = (tempfile::tempdir().unwrap(), Vec::new());
    let world = World::embedded(dir.path()).await;
    hubs::cheat_who_is_online(&world, &mut cases).await;
    hubs::pays_out_when_the_token_stands_still(&world, &mut cases).await;
    let dir = tempfile::tempdir().unwrap();
    if let Some(world) = World::on_anvil(dir.path()).await {
        hubs::cheat_who_is_online(&world, &mut cases).await;
    }
    judge(&cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_at_risk_is_collected_by_the_client_alone() {
    let (dir, mut cases) = (tempfile::tempdir().unwrap(), Vec::new());
    let world = World::embedded(dir.path()).await;
    locks::collects_alone(&world, false, &mut cases).await;
    locks::hidden_behind_an_acknowledgement(&world, &mut cases).await;
    let dir = tempfile::tempdir().unwrap();
    if let Some(world) = World::on_anvil(dir.path()).await {
        locks::collects_alone(&world, true, &mut cases).await;
    }
    judge(&cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_locks_wait_in_one_channel() {
    let (dir, mut cases) = (tempfile::tempdir().unwrap(), Vec::new());
    let world = World::embedded(dir.path()).await;
    thousands::let_many_wait(&world);
    let count = |name: &str, usual: usize| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    thousands::told_after_a_resume(&world, count("LOCKS_TOLD", 4_096), &mut cases).await;
    thousands::collected_alone(&world, count("LOCKS_COLLECTED", 600), &mut cases).await;
    judge(&cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_honest_loses_on_the_embedded_chain() {
    let dir = tempfile::tempdir().unwrap();
    all(&World::embedded(dir.path()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_honest_loses_on_anvil() {
    let dir = tempfile::tempdir().unwrap();
    let Some(world) = World::on_anvil(dir.path()).await else {
        return;
    };
    all(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_exit_with_stale_evidence_is_answered_in_batches() {
    let count = std::env::var("MASS_EXIT_CHANNELS").map_or(20, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    mass::exit(&World::embedded(dir.path()).await, count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reorgs_of_any_depth_cost_nobody_on_the_embedded_chain() {
    let dir = tempfile::tempdir().unwrap();
    reorganised(&World::embedded(dir.path()).await).await;
}

/// In full only: what a reorganisation does to the hub is the same on both chains.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; the embedded chain's reorganisations run in CI"]
async fn reorgs_of_any_depth_cost_nobody_on_anvil() {
    let dir = tempfile::tempdir().unwrap();
    let Some(world) = World::on_anvil(dir.path()).await else {
        return;
    };
    reorganised(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lies_and_one_that_is_dead_do_not_stop_the_hub() {
    let dir = tempfile::tempdir().unwrap();
    let world = match World::on_anvil(dir.path()).await {
        Some(world) => world,
        None => World::embedded(dir.path()).await,
    };
    nodes::one_lies_and_one_is_dead(&world).await;
    nodes::a_dispute_that_cannot_be_read_is_told(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_gets_into_a_block_also_when_gas_is_dear() {
    let dir = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    spike::while_the_answer_waits(&World::embedded(dir.path()).await, &mut cases).await;
    judge(&cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_is_answered_while_strangers_hold_all_sockets() {
    let (dir, mut cases) = (tempfile::tempdir().unwrap(), Vec::new());
    siege::dispute_is_answered(&World::embedded(dir.path()).await, &mut cases).await;
    judge(&cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_collected_in_blocks_too_small_for_a_batch() {
    let (dir, mut cases) = (tempfile::tempdir().unwrap(), Vec::new());
    let Some(world) = World::on_anvil(dir.path()).await else {
        return;
    };
    thousands::let_many_wait(&world);
    small_blocks::are_enough(&world, 160, &mut cases).await;
    judge(&cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_lies_on_the_wire_costs_nobody() {
    let (dir, mut cases) = (tempfile::tempdir().unwrap(), Vec::new());
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (seed, victims) = (number("LIAR_SEED", 1), number("LIAR_VICTIMS", 4));
    let world = World::embedded(dir.path()).await;
    liar::is_no_loss(&world, seed, victims, number("LIAR_S", 8), &mut cases).await;
    judge(&cases);
}
