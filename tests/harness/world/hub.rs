//! The hub's machine: boots the real hub on its disk, again and again, until it is told to stop for good.

use super::{
    bank::{Bank, FEE_FLAT, FEE_PPM, wallet},
    book::Book,
    clock::{Clock, key_bytes, random},
    damage::{Damage, Parts},
    drive::{Attic, Drive},
    network::{Network, Party},
    oracle::{Oracle, Totals},
    part::Part,
    power::Power,
    restore::{self, Hub},
    store::Slow,
};
use hub::{
    app::{self, AppError, Ports, RunningHub, Setup},
    chain::{AlloyChain, Chain, ChainError, ChainOptions, Endpoint, QuorumChain, QuorumOptions},
    driver::{Budget, Management},
    ledger::{Capacity, LockPolicy, Policy, Reserve, Tariff},
    now::Now,
    ops::Shutdown,
    session::{self, Drained, Settings},
    store::{Identity, OpenError, RedbStore, Store},
};
use protocol_spec::{Amount, SignerKey, channel::Delays};
use rand::{Rng as _, rngs::StdRng};
use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

/// Longest time the machine is away, milliseconds.
const AWAY_MS_MAX: u64 = 3_000;
pub(super) const CHALLENGE_PERIOD_S: u64 = 24 * 3600;
/// What the hub sets aside in a channel at first, when it adds to it, and how much.
const RESERVE: Reserve = Reserve {
    initial: Amount(40_000),
    low: Amount(10_000),
    target: Amount(40_000),
    high: Amount::ZERO,
    volume_percent: 0,
    volume_max: Amount::ZERO,
    kept: Amount::ZERO,
};

/// Ids, receipts and what vouchers weigh, of all channels: never reached in a world, or at once.
const REMEMBERED_MANY: u64 = 10_000_000;
const REMEMBERED_FEW: u64 = 1;

/// What may be wrong with its disk.
const DAMAGE: Parts = Parts {
    power: Part::HubDiskPower,
    error: Part::HubDiskError,
    full: Part::HubDiskFull,
};

/// Blocks on top of one that counts.
pub(super) const CONFIRMATIONS: u64 = 2;

/// What the world knew when a copy of the hub's database was made.
#[derive(Clone, Debug)]
pub(super) struct Known {
    totals: Totals,
    /// Payments whose payers had their answer.
    answered: BTreeSet<usize>,
}

/// The machine.
pub(super) struct HubMachine {
    bank: Bank,
    clock: Clock,
    network: Network,
    oracle: Oracle,
    drive: Drive,
    random: StdRng,
    seed: u64,
    boots: u64,
    /// What is wrong with its disk.
    damage: Option<Damage>,
    /// One of its nodes lies.
    lied_to: bool,
    book: Book,
    /// Backups.
    attic: Attic<Known>,
    dice: StdRng,
    identity: Arc<OnceLock<Identity>>,
}

/// The hub while the power is on.
struct Running {
    power: Power,
    hub: RunningHub,
    serving: JoinHandle<Drained>,
    shutdown: Shutdown,
}

impl HubMachine {
    pub(super) fn new(
        seed: u64,
        bank: Bank,
        clock: Clock,
        network: Network,
        (oracle, book): (Oracle, Book),
        attic: Attic<Known>,
    ) -> Self {
        let lied_to = network.plan(|plan| plan.always(Part::RpcLies));
        Self {
            bank,
            clock,
            network,
            oracle,
            drive: Drive::new(2, seed),
            random: random(seed, "hub"),
            seed,
            boots: 0,
            damage: None,
            lied_to,
            book,
            attic,
            dice: random(seed, "hub copies"),
            identity: Arc::default(),
        }
    }

