//! What the examples stand on, so that each of them needs nothing but itself: a development chain in this process,
//! served over HTTP on loopback, the contracts and a test token on it, and a real hub on a temporary directory.
//!
//! With a hub and a chain of your own you need none of this: take their URLs and the token's address instead.

mod dir;
mod hub;

use ::hub::{
    app::contracts::{self, Token},
    chain::{
        AlloyChain, CallRequest, Chain, ChainOptions, TxRequest,
        embedded::{DEV_ACCOUNTS, DevAccount, EmbeddedChain, EmbeddedConfig, ServedChain},
    },
};
use alloy::{
    primitives::{Address, U256},
    providers::Provider,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use anyhow::Context;
use client_sdk::{Client, RedbStore};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Pays for the contracts and for everybody's gas.
const BANK: &DevAccount = &DEV_ACCOUNTS[0];
/// Native coin for an account's gas: 0.05.
const GAS_MONEY: u128 = 50_000_000_000_000_000;
/// How often the chain is looked at. Blocks come every second.
const POLL: Duration = Duration::from_millis(100);

/// A chain, a token, and a hub that takes 0.1 % of a payment.
pub struct World {
    /// The hub's address for clients.
    pub hub_url: String,
    /// The chain's address for clients.
    pub rpc_url: String,
    /// The token that is paid with.
    pub token: Address,
    hub: Option<hub::Hub>,
    bank: AlloyChain,
    _door: ServedChain,
    dir: dir::TempDir,
}

impl World {
    /// Starts everything.
    pub async fn start() -> anyhow::Result<Self> {
        let dir = dir::TempDir::new()?;
        let chain = EmbeddedChain::new(EmbeddedConfig::default());
        let door = chain.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let rpc_url = door.url();
        let bank = connect(&rpc_url, BANK).await?;
        let adjudicator = contracts::deploy_adjudicator(&bank).await?;
        let token = contracts::deploy_test_token(&bank).await?;
        let hub = hub::Hub::start(&bank, &rpc_url, adjudicator, token, dir.file("hub")).await?;
        // Until here every transaction made its block. From here on there is a block every second, as on a real chain.
        let mining = bank.provider().raw_request("evm_setIntervalMining".into(), [1]);
        let () = mining.await.context("the chain does not mine")?;
        Ok(Self {
            hub_url: hub.url(),
            rpc_url,
            token,
            hub: Some(hub),
            bank,
            _door: door,
            dir,
        })
    }

    /// A client with a fresh key and `tokens` in its account, connected. Its store is `<name>.redb`.
    pub async fn client(&self, name: &str, tokens: u128) -> anyhow::Result<Client> {
        let key = PrivateKeySigner::random();
        self.fund(key.address(), tokens).await?;
        self.connect(name, &key).await
    }

    /// Connects the owner of `key`; again, if its store is there already.
    pub async fn connect(&self, name: &str, key: &PrivateKeySigner) -> anyhow::Result<Client> {
        let client = Client::builder(&self.hub_url)
            .signer(key.clone())
            .store(RedbStore::open(self.file(&format!("{name}.redb")))?)
            .rpc(self.rpc_url.as_str())
            .token(self.token)
            .chain_poll(POLL)
            .connect();
        client.await.with_context(|| format!("{name} connects"))
    }

    /// Gives an account `tokens`, and coins for gas.
    pub async fn fund(&self, account: Address, tokens: u128) -> anyhow::Result<()> {
        let mint = Token::mintCall {
            to: account,
            amount: U256::from(tokens),
        };
        let mint = TxRequest {
            to: Some(self.token),
            data: mint.abi_encode().into(),
            ..TxRequest::default()
        };
        for request in [gas(account, GAS_MONEY), mint] {
            let sent = self.bank.send(request).await?;
            // At once, instead of with the next block.
            self.bank.mine(1).await?;
            let receipt = self.bank.wait(sent.hash, 0).await?;
            anyhow::ensure!(receipt.success, "{account} was not funded");
        }
        Ok(())
    }

    /// What an account has on chain.
    pub async fn tokens_of(&self, account: Address) -> anyhow::Result<u128> {
        let call = CallRequest {
            to: self.token,
            data: Token::balanceOfCall { account }.abi_encode().into(),
            ..CallRequest::default()
        };
        let word = self.bank.call(call).await?;
        u128::try_from(U256::from_be_slice(&word)).context("a balance beyond 128 bits")
    }

    /// Moves the chain's time ahead. Only a development chain can do that.
    pub async fn pass(&self, time: Duration) -> anyhow::Result<()> {
        self.bank.increase_time(time.as_secs()).await?;
        self.bank.mine(1).await?;
        Ok(())
    }

    /// A path for a file of the example; it goes away with the world.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.file(name)
    }

    /// Stops the hub and deletes all it ever wrote: for the clients it is gone for good.
    pub async fn destroy_hub(&mut self) -> anyhow::Result<()> {
        match self.hub.take() {
            Some(hub) => hub.destroy().await,
            None => Ok(()),
        }
    }

    /// Ends it in order; what was written is deleted.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.destroy_hub().await
    }
}

/// A port on the chain that sends from `account`.
async fn connect(rpc_url: &str, account: &DevAccount) -> anyhow::Result<AlloyChain> {
    let options = ChainOptions {
        signer: Some(PrivateKeySigner::from_bytes(&account.private_key)?),
        poll_interval: Duration::from_millis(20),
        ..ChainOptions::default()
    };
    Ok(AlloyChain::connect(rpc_url, options).await?)
}

/// Native coins for `account`.
fn gas(account: Address, wei: u128) -> TxRequest {
    TxRequest {
        to: Some(account),
        value: U256::from(wei),
        ..TxRequest::default()
    }
}
