//! Modular inversion by division steps (Bernstein and Yang, "Fast constant-time gcd computation and modular
//! inversion", 2019), in the variable-time form with batches of 62 steps. Nothing here is secret.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "signed limbs of 62 bits: bounds are those of the paper; reinterpretation between i64 and u64 is meant"
)]

use crate::words::U256;

const MASK: u64 = u64::MAX >> 2;
/// Five signed limbs of 62 bits.
type Signed = [i64; 5];

/// An odd modulus, with its inverse modulo 2^62.
pub(crate) struct Modulus {
    limbs: Signed,
    inverse: u64,
}

impl Modulus {
    pub(crate) const fn new(modulus: U256, inverse: u64) -> Self {
        Self {
            limbs: split(&modulus),
            inverse,
        }
    }
}

const fn split(a: &U256) -> Signed {
    [
        (a[0] & MASK) as i64,
        ((a[0] >> 62 | a[1] << 2) & MASK) as i64,
        ((a[1] >> 60 | a[2] << 4) & MASK) as i64,
        ((a[2] >> 58 | a[3] << 6) & MASK) as i64,
        (a[3] >> 56) as i64,
    ]
}

fn join(a: &Signed) -> U256 {
    let a = a.map(|limb| limb as u64);
    [
        a[0] | a[1] << 62,
        a[1] >> 2 | a[2] << 60,
        a[2] >> 4 | a[3] << 58,
        a[3] >> 6 | a[4] << 56,
    ]
}

/// The inverse of `value`, which is below the modulus; zero for zero.
pub(crate) fn invert(value: &U256, modulus: &Modulus) -> U256 {
    let (mut d, mut e): (Signed, Signed) = ([0; 5], [1, 0, 0, 0, 0]);
    let (mut f, mut g) = (modulus.limbs, split(value));
    let mut length = 5;
    let mut eta = -1;
    while g[..length].iter().any(|limb| *limb != 0) {
        let steps = division_steps(&mut eta, f[0] as u64, g[0] as u64);
        update_de(&mut d, &mut e, &steps, modulus);
        update_fg(&mut f[..length], &mut g[..length], &steps);
        length = shorten(&mut f, &mut g, length);
    }
    join(&normalise(d, f[length - 1] < 0, modulus))
}

/// The matrix of 62 division steps, scaled by 2^62.
struct Steps {
    u: i64,
    v: i64,
    q: i64,
    r: i64,
}

fn division_steps(eta: &mut i64, f0: u64, g0: u64) -> Steps {
    let (mut u, mut v, mut q, mut r) = (1_u64, 0_u64, 0_u64, 1_u64);
    let (mut f, mut g) = (f0, g0);
    let mut left = 62_u32;
    loop {
        let zeros = (g | u64::MAX << left).trailing_zeros();
        g >>= zeros;
        u <<= zeros;
        v <<= zeros;
        *eta -= i64::from(zeros);
        left -= zeros;
        if left == 0 {
            break;
        }
        let w;
        if *eta < 0 {
            *eta = -*eta;
            (f, g) = (g, f.wrapping_neg());
            (u, q) = (q, u.wrapping_neg());
            (v, r) = (r, v.wrapping_neg());
            let bits = (*eta as u64 + 1).min(u64::from(left));
            let mask = u64::MAX >> (64 - bits) & 63;
            w = f.wrapping_mul(g).wrapping_mul(f.wrapping_mul(f).wrapping_sub(2)) & mask;
        } else {
            let bits = (*eta as u64 + 1).min(u64::from(left));
            let mask = u64::MAX >> (64 - bits) & 15;
            let inverse = f.wrapping_add((f.wrapping_add(1) & 4) << 1);
            w = inverse.wrapping_neg().wrapping_mul(g) & mask;
        }
        g = g.wrapping_add(f.wrapping_mul(w));
        q = q.wrapping_add(u.wrapping_mul(w));
        r = r.wrapping_add(v.wrapping_mul(w));
    }
    Steps {
        u: u as i64,
        v: v as i64,
        q: q as i64,
        r: r as i64,
    }
}

