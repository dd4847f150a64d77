//! The stage: a chain (embedded, or a node by URL), the contracts, the hub's keys and configuration.

use super::{free_address::free_address, say};
use alloy::{
    primitives::{Address, B256},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use anyhow::Context;
use hub::{
    app::dev::{self, Deployed, DevChain},
    chain::{AlloyChain, CallRequest, Chain, ChainError, ChainOptions},
    ops::{self, SecretRef},
};
use protocol_spec::{ChannelId, abi::IAdjudicator};
use std::{
    borrow::Cow,
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Tokens in the hub's vault.
pub(crate) const VAULT: u128 = 1_000_000_000_000_000;
/// Challenge period, seconds.
pub(crate) const CHALLENGE_PERIOD_S: u64 = 24 * 3600;
/// Native coin for everybody's gas: 0.05.
const GAS_MONEY: u128 = 50_000_000_000_000_000;
/// For the defence of a channel, at the gas price of a development chain: 0.001.
const DEFENCE_MONEY: u128 = 1_000_000_000_000_000;

/// A development node without a block for so long is asked for one.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// A node and the key that pays on it.
pub(crate) struct Node {
    pub(crate) url: String,
    pub(crate) funding: SecretRef,
}

/// What differs between the programs that stand on a stage.
pub(crate) struct Play {
    /// Its directory is called so.
    pub(crate) name: &'static str,
    /// The hub's fee, millionths.
    pub(crate) fee_ppm: u128,
    /// The hub's deposit in every channel.
    pub(crate) reserve: u128,
    /// As many channels the hub can defend: it pays nothing into more.
    pub(crate) channels: u32,
    /// Lines at the end of the hub's configuration.
    pub(crate) config: Cow<'static, str>,
}

/// A directory that goes away at the end, unless it was named or is to be kept.
pub(crate) struct WorkDir {
    path: PathBuf,
    remove: bool,
}

impl WorkDir {
    pub(crate) fn new(play: &Play, named: Option<PathBuf>, keep: bool) -> anyhow::Result<Self> {
        let remove = named.is_none() && !keep;
        let path = named.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("channelhub-{}-{:08x}", play.name, rand::random::<u32>()))
        });
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self {
            path: path.canonicalize()?,
            remove,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.remove {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// The chain and what is on it.
pub(crate) struct World {
    /// Sends from the account that pays for everything.
    pub(crate) bank: AlloyChain,
    pub(crate) rpc_url: String,
    pub(crate) deployed: Deployed,
    /// Owner of the hub's side.
    pub(crate) hub: Address,
    /// Signs its vouchers.
    pub(crate) hub_signer: Address,
    pub(crate) dir: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) ops: SocketAddr,
    embedded: Option<DevChain>,
}

impl World {
    /// On `node`, or on the embedded chain, where every transaction makes its block until [`World::keep_time`].
    pub(crate) async fn build(play: &Play, node: Option<Node>, dir: &Path) -> anyhow::Result<Self> {
        let (rpc_url, bank, embedded) = match node {
            None => {
                let dev = DevChain::start(dev::ANY_PORT).await?;
                (dev.door.url(), dev.bank.clone(), Some(dev))
            }
            Some(node) => (node.url.clone(), connect(node).await?, None),
        };
        let deployed = dev::deploy(&bank).await?;
        let Deployed { adjudicator, token } = deployed;
        say(&format!(
            "chain {} at {rpc_url}: adjudicator {adjudicator}, token {token}",
            bank.chain_id().await?
        ));
        let keys = ops::init(&dir.join("hub"))?;
        let (listen, ops) = (free_address()?, free_address()?);
        let config = dir.join("hub/run.toml");
        std::fs::write(
            &config,
            config_text(play, &rpc_url, adjudicator, token, listen, ops),
        )?;
        let world = Self {
            bank,
            rpc_url,
            deployed,
            hub: keys.owner,
            hub_signer: keys.hub_signer,
            dir: dir.to_owned(),
            config,
            listen,
            ops,
            embedded,
        };
        world.fund_hub(play.channels).await?;
        Ok(world)
    }

    /// From now on blocks come without transactions, so that confirmations do. A real node does that by itself.
    pub(crate) fn keep_time(&self) -> anyhow::Result<()> {
        match &self.embedded {
            Some(dev) => dev::mine_every_second(&dev.chain)?,
            None => drop(tokio::spawn(keep_mining(self.bank.clone()))),
        }
        Ok(())
    }

    async fn fund_hub(&self, channels: u32) -> anyhow::Result<()> {
        let gas = DEFENCE_MONEY.saturating_mul(channels.into());
        let hash = dev::endow(&self.bank, self.deployed.token, self.hub, gas, 0).await?;
        self.settled(hash).await?;
        dev::fund_vault(&self.bank, self.deployed, self.hub, VAULT).await
    }

    /// Gas money and `tokens` for an account. The last of several is waited for by `settled`.
    pub(crate) async fn endow(&self, account: Address, tokens: u128) -> anyhow::Result<B256> {
        Ok(dev::endow(&self.bank, self.deployed.token, account, GAS_MONEY, tokens).await?)
    }

    pub(crate) async fn settled(&self, hash: B256) -> anyhow::Result<()> {
        dev::settled(&self.bank, hash).await
    }

    /// Tokens of an account on chain.
    pub(crate) async fn tokens_of(&self, account: Address) -> anyhow::Result<u128> {
        dev::tokens_of(&self.bank, self.deployed.token, account).await
    }

    /// Tokens in the hub's vault on chain.
    pub(crate) async fn vault(&self) -> anyhow::Result<u128> {
        dev::vault_of(&self.bank, self.deployed, self.hub).await
    }

    /// What the adjudicator would pay now: (client, hub).
    pub(crate) async fn balances(&self, channel: ChannelId) -> anyhow::Result<(u128, u128)> {
        let call = IAdjudicator::balancesCall {
            channelId: channel.0.into(),
        };
        let request = CallRequest {
            to: self.deployed.adjudicator,
            data: call.abi_encode().into(),
            ..CallRequest::default()
        };
        let answer = IAdjudicator::balancesCall::abi_decode_returns(&self.bank.call(request).await?)?;
        Ok((
            u128::try_from(answer.clientBalance)?,
            u128::try_from(answer.hubBalance)?,
        ))
    }
}

/// A port on a node, paid for by the key named on the command line.
async fn connect(Node { url, funding }: Node) -> anyhow::Result<AlloyChain> {
    let key = funding.load().map_err(anyhow::Error::msg)?;
    let options = ChainOptions {
        signer: Some(PrivateKeySigner::from_bytes(&B256::from(*key.to_bytes()))?),
        poll_interval: Duration::from_millis(20),
        ..ChainOptions::default()
    };
    AlloyChain::connect(&url, options)
        .await
        .context("the chain's node")
}

/// A development node that makes a block for a transaction only never confirms anything: then it is asked for
/// blocks. A node that cannot be asked makes its own.
async fn keep_mining(bank: AlloyChain) {
    let mut seen = None;
    let mut said = false;
    loop {
        tokio::time::sleep(IDLE_MAX).await;
        let Ok(head) = bank.head().await else { continue };
        if seen.replace(head.number) != Some(head.number) {
            continue;
        }
        match bank.mine(1).await {
            Ok(()) => {}
            Err(ChainError::Unsupported(_)) => return,
            Err(_) => continue,
        }
        if !std::mem::replace(&mut said, true) {
            say("this node makes no blocks by itself: it is asked for them");
        }
    }
}

fn config_text(
    play: &Play,
    rpc_url: &str,
    adjudicator: Address,
    token: Address,
    listen: SocketAddr,
    ops: SocketAddr,
) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        r#"data_dir = "data"
[server]
name = "{name}"
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
reserve = {{ initial = "{reserve}", low_watermark = "{low}" }}
lock_min = "1"
send_min = "1"
[fees]
flat = "0"
ppm = {fee_ppm}
{more}"#,
        name = play.name,
        fee_ppm = play.fee_ppm,
        more = play.config,
        reserve = play.reserve,
        low = play.reserve / 4,
    );
    text
}
