//! ECDSA over secp256k1 exactly as the adjudicator accepts it: 65 bytes `r || s || v`, low s, v 27 or 28.
//!
//! Verification is against a known key. It recomputes the nonce point and compares both its x with `r`
//! and the parity of its y with `v`, so whatever passes here also passes `ecrecover` on chain.

use crate::{Address, Digest, Reject, hash::keccak, text};
use alloy_primitives::hex;
use borsh::{BorshDeserialize, BorshSerialize};
use k256::{
    AffinePoint, FieldBytes, ProjectivePoint, Scalar,
    ecdsa::{RecoveryId, SigningKey, VerifyingKey},
    elliptic_curve::{
        Group, PrimeField,
        ops::{MulByGeneratorVartime, Reduce},
        point::AffineCoordinates,
        scalar::IsHigh,
        sec1::{FromSec1Point, ToSec1Point},
    },
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A direct signature: `r || s || v`, 65 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Signature(pub [u8; 65]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex::Buffer::<65, true>::new().format(&self.0))
    }
}
impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize_hex(&self.0, serializer)
    }
}
impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize_hex(deserializer, "signature must be 65 bytes of hex").map(Self)
    }
}

struct Parts {
    r: Scalar,
    s: Scalar,
    odd: bool,
}

impl Signature {
    /// Splits and range-checks: 0 < r, 0 < s <= n/2, v 27 or 28.
    fn parts(&self) -> Result<Parts, Reject> {
        let (r, rest) = self.0.split_at(32);
        let (s, v) = rest.split_at(32);
        let r = scalar(r)?;
        let s = scalar(s)?;
        let odd = match v {
            [27] => false,
            [28] => true,
            _ => return Err(Reject::SignatureMalformed("v must be 27 or 28")),
        };
        match () {
            () if r == Scalar::ZERO => Err(Reject::SignatureMalformed("r is zero")),
            () if s == Scalar::ZERO => Err(Reject::SignatureMalformed("s is zero")),
            () if bool::from(s.is_high()) => Err(Reject::SignatureMalformed("s is high")),
            () => Ok(Parts { r, s, odd }),
        }
    }

    /// What the adjudicator refuses whatever was signed. Errors: [`Reject::SignatureMalformed`] and why.
    pub fn check_form(&self) -> Result<(), Reject> {
        self.parts().map(drop)
    }

    /// EIP-2098: r, and s with the parity in its top bit, which a low s leaves free.
    #[must_use]
    pub fn to_compact(&self) -> crate::abi::CompactSignature {
        let (mut r, mut vs) = ([0; 32], [0; 32]);
        let (first, rest) = self.0.split_at(32);
        let (second, v) = rest.split_at(32);
        r.copy_from_slice(first);
        vs.copy_from_slice(second);
        if let (Some(top), [28]) = (vs.first_mut(), v) {
            *top |= 0x80;
        }
        crate::abi::CompactSignature {
            r: r.into(),
            vs: vs.into(),
        }
    }

    /// The key that made this signature over `digest`. For first contact only: where the signer is known, [`PublicKey::verify`].
    pub fn recover(&self, digest: &Digest) -> Result<PublicKey, Reject> {
        let parts = self.parts()?;
        let compact = self.0.get(..64).ok_or(Reject::SignatureInvalid)?;
        let signature = k256::ecdsa::Signature::from_slice(compact).map_err(|_| Reject::SignatureInvalid)?;
        let id = RecoveryId::new(parts.odd, false);
        let key = VerifyingKey::recover_from_prehash(&digest.0, &signature, id)
            .map_err(|_| Reject::SignatureInvalid)?;
        Ok(PublicKey::from_point(*key.as_affine()))
    }
}

fn scalar(bytes: &[u8]) -> Result<Scalar, Reject> {
    let bytes = FieldBytes::try_from(bytes).map_err(|_| Reject::SignatureInvalid)?;
    Option::from(Scalar::from_repr(bytes))
        .ok_or(Reject::SignatureMalformed("r or s is not below the group order"))
}