fn product(a: i64, b: i64) -> i128 {
    i128::from(a).wrapping_mul(i128::from(b))
}

fn update_de(d: &mut Signed, e: &mut Signed, steps: &Steps, modulus: &Modulus) {
    let Steps { u, v, q, r } = *steps;
    let (sign_d, sign_e) = (d[4] >> 63, e[4] >> 63);
    let mut md = (u & sign_d).wrapping_add(v & sign_e);
    let mut me = (q & sign_d).wrapping_add(r & sign_e);
    let mut cd = product(u, d[0]).wrapping_add(product(v, e[0]));
    let mut ce = product(q, d[0]).wrapping_add(product(r, e[0]));
    let correct = |m: i64, c: i128| {
        m.wrapping_sub((modulus.inverse.wrapping_mul(c as u64).wrapping_add(m as u64) & MASK) as i64)
    };
    md = correct(md, cd);
    me = correct(me, ce);
    cd = cd.wrapping_add(product(modulus.limbs[0], md)) >> 62;
    ce = ce.wrapping_add(product(modulus.limbs[0], me)) >> 62;
    for i in 1..5 {
        cd = cd
            .wrapping_add(product(u, d[i]))
            .wrapping_add(product(v, e[i]))
            .wrapping_add(product(modulus.limbs[i], md));
        ce = ce
            .wrapping_add(product(q, d[i]))
            .wrapping_add(product(r, e[i]))
            .wrapping_add(product(modulus.limbs[i], me));
        d[i - 1] = (cd as u64 & MASK) as i64;
        e[i - 1] = (ce as u64 & MASK) as i64;
        cd >>= 62;
        ce >>= 62;
    }
    d[4] = cd as i64;
    e[4] = ce as i64;
}

fn update_fg(f: &mut [i64], g: &mut [i64], steps: &Steps) {
    let Steps { u, v, q, r } = *steps;
    let length = f.len();
    let mut cf = product(u, f[0]).wrapping_add(product(v, g[0])) >> 62;
    let mut cg = product(q, f[0]).wrapping_add(product(r, g[0])) >> 62;
    for i in 1..length {
        cf = cf.wrapping_add(product(u, f[i])).wrapping_add(product(v, g[i]));
        cg = cg.wrapping_add(product(q, f[i])).wrapping_add(product(r, g[i]));
        f[i - 1] = (cf as u64 & MASK) as i64;
        g[i - 1] = (cg as u64 & MASK) as i64;
        cf >>= 62;
        cg >>= 62;
    }
    f[length - 1] = cf as i64;
    g[length - 1] = cg as i64;
}

/// Drops the top limbs when they only carry the signs.
fn shorten(f: &mut Signed, g: &mut Signed, length: usize) -> usize {
    let (top_f, top_g) = (f[length - 1], g[length - 1]);
    if length > 1 && (top_f ^ top_f >> 63) == 0 && (top_g ^ top_g >> 63) == 0 {
        f[length - 2] |= ((top_f as u64) << 62) as i64;
        g[length - 2] |= ((top_g as u64) << 62) as i64;
        return length - 1;
    }
    length
}

/// From (-2 modulus, modulus), negated if asked, to [0, modulus).
fn normalise(mut a: Signed, negate: bool, modulus: &Modulus) -> Signed {
    let add = |a: &mut Signed| {
        let mask = a[4] >> 63;
        for i in 0..5 {
            a[i] += modulus.limbs[i] & mask;
        }
    };
    let carry = |a: &mut Signed| {
        for i in 0..4 {
            a[i + 1] += a[i] >> 62;
            a[i] &= MASK as i64;
        }
    };
    add(&mut a);
    if negate {
        a = a.map(|limb| -limb);
    }
    carry(&mut a);
    add(&mut a);
    carry(&mut a);
    a
}
