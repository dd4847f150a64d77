//! The truth: an embedded chain with the adjudicator, channels, deposits, a vault and some blocks.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    signers::local::PrivateKeySigner,
    sol_types::SolCall as _,
};
use hub_chain::{
    AlloyChain, Chain as _, ChainOptions, TxRequest,
    embedded::{DEV_ACCOUNTS, EmbeddedChain, EmbeddedConfig},
};
use protocol_spec::{Config, Digest, abi::IAdjudicator, calls};
use serde_json::{Value, json, value::to_raw_value};
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};
use tokio::runtime::Builder;

/// The account that inputs send from.
pub(super) const SENDER: usize = 0;
const FUNDER: usize = 1;

pub(super) struct World {
    pub(super) chain: EmbeddedChain,
    pub(super) adjudicator: Address,
    pub(super) configs: Vec<Config>,
    /// Transactions in blocks.
    pub(super) txs: Vec<B256>,
    /// Results of requests that nobody may have asked.
    pub(super) spare: Vec<Value>,
    snapshot: Mutex<Value>,
    keyed: AtomicBool,
}

pub(super) fn key(account: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[account].private_key).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        let chain = EmbeddedChain::new(EmbeddedConfig::deterministic(7));
        let code = hub::app::contracts::adjudicator_code().unwrap();
        let adjudicator = chain.deploy(&code, &[]).unwrap();
        let configs: Vec<Config> = (1..=3).map(config).collect();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let txs = runtime.block_on(history(&chain, adjudicator, &configs));
        let mut world = Self {
            chain,
            adjudicator,
            configs,
            txs,
            spare: Vec::new(),
            snapshot: Mutex::default(),
            keyed: AtomicBool::new(false),
        };
        world.spare = world.spare();
        let snapshot = world.ask("evm_snapshot", &json!([]));
        world.snapshot = Mutex::new(snapshot);
        world
    }

    /// As it was at first, whatever was sent and mined since.
    pub(super) fn reset(&self) {
        self.chain.set_automine(true).unwrap();
        let mut snapshot = self.snapshot.lock().unwrap();
        assert_eq!(self.ask("evm_revert", &json!([*snapshot])), json!(true));
        *snapshot = self.ask("evm_snapshot", &json!([]));
    }

    /// Whether the node's URL has a key in it.
    pub(super) fn keyed(&self) -> bool {
        self.keyed.load(Ordering::Relaxed)
    }

    pub(super) fn set_keyed(&self, keyed: bool) {
        self.keyed.store(keyed, Ordering::Relaxed);
    }

    /// The result of an honest request, or the error object.
    pub(super) fn request(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let params = to_raw_value(params).unwrap();
        match self.chain.request(method, Some(&params)) {
            Ok(result) => Ok(serde_json::from_str(result.get()).unwrap()),
            Err(failure) => Err(serde_json::to_value(&failure).unwrap()),
        }
    }

    /// The text of the whole answer to a request.
    pub(super) fn response(&self, id: &Value, method: &str, params: &Value) -> String {
        let params = to_raw_value(params).unwrap();
        let (name, what) = match self.chain.request(method, Some(&params)) {
            Ok(result) => ("result", result.get().to_owned()),
            Err(failure) => ("error", serde_json::to_string(&failure).unwrap()),
        };
        format!(r#"{{"jsonrpc":"2.0","id":{id},"{name}":{what}}}"#)
    }

    /// The same, for requests that must succeed.
    pub(super) fn ask(&self, method: &str, params: &Value) -> Value {
        self.request(method, params).unwrap()
    }

    pub(super) fn height(&self) -> u64 {
        self.chain.height().unwrap()
    }

    fn spare(&self) -> Vec<Value> {
        let mut spare = Vec::new();
        for number in 0..=self.height() {
            spare.push(self.ask("eth_getBlockByNumber", &json!([format!("{number:#x}"), false])));
        }
        for hash in &self.txs {
            spare.push(self.ask("eth_getTransactionReceipt", &json!([hash])));
            spare.push(self.ask("eth_getTransactionByHash", &json!([hash])));
        }
        spare.push(self.ask("eth_getLogs", &json!([{"fromBlock": "0x0", "toBlock": "latest"}])));
        spare.push(self.ask("eth_feeHistory", &json!(["0x1", "latest", []])));
        spare
    }
}

fn config(number: u8) -> Config {
    Config {
        client: DEV_ACCOUNTS[2].address,
        client_signer: Address::repeat_byte(number),
        hub: DEV_ACCOUNTS[SENDER].address,
        hub_signer: Address::repeat_byte(0xaa),
        token: Address::ZERO,
        challenge_period_s: 86_400,
        salt: Digest([number; 32]),
    }
}

/// Opens channels, deposits, funds a vault; some blocks hold several transactions, some none.
async fn history(chain: &EmbeddedChain, adjudicator: Address, configs: &[Config]) -> Vec<B256> {
    let options = ChainOptions {
        signer: Some(key(FUNDER)),
        ..ChainOptions::default()
    };
    let port = AlloyChain::embedded(chain, options).await.unwrap();
    let mut hashes = Vec::new();
    for (number, config) in configs.iter().enumerate() {
        // The last two channels share a block.
        chain.set_automine(number == 0).unwrap();
        let fund = IAdjudicator::fundVaultCall {
            hub: config.hub,
            token: config.token,
            amount: U256::from(7),
        };
        for (data, value) in [
            (calls::open(config, 1_000).abi_encode(), 1_000),
            (calls::deposit(config, 50).abi_encode(), 50),
            (fund.abi_encode(), 7),
        ] {
            let request = TxRequest {
                to: Some(adjudicator),
                data: Bytes::from(data),
                value: U256::from(value),
                gas_limit: Some(400_000),
                ..TxRequest::default()
            };
            hashes.push(port.send(request).await.unwrap().hash);
        }
        chain.increase_time(12).unwrap();
    }
    chain.mine(3).unwrap();
    chain.set_automine(true).unwrap();
    for hash in &hashes {
        assert!(port.receipt(*hash).await.unwrap().unwrap().success, "{hash}");
    }
    hashes
}
