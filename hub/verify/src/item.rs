//! What goes in and what comes out.

use crate::{
    Key,
    order::{HALF, N},
    words::{self, U256},
};

/// One signature to check.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Who must have signed.
    pub key: &'a Key,
    /// The 32 bytes that were signed.
    pub digest: &'a [u8; 32],
    /// The signature; s must be low in both forms.
    pub signature: Signature<'a>,
}

/// The forms of a signature.
#[derive(Clone, Copy, Debug)]
pub enum Signature<'a> {
    /// `r || s || v`, v 27 or 28, as `ecrecover` takes it: the nonce point's x is r itself, not r + n, and its y has
    /// the parity that v says. The form of the protocol.
    Recoverable(&'a [u8; 65]),
    /// `r || s`, as the ECDSA standard has it: the nonce point's x is r modulo n.
    Plain(&'a [u8; 64]),
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The key's owner signed the digest.
    Valid,
    /// Well-formed, and not a signature of the digest by the key.
    Invalid,
    /// r or s is zero or not below n, s is high, or v is neither 27 nor 28.
    Malformed,
}

/// A signature that keeps the limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) r: U256,
    pub(crate) s: U256,
    /// Whether the nonce point's y is odd, if that is known.
    pub(crate) odd: Option<bool>,
}

impl Signature<'_> {
    /// 0 < r < n, 0 < s <= n / 2, v 27 or 28.
    #[inline(always)]
    pub(crate) fn parts(&self) -> Option<Parts> {
        let (compact, odd) = match self {
            Self::Plain(bytes) => (bytes.as_slice(), None),
            Self::Recoverable(bytes) => match bytes.as_slice() {
                [compact @ .., 27] => (compact, Some(false)),
                [compact @ .., 28] => (compact, Some(true)),
                _ => return None,
            },
        };
        let (r, rest) = compact.split_first_chunk::<32>()?;
        let r = words::from_be(r);
        let s = words::from_be(rest.first_chunk::<32>()?);
        let fits = r != [0; 4] && words::less(&r, &N) && s != [0; 4] && !words::less(&HALF, &s);
        fits.then_some(Parts { r, s, odd })
    }

    /// The bytes r || s.
    pub(crate) fn compact(&self) -> [u8; 64] {
        match self {
            Self::Plain(bytes) => **bytes,
            Self::Recoverable(bytes) => {
                let mut out = [0; 64];
                out.copy_from_slice(bytes.split_at(64).0);
                out
            }
        }
    }
}

/// How an engine came to its answers, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Signatures that the kernel did not accept, and that the reference decided: forgeries, and the rare exceptions of
    /// the formulas.
    pub rechecked: u64,
    /// Signatures of keys that had tables.
    pub with_tables: u64,
    /// Signatures of keys that had none, though the engine keeps some.
    pub without_tables: u64,
}

/// Something that checks signatures. All engines give the same answers.
pub trait Engine: Send {
    /// A name for logs and tables.
    fn name(&self) -> &'static str;

    /// How it came to its answers.
    fn counts(&self) -> Counts {
        Counts::default()
    }

    /// Answers every item of `batch` in the same place of `verdicts`, which has the same length.
    ///
    /// # Panics
    /// When the lengths differ.
    fn verify(&mut self, batch: &[Item<'_>], verdicts: &mut [Verdict]);
}
