//! Putting contracts on the embedded chain without an account of one's own.

use super::EmbeddedChain;
use super::config::{DEV_BALANCE_WEI, TX_GAS_LIMIT_MAX};
use super::failure::RpcFailure;
use alloy::consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::network::TxSignerSync as _;
use alloy::primitives::{Address, TxKind, U256, keccak256};
use alloy::signers::local::PrivateKeySigner;

impl EmbeddedChain {
    /// Creates a contract from its creation bytecode and encoded constructor arguments, in a block of its own
    /// (together with what waits in the mempool), from an account that nothing else uses. Returns its address.
    ///
    /// # Errors
    /// [`RpcFailure`] when the transaction is refused or the constructor fails.
    pub fn deploy(&self, bytecode: &[u8], args: &[u8]) -> Result<Address, RpcFailure> {
        let signer = PrivateKeySigner::from_bytes(&keccak256("channel hub embedded chain: deployer"))
            .map_err(RpcFailure::internal)?;
        let deployer = signer.address();
        self.fund(deployer, U256::from(DEV_BALANCE_WEI))?;
        let mut node = self.lock()?;
        let nonce = node.core.state.head(deployer).map_or(0, |head| head.nonce);
        let mut tx = TxEip1559 {
            chain_id: node.config.chain_id,
            nonce,
            gas_limit: TX_GAS_LIMIT_MAX,
            max_fee_per_gas: u128::from(node.next_facts()?.base_fee).saturating_mul(2),
            max_priority_fee_per_gas: 0,
            to: TxKind::Create,
            value: U256::ZERO,
            access_list: alloy::eips::eip2930::AccessList::default(),
            input: [bytecode, args].concat().into(),
        };
        let signature = signer
            .sign_transaction_sync(&mut tx)
            .map_err(RpcFailure::internal)?;
        let envelope = TxEnvelope::from(tx.into_signed(signature));
        let hash = node.admit(&envelope.encoded_2718())?;
        node.mine()?;
        let mined = node.core.by_tx.get(&hash);
        let receipt = mined.and_then(|(number, index)| node.block(*number)?.rpc_receipt(*index));
        match receipt {
            Some(receipt) if receipt.status() => receipt
                .contract_address
                .ok_or_else(|| RpcFailure::internal("a creation without an address")),
            Some(_) => Err(RpcFailure::server("the constructor failed")),
            None => Err(RpcFailure::server(
                "the block was full: the contract was not created",
            )),
        }
    }
}
