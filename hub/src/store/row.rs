//! Checksums of our own over everything stored.
//!
//! redb verifies its pages on open but not on every read, and its checksum is not cryptographic while we
//! store bytes chosen by others. So each row carries a truncated SHA-256 over its place and its content:
//! a row that is damaged, or that turned up under another key, is never taken for what was written.

use sha2::{Digest, Sha256};

/// Length of the checksum in front of each stored row, in bytes.
pub(in crate::store) const CHECK_BYTES: usize = 16;

/// What kind of row it is; part of the checksum. The numbers are on disk: append-only.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(in crate::store) enum Kind {
    Pin = 1,
    // 2 was the journal's owners while it was a redb file.
    Record = 3,
    Upto = 4,
    TableRow = 5,
    Mark = 6,
    Heading = 7,
    RecordHead = 8,
}

/// Checksum of `body` at `place`.
pub(in crate::store) fn check(kind: Kind, place: &[&[u8]], body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = Sha256::new();
    hash.update([kind as u8]);
    for part in place {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(body);
    let digest: [u8; 32] = hash.finalize().into();
    let mut short = [0; CHECK_BYTES];
    short.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    short
}

/// Checksum and body as one row.
pub(in crate::store) fn seal(kind: Kind, place: &[&[u8]], body: &[u8]) -> Vec<u8> {
    [check(kind, place, body).as_slice(), body].concat()
}

/// Body of a row, if its checksum fits.
pub(in crate::store) fn open<'a>(kind: Kind, place: &[&[u8]], row: &'a [u8]) -> Option<&'a [u8]> {
    let (found, body) = row.split_at_checked(CHECK_BYTES)?;
    (found == check(kind, place, body)).then_some(body)
}

/// Reads `N` bytes off the front of `body`.
pub(in crate::store) fn take<'a, const N: usize>(body: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = body.split_first_chunk::<N>()?;
    *body = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_refuses_any_flipped_bit_and_any_other_place() {
        let row = seal(Kind::Record, &[b"1"], b"bytes");
        assert_eq!(open(Kind::Record, &[b"1"], &row), Some(b"bytes".as_slice()));
        assert_eq!(open(Kind::Record, &[b"2"], &row), None);
        assert_eq!(open(Kind::Upto, &[b"1"], &row), None);
        for bit in 0..row.len() * 8 {
            let mut bad = row.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(Kind::Record, &[b"1"], &bad), None, "bit {bit}");
        }
    }
}
