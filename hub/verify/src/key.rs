//! Public keys.

use crate::{field::Fe, sum::Point, words};
use k256::{
    FieldBytes, ProjectivePoint, Scalar,
    elliptic_curve::{PrimeField, sec1::FromSec1Point, sec1::ToSec1Point},
};
use std::hash::{Hash, Hasher};

/// A signer's public key: a point of the curve, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    x: words::U256,
    y: words::U256,
}

/// A part tells keys apart: many with the same 64 bits cannot be found.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [part, ..] = self.x;
        state.write_u64(part);
    }
}

impl Key {
    /// From SEC1: 33 bytes compressed or 65 bytes uncompressed. `None` if they are no point of the curve, or the identity.
    #[must_use]
    pub fn from_sec1(bytes: &[u8]) -> Option<Self> {
        let encoded = k256::Sec1Point::from_bytes(bytes).ok()?;
        let point: Option<k256::AffinePoint> = k256::AffinePoint::from_sec1_point(&encoded).into();
        Self::of(&point?)
    }

    fn of(point: &k256::AffinePoint) -> Option<Self> {
        let encoded = point.to_sec1_point(false);
        let [4, rest @ ..] = encoded.as_bytes() else {
            return None;
        };
        let (x, y) = rest.split_first_chunk::<32>()?;
        let y = y.first_chunk::<32>()?;
        Some(Self {
            x: words::from_be(x),
            y: words::from_be(y),
        })
    }

    /// 65 bytes: 4, x, y.
    #[must_use]
    pub fn to_uncompressed(&self) -> [u8; 65] {
        let mut out = [4; 65];
        let [_, rest @ ..] = &mut out;
        let (x, y) = rest.split_at_mut(32);
        x.copy_from_slice(&words::to_be(&self.x));
        y.copy_from_slice(&words::to_be(&self.y));
        out
    }

    pub(crate) fn point(&self) -> Point<Fe> {
        Point {
            x: Fe(self.x),
            y: Fe(self.y),
        }
    }

    pub(crate) fn to_k256(self) -> Option<k256::AffinePoint> {
        let encoded = k256::Sec1Point::from_bytes(self.to_uncompressed()).ok()?;
        k256::AffinePoint::from_sec1_point(&encoded).into()
    }

    /// scalar * G; the scalar is below n and not zero.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "curve arithmetic does not overflow"
    )]
    pub(crate) fn times_generator(scalar: &words::U256) -> Point<Fe> {
        let bytes = FieldBytes::from(words::to_be(scalar));
        let scalar = Option::<Scalar>::from(Scalar::from_repr(bytes)).unwrap_or(Scalar::ONE);
        let point = (ProjectivePoint::GENERATOR * scalar).to_affine();
        Self::of(&point).map_or_else(|| unreachable!("not the identity"), |key| key.point())
    }
}
