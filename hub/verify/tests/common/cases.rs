//! Signatures of every kind: valid, changed, at the borders, and made so that the sums meet their exceptions.

use super::{Case, Random, Signer};
use k256::{
    AffinePoint, FieldBytes, ProjectivePoint, Scalar,
    ecdsa::SigningKey,
    elliptic_curve::{
        Field, Group, PrimeField,
        ops::Reduce,
        point::{AffineCoordinates, DecompressPoint},
        sec1::ToSec1Point,
        subtle::Choice,
    },
};

/// What a case is about; the index into [`CLASSES`].
pub type Class = usize;

/// Names of the classes.
pub const CLASSES: [&str; 12] = [
    "valid",
    "valid, without v",
    "digest changed",
    "r changed",
    "s changed",
    "v changed",
    "other key",
    "high s",
    "r or s at a border",
    "u1 G = +-u2 Q",
    "small scalars",
    "x of the nonce point above n",
];
/// Of these all are valid.
pub const VALID: [Class; 2] = [0, 1];

/// 32 big-endian bytes that matter, as (most significant word, rest): n, p - n, n / 2 and so on, plus a small number.
fn border(random: &mut Random) -> [u8; 32] {
    const BORDERS: [&str; 6] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0",
        "000000000000000000000000000000014551231950b75fc4402da1722fc9baee",
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    let mut bytes = [0; 32];
    let text = BORDERS[random.below(BORDERS.len())];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    }
    // Two less to two more, where that does not wrap.
    let offset = i16::try_from(random.below(5)).unwrap() - 2;
    let last = i16::from(bytes[31]) + offset;
    bytes[31] = u8::try_from(last.clamp(0, 255)).unwrap();
    bytes
}

/// A scalar that is small, a power of two, next to n, or lambda, times a sign.
fn odd_scalar(random: &mut Random) -> Scalar {
    let lambda = scalar(&[
        0x53, 0x63, 0xad, 0x4c, 0xc0, 0x5c, 0x30, 0xe0, 0xa5, 0x26, 0x1c, 0x02, 0x88, 0x12, 0x64, 0x5a, 0x12,
        0x2e, 0x22, 0xea, 0x20, 0x81, 0x66, 0x78, 0xdf, 0x02, 0x96, 0x7c, 0x1b, 0x23, 0xbd, 0x72,
    ]);
    let small = Scalar::from(1 + random.word() % 40);
    let value = match random.below(5) {
        0 | 1 => small,
        2 => small * lambda,
        3 => small * Scalar::from(2_u64).pow_vartime([random.word() % 256]),
        _ => small + lambda,
    };
    if random.below(2) == 0 { value } else { -value }
}

fn scalar(bytes: &[u8; 32]) -> Scalar {
    <Scalar as Reduce<FieldBytes>>::reduce(&FieldBytes::from(*bytes))
}

/// The signature with nonce point `point` and the given scalars, s made low.
fn encode(point: &AffinePoint, r: &Scalar, s: &Scalar) -> [u8; 65] {
    use k256::elliptic_curve::scalar::IsHigh;
    let high = bool::from(s.is_high());
    let s = if high { -*s } else { *s };
    let mut out = [0; 65];
    out[..32].copy_from_slice(&r.to_repr());
    out[32..64].copy_from_slice(&s.to_repr());
    out[64] = 27 + u8::from(bool::from(point.y_is_odd()) != high);
    out
}

/// A case with nonce point u1 G + u2 d G. The identity has no r: then any does, and nothing may accept it.
fn crafted(random: &mut Random, d: Scalar, u1: Scalar, u2: Scalar) -> Option<Case> {
    let signer = Signer::new(SigningKey::from_slice(&d.to_repr()).ok()?);
    let sum = ProjectivePoint::mul_by_generator_vartime(&(u1 + u2 * d));
    let point = if bool::from(sum.is_identity()) {
        ProjectivePoint::GENERATOR
    } else {
        sum
    }
    .to_affine();
    let r = <Scalar as Reduce<FieldBytes>>::reduce(&point.x());
    let s = r * Option::<Scalar>::from(u2.invert())?;
    Some(Case {
        key: signer.key,
        digest: (u1 * s).to_repr().into(),
        signature: encode(&point, &r, &s),
        with_parity: random.below(4) != 0,
    })
}