/// A signer's public key with its address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    point: AffinePoint,
    address: Address,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.address)
    }
}

impl PublicKey {
    fn from_point(point: AffinePoint) -> Self {
        let encoded = point.to_sec1_point(false);
        let hash = keccak(encoded.as_bytes().get(1..).unwrap_or_default());
        Self {
            point,
            address: Address::from_slice(hash.get(12..).unwrap_or_default()),
        }
    }

    /// From 33 compressed bytes. Errors: [`Reject::SignatureInvalid`] when it is no point of the curve.
    pub fn from_compressed(bytes: &[u8; 33]) -> Result<Self, Reject> {
        let encoded = k256::Sec1Point::from_bytes(bytes).map_err(|_| Reject::SignatureInvalid)?;
        let point: Option<AffinePoint> = AffinePoint::from_sec1_point(&encoded).into();
        point.map(Self::from_point).ok_or(Reject::SignatureInvalid)
    }

    /// 33 compressed bytes.
    #[must_use]
    pub fn to_compressed(&self) -> [u8; 33] {
        let mut out = [0; 33];
        out.copy_from_slice(self.point.to_sec1_point(true).as_bytes());
        out
    }

    /// 65 bytes: 4, x, y.
    #[must_use]
    pub fn to_uncompressed(&self) -> [u8; 65] {
        let mut out = [0; 65];
        out.copy_from_slice(self.point.to_sec1_point(false).as_bytes());
        out
    }

    /// The account address of this key.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// Checks `signature` over `digest`. Errors: malformed or invalid signature; the state of the caller is untouched.
    pub fn verify(&self, digest: &Digest, signature: &Signature) -> Result<(), Reject> {
        let parts = signature.parts()?;
        let z = <Scalar as Reduce<FieldBytes>>::reduce(&FieldBytes::from(digest.0));
        let s_inverse: Option<Scalar> = parts.s.invert_vartime().into();
        let s_inverse = s_inverse.ok_or(Reject::SignatureInvalid)?;
        let (u1, u2) = (z.multiply(&s_inverse), parts.r.multiply(&s_inverse));
        let point = ProjectivePoint::mul_by_generator_and_mul_add_vartime(
            &u1,
            &u2,
            &ProjectivePoint::from(self.point),
        );
        if bool::from(point.is_identity()) {
            return Err(Reject::SignatureInvalid);
        }
        let affine = point.to_affine();
        let same = affine.x() == parts.r.to_repr() && bool::from(affine.y_is_odd()) == parts.odd;
        same.then_some(()).ok_or(Reject::SignatureInvalid)
    }
}

trait Multiply {
    fn multiply(&self, other: &Self) -> Self;
}
impl Multiply for Scalar {
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "arithmetic modulo the group order cannot overflow"
    )]
    fn multiply(&self, other: &Self) -> Self {
        self * other
    }
}

/// A local private key. Signs by RFC 6979 (no randomness), low s; zeroized on drop.
#[derive(Clone)]
pub struct SignerKey(SigningKey);

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey({})", self.address())
    }
}

impl SignerKey {
    /// From 32 secret bytes. Errors: [`Reject::SignatureInvalid`] when they are zero or not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Reject> {
        SigningKey::from_slice(bytes)
            .map(Self)
            .map_err(|_| Reject::SignatureInvalid)
    }

    /// The 32 secret bytes, zeroized when dropped.
    #[must_use]
    pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes().into())
    }

    /// Signs a digest.
    #[must_use]
    pub fn sign(&self, digest: &Digest) -> Signature {
        let (signature, id) = self.0.sign_prehash_recoverable(&digest.0);
        let mut bytes = [0; 65];
        let (compact, v) = bytes.split_at_mut(64);
        compact.copy_from_slice(&signature.to_bytes());
        v.copy_from_slice(&[if id.is_y_odd() { 28 } else { 27 }]);
        Signature(bytes)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from_point(*self.0.verifying_key().as_affine())
    }

    /// The account address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.public().address()
    }
}
