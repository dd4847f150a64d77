//! The hub's machine: boots the real hub on its disk, again and again, until it is told to stop for good.

use super::{
    bank::{Bank, FEE_FLAT, FEE_PPM, wallet},
    clock::{Clock, key_bytes, random},
    network::{Network, Party},
    oracle::Oracle,
    power::Power,
    store::Slow,
};
use anyhow::Context as _;
use hub::{
    app::{self, Ports, RunningHub, Setup},
    chain::{AlloyChain, ChainOptions},
    driver::{Budget, Management},
    ledger::{Capacity, LockPolicy, Policy, Reserve, Tariff},
    now::Now,
    ops::Shutdown,
    session::{self, Drained, Settings},
    store::{Identity, OpenError, RedbStore, Store, sim::Fault, sim::SimDisk},
};
use protocol_spec::{Amount, SignerKey, channel::Delays};
use rand::{Rng as _, rngs::StdRng};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::sleep};

/// How often somebody looks whether the machine still has power.
const POWER_LOOK: Duration = Duration::from_millis(100);
/// Longest time the machine is away, milliseconds.
const AWAY_MS_MAX: u64 = 3_000;
const CHALLENGE_PERIOD_S: u64 = 24 * 3600;
/// What the hub sets aside in a channel at first, when it adds to it, and how much.
const RESERVE: Reserve = Reserve {
    initial: Amount(40_000),
    low: Amount(10_000),
    target: Amount(40_000),
    high: Amount::ZERO,
    volume_percent: 0,
    volume_max: Amount::ZERO,
};

/// The machine.
pub(super) struct HubMachine {
    bank: Bank,
    clock: Clock,
    network: Network,
    oracle: Oracle,
    disk: SimDisk,
    random: StdRng,
    seed: u64,
    boots: u64,
}

/// The hub while the power is on.
struct Running {
    power: Power,
    hub: RunningHub,
    serving: JoinHandle<Drained>,
    shutdown: Shutdown,
}

impl HubMachine {
    pub(super) fn new(seed: u64, bank: Bank, clock: Clock, network: Network, oracle: Oracle) -> Self {
        Self {
            bank,
            clock,
            network,
            oracle,
            disk: SimDisk::new(2, seed),
            random: random(seed, "hub"),
            seed,
            boots: 0,
        }
    }

    /// Runs until `stop`, then shuts down in order. Returns how often it booted.
    pub(super) async fn run(mut self, stop: Shutdown) -> anyhow::Result<u64> {
        loop {
            self.boots += 1;
            if let Some(running) = self.boot().await? {
                let mut failed = running.hub.failed.clone();
                tokio::select! {
                    biased;
                    () = running.power.gone() => {}
                    () = dead(&running.power) => {}
                    () = async { drop(failed.wait_for(Option::is_some).await) } => {}
                    () = stop.triggered() => {
                        let power = running.power.clone();
                        match self.stop(running).await {
                            Ok(()) => return Ok(self.boots),
                            Err(error) if power.is_on() => return Err(error),
                            Err(_) => self.lose_power(&power),
                        }
                        continue;
                    }
                }
                self.crash(running).await;
            }
            let away = self.random.random_range(0..=AWAY_MS_MAX);
            sleep(Duration::from_millis(away)).await;
        }
    }

    /// `None`: the power failed while it booted.
    async fn boot(&mut self) -> anyhow::Result<Option<Running>> {
        let power = Power::on(Party::Hub, self.disk.clone(), self.network.clone());
        self.oracle.machine(Party::Hub, power.clone());
        if let Some(operation) = self.network.plan(super::faults::Plan::hub_disk) {
            let at = self.disk.counters().operations + operation;
            self.disk.inject(Fault::PowerCut(at));
        }
        let hub = match app::start(self.setup(&power).await?).await {
            Ok(hub) => hub,
            Err(error) => {
                anyhow::ensure!(!power.is_on(), "the hub does not start: {error}");
                self.oracle
                    .note(&format!("boot {} of the hub is cut short: {error}", self.boots));
                self.lose_power(&power);
                return Ok(None);
            }
        };
        self.oracle.note(&format!("boot {} of the hub", self.boots));
        let shutdown = Shutdown::new();
        let settings = Settings {
            now: self.now(),
            ..Settings::default()
        };
        let port = self.network.listen();
        let serving = tokio::spawn(session::serve(
            port,
            hub.engine.clone(),
            settings,
            shutdown.clone(),
        ));
        Ok(Some(Running {
            power,
            hub,
            serving,
            shutdown,
        }))
    }

    fn now(&self) -> Now {
        let clock = self.clock;
        Now::new(move || clock.now())
    }

    async fn setup(&self, power: &Power) -> anyhow::Result<Setup> {
        let options = ChainOptions {
            signer: Some(wallet(&self.bank.hub_owner)?),
            ..ChainOptions::default()
        };
        let chain = AlloyChain::with_provider(power.provider(&self.bank.chain), options).await;
        let chain = chain.context("the hub's chain")?;
        let (disk, pauses) = (
            self.disk.clone(),
            random(self.seed, &format!("hub disk {}", self.boots)),
        );
        let open = move |identity: Identity| -> Result<Arc<dyn Store>, OpenError> {
            let store = RedbStore::open_with_backends(disk.file(0), disk.file(1), identity)?;
            Ok(Arc::new(Slow::new(store, pauses)))
        };
        Ok(Setup {
            ports: Ports::simulated(self.now(), open),
            chain: Arc::new(chain),
            adjudicator: self.bank.deployed.adjudicator,
            signer: SignerKey::from_bytes(&key_bytes(self.seed, "hub signer"))?,
            policy: self.policy(),
            confirmations: 1,
            poll_interval: Duration::from_millis(500),
            budget: Budget::default(),
            management: Management::default(),
            from_block: Some(0),
            signatures: hub::engine::Signatures::default(),
        })
    }

    fn policy(&self) -> Policy {
        Policy {
            server: "hub.sim".to_owned(),
            log_epoch: 0,
            delays: Delays::default(),
            challenge_period_s: CHALLENGE_PERIOD_S,
            retention_s: 7 * 24 * 3600,
            events_per_channel_max: 100_000,
            locks: LockPolicy::standard(Delays::default()),
            tokens: vec![Tariff {
                token: self.bank.deployed.token,
                fee_flat: Amount(FEE_FLAT),
                fee_ppm: FEE_PPM,
                locked_max: Amount(u128::MAX >> 40),
                reserve: RESERVE,
                capacity: Capacity::default(),
            }],
        }
    }

    /// Everything of this incarnation ends; the disk keeps what a power failure leaves.
    async fn crash(&mut self, running: Running) {
        running.power.off();
        running.serving.abort();
        let _ = running.serving.await;
        // It cannot end well: its disk is dead.
        let ended = running.hub.finish().await;
        self.oracle.note(&format!("the hub is down: {ended:?}"));
        self.lose_power(&running.power);
    }

    fn lose_power(&mut self, power: &Power) {
        power.off();
        self.disk = self.disk.crash(self.random.random());
    }

    async fn stop(&self, running: Running) -> anyhow::Result<()> {
        running.shutdown.trigger();
        running.serving.await?;
        let ended = running.hub.finish().await;
        ended.map_err(|error| anyhow::anyhow!("the hub did not end well: {error}"))
    }
}

/// Waits until the machine has no power. A disk that takes the power with it tells nobody, and a hub that happens to have
/// nothing to write would sit there as if nothing had happened.
async fn dead(power: &Power) {
    while power.is_on() {
        sleep(POWER_LOOK).await;
    }
}