/// A nonce point whose x is r + n or, as often, a small r itself; the key follows from it.
fn above_n(random: &mut Random) -> Option<Case> {
    let small = Scalar::from(1 + random.word() % 1_000);
    let (above, odd) = (
        random.below(2) == 0,
        Choice::from(u8::try_from(random.below(2)).unwrap()),
    );
    let mut x: FieldBytes = small.to_repr();
    if above {
        // n + small, as bytes: no carry leaves the low words.
        let n: [u8; 32] = (-Scalar::ONE).to_repr().into();
        let mut carry = 1_u16;
        for at in (0..32).rev() {
            let sum = u16::from(n[at]) + u16::from(x[at]) + carry;
            x[at] = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
    }
    let point: AffinePoint = Option::from(AffinePoint::decompress(&x, odd))?;
    let (s, z) = (scalar(&random.bytes()), random.bytes());
    let inverse = Option::<Scalar>::from(small.invert())?;
    let key =
        (ProjectivePoint::from(point) * s - ProjectivePoint::mul_by_generator_vartime(&scalar(&z))) * inverse;
    Some(Case {
        key: hub_verify::Key::from_sec1(key.to_affine().to_sec1_point(false).as_bytes())?,
        digest: z,
        signature: encode(&point, &small, &s),
        with_parity: random.below(2) == 0,
    })
}

/// A case that is about `class`, from one of `signers`.
pub fn case(random: &mut Random, signers: &[Signer], class: Class) -> Case {
    let at = random.below(signers.len());
    let mut case = Case::signed(random, &signers[at]);
    change(random, signers, class, at, &mut case);
    case
}

/// Makes a signed case of `signers[at]` one about `class`.
pub fn change(random: &mut Random, signers: &[Signer], class: Class, at: usize, case: &mut Case) {
    let (bit, byte) = (1 << random.below(8), random.below(32));
    match class {
        1 => case.with_parity = false,
        2 => case.digest[byte] ^= bit,
        3 => case.signature[byte] ^= bit,
        4 => case.signature[32 + byte] ^= bit,
        5 => case.signature[64] = [27 + 28 - case.signature[64], 0, 1, 26, 29, 255][random.below(6)],
        6 => case.key = signers[(at + 1) % signers.len()].key,
        7 => {
            let s = scalar(case.signature[32..64].try_into().unwrap());
            case.signature[32..64].copy_from_slice(&(-s).to_repr());
            case.signature[64] = 27 + 28 - case.signature[64];
        }
        8 => {
            let from = [0, 32][random.below(2)];
            case.signature[from..from + 32].copy_from_slice(&border(random));
            case.with_parity = random.below(2) == 0;
        }
        9 => {
            let (d, u2) = if random.below(2) == 0 {
                (odd_scalar(random), odd_scalar(random))
            } else {
                (scalar(&random.bytes()), scalar(&random.bytes()))
            };
            let u1 = if random.below(2) == 0 { u2 * d } else { -(u2 * d) };
            *case = crafted(random, d, u1, u2).unwrap_or_else(|| case.clone());
        }
        10 => {
            let u1 = if random.below(8) == 0 {
                Scalar::ZERO
            } else {
                odd_scalar(random)
            };
            let (d, u2) = (odd_scalar(random), odd_scalar(random));
            *case = crafted(random, d, u1, u2).unwrap_or_else(|| case.clone());
        }
        11 => {
            if let Some(other) = above_n(random) {
                *case = other;
            }
        }
        _ => {}
    }
    if VALID.contains(&class) || class == 7 || random.below(8) != 0 {
        return;
    }
    case.with_parity = false;
}
