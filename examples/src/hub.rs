//! The hub in this process: engine, chain driver, session server. What `hub serve` runs, without its configuration.

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use anyhow::Context;
use client_sdk::{Amount, SignerKey};
use hub::{
    app::{
        self, Ports, RunningHub, Setup,
        dev::{self, Deployed},
    },
    chain::{
        AlloyChain, ChainOptions,
        embedded::{DEV_ACCOUNTS, DevAccount},
    },
    driver::{Budget, Management},
    ledger::{Capacity, LockPolicy, Policy, Reserve, Tariff},
    ops::Shutdown,
    session::{self, Drained, Settings},
};
use protocol_spec::channel::Delays;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// Owns the vault and pays for the hub's gas.
const OWNER: &DevAccount = &DEV_ACCOUNTS[1];
/// Signs the hub's vouchers.
const SIGNER: &DevAccount = &DEV_ACCOUNTS[2];
/// Native coin for the hub's gas: 1.
const GAS_MONEY: u128 = 1_000_000_000_000_000_000;
/// Tokens in the hub's vault.
const VAULT: u128 = 1_000_000_000_000;
/// The hub's deposit in every channel.
const RESERVE: Amount = Amount(1_000_000_000);
/// 0.1 %, in millionths.
const FEE_PPM: u32 = 1000;
const CHALLENGE_PERIOD_S: u64 = 24 * 3600;
const RETENTION_S: u64 = 7 * 24 * 3600;

pub(crate) struct Hub {
    address: SocketAddr,
    running: RunningHub,
    sessions: JoinHandle<Drained>,
    shutdown: Shutdown,
    dir: PathBuf,
}

impl Hub {
    pub(crate) async fn start(
        bank: &AlloyChain,
        rpc_url: &str,
        (deployed, escrow): (Deployed, Address),
        dir: PathBuf,
    ) -> anyhow::Result<Self> {
        let paid = dev::endow(bank, deployed.token, OWNER.address, GAS_MONEY, 0).await?;
        dev::settled(bank, paid).await?;
        dev::fund_vault(bank, deployed, OWNER.address, VAULT).await?;
        let chain = AlloyChain::connect(
            rpc_url,
            ChainOptions {
                signer: Some(PrivateKeySigner::from_bytes(&OWNER.private_key)?),
                poll_interval: Duration::from_millis(20),
                ..ChainOptions::default()
            },
        );
        let chain = chain.await?;
        std::fs::create_dir(&dir)?;
        let running = app::start(Setup {
            ports: Ports::machine(dir.clone()),
            chain: Arc::new(chain),
            adjudicator: deployed.adjudicator,
            signer: SignerKey::from_bytes(&SIGNER.private_key.0)?,
            policy: policy(deployed.token, escrow),
            confirmations: 1,
            poll_interval: Duration::from_millis(100),
            budget: Budget::default(),
            management: Management::default(),
            from_block: None,
            signatures: hub::engine::Signatures::default(),
        });
        let running = running.await.context("the hub does not start")?;
        let listener = session::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr()?;
        let settings = Settings::default();
        let shutdown = Shutdown::new();
        let serving = session::serve_tcp(listener, running.engine.clone(), settings, shutdown.clone());
        Ok(Self {
            address,
            running,
            sessions: tokio::spawn(serving),
            shutdown,
            dir,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Stops it in order: sessions, then engine and store; then deletes its directory.
    pub(crate) async fn destroy(self) -> anyhow::Result<()> {
        self.shutdown.trigger();
        self.sessions.await?;
        let finished = self.running.finish().await;
        finished.map_err(anyhow::Error::msg).context("the hub failed")?;
        std::fs::remove_dir_all(&self.dir).with_context(|| self.dir.display().to_string())
    }
}

fn policy(token: Address, escrow: Address) -> Policy {
    let reserve = Reserve {
        initial: RESERVE,
        low: Amount(RESERVE.0 / 2),
        target: RESERVE,
        ..Reserve::default()
    };
    Policy {
        server: "example".to_owned(),
        log_epoch: 0,
        delays: Delays::default(),
        challenge_period_s: CHALLENGE_PERIOD_S,
        retention_s: RETENTION_S,
        events_per_channel_max: 100_000,
        remembered_max: 10_000_000,
        locks: LockPolicy {
            resolvers: vec![escrow],
            ..LockPolicy::standard(Delays::default())
        },
        tokens: vec![Tariff {
            token,
            fee_flat: Amount::default(),
            fee_ppm: FEE_PPM,
            locked_max: Amount(u128::MAX >> 40),
            reserve,
            capacity: Capacity::default(),
            send_min: Amount::default(),
        }],
    }
}
