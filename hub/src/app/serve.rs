//! From a configuration to a running hub: what `hub serve` starts.

use super::{
    Ports, RunningHub, Setup,
    dev::{self, DevChain},
    first_start,
    watch_chain::{watch_chain, watch_endpoints},
};
use crate::{
    chain::{AlloyChain, Chain, ChainOptions, Endpoint, QuorumChain, QuorumOptions, embedded::DEV_ACCOUNTS},
    cli::serve::{Prepared, Started},
    driver::{Budget, Management, Worth},
    ledger::{Capacity, LockPolicy, Policy, Reserve, Tariff},
    liquidity::LiquidityPolicy,
    ops::{Config, Readiness, Shutdown, config},
    settlement::SettlementPolicy,
    store::{OpenError, RedbStore},
};
use alloy::{
    primitives::{B256, U256},
    signers::local::PrivateKeySigner,
};
use anyhow::Context;
use futures::future::BoxFuture;
use protocol_spec::{Address, Amount, SignerKey, channel::Delays, limits};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// Where the embedded chain listens when the address is free.
const EMBEDDED_DOOR: &str = "127.0.0.1:8545";
/// With fewer, a hub on a real chain is warned.
const CONFIRMATIONS_FEW: u64 = 2;
/// What the hub's vault gets of each token on the embedded chain.
const EMBEDDED_VAULT: u128 = 1_000_000_000_000_000_000_000_000;

/// Starts the engine for `hub serve`.
pub fn start_engine(
    prepared: Prepared,
    readiness: Readiness,
    shutdown: Shutdown,
) -> BoxFuture<'static, anyhow::Result<Started>> {
    Box::pin(async move {
        let owner = wallet(&prepared.owner)?;
        let (setup, embedded) = if prepared.config.is_embedded() {
            let (setup, dev, dir) = embedded(&prepared, owner).await?;
            (setup, Some((dev, dir)))
        } else {
            first_start::check(&prepared.config.data_dir)?;
            (remote(&prepared, owner).await?, None)
        };
        // The causes are in its text already.
        let started = super::start(setup).await;
        let hub = started.map_err(|error| anyhow::anyhow!("the hub did not start: {error}"))?;
        if embedded.is_none() {
            first_start::done(&prepared.config.data_dir)?;
        }
        watch_chain(&hub, readiness.clone());
        watch_failure(&hub, readiness, shutdown);
        let (engine, operator) = (hub.engine.clone(), hub.operator.clone());
        let finish = Box::pin(async move {
            let result = hub.finish().await.map_err(anyhow::Error::msg);
            if let Some((chain, dir)) = embedded {
                drop(chain);
                // Without its chain it is worth nothing.
                let _ = std::fs::remove_dir_all(dir);
            }
            result
        });
        Ok(Started {
            engine,
            operator,
            finish,
        })
    })
}

/// What `hub serve --check` found beyond configuration and keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Chain that the nodes agree about; none: the embedded one, which starts with the hub.
    pub chain_id: Option<u64>,
    /// `good`: it is this hub's. `new`: there is none yet, as `hub init` left it. `in_use`: a hub runs on it, so it was not
    /// read. `embedded`: it comes and goes with the embedded chain.
    pub database: &'static str,
}

/// Checks what a start needs of nodes and database: the nodes answer and agree, the adjudicator is there, and the database is
/// of this chain, contract and signer. Serves nothing, sends nothing, makes no database.
///
/// # Errors
/// What `hub serve` would not start with.
pub fn check(prepared: Prepared) -> BoxFuture<'static, anyhow::Result<Checked>> {
    Box::pin(async move {
        if prepared.config.is_embedded() {
            return Ok(Checked {
                chain_id: None,
                database: "embedded",
            });
        }
        let data_dir = &prepared.config.data_dir;
        first_start::check(data_dir)?;
        let setup = remote(&prepared, wallet(&prepared.owner)?).await?;
        let identity = super::identity(&setup).await?;
        let database = match RedbStore::open_existing(data_dir.join("store"), identity) {
            Ok(store) => store.close().await.map(|()| "good")?,
            Err(OpenError::NotFound { .. }) => "new",
            Err(OpenError::InUse { .. }) => "in_use",
            Err(error) => return Err(error.into()),
        };
        Ok(Checked {
            chain_id: Some(identity.chain_id),
            database,
        })
    })
}

