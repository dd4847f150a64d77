//! The stage: a chain (embedded, or a node by URL), the contracts, the hub's keys and configuration.

use super::say;
use alloy::{
    primitives::{Address, B256, U256},
    providers::Provider,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use anyhow::Context;
use hub::{
    app::contracts::{self, Token},
    chain::{
        AlloyChain, CallRequest, Chain, ChainOptions, TxRequest,
        embedded::{DEV_ACCOUNTS, EmbeddedChain, EmbeddedConfig, ServedChain},
    },
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
    pub(super) adjudicator: Address,
    pub(super) token: Address,
    /// Owner of the hub's side.
    pub(super) hub: Address,
    pub(super) dir: PathBuf,
    pub(super) config: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) ops: SocketAddr,
    _embedded: Option<(EmbeddedChain, ServedChain)>,
}

impl World {
    pub(super) async fn build(
        args: &DemoArgs,
        funding: Option<SecretRef>,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let (rpc_url, key, embedded) = match &args.rpc_url {
            None => {
                let (url, chain) = embedded_chain().await?;
                (
                    url,
                    PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[0].private_key)?,
                    Some(chain),
                )
            }
            Some(url) => {
                let key = funding
                    .context("--funding-key")?
                    .load()
                    .map_err(anyhow::Error::msg)?;
                (
                    url.clone(),
                    PrivateKeySigner::from_bytes(&B256::from(*key.to_bytes()))?,
                    None,
                )
            }
        };
        let poll_interval = Duration::from_millis(20);
        let options = ChainOptions {
            signer: Some(key),
            poll_interval,
            ..ChainOptions::default()
        };
        let bank = AlloyChain::connect(&rpc_url, options)
            .await
            .context("the chain's node")?;
        // Blocks must go on for confirmations to come. A real node does that by itself and refuses this.
        let _ = bank
            .provider()
            .raw_request::<_, serde_json::Value>("evm_setIntervalMining".into(), [1])
            .await;
        let adjudicator = contracts::deploy_adjudicator(&bank).await?;
        let token = contracts::deploy_test_token(&bank).await?;
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
            adjudicator,
            token,
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
        let amount = U256::from(VAULT);
        self.give_gas(self.hub, 20).await?;
        let bank = self.bank.sender().context("no funding key")?;
        self.transact(self.token, &Token::mintCall { to: bank, amount })
            .await?;
        self.transact(
            self.token,
            &Token::approveCall {
                spender: self.adjudicator,
                amount,
            },
        )
        .await?;
        let fund = IAdjudicator::fundVaultCall {
            hub: self.hub,
            token: self.token,
            amount,
        };
        self.transact(self.adjudicator, &fund).await
    }

    async fn transact(&self, to: Address, call: &impl SolCall) -> anyhow::Result<()> {
        Ok(contracts::transact(&self.bank, to, call, U256::ZERO).await?)
    }

    /// Gas money and `tokens` for an account. The last of several is waited for by `settled`.
    pub(super) async fn endow(&self, account: Address, tokens: u128) -> anyhow::Result<B256> {
        let mut last = self.give_gas_later(account, 1).await?;
        if tokens > 0 {
            let mint = Token::mintCall {
                to: account,
                amount: U256::from(tokens),
            };
            let request = TxRequest {
                to: Some(self.token),
                data: mint.abi_encode().into(),
                ..TxRequest::default()
            };
            last = self.bank.send(request).await?.hash;
        }
        Ok(last)
    }

    pub(super) async fn settled(&self, hash: B256) -> anyhow::Result<()> {
        let receipt = self.bank.wait(hash, 0).await?;
        anyhow::ensure!(receipt.success, "transaction {hash} reverted");
        Ok(())
    }

    async fn give_gas(&self, account: Address, times: u128) -> anyhow::Result<()> {
        let hash = self.give_gas_later(account, times).await?;
        self.settled(hash).await
    }

    async fn give_gas_later(&self, account: Address, times: u128) -> anyhow::Result<B256> {
        let value = U256::from(GAS_MONEY.saturating_mul(times));
        Ok(self
            .bank
            .send(TxRequest {
                to: Some(account),
                value,
                ..TxRequest::default()
            })
            .await?
            .hash)
    }

    /// Tokens of an account on chain.
    pub(super) async fn tokens_of(&self, account: Address) -> anyhow::Result<u128> {
        self.read_u128(self.token, &Token::balanceOfCall { account })
            .await
    }

    /// Tokens in the hub's vault on chain.
    pub(super) async fn vault(&self) -> anyhow::Result<u128> {
        self.read_u128(
            self.adjudicator,
            &IAdjudicator::vaultCall {
                token: self.token,
                hub: self.hub,
            },
        )
        .await
    }

    /// What the adjudicator would pay now: (client, hub).
    pub(super) async fn balances(&self, channel: ChannelId) -> anyhow::Result<(u128, u128)> {
        let call = IAdjudicator::balancesCall {
            channelId: channel.0.into(),
        };
        let request = CallRequest {
            to: self.adjudicator,
            data: call.abi_encode().into(),
            ..CallRequest::default()
        };
        let answer = IAdjudicator::balancesCall::abi_decode_returns(&self.bank.call(request).await?)?;
        Ok((
            u128::try_from(answer.clientBalance)?,
            u128::try_from(answer.hubBalance)?,
        ))
    }

    async fn read_u128(&self, to: Address, call: &impl SolCall) -> anyhow::Result<u128> {
        let request = CallRequest {
            to,
            data: call.abi_encode().into(),
            ..CallRequest::default()
        };
        let word = self.bank.call(request).await?;
        u128::try_from(U256::from_be_slice(&word)).context("a balance beyond 128 bits")
    }
}

async fn embedded_chain() -> anyhow::Result<(String, (EmbeddedChain, ServedChain))> {
    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    let door = chain.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    Ok((door.url(), (chain, door)))
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
reserve = {{ initial = "{RESERVE}", low_watermark = "{low}", top_up = "{RESERVE}" }}
[fees]
flat = "0"
ppm = {FEE_PPM}
"#,
        low = RESERVE / 4,
    );
    text
}
