//! Signature engines: one verdict, whatever the bytes. With tables of the signer and without.

use crate::bytes::Bytes;
use hub_verify::{Cached, Engine, Item, Key, Portable, Reference, Signature, Tables, Verdict};
use k256::ecdsa::SigningKey;
use std::{cell::RefCell, sync::Arc};

const KEYS: u8 = 8;

struct Engines {
    keys: Vec<(SigningKey, Key)>,
    engines: Vec<Box<dyn Engine>>,
}

thread_local! {
    static ENGINES: RefCell<Engines> = RefCell::new(Engines::new());
}

impl Engines {
    fn new() -> Self {
        let key = |number: u8| {
            // 1 and 2 are keys whose multiples meet G's.
            let mut secret = [0; 32];
            secret[31] = number + 1;
            if number > 3 {
                secret[..16].fill(number);
            }
            let secret = SigningKey::from_slice(&secret).unwrap();
            let key = Key::from_sec1(secret.verifying_key().to_sec1_point(false).as_bytes()).unwrap();
            (secret, key)
        };
        let keys: Vec<_> = (0..KEYS).map(key).collect();
        let tables = Arc::new(Tables::new(keys.len() * Tables::BYTES_PER_SIGNER));
        for (_, key) in &keys {
            tables.want(key);
            tables.build_wanted(usize::MAX);
        }
        let cold = Arc::new(Tables::new(0));
        let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(Reference), Box::new(Portable::default())];
        for engine in Cached::all(&tables).into_iter().chain(Cached::all(&cold)) {
            engines.push(Box::new(engine));
        }
        Self { keys, engines }
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let (number, form) = (usize::from(bytes.below(KEYS)), bytes.byte());
    let digest: [u8; 32] = bytes.array();
    ENGINES.with_borrow_mut(|all| {
        let (secret, key) = &all.keys[number];
        let mut signature = [0; 65];
        if form & 1 == 0 {
            let (signed, id) = secret.sign_prehash_recoverable(&digest);
            signature[..64].copy_from_slice(&signed.to_bytes());
            signature[64] = 27 + id.to_byte();
        }
        for place in &mut signature {
            *place ^= bytes.byte();
        }
        let plain: [u8; 64] = signature[..64].try_into().unwrap();
        let signature = match form & 2 {
            0 => Signature::Recoverable(&signature),
            _ => Signature::Plain(&plain),
        };
        let item = Item {
            key,
            digest: &digest,
            signature,
        };
        let mut first = None;
        for engine in &mut all.engines {
            // Alone in its chunk; with most lanes free; with all of them taken, and over.
            for length in [1, 2, 9] {
                let batch = vec![item; length];
                let mut verdicts = vec![Verdict::Malformed; length];
                engine.verify(&batch, &mut verdicts);
                for verdict in verdicts {
                    let expected = *first.get_or_insert(verdict);
                    assert_eq!(verdict, expected, "{} of {length}", engine.name());
                }
            }
        }
    });
}
