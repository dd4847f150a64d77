//! Compares the engines on random signatures of every class: `differential --count 10000000 --seed 1 [--threads 2]`.
//!
//! Each signature goes through k256, through libsecp256k1, and through every kernel that this CPU can run; those of one batch
//! in 64 once more, with the emulated lanes. Exits with 1 on any disagreement.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a program for tests"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{
    Case, Random, Signer,
    cases::{CLASSES, VALID, change},
    items,
};
use hub_verify::{Cached, Engine, Portable, Reference, Tables, Verdict};
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const BATCH: usize = 192;
/// Cases made of one signature.
const VARIANTS: usize = 12;
/// How the classes are drawn: the rare ones cost more to make.
const DRAW: [usize; 24] = [
    0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 8, 8, 9, 10, 10, 11,
];

#[derive(Default)]
struct Tally {
    /// Per class: all, valid.
    cases: [[AtomicU64; 2]; CLASSES.len()],
    /// Not accepted by an engine's own kernel, counted for each engine; well-formed but refused.
    rechecked: AtomicU64,
    invalid: AtomicU64,
    disagreements: AtomicU64,
    done: AtomicU64,
}

fn main() -> ExitCode {
    let count = option("--count", 100_000);
    let seed = option("--seed", 1);
    let threads = option("--threads", 1);
    let tally = Tally::default();
    for engine in Cached::all(&Arc::new(Tables::new(0))) {
        println!("{}", engine.name());
    }
    println!("seed {seed}, {count} signatures, {threads} threads");
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let tally = &tally;
            scope.spawn(move || work(seed.wrapping_mul(1_000_003) + thread, count, tally));
        }
    });
    println!("{:<32}{:>12}{:>12}", "class", "signatures", "valid");
    for (name, counts) in CLASSES.iter().zip(&tally.cases) {
        println!("{name:<32}{:>12}{:>12}", load(&counts[0]), load(&counts[1]));
    }
    let total: u64 = tally.cases.iter().map(|counts| load(&counts[0])).sum();
    let bad = load(&tally.disagreements);
    println!(
        "{total} signatures, {bad} disagreements; {} rechecked, {} well-formed but invalid",
        load(&tally.rechecked),
        load(&tally.invalid)
    );
    if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn option(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments
        .next()
        .map_or(default, |value| value.parse().expect("a number"))
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn work(seed: u64, count: u64, tally: &Tally) {
    let mut random = Random(seed);
    let tables = Arc::new(Tables::new(4_096 * Tables::BYTES_PER_SIGNER));
    let (mut emulated, mut engines): (Vec<_>, Vec<_>) = Cached::all(&tables)
        .into_iter()
        .partition(|engine| engine.name().contains("emulated"));
    let mut signers = Vec::new();
    let batch = u64::try_from(BATCH).unwrap();
    for round in 0_u64.. {
        let before = tally.done.fetch_add(batch, Ordering::Relaxed);
        if before >= count {
            break;
        }
        if before / 100_000 != (before + batch) / 100_000 {
            println!("{before} done, {} disagreements", load(&tally.disagreements));
        }
        if round % 256 == 0 {
            signers = (0..32).map(|_| random.signer()).collect();
        }
        let (classes, cases) = cases(&mut random, &signers);
        for case in &cases {
            tables.want(&case.key);
        }
        // Now and then a key stays without tables.
        tables.build_wanted(BATCH - 1);
        compare(tally, &mut engines, &classes, &cases);
        if round % 64 == 0 {
            compare(tally, &mut emulated, &classes, &cases);
        }
    }
}

fn cases(random: &mut Random, signers: &[Signer]) -> (Vec<usize>, Vec<Case>) {
    let (mut classes, mut cases) = (Vec::new(), Vec::new());
    while cases.len() < BATCH {
        let at = random.below(signers.len());
        let signed = Case::signed(random, &signers[at]);
        for variant in 0..VARIANTS {
            let class = if variant == 0 {
                0
            } else {
                DRAW[random.below(DRAW.len())]
            };
            let mut case = signed.clone();
            change(random, signers, class, at, &mut case);
            classes.push(class);
            cases.push(case);
        }
    }
    (classes, cases)
}

fn compare(tally: &Tally, engines: &mut [Cached], classes: &[usize], cases: &[Case]) {
    let items = items(cases);
    let mut reference = vec![Verdict::Malformed; cases.len()];
    let mut portable = reference.clone();
    Reference.verify(&items, &mut reference);
    Portable::default().verify(&items, &mut portable);
    for engine in engines {
        let mut verdicts = vec![Verdict::Malformed; cases.len()];
        let before = engine.counts().rechecked;
        // What an engine leaves to the reference need not be computed once for each.
        engine.verify_with(&items, &mut verdicts, &mut |at| reference[at]);
        let rechecked = engine.counts().rechecked - before;
        tally.rechecked.fetch_add(rechecked, Ordering::Relaxed);
        for (at, verdict) in verdicts.iter().enumerate() {
            if *verdict != portable[at] || *verdict != reference[at] {
                tally.disagreements.fetch_add(1, Ordering::Relaxed);
                println!(
                    "DISAGREE {}: {verdict:?}, libsecp256k1 {:?}, k256 {:?}: {:?}",
                    engine.name(),
                    portable[at],
                    reference[at],
                    cases[at]
                );
            }
        }
    }
    for ((class, case), verdict) in classes.iter().zip(cases).zip(&reference) {
        let refused = u64::from(*verdict == Verdict::Invalid);
        tally.invalid.fetch_add(refused, Ordering::Relaxed);
        let [all, valid] = &tally.cases[*class];
        all.fetch_add(1, Ordering::Relaxed);
        valid.fetch_add(u64::from(*verdict == Verdict::Valid), Ordering::Relaxed);
        let ordinary = VALID.contains(class);
        assert!(!ordinary || *verdict == Verdict::Valid, "{case:?}");
    }
}
