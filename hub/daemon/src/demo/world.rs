//! The stage: a chain (embedded, or a node by URL), the contracts, the hub's keys and configuration.

use super::say;
use alloy::{
    primitives::{Address, B256},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use anyhow::Context;
use hub::{
    app::dev::{self, Deployed, DevChain},
    chain::{AlloyChain, CallRequest, Chain, ChainError, ChainOptions},
    cli::demo::DemoArgs,
    ops::{self, SecretRef},
};
use protocol_spec::{ChannelId, abi::IAdjudicator};
use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

/// Tokens in the hub's vault.
pub(super) const VAULT: u128 = 1_000_000_000_000_000;
/// The hub's deposit in every channel.
const RESERVE: u128 = 1_000_000_000_000;
/// The hub's fee, millionths.
pub(super) const FEE_PPM: u128 = 1000;
/// Challenge period, seconds.
pub(super) const CHALLENGE_PERIOD_S: u64 = 24 * 3600;
/// Native coin for everybody's gas: 0.05.
const GAS_MONEY: u128 = 50_000_000_000_000_000;

/// A development node without a block for so long is asked for one.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// A directory that goes away at the end, unless it was named or is to be kept.
pub(super) struct WorkDir {
    path: PathBuf,
    remove: bool,
}

impl WorkDir {
    pub(super) fn new(named: Option<PathBuf>, keep: bool) -> anyhow::Result<Self> {
        let remove = named.is_none() && !keep;
        let path = named.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("channelhub-demo-{:08x}", rand::random::<u32>()))
        });
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self {
            path: path.canonicalize()?,
            remove,
        })
    }

    pub(super) fn path(&self) -> &Path {
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
pub(super) struct World {
    /// Sends from the account that pays for everything.
    pub(super) bank: AlloyChain,
    pub(super) rpc_url: String,
    pub(super) deployed: Deployed,
    /// Owner of the hub's side.
    pub(super) hub: Address,
    pub(super) dir: PathBuf,
    pub(super) config: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) ops: SocketAddr,
    _embedded: Option<DevChain>,
}

impl World {
    pub(super) async fn build(
        args: &DemoArgs,
        funding: Option<SecretRef>,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let (rpc_url, bank, embedded) = match &args.rpc_url {
            None => {
                let dev = DevChain::start(dev::ANY_PORT).await?;
                // Blocks must go on for confirmations to come. A real node does that by itself.
                dev::mine_every_second(&dev.chain)?;
                (dev.door.url(), dev.bank.clone(), Some(dev))
            }
            Some(url) => {
                let bank = node(url, funding).await?;
                tokio::spawn(keep_mining(bank.clone()));
                (url.clone(), bank, None)
            }
        };
        let deployed = dev::deploy(&bank).await?;
        let Deployed { adjudicator, token } = deployed;
        say(&format!(
            "chain {} at {rpc_url}: adjudicator {adjudicator}, token {token}",
            bank.chain_id().await?
        ));
        let keys = ops::init(&dir.join("hub"))?;
        let (listen, ops) = (free_address()?, free_address()?);
        let config = dir.join("hub/demo.toml");
        std::fs::write(&config, config_text(&rpc_url, adjudicator, token, listen, ops))?;
        let world = Self {
            bank,
            rpc_url,
            deployed,
            hub: keys.owner,
            dir: dir.to_owned(),
            config,
            listen,
            ops,
            _embedded: embedded,
        };
        world.fund_hub().await?;
        Ok(world)
    }

    async fn fund_hub(&self) -> anyhow::Result<()> {
        let gas = GAS_MONEY.saturating_mul(20);
        let hash = dev::endow(&self.bank, self.deployed.token, self.hub, gas, 0).await?;
        self.settled(hash).await?;
        dev::fund_vault(&self.bank, self.deployed, self.hub, VAULT).await
    }

    /// Gas money and `tokens` for an account. The last of several is waited for by `settled`.
    pub(super) async fn endow(&self, account: Address, tokens: u128) -> anyhow::Result<B256> {
        Ok(dev::endow(&self.bank, self.deployed.token, account, GAS_MONEY, tokens).await?)
    }

    pub(super) async fn settled(&self, hash: B256) -> anyhow::Result<()> {
        dev::settled(&self.bank, hash).await
    }

    /// Tokens of an account on chain.
    pub(super) async fn tokens_of(&self, account: Address) -> anyhow::Result<u128> {
        dev::tokens_of(&self.bank, self.deployed.token, account).await
    }

    /// Tokens in the hub's vault on chain.
    pub(super) async fn vault(&self) -> anyhow::Result<u128> {
        dev::vault_of(&self.bank, self.deployed, self.hub).await
    }

    /// What the adjudicator would pay now: (client, hub).
    pub(super) async fn balances(&self, channel: ChannelId) -> anyhow::Result<(u128, u128)> {
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

/// A port on the node at `url`, paid for by the key named on the command line.
async fn node(url: &str, funding: Option<SecretRef>) -> anyhow::Result<AlloyChain> {
    let key = funding
        .context("--funding-key")?
        .load()
        .map_err(anyhow::Error::msg)?;
    let options = ChainOptions {
        signer: Some(PrivateKeySigner::from_bytes(&B256::from(*key.to_bytes()))?),
        poll_interval: Duration::from_millis(20),
        ..ChainOptions::default()
    };
    AlloyChain::connect(url, options)
        .await
        .context("the chain's node")
}

/// A development node that makes a block for a transaction only never confirms anything: then the demo asks it for
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
            say("this node makes no blocks by itself: the demo asks it for them");
        }
    }
}

/// An address nobody listens on now. The hub keeps it over its restart.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn config_text(
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
name = "demo"
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
[fees]
flat = "0"
ppm = {FEE_PPM}
"#,
        low = RESERVE / 4,
    );
    text
}
