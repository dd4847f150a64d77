//! The three kinds of chain under test, behind one handle.

use crate::contract;
use alloy::consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::network::TxSignerSync as _;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::providers::{Provider as _, RootProvider};
use alloy::signers::local::PrivateKeySigner;
use alloy::transports::TransportResult;
use hub_chain::embedded::{DEV_ACCOUNTS, EmbeddedChain, EmbeddedConfig, ServedChain};
use hub_chain::{AlloyChain, Chain as _, ChainOptions, TxRequest};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

pub(crate) const ALICE: Address = DEV_ACCOUNTS[0].address;
pub(crate) const BOB: Address = DEV_ACCOUNTS[1].address;

/// What must live as long as the test.
#[allow(dead_code, reason = "held for their drop")]
enum Keep {
    Nothing,
    Door(EmbeddedChain, ServedChain),
    /// Killed when dropped, by its own process id.
    Process(Child),
}

/// A chain under test; `chain` sends as dev account 0.
pub(crate) struct Node {
    pub(crate) chain: AlloyChain,
    pub(crate) url: Option<String>,
    _keep: Keep,
}

pub(crate) fn key(index: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[index].private_key).unwrap()
}

pub(crate) fn options() -> ChainOptions {
    ChainOptions {
        signer: Some(key(0)),
        wait_timeout: Duration::from_secs(20),
        poll_interval: Duration::from_millis(20),
        ..ChainOptions::default()
    }
}

impl Node {
    pub(crate) async fn in_process() -> Self {
        let chain = EmbeddedChain::new(EmbeddedConfig::default());
        let chain = AlloyChain::embedded(&chain, options()).await.unwrap();
        Self {
            chain,
            url: None,
            _keep: Keep::Nothing,
        }
    }

    pub(crate) async fn over_http() -> Self {
        let embedded = EmbeddedChain::new(EmbeddedConfig::default());
        let door = embedded.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = door.url();
        let chain = AlloyChain::connect(&url, options()).await.unwrap();
        Self {
            chain,
            url: Some(url),
            _keep: Keep::Door(embedded, door),
        }
    }

    /// A fresh anvil; `None` only if anvil is absent and the tests were told to do without.
    pub(crate) async fn anvil() -> Option<Self> {
        let path = anvil_path()?;
        let mut child = Command::new(&path)
            .args(["--port", "0", "--hardfork", "osaka", "--enable-tx-gas-limit"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", path.display()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("anvil ended before it listened");
            if let Some(address) = line.strip_prefix("Listening on ") {
                break address.to_owned();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let url = format!("http://{address}");
        let chain = AlloyChain::connect(&url, options()).await.unwrap();
        Some(Self {
            chain,
            url: Some(url),
            _keep: Keep::Process(child),
        })
    }

    pub(crate) fn provider(&self) -> &RootProvider {
        self.chain.provider()
    }

    /// A JSON-RPC request by hand.
    pub(crate) async fn rpc(&self, method: &'static str, params: Value) -> TransportResult<Value> {
        self.provider().raw_request(method.into(), params).await
    }

    /// The same, for requests that must succeed.
    pub(crate) async fn ask(&self, method: &'static str, params: Value) -> Value {
        self.rpc(method, params)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(crate) async fn deploy(&self) -> Address {
        let request = TxRequest {
            data: contract::CREATION,
            ..TxRequest::default()
        };
        let sent = self.chain.send(request).await.unwrap();
        let receipt = self.chain.wait(sent.hash, 0).await.unwrap();
        assert!(receipt.success);
        receipt.contract_address.unwrap()
    }

    /// Sends and waits until it is in a block.
    pub(crate) async fn run(&self, request: TxRequest) -> hub_chain::TxReceipt {
        let sent = self.chain.send(request).await.unwrap();
        self.chain.wait(sent.hash, 0).await.unwrap()
    }

    pub(crate) async fn send_raw(&self, tx: &Signed) -> TransportResult<B256> {
        Ok(*self.provider().send_raw_transaction(&tx.raw).await?.tx_hash())
    }
}

/// A transaction made by hand.
pub(crate) struct Signed {
    pub(crate) raw: Bytes,
    pub(crate) hash: B256,
}

#[derive(Clone, Copy)]
pub(crate) struct Hand {
    pub(crate) from: usize,
    pub(crate) nonce: u64,
    pub(crate) gas_limit: u64,
    pub(crate) value: u64,
    pub(crate) tip_gwei: u64,
    pub(crate) max_fee_gwei: u64,
}

impl Default for Hand {
    fn default() -> Self {
        Self {
            from: 0,
            nonce: 0,
            gas_limit: 21_000,
            value: 1,
            tip_gwei: 1,
            max_fee_gwei: 10,
        }
    }
}

impl Hand {
    /// A transfer to `BOB`, signed.
    pub(crate) fn sign(self) -> Signed {
        let gwei = |amount: u64| u128::from(amount) * 1_000_000_000;
        let mut tx = TxEip1559 {
            chain_id: 31_337,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: gwei(self.max_fee_gwei),
            max_priority_fee_per_gas: gwei(self.tip_gwei),
            to: TxKind::Call(BOB),
            value: U256::from(self.value),
            access_list: Default::default(),
            input: Bytes::new(),
        };
        let signature = key(self.from).sign_transaction_sync(&mut tx).unwrap();
        let envelope = TxEnvelope::from(tx.into_signed(signature));
        Signed {
            raw: envelope.encoded_2718().into(),
            hash: *envelope.tx_hash(),
        }
    }
}

fn anvil_path() -> Option<PathBuf> {
    let default = "../../protocol-spec/contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(default);
    let path = std::env::var_os("ANVIL").map_or(default, PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    if std::env::var("CHANNELHUB_SKIP_ANVIL").is_ok_and(|value| value == "1") {
        eprintln!("skipped: there is no anvil and CHANNELHUB_SKIP_ANVIL=1");
        return None;
    }
    panic!(
        "there is no anvil at {}: run `npm ci` in protocol-spec/contracts, or set ANVIL to the native binary, \
         or CHANNELHUB_SKIP_ANVIL=1 to do without",
        path.display()
    );
}