/// A failed commit or a refused signature stops the process at once: nothing that happens after it could be trusted, and
/// a restart recovers from what is durable.
fn watch_failure(hub: &RunningHub, readiness: Readiness, shutdown: Shutdown) {
    let mut failed = hub.failed.clone();
    tokio::spawn(async move {
        let reason = match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => return,
        };
        if shutdown.is_triggered() {
            return;
        }
        readiness.fail("engine", reason.clone());
        tracing::error!(reason, "stopping at once");
        std::process::exit(1);
    });
}

fn wallet(key: &SignerKey) -> anyhow::Result<PrivateKeySigner> {
    PrivateKeySigner::from_bytes(&B256::from(*key.to_bytes())).context("keys.owner")
}

async fn remote(prepared: &Prepared, owner: PrivateKeySigner) -> anyhow::Result<Setup> {
    let config = &prepared.config;
    let adjudicator = config
        .chain
        .adjudicator
        .context("chain.adjudicator must be set for a real node")?;
    let gwei = |gwei: u64| u128::from(gwei).saturating_mul(1_000_000_000);
    let options = ChainOptions {
        signer: Some(owner),
        max_fee_per_gas: config.gas.max_fee_gwei.map(gwei),
        stuck_after_blocks: config.gas.stuck_after_blocks,
        ..ChainOptions::default()
    };
    let chain = nodes(config, options).await?;
    if prepared.backup.is_none() {
        tracing::warn!(
            "no backup: a lost disk is lost money, since nobody would answer disputes; see [backup]"
        );
    }
    let tokens = tariffs(config);
    warn_of_empty_hands(chain.as_ref(), adjudicator, &tokens).await;
    for resolver in &config.locks.resolvers {
        if !chain.code_hash(*resolver).await.is_ok_and(has_code) {
            tracing::warn!(%resolver, "there is no contract at this resolver's address: nothing opens a lock on it");
        }
    }
    if config.confirmations() < CONFIRMATIONS_FEW {
        tracing::warn!(
            confirmations = config.confirmations(),
            "few confirmations: a deposit that a reorganisation takes back may be the hub's loss"
        );
    }
    Ok(setup(
        prepared,
        chain,
        adjudicator,
        tokens,
        config.data_dir.clone(),
    ))
}

/// The port on the configured nodes.
async fn nodes(config: &Config, options: ChainOptions) -> anyhow::Result<Arc<dyn Chain>> {
    let urls = config.rpc_urls();
    let endpoints = urls.iter().enumerate().map(|(index, url)| {
        let place = index.saturating_add(1);
        Endpoint::url(place, url).with_context(|| format!("chain.rpc_url: node {place}"))
    });
    let endpoints = endpoints.collect::<anyhow::Result<Vec<_>>>()?;
    let majority = QuorumOptions::majority(urls.len());
    let quorum = QuorumOptions {
        agree: config.chain.agree.unwrap_or(majority.agree),
        ..majority
    };
    let chain = QuorumChain::connect(endpoints, options, quorum)
        .await
        .context("chain.rpc_url")?;
    watch_endpoints(chain.clone());
    Ok(Arc::new(chain))
}

