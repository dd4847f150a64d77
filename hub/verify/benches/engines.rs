//! All engines by batch size, in one run: microseconds of CPU time per signature, median (min-max) of five rounds.
//! `cargo bench -p hub-verify [-- SIGNERS]`; what counts are the ratios between columns of one run.

#![allow(
    clippy::float_arithmetic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    reason = "a benchmark"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Case, Random, items};
use hub_verify::{Cached, Engine, Portable, Reference, Tables, Verdict};
use rustix::time::{ClockId, clock_gettime};
use std::{hint::black_box, sync::Arc};

const ROUNDS: usize = 5;
const BATCHES: [usize; 5] = [1, 8, 32, 128, 1024];
const CASES: usize = 4_096;

fn main() {
    let signers: usize = std::env::args()
        .find_map(|text| text.parse().ok())
        .unwrap_or(1_000);
    let mut random = Random(1);
    let all: Vec<_> = (0..signers).map(|_| random.signer()).collect();
    let cases: Vec<_> = (0..CASES)
        .map(|at| Case::signed(&mut random, &all[at * 7_919 % signers]))
        .collect();
    let tables = Arc::new(Tables::new(Tables::BYTES_PER_SIGNER * signers));
    let start = cpu_us();
    // More at once are not wanted.
    for some in all.chunks(1_000) {
        some.iter().for_each(|signer| tables.want(&signer.key));
        tables.build_wanted(usize::MAX);
    }
    assert_eq!(tables.len(), signers, "a table for everybody");
    let each = (cpu_us() - start) / tables.len() as f64;
    println!(
        "{} tables of {} bytes, {each:.1} us each",
        tables.len(),
        Tables::BYTES_PER_SIGNER
    );
    let mut engines: Vec<Box<dyn Engine>> = vec![
        Box::new(Reference),
        Box::new(Portable::default()),
        Box::new(Cached::one_lane(Arc::clone(&tables))),
        Box::new(Cached::new(Arc::clone(&tables))),
    ];
    print!("{:>6}", "batch");
    for engine in &engines {
        print!("{:>24}", engine.name());
    }
    println!();
    for batch in BATCHES {
        let mut times = vec![Vec::new(); engines.len()];
        for round in 0..ROUNDS {
            for (engine, times) in engines.iter_mut().zip(&mut times) {
                times.push(measure(engine.as_mut(), &cases, batch, round));
            }
        }
        print!("{batch:>6}");
        for times in &mut times {
            times.sort_by(f64::total_cmp);
            print!(
                "{:>10.2} ({:.2}-{:.2})",
                times[ROUNDS / 2],
                times[0],
                times[ROUNDS - 1]
            );
        }
        println!();
    }
    keccak();
}

/// Keccak-256 of 64 messages: one by one with alloy, and together. Nanoseconds for each message.
fn keccak() {
    const COUNT: usize = 64;
    for length in [64, 256] {
        let messages = vec![7; length * COUNT];
        let mut digests = [[0; 32]; COUNT];
        let mut times = [const { Vec::new() }; 2];
        for _ in 0..ROUNDS {
            let start = cpu_us();
            for _ in 0..200 {
                for (message, digest) in black_box(&messages).chunks_exact(length).zip(&mut digests) {
                    *digest = alloy_primitives::keccak256(message).0;
                }
            }
            let middle = cpu_us();
            for _ in 0..200 {
                hub_verify::keccak256_each(black_box(&messages), black_box(&mut digests));
            }
            let each = 1e3 / (200 * COUNT) as f64;
            times[0].push((middle - start) * each);
            times[1].push((cpu_us() - middle) * each);
        }
        for (name, times) in ["alloy", "together"].iter().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            let (least, most) = (times[0], times[ROUNDS - 1]);
            println!(
                "keccak256 of {length} bytes, {name}: {:.0} ns ({least:.0}-{most:.0})",
                times[ROUNDS / 2]
            );
        }
    }
}

/// CPU time of this thread, so that what else the machine does counts less.
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Microseconds per signature.
fn measure(engine: &mut dyn Engine, cases: &[Case], batch: usize, round: usize) -> f64 {
    let items = items(cases);
    let mut verdicts = vec![Verdict::Invalid; batch];
    let count = if engine.name() == "k256" { 512 } else { 2_048 }.max(batch);
    let start = (round * count) % (CASES - count);
    let clock = cpu_us();
    for items in items[start..start + count].chunks_exact(batch) {
        engine.verify(black_box(items), &mut verdicts);
        assert!(
            black_box(&verdicts)
                .iter()
                .all(|verdict| *verdict == Verdict::Valid)
        );
    }
    (cpu_us() - clock) / count as f64
}
