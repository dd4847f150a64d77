//! The differential of settlement: random evidence through `protocol_spec::settlement` and through the adjudicator's
//! real bytecode in revm (R14, R16-R20, R27).
//!
//! `DIFFERENTIAL_CASES` sequences (default 2,000) from `DIFFERENTIAL_SEED` (default: the clock); sequence i has the
//! seed `DIFFERENTIAL_SEED + i`, so that a failing one runs alone with the seed it prints and one case.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::float_arithmetic,
    reason = "a test may stop at whatever surprises it"
)]

mod action;
mod book;
mod cast;
mod compare;
mod counts;
mod generate;
mod model;
mod planted;
mod sequence;

use cast::Chain;
use counts::Counts;
use model::Rules;
use planted::{Bug, Planted};
use protocol_spec::settlement::Adjudication;
use std::time::{Instant, SystemTime};

const THREADS: u64 = 2;
const CASES: u64 = 2_000;
const CANARY_CASES: u64 = 2_000;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Runs the sequences with seeds `first..first + cases`; the error names the seed of the first difference.
fn run<R: Rules>(rules: &R, first: u64, cases: u64) -> Result<Counts, String> {
    let part = |thread: u64| {
        let mut chain = Chain::new();
        let mut counts = Counts::default();
        for seed in (first + thread..first + cases).step_by(THREADS as usize) {
            sequence::run(&mut chain, rules, seed, &mut counts).map_err(|difference| {
                format!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_CASES=1: {difference}")
            })?;
        }
        Ok::<_, String>(counts)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || part(thread)))
            .collect();
        let mut all = Counts::default();
        for thread in threads {
            all.add(&thread.join().unwrap()?);
        }
        Ok(all)
    })
}

#[test]
fn settlement_and_bytecode_agree() {
    let clock = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() << 20;
    let (seed, cases) = (
        from_env("DIFFERENTIAL_SEED", clock),
        from_env("DIFFERENTIAL_CASES", CASES),
    );
    println!("differential: seed {seed}, {cases} sequences, {THREADS} threads");
    let start = Instant::now();
    let counts =
        run(&Adjudication::default(), seed, cases).unwrap_or_else(|difference| panic!("{difference}"));
    let seconds = start.elapsed().as_secs_f64();
    println!("{counts}");
    println!(
        "differential: {cases} sequences, 0 differences, {seconds:.1} s, {:.0} sequences/s",
        cases as f64 / seconds
    );
    if cases >= CASES {
        assert!(
            counts.count("sequence: finalized") * 2 >= cases,
            "too few reach finalize"
        );
        for must in Counts::MUST {
            assert!(counts.count(must) > 0, "never happened: {must}");
        }
    }
}

/// A planted bug must show within `CANARY_CASES` sequences.
fn must_be_found(bug: Bug) {
    let found = run(&Planted::new(bug), 1, CANARY_CASES);
    match found {
        Err(difference) => println!("{bug:?} found: {difference}"),
        Ok(_) => panic!("{bug:?} was not found in {CANARY_CASES} sequences"),
    }
}

#[test]
fn finds_sum_for_maximum_in_r19() {
    must_be_found(Bug::SumForMaximum);
}

#[test]
fn finds_acks_that_do_not_raise_the_seq_floor() {
    must_be_found(Bug::AcksLeaveSeqFloor);
}

#[test]
fn finds_withdrawals_that_do_not_raise_the_seq_floor() {
    must_be_found(Bug::WithdrawalsLeaveSeqFloor);
}

#[test]
fn finds_old_resolutions_kept_after_a_newer_best() {
    must_be_found(Bug::KeepsOldResolutions);
}

#[test]
fn finds_marks_forgotten_after_a_newer_best() {
    must_be_found(Bug::ForgetsMarks);
}

#[test]
fn finds_a_lock_counted_twice() {
    must_be_found(Bug::CountsTwice);
}

#[test]
fn finds_a_dispute_that_is_final_before_its_locks() {
    must_be_found(Bug::FinalWithoutLocks);
}

#[test]
fn finds_a_division_that_is_not_clamped() {
    must_be_found(Bug::NotClamped);
}