/// The development chain in this process: contracts deployed, vault funded, door opened.
async fn embedded(
    prepared: &Prepared,
    owner: PrivateKeySigner,
) -> anyhow::Result<(Setup, DevChain, PathBuf)> {
    let wanted: SocketAddr = EMBEDDED_DOOR.parse()?;
    let dev = DevChain::start(wanted).await?;
    if !dev.door.url().ends_with(&format!(":{}", wanted.port())) {
        tracing::warn!(
            rpc = dev.door.url(),
            "{EMBEDDED_DOOR} is taken, perhaps by another chain of the same id: use this one's address"
        );
    }
    dev.chain
        .fund(owner.address(), U256::from(EMBEDDED_VAULT))
        .map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
    let deployed = dev::deploy(&dev.bank).await?;
    let mut tokens = tariffs(&prepared.config);
    if tokens.is_empty() {
        dev::fund_vault(&dev.bank, deployed, owner.address(), EMBEDDED_VAULT).await?;
        tokens = vec![test_tariff(&prepared.config, deployed.token)];
    }
    dev::mine_every_second(&dev.chain)?;
    let token = tokens.first().map(|tariff| tariff.token).unwrap_or_default();
    tracing::warn!(
        rpc = dev.door.url(), adjudicator = %deployed.adjudicator, %token,
        funded_account = %DEV_ACCOUNTS[0].address,
        "EMBEDDED CHAIN: it lives in this process only and is NOT kept; its hub's database goes with it"
    );
    let options = ChainOptions {
        signer: Some(owner),
        ..ChainOptions::default()
    };
    let port = AlloyChain::embedded(&dev.chain, options).await?;
    let genesis = port.genesis_hash().await?;
    let dir = prepared.config.data_dir.join(format!("embedded-{genesis}"));
    let setup = setup(
        prepared,
        Arc::new(port),
        deployed.adjudicator,
        tokens,
        dir.clone(),
    );
    Ok((setup, dev, dir))
}

/// Says what would keep the hub from doing its work; it may be mended while the hub runs.
async fn warn_of_empty_hands(chain: &dyn Chain, adjudicator: Address, tokens: &[Tariff]) {
    let hub = chain.sender().unwrap_or_default();
    if chain.balance(hub).await.is_ok_and(|wei| wei.is_zero()) {
        tracing::warn!(owner = %hub, "the owner has no coins for gas: disputes cannot be answered");
    }
    for tariff in tokens {
        let token = tariff.token;
        if token != Address::ZERO && !chain.code_hash(token).await.is_ok_and(has_code) {
            tracing::warn!(%token, "there is no contract at this token's address");
        }
        let deployed = dev::Deployed { adjudicator, token };
        if dev::vault_of(chain, deployed, hub)
            .await
            .is_ok_and(|units| units == 0)
        {
            tracing::warn!(%token, "the vault is empty: no channel gets a reserve; see `hub vault deposit`");
        }
    }
}

fn has_code(hash: B256) -> bool {
    hash != B256::ZERO && hash != alloy::primitives::KECCAK256_EMPTY
}

fn test_tariff(config: &Config, token: Address) -> Tariff {
    let unit = 1_000_000_000_000_000_000;
    let reserve = Reserve {
        initial: Amount(100 * unit),
        low: Amount(50 * unit),
        target: Amount(100 * unit),
        high: Amount(400 * unit),
        volume_percent: 50,
        volume_max: Amount(400 * unit),
        kept: Amount::ZERO,
    };
    Tariff {
        token,
        locked_max: reserve.initial,
        fee_flat: config.fees.flat,
        fee_ppm: config.fees.ppm,
        capacity: capacity(None, reserve.target),
        reserve,
        send_min: Amount::ZERO,
    }
}

fn locks(config: &Config) -> LockPolicy {
    let locks = &config.locks;
    LockPolicy {
        delta_s: locks.delta_s,
        life_max_s: locks.life_max_s,
        per_client_max: locks.per_client_max,
        total_max: locks.total_max,
        resolvers: locks.resolvers.clone(),
        amount_min: config
            .tokens
            .iter()
            .map(|token| (token.address, lock_min(token)))
            .collect(),
    }
}

