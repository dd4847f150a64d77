//! What the examples stand on, so that each of them needs nothing but itself: a development chain in this process,
//! served over HTTP on loopback, the contracts and a test token on it, and a real hub on a temporary directory.
//!
//! With a hub and a chain of your own you need none of this: take their URLs and the token's address instead.

mod dir;
mod hub;

use ::hub::{
    app::{
        contracts,
        dev::{self, DevChain},
    },
    chain::Chain,
};
use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use anyhow::Context;
use client_sdk::{Client, RedbStore};
use std::{path::PathBuf, time::Duration};

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
    /// The resolver that the hub forwards locks of: an escrow that an arbiter releases.
    pub escrow: Address,
    hub: Option<hub::Hub>,
    dev: DevChain,
    dir: dir::TempDir,
}

impl World {
    /// Starts everything.
    pub async fn start() -> anyhow::Result<Self> {
        let dir = dir::TempDir::new()?;
        let dev = DevChain::start(dev::ANY_PORT).await?;
        let rpc_url = dev.door.url();
        let deployed = dev::deploy(&dev.bank).await?;
        let escrow = contracts::deploy_arbiter_escrow(&dev.bank).await?;
        let hub = hub::Hub::start(&dev.bank, &rpc_url, (deployed, escrow), dir.file("hub")).await?;
        // Until here every transaction made its block. From here on there is a block every second, as on a real chain.
        dev::mine_every_second(&dev.chain)?;
        Ok(Self {
            hub_url: hub.url(),
            rpc_url,
            token: deployed.token,
            escrow,
            hub: Some(hub),
            dev,
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
        let paid = dev::endow(&self.dev.bank, self.token, account, GAS_MONEY, tokens).await?;
        // At once, instead of with the next block.
        self.dev.bank.mine(1).await?;
        dev::settled(&self.dev.bank, paid).await
    }

    /// The chain, to ask it something.
    #[must_use]
    pub fn chain(&self) -> &dyn Chain {
        &self.dev.bank
    }

    /// What an account has on chain.
    pub async fn tokens_of(&self, account: Address) -> anyhow::Result<u128> {
        dev::tokens_of(&self.dev.bank, self.token, account).await
    }

    /// Moves the chain's time ahead. Only a development chain can do that.
    pub async fn pass(&self, time: Duration) -> anyhow::Result<()> {
        self.dev.bank.increase_time(time.as_secs()).await?;
        self.dev.bank.mine(1).await?;
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
