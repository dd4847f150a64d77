//! Keys that sign at the speed of the load: a nonce is taken from a pool, so that a signature costs two multiplications
//! modulo the group order. Whoever sees two signatures with one nonce has the key: these keys hold play money only.

use alloy::primitives::keccak256;
use anyhow::Context;
use k256::{
    FieldBytes, ProjectivePoint, Scalar,
    elliptic_curve::{PrimeField, ops::Reduce, point::AffineCoordinates, scalar::IsHigh},
};
use protocol_spec::{Address, Digest, Signature, SignerKey};

/// Nonces in a pool.
const POOL: u32 = 4096;

struct Nonce {
    inverse: Scalar,
    r: Scalar,
    odd: bool,
}

/// A pool of nonces, shared by all keys.
pub(super) struct Nonces(Vec<Nonce>);

impl Nonces {
    pub(super) fn new(seed: u64) -> anyhow::Result<Self> {
        let pool = (0..POOL).map(|number| nonce(&scalar(seed, b"nonce", number)));
        pool.collect::<Option<_>>().map(Self).context("a nonce is zero")
    }
}

fn nonce(secret: &Scalar) -> Option<Nonce> {
    let point = ProjectivePoint::mul_by_generator_vartime(secret).to_affine();
    Some(Nonce {
        inverse: Option::from(secret.invert_vartime())?,
        r: <Scalar as Reduce<FieldBytes>>::reduce(&point.x()),
        odd: point.y_is_odd().into(),
    })
}

fn scalar(seed: u64, what: &[u8], number: u32) -> Scalar {
    let mut bytes = seed.to_be_bytes().to_vec();
    bytes.extend_from_slice(what);
    bytes.extend_from_slice(&number.to_be_bytes());
    <Scalar as Reduce<FieldBytes>>::reduce(&FieldBytes::from(keccak256(&bytes).0))
}

/// A key of the load.
pub(super) struct LoadKey {
    secret: Scalar,
    pub(super) address: Address,
}

impl LoadKey {
    /// The key of this number. Errors: no usable key has it.
    pub(super) fn new(seed: u64, number: u32) -> anyhow::Result<Self> {
        let secret = scalar(seed, b"key", number);
        let bytes: [u8; 32] = secret.to_repr().into();
        let address = SignerKey::from_bytes(&bytes)?.address();
        Ok(Self { secret, address })
    }

    /// A signature as everybody makes it, but for its nonce, which is the `turn`th of the pool.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "arithmetic modulo the group order cannot overflow"
    )]
    pub(super) fn sign(&self, digest: &Digest, nonces: &Nonces, turn: u64) -> Option<Signature> {
        let index = usize::try_from(turn.checked_rem(nonces.0.len() as u64)?).ok()?;
        let nonce = nonces.0.get(index)?;
        let z = <Scalar as Reduce<FieldBytes>>::reduce(&FieldBytes::from(digest.0));
        let s = nonce.inverse * (z + nonce.r * self.secret);
        let high = bool::from(s.is_high());
        let s = if high { -s } else { s };
        let mut bytes = [0; 65];
        let (r_part, rest) = bytes.split_at_mut(32);
        let (s_part, v) = rest.split_at_mut(32);
        r_part.copy_from_slice(&nonce.r.to_repr());
        s_part.copy_from_slice(&s.to_repr());
        v.copy_from_slice(&[if nonce.odd ^ high { 28 } else { 27 }]);
        Some(Signature(bytes))
    }
}