/// Gas that a dispute for one lock takes, with what follows it, and what that costs: a gwei each.
const DEFENCE_WEI: u128 = 250_000 * 1_000_000_000;
/// Ten times what a withdrawal costs at a gwei each: its gas is to be a small part of what it moves.
const SENT_WEI: u128 = 10 * 100_000 * 1_000_000_000;
/// Where nobody says what a token is worth, a lock is at least this part of the most that may be locked.
const LOCKED_PARTS: u128 = 10_000;

/// Who holds back what a lock is worth makes the hub dispute: a lock of less than that costs is not worth forwarding.
fn lock_min(token: &config::Token) -> Amount {
    let dust = worth_of(token, DEFENCE_WEI);
    token.lock_min.unwrap_or(Amount(dust.unwrap_or(0).max(1)))
}

/// What moves less the hub does not pay gas for.
fn send_min(token: &config::Token) -> Amount {
    let dust = match &token.worth {
        // What is worth nothing is worth no gas.
        Some(worth) if worth.wei.is_zero() => Some(limits::AMOUNT_MAX),
        _ => worth_of(token, SENT_WEI),
    };
    token.send_min.unwrap_or(Amount(dust.unwrap_or(0).max(1)))
}

/// How many base units are worth so many wei; where nobody says it a part of the most that may be locked. None: the token is
/// worth nothing.
fn worth_of(token: &config::Token, wei: u128) -> Option<u128> {
    let locked_max = token.locked_max.unwrap_or(token.reserve.initial);
    let worth = token.worth.as_ref().map(|worth| (worth.units.0, worth.wei.0));
    let worth = worth.or((token.address == Address::ZERO).then_some((1, 1)));
    match worth {
        // A token that is worth nothing is not defended for its worth.
        Some((_, 0)) => None,
        Some((units, each)) => {
            let units = U256::from(units).saturating_mul(U256::from(wei));
            Some(units.wrapping_div(U256::from(each)).saturating_to())
        }
        None => locked_max.0.checked_div(LOCKED_PARTS),
    }
}

/// What is left out is four times the target.
const TIMES: u128 = 4;
/// Capacity for sale unless the operator says otherwise: ten times the target, for 0.1 %, held for a day.
const CAPACITY_TIMES: u128 = 10;
const CAPACITY_PPM: u32 = 1_000;
const CAPACITY_HOLD_S: u64 = 24 * 3600;

fn tariffs(config: &Config) -> Vec<Tariff> {
    let tariff = |token: &config::Token| {
        let reserve = reserve(&token.reserve);
        let fees = token.fees.as_ref().unwrap_or(&config.fees);
        Tariff {
            token: token.address,
            fee_flat: fees.flat,
            fee_ppm: fees.ppm,
            locked_max: token.locked_max.unwrap_or(token.reserve.initial),
            capacity: capacity(token.capacity.as_ref(), reserve.target),
            reserve,
            send_min: send_min(token),
        }
    };
    config.tokens.iter().map(tariff).collect()
}

fn budget(config: &Config) -> Budget {
    let worth = config.tokens.iter().filter_map(|token| {
        let worth = token.worth.as_ref()?;
        let (units, wei) = (worth.units.0, worth.wei.0);
        Some((token.address, Worth { units, wei }))
    });
    Budget {
        floor_wei: config.gas.floor_wei.0,
        worth: worth.collect(),
    }
}

fn times(amount: Amount, times: u128) -> Amount {
    Amount(amount.0.saturating_mul(times).min(limits::AMOUNT_MAX))
}

fn reserve(wanted: &config::Reserve) -> Reserve {
    let target = wanted.target.unwrap_or(wanted.initial);
    let high = times(target.max(wanted.initial), TIMES);
    Reserve {
        initial: wanted.initial,
        low: wanted.low_watermark,
        target,
        high: wanted.high_watermark.unwrap_or(high),
        volume_percent: wanted.volume_percent,
        volume_max: wanted.volume_max.unwrap_or(times(target, TIMES)),
        kept: wanted.kept,
    }
}

