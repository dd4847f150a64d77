//! A5: our verification against libsecp256k1's recovery, used as `ecrecover` is on chain.

use crate::common::key;
use alloy_primitives::keccak256;
use protocol_spec::{Address, Digest, PublicKey, Signature, SignerKey};
use secp256k1::{
    Message,
    ecdsa::{RecoverableSignature, RecoveryId},
};

const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];
const HALF: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d,
    0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// What the precompile answers; `None` for its empty answer.
fn ecrecover(digest: &Digest, signature: &Signature) -> Option<Address> {
    let id = RecoveryId::try_from(i32::from(signature.0[64]) - 27)
        .ok()
        .filter(|_| matches!(signature.0[64], 27 | 28))?;
    let parsed = RecoverableSignature::from_compact(&signature.0[..64], id).ok()?;
    let key = parsed_key(&parsed, digest)?;
    Some(Address::from_slice(&keccak256(&key[1..])[12..]))
}

fn parsed_key(signature: &RecoverableSignature, digest: &Digest) -> Option<[u8; 65]> {
    let key = secp256k1::Secp256k1::verification_only()
        .recover_ecdsa(Message::from_digest(digest.0), signature)
        .ok()?;
    Some(key.serialize_uncompressed())
}

/// The contract's rule: ecrecover == signer, low s, v 27 or 28.
fn on_chain(digest: &Digest, signature: &Signature, signer: Address) -> bool {
    signature.0[32..64] <= HALF[..] && ecrecover(digest, signature) == Some(signer)
}

/// n - s.
fn high(s: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let mut borrow = 0_i32;
    for index in (0..32).rev() {
        let value = i32::from(ORDER[index]) - i32::from(s[index]) - borrow;
        borrow = i32::from(value < 0);
        out[index] = value.rem_euclid(256) as u8;
    }
    out
}

/// xorshift64*, so that the seed alone tells the run.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn bytes(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        out.chunks_mut(8)
            .for_each(|chunk| chunk.copy_from_slice(&self.next().to_be_bytes()));
        out
    }
}

fn mutate(random: &mut Random, good: &Signature) -> Signature {
    let mut bytes = good.0;
    match random.next() % 16 {
        0 => bytes[32..64].copy_from_slice(&high(&good.0[32..64])),
        1 => {
            bytes[32..64].copy_from_slice(&high(&good.0[32..64]));
            bytes[64] = 55 - bytes[64];
        }
        2 => bytes[64] = 55 - bytes[64],
        3 => bytes[64] = [0, 1, 2, 3, 26, 29, 30, 31, 35, 255][(random.next() % 10) as usize],
        4 => bytes[..32].fill(0),
        5 => bytes[32..64].fill(0),
        6 => bytes[..32].copy_from_slice(&ORDER),
        7 => bytes[32..64].copy_from_slice(&ORDER),
        8 => bytes[..32].fill(0xff),
        9 => bytes[32..64].copy_from_slice(&HALF),
        10 => bytes[..32].copy_from_slice(&random.bytes()),
        11 => bytes[32..64].copy_from_slice(&random.bytes()),
        12 => {
            let (r, s) = (good.0[..32].to_vec(), good.0[32..64].to_vec());
            bytes[..32].copy_from_slice(&s);
            bytes[32..64].copy_from_slice(&r);
        }
        13 => bytes[(random.next() % 65) as usize] ^= 1 << (random.next() % 8),
        14 => bytes = [0; 65],
        _ => {}
    }
    Signature(bytes)
}

#[test]
fn a05_a_hundred_thousand_mutated_signatures_are_judged_as_on_chain() {
    let seed = 0x00c0_ffee_0000_0005;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let (mut valid, mut total) = (0, 0);
    for _ in 0..1_000 {
        let signer = SignerKey::from_bytes(&random.bytes()).unwrap();
        let (public, digest) = (signer.public(), Digest(random.bytes()));
        let good = signer.sign(&digest);
        assert!(good.0[32..64] <= HALF[..] && matches!(good.0[64], 27 | 28));
        for _ in 0..100 {
            let candidate = mutate(&mut random, &good);
            let expected = on_chain(&digest, &candidate, public.address());
            assert_eq!(
                public.verify(&digest, &candidate).is_ok(),
                expected,
                "{candidate:?} over {digest}"
            );
            let recovered = candidate.recover(&digest).ok().map(|key| key.address());
            assert_eq!(recovered == Some(public.address()), expected);
            valid += u32::from(expected);
            total += 1;
        }
    }
    println!("{total} signatures, {valid} valid, 0 differences");
    assert!(valid > total / 20 && valid < total / 5);
}

