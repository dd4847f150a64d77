//! Signed transactions: decoding, the sender, and the form the EVM executes.

use super::failure::RpcFailure;
use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::eips::eip2718::{Decodable2718, Encodable2718};
use alloy::primitives::{Address, B256, Bytes, keccak256};
use revm::context::TxEnv;
use revm::context_interface::either::Either;
use revm::precompile::crypto;

/// Most bytes of one transaction, as in geth's pool.
const TX_BYTES_MAX: usize = 128 * 1024;

/// A transaction whose signature was checked.
#[derive(Clone, Debug)]
pub(super) struct Tx {
    pub(super) envelope: TxEnvelope,
    pub(super) sender: Address,
    pub(super) hash: B256,
}

impl Tx {
    /// Decodes the bytes of `eth_sendRawTransaction` and recovers the sender.
    pub(super) fn decode(raw: &[u8]) -> Result<Self, RpcFailure> {
        if raw.len() > TX_BYTES_MAX {
            let text = format!(
                "oversized data: transaction size {}, limit {TX_BYTES_MAX}",
                raw.len()
            );
            return Err(RpcFailure::rejected(text));
        }
        let mut rest = raw;
        let envelope = TxEnvelope::decode_2718(&mut rest)
            .map_err(|error| RpcFailure::params(format!("failed to decode transaction: {error}")))?;
        if !rest.is_empty() {
            return Err(RpcFailure::params("failed to decode transaction: trailing bytes"));
        }
        if matches!(envelope, TxEnvelope::Eip4844(_)) {
            return Err(RpcFailure::rejected(
                "blob transactions are not supported by this chain",
            ));
        }
        let sender = recover(&envelope)?;
        let hash = *envelope.tx_hash();
        Ok(Self {
            envelope,
            sender,
            hash,
        })
    }

    pub(super) fn raw(&self) -> Bytes {
        self.envelope.encoded_2718().into()
    }

    /// The highest tip per gas the sender pays over `base_fee`; `None` if it does not even pay that.
    pub(super) fn tip(&self, base_fee: u64) -> Option<u128> {
        self.envelope.effective_tip_per_gas(base_fee)
    }

    /// What the EVM executes.
    pub(super) fn env(&self) -> TxEnv {
        let tx = &self.envelope;
        let authorizations = tx.authorization_list().unwrap_or_default();
        TxEnv {
            tx_type: tx.tx_type() as u8,
            caller: self.sender,
            gas_limit: tx.gas_limit(),
            gas_price: tx.max_fee_per_gas(),
            kind: tx.kind(),
            value: tx.value(),
            data: tx.input().clone(),
            nonce: tx.nonce(),
            chain_id: tx.chain_id(),
            access_list: tx.access_list().cloned().unwrap_or_default(),
            gas_priority_fee: tx.max_priority_fee_per_gas(),
            blob_hashes: Vec::new(),
            max_fee_per_blob_gas: 0,
            authorization_list: authorizations.iter().cloned().map(Either::Left).collect(),
        }
    }
}

/// The signer, by the EVM's own (fast) recovery.
fn recover(envelope: &TxEnvelope) -> Result<Address, RpcFailure> {
    let invalid = || RpcFailure::rejected("invalid sender: the signature is not valid");
    let signature = envelope.signature();
    if signature.normalize_s().is_some() {
        return Err(RpcFailure::rejected(
            "invalid sender: the signature's s is not the lower one",
        ));
    }
    let mut rs = [0_u8; 64];
    let (r, s) = rs.split_at_mut(32);
    r.copy_from_slice(&signature.r().to_be_bytes::<32>());
    s.copy_from_slice(&signature.s().to_be_bytes::<32>());
    let digest = envelope.signature_hash();
    let padded = crypto()
        .secp256k1_ecrecover(&rs, u8::from(signature.v()), &digest.0)
        .map_err(|_| invalid())?;
    let address = padded.get(12..).and_then(|tail| <[u8; 20]>::try_from(tail).ok());
    address.map(Address::from).ok_or_else(invalid)
}

/// Address of a contract that `sender` creates with `nonce`.
pub(super) fn created_address(sender: Address, nonce: u64) -> Address {
    sender.create(nonce)
}

/// keccak256 of several parts.
pub(super) fn hash_parts(parts: &[&[u8]]) -> B256 {
    keccak256(parts.concat())
}
