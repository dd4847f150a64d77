//! Known answers: before a kernel of several lanes is used, it must give them on the CPU that it runs on.

use crate::{Cached, Counts, Engine, Item, Key, Signature, Tables, Verdict};
use k256::ecdsa::SigningKey;
use std::sync::{Arc, OnceLock};

/// Two blocks of eight lanes, four of four.
const SIGNATURES: u8 = 16;

/// Whether the CPU's own instructions accept what is right and nothing else; asked once per process. False without them.
pub(crate) fn eight_lanes_answer_right() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| answers_right(Cached::eight).unwrap_or(false))
}

/// The same for four lanes.
pub(crate) fn four_lanes_answer_right() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| answers_right(Cached::four).unwrap_or(false))
}

/// `None`: there is no such engine here.
fn answers_right(engine: impl Fn(Arc<Tables>) -> Option<Cached>) -> Option<bool> {
    let signer = SigningKey::from_slice(&[7; 32]).ok()?;
    let key = Key::from_sec1(signer.verifying_key().to_sec1_point(false).as_bytes())?;
    let tables = Arc::new(Tables::new(4 * Tables::BYTES_PER_SIGNER));
    tables.want(&key);
    tables.build_wanted(1);
    let mut engine = engine(tables)?;
    let made: Vec<([u8; 32], [u8; 65])> = (0..SIGNATURES)
        .map(|number| {
            let (mut digest, mut bytes) = ([number; 32], [0; 65]);
            let (signature, id) = signer.sign_prehash_recoverable(&digest);
            let (compact, v) = bytes.split_at_mut(64);
            compact.copy_from_slice(&signature.to_bytes());
            v.copy_from_slice(&[if id.is_y_odd() { 28 } else { 27 }]);
            if is_forged(number) {
                digest[31] ^= 1;
            }
            (digest, bytes)
        })
        .collect();
    let items: Vec<Item<'_>> = made
        .iter()
        .map(|(digest, signature)| Item {
            key: &key,
            digest,
            signature: Signature::Recoverable(signature),
        })
        .collect();
    let mut verdicts = vec![Verdict::Malformed; items.len()];
    engine.verify(&items, &mut verdicts);
    let forged = (0..SIGNATURES).filter(|number| is_forged(*number)).count() as u64;
    // Whatever the kernel had not accepted the reference would have: its answers are right only if it was asked for the
    // forged ones alone.
    let counts = Counts {
        rechecked: forged,
        with_tables: SIGNATURES.into(),
        without_tables: 0,
    };
    let expected = |number| {
        if is_forged(number) {
            Verdict::Invalid
        } else {
            Verdict::Valid
        }
    };
    Some(engine.counts() == counts && verdicts.into_iter().eq((0..SIGNATURES).map(expected)))
}

/// In every lane once, in one block or the other.
fn is_forged(number: u8) -> bool {
    (number < 8) == number.is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The instructions' own, too, where the CPU has them.
    #[test]
    fn engines_that_work_give_the_known_answers() {
        let engines = Cached::all(&Arc::new(Tables::new(0))).len();
        for at in 0..engines {
            let engine = |tables| Some(Cached::all(&tables).swap_remove(at));
            assert_eq!(answers_right(engine), Some(true));
        }
        for (name, engine) in [
            ("eight lanes with AVX-512 IFMA", Cached::eight as fn(_) -> _),
            ("four lanes with AVX2 and FMA", Cached::four),
        ] {
            println!("{name} here: {:?}", answers_right(engine));
        }
    }
}
