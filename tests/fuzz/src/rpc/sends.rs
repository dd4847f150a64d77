//! What is signed and handed to nodes, whatever they say.

use super::{
    case::{Case, is_one_receipt},
    read,
    wire::Told,
    world::{SENDER, World, key},
};
use crate::bytes::Bytes;
use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::eip2718::Decodable2718 as _,
    primitives::{Address, B256, U256, bytes},
    sol_types::SolCall as _,
};
use hub_chain::{ChainError, Fees, Nonces, SentTx, TxReceipt, TxRequest};
use protocol_spec::calls;
use serde_json::json;
use std::collections::BTreeSet;

/// Most wei per gas that the port may offer by itself.
pub(super) const FEE_MAX: u128 = 30_000_000_000;
/// Nonces that one request may be signed for while a node says that each is used.
const NONCES_MAX: usize = 3;
/// Hard limit of a transaction's gas.
const GAS_MAX: u64 = 1 << 24;

/// All that was asked for in one input.
#[derive(Default)]
pub(super) struct Sends {
    pub(super) asked: Vec<TxRequest>,
    pub(super) sent: Vec<B256>,
    chain_id: u64,
}

impl Sends {
    pub(super) fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            ..Self::default()
        }
    }

    /// A request, which is written down.
    pub(super) fn ask(&mut self, world: &World, bytes: &mut Bytes<'_>) -> TxRequest {
        let (kind, value) = (bytes.below(5), u64::from(bytes.byte()));
        let config = &world.configs[usize::from(kind) % world.configs.len()];
        let deposit = TxRequest {
            to: Some(world.adjudicator),
            data: calls::deposit(config, u128::from(value)).abi_encode().into(),
            value: U256::from(value),
            ..TxRequest::default()
        };
        let request = match kind {
            0 => deposit,
            1 => TxRequest {
                fee_budget_wei: Some(u128::from(value) << 44),
                deadline_s: Some(u64::MAX >> (value % 64)),
                ..deposit
            },
            2 => TxRequest {
                fees: Some(Fees {
                    max_fee_per_gas: FEE_MAX,
                    max_priority_fee_per_gas: u128::from(value),
                }),
                gas_limit: Some(200_000),
                ..deposit
            },
            // It reverts.
            3 => TxRequest {
                data: bytes!("01020304"),
                ..deposit
            },
            _ => TxRequest {
                to: Some(Address::repeat_byte(0x55)),
                value: U256::from(value),
                ..TxRequest::default()
            },
        };
        self.asked.push(request.clone());
        request
    }

    /// What was handed over is what was asked for, and offers no more than is allowed.
    pub(super) fn handed_over(&self, told: &[Told]) -> Vec<TxEnvelope> {
        let raw = told.iter().filter(|told| told.method == "eth_sendRawTransaction");
        let all = raw.map(|told| read::bytes(&told.params[0]).unwrap());
        let all = all.map(|raw| TxEnvelope::decode_2718(&mut raw.as_ref()).unwrap());
        all.inspect(|tx| self.is_asked_for(tx)).collect()
    }

    fn is_asked_for(&self, tx: &TxEnvelope) {
        let sender = key(SENDER).address();
        let signer = tx.signature().recover_address_from_prehash(&tx.signature_hash());
        assert_eq!(signer.unwrap(), sender);
        assert_eq!(tx.chain_id(), Some(self.chain_id));
        assert!(
            tx.max_fee_per_gas() <= FEE_MAX,
            "{} wei per gas",
            tx.max_fee_per_gas()
        );
        assert!(tx.max_priority_fee_per_gas().unwrap() <= tx.max_fee_per_gas());
        let is_empty = tx.to() == Some(sender) && tx.value().is_zero() && tx.input().is_empty();
        let same = |request: &TxRequest| {
            (request.to, request.value, &request.data) == (tx.to(), tx.value(), tx.input())
        };
        assert!(
            is_empty || self.asked.iter().any(same),
            "nobody asked for this: {tx:?}"
        );
    }

    pub(super) fn sent(&mut self, case: &Case<'_>, request: &TxRequest, got: Result<SentTx, ChainError>) {
        let handed_over = self.handed_over(case.told);
        let estimates = case.told.iter().filter(|told| told.method == "eth_estimateGas");
        let estimate = estimates.filter_map(|told| read::number(&told.result()?)).max();
        let nonces: BTreeSet<u64> = handed_over.iter().map(TxEnvelope::nonce).collect();
        assert!(nonces.len() <= NONCES_MAX, "signed for nonces {nonces:?}");
        for tx in &handed_over {
            let cost = u128::from(tx.gas_limit()).saturating_mul(tx.max_fee_per_gas());
            let budget = request.fee_budget_wei;
            assert!(
                budget.is_none_or(|budget| cost <= budget),
                "it may cost {cost} wei"
            );
            match request.gas_limit {
                Some(given) => assert_eq!(tx.gas_limit(), given),
                None if case.alone => assert!(tx.gas_limit() <= GAS_MAX.max(estimate.unwrap())),
                None => assert!(tx.gas_limit() <= GAS_MAX),
            }
        }
        match got {
            Ok(sent) => {
                let of = |tx: &&TxEnvelope| *tx.tx_hash() == sent.hash;
                // The bent node may rest while the others are asked.
                assert!(!case.alone || handed_over.iter().any(|tx| of(&tx)));
                for tx in handed_over.iter().filter(of) {
                    assert_eq!(tx.nonce(), sent.nonce);
                    assert_eq!(tx.max_fee_per_gas(), sent.fees.max_fee_per_gas);
                }
                self.sent.push(sent.hash);
            }
            Err(error) => case.keeps_the_key(&error),
        }
    }

    /// What counts as deep is in a block that the node has, so deep.
    pub(super) fn waited(&self, case: &Case<'_>, confirmations: u64, got: Result<TxReceipt, ChainError>) {
        let receipt = match got {
            Ok(receipt) => receipt,
            Err(error) => return case.keeps_the_key(&error),
        };
        is_one_receipt(receipt.tx_hash, &receipt);
        let number = receipt.block_number;
        let params = json!([receipt.tx_hash]);
        let told = case.result("eth_getTransactionReceipt", &params).unwrap();
        assert_eq!(read::receipt(&told), Some(receipt.clone()));
        let height = case.result("eth_blockNumber", &json!([])).unwrap();
        let height = read::number(&height).unwrap();
        assert!(height >= number.saturating_add(confirmations), "not deep enough");
        let params = json!([format!("{number:#x}"), false]);
        let block = case.result("eth_getBlockByNumber", &params).unwrap();
        let block = read::block(&block).unwrap();
        assert_eq!((block.number, block.hash), (number, receipt.block_hash));
        if case.alone {
            let asked = &case.last("eth_getTransactionReceipt").unwrap().params[0];
            assert_eq!(read::hash(asked), Some(receipt.tx_hash));
        }
    }

    pub(super) fn nonces(&self, case: &Case<'_>, got: Result<Nonces, ChainError>) {
        let told = case.alone && case.is_bent();
        match got {
            Ok(nonces) if told => assert!(nonces.used <= nonces.next),
            Ok(nonces) => {
                let count = |tag: &str| {
                    let params = json!([key(SENDER).address(), tag]);
                    read::number(&case.world.ask("eth_getTransactionCount", &params)).unwrap()
                };
                assert_eq!((nonces.used, nonces.next), (count("latest"), count("pending")));
            }
            Err(error) => {
                assert!(told, "{error:?}");
                case.keeps_the_key(&error);
            }
        }
    }
}