#[test]
fn a05_extreme_digests_are_judged_as_on_chain() {
    for digest in [[0; 32], [0xff; 32], ORDER, HALF] {
        let digest = Digest(digest);
        let signature = key(9).sign(&digest);
        let public = key(9).public();
        assert_eq!(
            public.verify(&digest, &signature).is_ok(),
            on_chain(&digest, &signature, public.address())
        );
    }
}

#[test]
fn a05_signatures_are_65_bytes_and_keys_are_points() {
    for length in [0, 64, 66] {
        let text = format!("\"0x{}\"", "11".repeat(length));
        assert!(
            serde_json::from_str::<Signature>(&text).is_err(),
            "{length} bytes"
        );
    }
    assert!(PublicKey::from_compressed(&[0; 33]).is_err());
    assert!(PublicKey::from_compressed(&[2; 33]).is_ok() || PublicKey::from_compressed(&[3; 33]).is_ok());
    let compressed = key(3).public().to_compressed();
    assert_eq!(PublicKey::from_compressed(&compressed).unwrap(), key(3).public());
    assert!(SignerKey::from_bytes(&[0; 32]).is_err() && SignerKey::from_bytes(&ORDER).is_err());
}

/// What needs no key to be refused: zero, a high s, and any v but two.
#[test]
fn a05_the_form_alone_is_judged_without_a_key() {
    let good = key(9).sign(&Digest([1; 32]));
    good.check_form().unwrap();
    let broken = |change: &dyn Fn(&mut [u8; 65])| {
        let mut bytes = good.0;
        change(&mut bytes);
        Signature(bytes).check_form().is_err()
    };
    assert!(broken(&|bytes| bytes[..32].fill(0)), "r is zero");
    assert!(broken(&|bytes| bytes[32..64].fill(0)), "s is zero");
    assert!(broken(&|bytes| bytes[..32].copy_from_slice(&ORDER)));
    assert!(broken(
        &|bytes| bytes[32..64].copy_from_slice(&high(&good.0[32..64]))
    ));
    assert!(
        !broken(&|bytes| bytes[32..64].copy_from_slice(&HALF)),
        "the largest low s"
    );
    for v in [0, 1, 26, 29] {
        assert!(broken(&|bytes| bytes[64] = v));
    }
}

/// EIP-2098 keeps all of a signature in 64 bytes; a key's two forms name one point.
#[test]
fn a05_short_forms_keep_everything() {
    let mut parities = std::collections::BTreeSet::new();
    for byte in 1..=20 {
        let signature = key(3).sign(&Digest([byte; 32]));
        let compact = signature.to_compact();
        let odd = compact.vs[0] >> 7;
        let mut back = [0; 65];
        back[..32].copy_from_slice(&compact.r[..]);
        back[32..64].copy_from_slice(&compact.vs[..]);
        back[32] &= 0x7f;
        back[64] = 27 + odd;
        assert_eq!(Signature(back), signature);
        parities.insert(odd);
    }
    assert_eq!(parities.len(), 2, "both parities were met");
    let secret = [3; 32];
    assert_eq!(*SignerKey::from_bytes(&secret).unwrap().to_bytes(), secret);
    let public = key(3).public();
    let reference = secp256k1::PublicKey::from_slice(&public.to_compressed()).unwrap();
    assert_eq!(public.to_uncompressed(), reference.serialize_uncompressed());
}

/// G4: two signatures of one key with the same r and different digests give the key away. RFC 6979 takes the nonce from key
/// and digest, as libsecp256k1 does.
#[test]
fn g04_nonces_follow_from_key_and_digest_and_none_comes_twice() {
    let reference = secp256k1::Secp256k1::signing_only();
    let mut seen = std::collections::HashSet::new();
    for number in 0_u32..10_000 {
        let digest = Digest(keccak256(number.to_be_bytes()).0);
        for byte in [3, 4] {
            let signature = key(byte).sign(&digest);
            assert!(
                seen.insert(signature.0[..32].to_vec()),
                "r of {number} came before"
            );
            if number < 1000 {
                assert_eq!(key(byte).sign(&digest), signature, "signed again");
                let secret = secp256k1::SecretKey::from_byte_array([byte; 32]).unwrap();
                let other = reference.sign_ecdsa_recoverable(Message::from_digest(digest.0), &secret);
                assert_eq!(other.serialize_compact().1[..], signature.0[..64]);
            }
        }
    }
}
