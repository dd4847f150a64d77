//! A chain, owned by this process and reached by HTTP, so that every restarted hub finds the same one; and the
//! configuration, keys and directory of a real hub. Shared by the tests that start one.
#![allow(dead_code, reason = "no test uses all of it")]

#[path = "../../src/stage/free_address.rs"]
mod free_address;

use super::anvil::Anvil;
use alloy::{providers::Provider, signers::local::PrivateKeySigner};
use free_address::free_address;
use hub::{
    app::dev::{self, Deployed, DevChain},
    chain::{AlloyChain, Chain, ChainOptions, embedded::DEV_ACCOUNTS},
    ops,
    store::Identity,
};
use protocol_spec::Address;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Tokens in the hub's vault.
pub(crate) const VAULT: u128 = 10_000_000_000_000_000;
/// The hub's fee, millionths.
pub(crate) const FEE_PPM: u128 = 1000;
/// The hub's deposit in every channel.
pub(crate) const RESERVE: u128 = 1_000_000_000_000;
/// Seconds a party has to answer a dispute.
pub(crate) const CHALLENGE_PERIOD_S: u64 = 86_400;
/// Native coin for gas: 1.
const GAS_MONEY: u128 = 1_000_000_000_000_000_000;

pub(crate) struct World {
    /// Sends from the account that pays for everything.
    pub(crate) bank: AlloyChain,
    pub(crate) rpc_url: String,
    pub(crate) deployed: Deployed,
    /// Owner of the hub's vault.
    pub(crate) hub: Address,
    pub(crate) dir: PathBuf,
    /// All that the hub has: configuration, keys, databases.
    pub(crate) hub_dir: PathBuf,
    pub(crate) config: PathBuf,
    /// Where the hub keeps its database.
    pub(crate) store: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) listen: SocketAddr,
    pub(crate) ops: SocketAddr,
    _chain: Home,
}

/// Where the chain lives; it ends with the world.
#[expect(dead_code, reason = "held, not read")]
enum Home {
    Embedded(Box<DevChain>),
    Anvil(Anvil),
}

impl World {
    /// On the embedded chain.
    pub(crate) async fn embedded(dir: &Path) -> Self {
        let dev = DevChain::start(dev::ANY_PORT).await.unwrap();
        let (bank, url) = (dev.bank.clone(), dev.door.url());
        Self::build(dir, bank, url, Home::Embedded(Box::new(dev))).await
    }

    /// On a real anvil; `None` when those tests are skipped.
    pub(crate) async fn on_anvil(dir: &Path) -> Option<Self> {
        let anvil = Anvil::start()?;
        let options = ChainOptions {
            // Anvil's first account is the same.
            signer: Some(PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[0].private_key).unwrap()),
            poll_interval: Duration::from_millis(20),
            ..ChainOptions::default()
        };
        let bank = AlloyChain::connect(&anvil.url, options).await.unwrap();
        let url = anvil.url.clone();
        Some(Self::build(dir, bank, url, Home::Anvil(anvil)).await)
    }

    async fn build(dir: &Path, bank: AlloyChain, rpc_url: String, chain: Home) -> Self {
        let deployed = dev::deploy(&bank).await.unwrap();
        let hub_dir = dir.join("hub");
        let keys = ops::init(&hub_dir).unwrap();
        let paid = dev::endow(&bank, deployed.token, keys.owner, GAS_MONEY, 0).await;
        dev::settled(&bank, paid.unwrap()).await.unwrap();
        dev::fund_vault(&bank, deployed, keys.owner, VAULT).await.unwrap();
        // From here on a block every second: confirmations come.
        let mining = bank
            .provider()
            .raw_request::<_, serde_json::Value>("evm_setIntervalMining".into(), [1]);
        mining.await.unwrap();
        let identity = Identity {
            format_version: 1,
            chain_id: bank.chain_id().await.unwrap(),
            genesis_hash: bank.genesis_hash().await.unwrap().0,
            adjudicator: deployed.adjudicator.into_array(),
            code_hash: bank.code_hash(deployed.adjudicator).await.unwrap().0,
            hub_signer: keys.hub_signer.into_array(),
        };
        let (listen, ops) = (free_address().unwrap(), free_address().unwrap());
        let config = hub_dir.join("test.toml");
        std::fs::write(&config, config_text(&rpc_url, deployed, listen, ops)).unwrap();
        Self {
            bank,
            rpc_url,
            deployed,
            hub: keys.owner,
            dir: dir.to_owned(),
            config,
            store: hub_dir.join("data/store"),
            hub_dir,
            identity,
            listen,
            ops,
            _chain: chain,
        }
    }

    /// Gas money and tokens for a person.
    pub(crate) async fn endow(&self, account: Address, tokens: u128) {
        let paid = dev::endow(&self.bank, self.deployed.token, account, GAS_MONEY, tokens).await;
        dev::settled(&self.bank, paid.unwrap()).await.unwrap();
    }

    /// Tokens of an account on chain.
    pub(crate) async fn tokens_of(&self, account: Address) -> u128 {
        dev::tokens_of(&self.bank, self.deployed.token, account)
            .await
            .unwrap()
    }

    /// Tokens in the hub's vault on chain.
    pub(crate) async fn vault(&self) -> u128 {
        dev::vault_of(&self.bank, self.deployed, self.hub).await.unwrap()
    }
}

/// `TEST_ENGINE` is what verifies signatures, by its name in hub.toml; without it a hub's default.
fn engine() -> String {
    std::env::var("TEST_ENGINE").map_or_else(
        |_| String::new(),
        |name| format!("[signatures]\nengine = \"{name}\"\n"),
    )
}

fn config_text(rpc_url: &str, deployed: Deployed, listen: SocketAddr, ops: SocketAddr) -> String {
    let Deployed { adjudicator, token } = deployed;
    format!(
        r#"data_dir = "data"
[server]
name = "test"
listen = "{listen}"
[ops]
listen = "{ops}"
[keys]
hub_signer = "file:keys/hub_signer.key"
owner = "file:keys/owner.key"
[chain]
rpc_url = "{rpc_url}"
adjudicator = "{adjudicator}"
confirmations = 1
poll_interval_ms = 200
challenge_period_s = {CHALLENGE_PERIOD_S}
[[tokens]]
address = "{token}"
reserve = {{ initial = "{RESERVE}", low_watermark = "{low}" }}
lock_min = "1"
send_min = "1"
[fees]
flat = "0"
ppm = {FEE_PPM}
{engine}"#,
        low = RESERVE / 4,
        engine = engine(),
    )
}
