//! All engines agree: a short seeded slice of what `examples/differential` does at length.

mod common;

use common::{
    Case, Random,
    cases::{CLASSES, VALID, case},
    engines, items,
};
use hub_verify::{Cached, Engine, Tables, Verdict};
use std::sync::Arc;

#[test]
fn engines_agree_on_every_class() {
    const SEED: u64 = 1;
    println!("seed {SEED}");
    let mut random = Random(SEED);
    let signers: Vec<_> = (0..5).map(|_| random.signer()).collect();
    let cases: Vec<Case> = (0..CLASSES.len() * 12)
        .map(|at| case(&mut random, &signers, at % CLASSES.len()))
        .collect();
    let mut engines = engines(&cases);
    let mut expected = vec![Verdict::Invalid; cases.len()];
    engines[0].verify(&items(&cases), &mut expected);
    for (at, verdict) in expected.iter().enumerate() {
        if VALID.contains(&(at % CLASSES.len())) {
            assert_eq!(*verdict, Verdict::Valid);
        }
    }
    for (class, name) in CLASSES.iter().enumerate().skip(8) {
        let valid = expected.iter().skip(class).step_by(CLASSES.len());
        let valid = valid.filter(|verdict| **verdict == Verdict::Valid).count();
        assert!(valid > 0 || class == 8, "no valid case of {name}");
    }
    for engine in engines.iter_mut().skip(1) {
        let mut verdicts = vec![Verdict::Malformed; cases.len()];
        engine.verify(&items(&cases), &mut verdicts);
        for (at, (verdict, expected)) in verdicts.iter().zip(&expected).enumerate() {
            let class = CLASSES[at % CLASSES.len()];
            assert_eq!(verdict, expected, "{}: {class}: {:?}", engine.name(), cases[at]);
        }
    }
}

/// Recheck hides a kernel that refuses everything, or the good neighbours of a bad lane: so count.
#[test]
fn only_exceptions_and_forgeries_are_rechecked() {
    let mut random = Random(2);
    let signers: Vec<_> = (0..3).map(|_| random.signer()).collect();
    let tables = Arc::new(Tables::new(usize::MAX));
    for signer in &signers {
        tables.want(&signer.key);
    }
    tables.build_wanted(usize::MAX);
    for mut engine in Cached::all(&tables) {
        let mut forged = 0;
        // A full chunk, and one that leaves lanes free, or of one signature.
        for (length, bad) in [(75, 33), (65, 33), (65, 64), (1, 0), (2, 1)] {
            let mut cases: Vec<_> = (0..length)
                .map(|at| case(&mut random, &signers, VALID[at % 2]))
                .collect();
            cases[bad] = case(&mut random, &signers, 2);
            let mut verdicts = vec![Verdict::Malformed; cases.len()];
            engine.verify(&items(&cases), &mut verdicts);
            for (at, verdict) in verdicts.iter().enumerate() {
                assert_eq!(*verdict == Verdict::Valid, at != bad);
            }
            forged += 1;
            assert_eq!(
                (engine.counts().rechecked, engine.counts().without_tables),
                (forged, 0),
                "{} of {length}",
                engine.name()
            );
        }
    }
}

#[test]
fn keys_without_tables_get_them_off_the_path_and_old_ones_make_room() {
    let mut random = Random(3);
    let signers: Vec<_> = (0..4).map(|_| random.signer()).collect();
    let tables = Arc::new(Tables::new(2 * Tables::BYTES_PER_SIGNER));
    let mut engine = Cached::new(Arc::clone(&tables));
    let mut cold = 0;
    for round in 0..3 {
        for (at, signer) in signers.iter().enumerate() {
            let case = Case::signed(&mut random, signer);
            let mut verdict = [Verdict::Malformed];
            engine.verify(&[case.item()], &mut verdict);
            assert_eq!(verdict, [Verdict::Valid]);
            cold += 1;
            // Each key was pushed out by the two after it.
            assert_eq!(engine.counts().without_tables, cold, "round {round}, key {at}");
            assert_eq!(tables.build_wanted(usize::MAX), 0);
            engine.verify(&[case.item()], &mut verdict);
            assert_eq!(
                (verdict, engine.counts().without_tables),
                ([Verdict::Valid], cold)
            );
            assert!(tables.len() <= 2);
        }
    }
    assert_eq!(engine.counts().rechecked, 0);
}