    /// Runs until `stop`, then shuts down in order. Returns how often it booted.
    pub(super) async fn run(mut self, stop: Shutdown) -> anyhow::Result<u64> {
        loop {
            if self.book.is_hub_gone() {
                stop.triggered().await;
                return Ok(self.boots);
            }
            self.boots += 1;
            self.restore()?;
            if let Some(running) = self.boot().await? {
                let mut failed = running.hub.failed.clone();
                tokio::select! {
                    biased;
                    () = running.power.gone() => {}
                    () = async { drop(failed.wait_for(Option::is_some).await) } => {}
                    () = self.copy() => {}
                    () = stop.triggered() => {
                        let power = running.power.clone();
                        match self.stop(running).await {
                            Ok(()) => {
                                self.lose_power(&power);
                                return self.start_again().await;
                            }
                            Err(error) if power.is_on() && !self.is_faulty() && !self.book.hub_lies() => {
                                return Err(error);
                            }
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

    /// Perhaps its disk was lost, and a backup restored on another one.
    fn restore(&mut self) -> anyhow::Result<()> {
        let (Some(known), Some(identity)) = (
            self.attic.restore(&mut self.drive, &mut self.random),
            self.identity.get(),
        ) else {
            return Ok(());
        };
        let hub = Hub {
            identity: *identity,
            account: self.bank.hub_owner.address(),
        };
        let old = self.drive.disk().clone();
        let disk = restore::restored(old, hub, self.clock.now(), self.random.random())?;
        self.drive.replace(disk);
        self.oracle.hub_restored(&known.totals);
        self.book.hub_restored(&known.answered);
        Ok(())
    }

    /// Copies the drive again and again, where copies are wanted. Never ends.
    async fn copy(&mut self) {
        loop {
            sleep(Duration::from_secs(1)).await;
            if self.book.is_hub_restorer() && self.drive.is_named() {
                let known = Known {
                    totals: self.oracle.totals(),
                    answered: self.book.answered(),
                };
                self.attic.keep(&self.drive, known, &mut self.dice);
            }
        }
    }

    /// `None`: the power failed while it booted.
    async fn boot(&mut self) -> anyhow::Result<Option<Running>> {
        let power = Power::on(Party::Hub, self.drive.disk().clone(), self.network.clone());
        self.oracle.machine(Party::Hub, power.clone());
        self.damage = Some(Damage::draw(&self.drive, &self.network, DAMAGE));
        let started = async { Ok::<_, anyhow::Error>(app::start(self.setup(&power).await?).await?) };
        let hub = match started.await {
            Ok(hub) => hub,
            Err(error) => {
                let excused = !power.is_on() || self.is_faulty() || unreachable(&error);
                anyhow::ensure!(excused, "the hub does not start: {error:#}");
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
        let clock = self.clock.clone();
        Now::new(move || clock.now())
    }

    async fn setup(&self, power: &Power) -> anyhow::Result<Setup> {
        let options = ChainOptions {
            signer: Some(wallet(&self.bank.hub_owner)?),
            ..ChainOptions::default()
        };
        let chain: Arc<dyn Chain> = match self.lied_to {
            false => {
                let provider = power.provider(&self.bank.chain);
                Arc::new(AlloyChain::with_provider(provider, options).await?)
            }
            true => {
                let node = |name, lies| Endpoint::provider(name, power.node(&self.bank.chain, lies));
                let nodes = vec![node("one", false), node("liar", true), node("two", false)];
                Arc::new(QuorumChain::connect(nodes, options, QuorumOptions::agree(2)).await?)
            }
        };
        let pauses = random(self.seed, &format!("hub disk {}", self.boots));
        let (drive, network) = (self.drive.clone(), self.network.clone());
        let known = self.identity.clone();
        let open = move |identity: Identity| -> Result<Arc<dyn Store>, OpenError> {
            known.get_or_init(|| identity);
            let disk = drive.disk();
            let store = RedbStore::open_with_backends(disk.file(0), disk.file(1), identity)?;
            drive.name();
            Ok(Arc::new(Slow::new(store, pauses, network)))
        };
        Ok(Setup {
            ports: Ports::simulated(self.now(), open),
            chain,
            adjudicator: self.bank.deployed.adjudicator,
            signer: signer(self.seed)?,
            policy: self.policy(),
            confirmations: CONFIRMATIONS,
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
            remembered_max: if self.book.forgets_receipts() {
                REMEMBERED_FEW
            } else {
                REMEMBERED_MANY
            },
            locks: LockPolicy::standard(Delays::default()),
            tokens: vec![Tariff {
                token: self.bank.deployed.token,
                fee_flat: Amount(FEE_FLAT),
                fee_ppm: FEE_PPM,
                locked_max: Amount(u128::MAX >> 40),
                reserve: RESERVE,
                capacity: Capacity::default(),
                send_min: Amount::ZERO,
            }],
        }
    }

    /// Everything of this incarnation ends; the disk keeps what a power failure leaves.
    async fn crash(&mut self, running: Running) {
        // A hub that is shown what its owner signed behind its back stops.
        let own = running.power.is_on() && !self.is_faulty() && !self.book.hub_lies();
        running.power.off();
        running.serving.abort();
        let _ = running.serving.await;
        // It cannot end well: its disk is dead.
        let ended = running.hub.finish().await;
        if own {
            self.oracle
                .violation(format!("the hub ended with nothing wrong: {ended:?}"));
        }
        self.oracle.note(&format!("the hub is down: {ended:?}"));
        self.lose_power(&running.power);
    }

    /// True when its disk may fail it.
    fn is_faulty(&self) -> bool {
        self.damage.as_ref().is_some_and(Damage::is_faulty)
    }

    fn lose_power(&mut self, power: &Power) {
        if let Some(damage) = self.damage.take() {
            damage.count(&self.network);
        }
        power.off();
        self.drive.lose_power(&mut self.random);
    }

    /// What it leaves when it stops in order is a database that it starts on.
    async fn start_again(&mut self) -> anyhow::Result<u64> {
        let power = Power::on(Party::Hub, self.drive.disk().clone(), self.network.clone());
        let hub = app::start(self.setup(&power).await?).await?;
        let ended = hub.finish().await;
        ended.map_err(|error| anyhow::anyhow!("the hub did not end well on what it left: {error}"))?;
        Ok(self.boots)
    }

    async fn stop(&self, running: Running) -> anyhow::Result<()> {
        running.shutdown.trigger();
        running.serving.await?;
        let ended = running.hub.finish().await;
        ended.map_err(|error| anyhow::anyhow!("the hub did not end well: {error}"))
    }
}

/// The hub's voucher key.
pub(super) fn signer(seed: u64) -> anyhow::Result<SignerKey> {
    Ok(SignerKey::from_bytes(&key_bytes(seed, "hub signer"))?)
}

/// The hub's node did not answer: whoever runs it starts it again.
fn unreachable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ChainError>().is_some()
        || matches!(error.downcast_ref::<AppError>(), Some(AppError::Chain(_)))
}