fn capacity(wanted: Option<&config::Capacity>, target: Amount) -> Capacity {
    let standard = Capacity {
        max: times(target, CAPACITY_TIMES),
        fee_flat: Amount::ZERO,
        fee_ppm: CAPACITY_PPM,
        hold_s: CAPACITY_HOLD_S,
    };
    wanted.map_or(standard, |wanted| Capacity {
        max: wanted.max,
        fee_flat: wanted.flat,
        fee_ppm: wanted.ppm,
        hold_s: wanted.hold_s,
    })
}

fn management(config: &Config) -> Management {
    let of_tokens = |value: fn(&config::Token) -> Option<Amount>| {
        let tokens = config.tokens.iter();
        tokens.filter_map(move |token| Some((token.address, value(token)?)))
    };
    let wei = |amount: Option<Amount>| amount.map(|amount| amount.0);
    Management {
        liquidity: LiquidityPolicy {
            gas_price_max_wei: wei(config.liquidity.gas_price_max_wei),
            release: config.liquidity.release,
        },
        settlement: SettlementPolicy {
            min_batch: config.settlement.min_batch,
            max_wait_s: config.settlement.max_wait_s,
            gas_price_max_wei: wei(config.settlement.gas_price_max_wei),
            value_at_risk: of_tokens(|token| token.value_at_risk).collect(),
            checkpoint_above: of_tokens(|token| token.checkpoint_above).collect(),
        },
    }
}

fn setup(
    prepared: &Prepared,
    chain: Arc<dyn Chain>,
    adjudicator: Address,
    tokens: Vec<Tariff>,
    data_dir: PathBuf,
) -> Setup {
    let config = &prepared.config;
    let policy = Policy {
        server: config.server.name.clone(),
        log_epoch: 0,
        delays: Delays {
            lag_s: config.chain.lag_s,
            act_s: config.chain.act_s,
        },
        challenge_period_s: config.chain.challenge_period_s,
        retention_s: config.retention.retention_s,
        locks: locks(config),
        events_per_channel_max: u32::try_from(config.retention.events_per_channel_max).unwrap_or(u32::MAX),
        remembered_max: config.retention.remembered_max(),
        tokens,
    };
    Setup {
        ports: Ports::machine_with(data_dir, prepared.backup.clone()),
        chain,
        adjudicator,
        signer: prepared.hub_signer.clone(),
        policy,
        confirmations: config.confirmations(),
        poll_interval: Duration::from_millis(config.chain.poll_interval_ms),
        budget: budget(config),
        management: management(config),
        from_block: None,
        signatures: config.signatures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::config::DEFAULT_TEXT;
    use std::path::Path;

    fn least(settings: &str) -> (Amount, Amount) {
        let reserve = "reserve = { initial = \"1000000\", low_watermark = \"0\" }";
        let address = Address::repeat_byte(7);
        let text = format!("{DEFAULT_TEXT}\n[[tokens]]\naddress = \"{address}\"\n{reserve}\n{settings}");
        let config = Config::parse(&text, Path::new("/base")).unwrap();
        (lock_min(&config.tokens[0]), send_min(&config.tokens[0]))
    }

    #[test]
    fn what_the_hub_pays_gas_for_is_worth_it() {
        assert_eq!(
            least(""),
            (Amount(100), Amount(100)),
            "nobody says what it is worth"
        );
        assert_eq!(least("send_min = \"7\"").1, Amount(7));
        let worth = |wei: &str| least(&format!("worth = {{ units = \"1000000\", wei = \"{wei}\" }}"));
        // 250,000 and 1,000,000 gas at a gwei.
        assert_eq!(worth("300000000000000"), (Amount(833_333), Amount(3_333_333)));
        assert_eq!(
            worth("0"),
            (Amount(1), Amount(limits::AMOUNT_MAX)),
            "worth nothing"
        );
    }
}
