//! What a transaction costs now, by what a node says of the newest blocks.

use alloy::providers::utils::Eip1559Estimation;

/// Twice the base fee, and the median of the tips of blocks that had any, wei per gas. Whatever a node names, it does not
/// overflow.
#[must_use]
pub fn market_fees(base_fee: u128, tips: &[Vec<u128>]) -> Eip1559Estimation {
    let mut tips: Vec<u128> = tips
        .iter()
        .filter_map(|tips| tips.first().copied())
        .filter(|tip| *tip > 0)
        .collect();
    tips.sort_unstable();
    let tip = tips.get(tips.len().saturating_sub(1) / 2).copied().unwrap_or(1);
    Eip1559Estimation {
        max_fee_per_gas: base_fee.saturating_mul(2).saturating_add(tip),
        max_priority_fee_per_gas: tip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fee_that_a_node_names_overflows() {
        let of = |base_fee, tips: &[u128]| {
            let tips: Vec<Vec<u128>> = tips.iter().map(|tip| vec![*tip]).collect();
            let fees = market_fees(base_fee, &tips);
            (fees.max_fee_per_gas, fees.max_priority_fee_per_gas)
        };
        assert_eq!(of(100, &[]), (201, 1));
        assert_eq!(of(100, &[0, 7, 0]), (207, 7));
        assert_eq!(of(100, &[9, 5, 7]), (207, 7));
        assert_eq!(of(100, &[5, 7]), (205, 5), "of two the lower");
        assert_eq!(of(u128::MAX, &[u128::MAX]), (u128::MAX, u128::MAX));
    }
}
