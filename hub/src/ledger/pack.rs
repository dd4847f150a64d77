//! Bytes without their zeros: sums are wide and mostly small, and most channels have little of what a channel may have.

/// So many zeros are worth leaving out.
const RUN: usize = 3;

/// As pieces, each a number of bytes as they are, a number of zeros behind them, and the bytes.
pub(super) fn pack(bytes: &[u8]) -> Vec<u8> {
    let max = usize::from(u8::MAX);
    let mut packed = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let plain = run_in(rest, max).unwrap_or(rest.len()).min(max);
        let (plain, behind) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
        let zeros = behind.iter().take(max).take_while(|byte| **byte == 0).count();
        // Both are at most `max`.
        packed.extend([plain.len(), zeros].map(|count| u8::try_from(count).unwrap_or(u8::MAX)));
        packed.extend_from_slice(plain);
        rest = behind.get(zeros..).unwrap_or_default();
    }
    packed
}

/// Where the first [`RUN`] zeros begin, if that is below `max`. From the last byte of a place for them it is known how far the
/// next place is: most bytes are not looked at.
fn run_in(bytes: &[u8], max: usize) -> Option<usize> {
    let mut at = 0_usize;
    while at < max {
        let some = bytes.get(at..)?.first_chunk::<RUN>()?;
        match some.iter().rposition(|byte| *byte != 0) {
            Some(last) => at = at.saturating_add(last).saturating_add(1),
            None => return Some(at),
        }
    }
    None
}

/// What was packed; `None`: it was not.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(packed.len().saturating_mul(4));
    let mut rest = packed;
    while let Some(([plain, zeros], behind)) = rest.split_first_chunk() {
        let (plain, behind) = behind.split_at_checked(usize::from(*plain))?;
        bytes.extend_from_slice(plain);
        bytes.resize(bytes.len().saturating_add(usize::from(*zeros)), 0);
        rest = behind;
    }
    rest.is_empty().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_is_packed_comes_back(
            runs in prop::collection::vec((any::<u8>(), prop_oneof![0..9_usize, 250..260_usize, 500..700_usize]), 0..9),
        ) {
            let bytes: Vec<u8> = runs
                .iter()
                .flat_map(|(byte, count)| std::iter::repeat_n(byte % 4, *count))
                .collect();
            let packed = pack(&bytes);
            let more = bytes.len().div_ceil(100).saturating_mul(2);
            prop_assert!(packed.len() <= bytes.len().saturating_add(more));
            prop_assert_eq!(unpack(&packed), Some(bytes));
            if let Some((_, shorter)) = packed.split_last() {
                prop_assert_ne!(unpack(shorter), unpack(&packed));
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_run_is_found(bytes in prop::collection::vec(prop_oneof![3 => Just(0_u8), 2 => Just(1_u8)], 0..40), max in 0..40_usize) {
            let plainly = bytes.windows(RUN).take(max).position(|some| some == [0; RUN]);
            prop_assert_eq!(run_in(&bytes, max), plainly);
        }
    }

    #[test]
    fn zeros_take_next_to_nothing() {
        assert_eq!(pack(&[0; 100]), [0, 100]);
        assert_eq!(pack(&[7, 0, 0, 0, 0, 9]), [1, 4, 7, 1, 0, 9]);
        assert_eq!(unpack(&[5, 0, 1]), None);
    }
}
