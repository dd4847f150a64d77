//! Project Wycheproof's vectors, through every engine; see `data/README.md`.

mod common;

use common::{Case, engines, items};
use hub_verify::{Key, Verdict};

#[test]
fn wycheproof() {
    let mut bytes = include_bytes!("data/wycheproof.bin").as_slice();
    let (mut cases, mut expected) = (Vec::new(), Vec::new());
    while let Some((count, rest)) = bytes.split_first_chunk::<2>() {
        let (point, rest) = rest.split_at(64);
        bytes = rest;
        let key = Key::from_sec1(&[&[4], point].concat()).unwrap();
        for _ in 0..u16::from_le_bytes(*count) {
            let (vector, rest) = bytes.split_first_chunk::<97>().unwrap();
            bytes = rest;
            let mut signature = [0; 65];
            signature[..64].copy_from_slice(&vector[33..]);
            cases.push(Case {
                key,
                digest: vector[1..33].try_into().unwrap(),
                signature,
                with_parity: false,
            });
            expected.push(vector[0]);
        }
    }
    let count = |kind| expected.iter().filter(|expected| **expected == kind).count();
    assert_eq!((count(1), count(0), count(2)), (292, 144, 187));
    for mut engine in engines(&cases) {
        let mut verdicts = vec![Verdict::Invalid; cases.len()];
        engine.verify(&items(&cases), &mut verdicts);
        for ((verdict, expected), case) in verdicts.iter().zip(&expected).zip(&cases) {
            let right = match expected {
                1 => *verdict == Verdict::Valid,
                2 => *verdict == Verdict::Malformed,
                _ => *verdict != Verdict::Valid,
            };
            assert!(
                right,
                "{} says {verdict:?}, not {expected}: {case:?}",
                engine.name()
            );
        }
    }
}
