//! The watchtower's machine: the one of `settle watch`, with a node of its own. Packages come by HTTP, as they come to
//! `settle watch --listen`. Its files are real ones: its process ends at any moment, but what was written is there.

use super::{
    bank::{Bank, wallet},
    clock::{Clock, key_bytes, random},
    network::{Network, Party},
    oracle::Oracle,
    part::Part,
    power::Power,
};
use alloy::providers::Provider as _;
use axum::serve::Listener;
use hub::{
    now::Now,
    ops::Shutdown,
    settle::{Node, WatchEvent, WatchOptions, Watchtower},
    store::sim::SimDisk,
};
use protocol_spec::{Address, Amount, ChannelId, Domain, Package, Seq, SignerKey};
use rand::Rng as _;
use serde_json::Value;
use std::{io, time::Duration};
use tempfile::TempDir;
use tokio::{io::DuplexStream, sync::mpsc, time::sleep};

/// Where it takes packages.
pub(super) const HOST: &str = "watchtower.sim";
/// Between two looks; when it raises a fee; what a channel may take in gas.
const EVERY: Duration = Duration::from_secs(2);
const BUMP_AFTER: Duration = Duration::from_secs(10);
const GAS_MAX: u64 = 10_000_000;
/// How often its process may end, and for how long, in milliseconds.
const TURN: Duration = Duration::from_millis(500);
const AWAY_MS_MAX: u64 = 3_000;

/// What the others know of it.
#[derive(Debug)]
pub(super) struct Guard {
    files: TempDir,
    key: SignerKey,
    domain: Domain,
}

impl Guard {
    pub(super) async fn hire(seed: u64, bank: &Bank) -> anyhow::Result<Self> {
        let key = SignerKey::from_bytes(&key_bytes(seed, "watchtower"))?;
        bank.endow(key.address(), 0).await?;
        Ok(Self {
            files: tempfile::tempdir()?,
            key,
            domain: bank.domain().await?,
        })
    }

    pub(super) fn address(&self) -> Address {
        self.key.address()
    }

    /// The newest voucher of the hub that it holds for a channel's client, and what that pays.
    pub(super) fn holds(&self, channel: ChannelId) -> anyhow::Result<(Seq, Amount)> {
        for file in std::fs::read_dir(self.files.path())? {
            let path = file?.path();
            if path.extension().is_none_or(|kind| kind != "json") {
                continue;
            }
            let package: Package = serde_json::from_slice(&std::fs::read(path)?)?;
            if package.evidence.config.id(&self.domain) == channel {
                let voucher = package.evidence.received.voucher.as_ref();
                let paid = voucher.map_or(Amount::ZERO, |signed| signed.voucher.paid);
                return Ok((package.seq(), paid));
            }
        }
        Ok((Seq::NONE, Amount::ZERO))
    }

    pub(super) fn machine(
        &self,
        seed: u64,
        bank: Bank,
        clock: Clock,
        network: Network,
        oracle: Oracle,
    ) -> Machine {
        let options = WatchOptions {
            dir: self.files.path().to_owned(),
            adjudicators: Vec::new(),
            every: EVERY,
            journal: Some(self.files.path().join("settle.journal")),
            gas_max_per_channel: GAS_MAX,
            fee_max: None,
            bump_after: BUMP_AFTER,
        };
        Machine {
            options,
            key: self.key.clone(),
            bank,
            clock,
            network,
            oracle,
            seed,
        }
    }
}

/// The machine.
pub(super) struct Machine {
    options: WatchOptions,
    key: SignerKey,
    bank: Bank,
    clock: Clock,
    network: Network,
    oracle: Oracle,
    seed: u64,
}

impl Machine {
    /// Runs until `stop`.
    pub(super) async fn run(self, stop: Shutdown) -> anyhow::Result<()> {
        let mut random = random(self.seed, "watchtower");
        loop {
            let power = Power::on(Party::Watchtower, SimDisk::new(1, 0), self.network.clone());
            let stopped = tokio::select! {
                biased;
                () = stop.triggered() => true,
                () = self.end() => false,
                failed = self.live(&power) => return failed,
            };
            power.off();
            if stopped {
                return Ok(());
            }
            self.oracle.note("the watchtower's process ends");
            sleep(Duration::from_millis(random.random_range(0..=AWAY_MS_MAX))).await;
        }
    }

    /// Until the plan has it end.
    async fn end(&self) {
        loop {
            sleep(TURN).await;
            if self.network.plan(|plan| plan.strikes(Part::Watchtower)) {
                return;
            }
        }
    }

    /// One process. Errors: it ends by itself.
    async fn live(&self, power: &Power) -> anyhow::Result<()> {
        let clock = self.clock.clone();
        let node = Node::new(power.provider(&self.bank.chain).erased());
        let node = node.by_clock(Now::new(move || clock.now()));
        let (oracle, dir) = (self.oracle.clone(), self.options.dir.display().to_string());
        let told = move |event: &WatchEvent| {
            let channel = event.fields().get("channel_id").and_then(Value::as_str);
            let channel = channel.unwrap_or_default();
            match event.name() {
                "looked" => {}
                "too_late" => oracle.violation(format!(
                    "O6: the watchtower is too late for {channel}: {}",
                    event.text()
                )),
                // The directory has another name in every run.
                name => oracle.note(&format!(
                    "watchtower: {name} {channel}: {}",
                    event.text().replace(&dir, "")
                )),
            }
        };
        let mut tower = Watchtower::open(&self.options, wallet(&self.key)?, node, told)?;
        let serving = tower.serve(self.network.listen_watchtower());
        let looking = async {
            loop {
                tower.look().await?;
                sleep(EVERY).await;
            }
        };
        tokio::select! {
            biased;
            () = serving => anyhow::bail!("the watchtower takes no packages any more"),
            failed = looking => failed,
        }
    }
}

/// Its end of the network.
#[derive(Debug)]
pub(super) struct Door(pub(super) mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Door {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(stream) => (stream, ()),
            // Unplugged: nobody comes any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}
