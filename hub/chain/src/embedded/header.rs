//! Headers: what all blocks share, the base fee, and the salt of genesis.

use super::block::BENEFICIARY;
use super::config::{BASE_FEE_MIN_WEI, BLOCK_GAS_LIMIT, EmbeddedConfig};
use super::tx::hash_parts;
use alloy::consensus::Header;
use alloy::eips::eip1559::BaseFeeParams;
use alloy::primitives::B256;

/// EIP-1559, but never below one gwei, so that an idle chain has one constant base fee.
pub(super) fn base_fee_after(parent: &Header) -> u64 {
    let parent_fee = parent.base_fee_per_gas.unwrap_or(BASE_FEE_MIN_WEI);
    let next = BaseFeeParams::ethereum().next_block_base_fee(parent.gas_used, BLOCK_GAS_LIMIT, parent_fee);
    if parent_fee < BASE_FEE_MIN_WEI {
        parent_fee
    } else {
        next.max(BASE_FEE_MIN_WEI)
    }
}

pub(super) fn blank_header() -> Header {
    Header {
        beneficiary: BENEFICIARY,
        gas_limit: BLOCK_GAS_LIMIT,
        base_fee_per_gas: Some(BASE_FEE_MIN_WEI),
        withdrawals_root: Some(alloy::consensus::constants::EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        extra_data: b"channel hub dev".as_slice().into(),
        ..Header::default()
    }
}

/// Chain id, seed and balances: all that makes one genesis differ from another.
pub(super) fn genesis_salt(config: &EmbeddedConfig, seed: u64) -> B256 {
    let mut bytes = [config.chain_id.to_be_bytes(), seed.to_be_bytes()].concat();
    for (address, balance) in &config.balances {
        bytes.extend_from_slice(address.as_slice());
        bytes.extend_from_slice(&balance.to_be_bytes::<32>());
    }
    hash_parts(&[&bytes])
}
