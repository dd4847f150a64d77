//! k256: the judge of all other engines.

use crate::{Engine, Item, Key, Signature, Verdict};
use k256::{
    FieldBytes, ProjectivePoint, Scalar,
    elliptic_curve::{
        Group, PrimeField,
        ops::{MulByGeneratorVartime, Reduce},
        point::AffineCoordinates,
        scalar::IsHigh,
    },
};

/// Straight from the definition, with k256's arithmetic and none of this crate's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Engine for Reference {
    fn name(&self) -> &'static str {
        "k256"
    }

    fn verify(&mut self, batch: &[Item<'_>], verdicts: &mut [Verdict]) {
        assert_eq!(batch.len(), verdicts.len(), "one verdict per item");
        for (item, verdict) in batch.iter().zip(verdicts) {
            *verdict = check(item);
        }
    }
}

/// The verdict on one item.
pub(crate) fn check(item: &Item<'_>) -> Verdict {
    let Some((r, s, odd)) = parts(&item.signature) else {
        return Verdict::Malformed;
    };
    match nonce_point(item.key, item.digest, &r, &s) {
        Some(point) => {
            let same_x = match odd {
                Some(_) => point.x() == r.to_repr(),
                None => <Scalar as Reduce<FieldBytes>>::reduce(&point.x()) == r,
            };
            let same_y = odd.is_none_or(|odd| bool::from(point.y_is_odd()) == odd);
            if same_x && same_y {
                Verdict::Valid
            } else {
                Verdict::Invalid
            }
        }
        None => Verdict::Invalid,
    }
}

fn parts(signature: &Signature<'_>) -> Option<(Scalar, Scalar, Option<bool>)> {
    let odd = match signature {
        Signature::Plain(_) => None,
        Signature::Recoverable([.., 27]) => Some(false),
        Signature::Recoverable([.., 28]) => Some(true),
        Signature::Recoverable(_) => return None,
    };
    let compact = signature.compact();
    let (r, s) = compact.split_at(32);
    let (r, s) = (scalar(r)?, scalar(s)?);
    let fits = r != Scalar::ZERO && s != Scalar::ZERO && !bool::from(s.is_high());
    fits.then_some((r, s, odd))
}

fn scalar(bytes: &[u8]) -> Option<Scalar> {
    Scalar::from_repr(FieldBytes::try_from(bytes).ok()?).into()
}

#[expect(clippy::arithmetic_side_effects, reason = "arithmetic modulo n")]
fn nonce_point(key: &Key, digest: &[u8; 32], r: &Scalar, s: &Scalar) -> Option<k256::AffinePoint> {
    let z = <Scalar as Reduce<FieldBytes>>::reduce(&FieldBytes::from(*digest));
    let inverse = Option::<Scalar>::from(s.invert_vartime())?;
    let point = ProjectivePoint::mul_by_generator_and_mul_add_vartime(
        &(z * inverse),
        &(*r * inverse),
        &ProjectivePoint::from(key.to_k256()?),
    );
    (!bool::from(point.is_identity())).then(|| point.to_affine())
}
