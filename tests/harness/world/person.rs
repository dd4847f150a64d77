//! A person's machine: boots the real SDK on its disk, pays what the book says, and writes down what happens.

use super::{
    bank::{Bank, DEPOSIT, wallet},
    book::Book,
    clock::{Clock, random},
    damage::{Damage, Parts},
    drive::{Attic, Drive},
    lanes,
    network::{Network, Party},
    oracle::Oracle,
    part::Part,
    power::Power,
    store::Slow,
    watchtower,
};
use alloy::providers::Provider as _;
use anyhow::Context as _;
use client_sdk::{
    Address, ChannelError, ChannelHandle, Client, ClientBuilder, ConnectError, Encoding, Entropy, Ports,
    RedbStore, SignerKey, Tower,
};
use hub::ops::Shutdown;
use rand::{Rng as _, RngCore as _, rngs::StdRng};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Longest time the machine is away, milliseconds.
const AWAY_MS_MAX: u64 = 2_000;
/// Payments a person has under way at once.
const LANES: usize = 2;
/// Between two looks whether somebody is back.
const LOOK: Duration = Duration::from_millis(100);

/// Whose nodes lie, where nodes lie. Three nodes cost three times as much: not everybody's.
const LIED_TO: usize = 0;

/// What may be wrong with its disk.
const DAMAGE: Parts = Parts {
    power: Part::ClientDiskPower,
    error: Part::ClientDiskError,
    full: Part::ClientDiskFull,
};

/// The machine.
pub(super) struct PersonMachine {
    pub(super) number: usize,
    pub(super) key: SignerKey,
    pub(super) bank: Bank,
    /// Its own.
    pub(super) clock: Clock,
    pub(super) network: Network,
    pub(super) oracle: Oracle,
    pub(super) book: Book,
    pub(super) seed: u64,
    /// Where old copies of its drive are kept, if it is one that restores.
    pub(super) attic: Option<Attic<()>>,
    /// The key of the watchtower that guards its channel.
    pub(super) watchtower: Option<Address>,
    /// The client that runs now, for whoever settles at the end.
    pub(super) client: watch::Sender<Option<ChannelHandle>>,
}

struct Dice(Mutex<StdRng>);

impl Entropy for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(bytes);
    }
}

impl PersonMachine {
    /// Runs until `stop`. Returns how often it booted.
    pub(super) async fn run(self, stop: Shutdown) -> anyhow::Result<u64> {
        let mut random = random(self.seed, &format!("person {}", self.number));
        let mut drive = Drive::new(1, random.random());
        let mut boots = 0;
        loop {
            boots += 1;
            self.restore(&mut drive, &mut random);
            let disk = drive.disk().clone();
            let power = Power::on(Party::Person(self.number), disk, self.network.clone());
            let damage = Damage::draw(&drive, &self.network, DAMAGE);
            self.oracle.machine(Party::Person(self.number), power.clone());
            let ended = tokio::select! {
                biased;
                () = power.gone() => None,
                () = self.copy(&drive, &mut random) => None,
                ended = self.live(&power, &drive, boots, &stop) => Some(ended),
            };
            self.client.send_replace(None);
            self.book.put_back_all(self.number);
            damage.count(&self.network);
            match ended {
                Some(Ok(())) => return Ok(boots),
                // Its disk or its node failed it, or it is one that breaks rules: it starts again.
                Some(Err(error)) if power.is_on() && (damage.is_faulty() || self.excused(&error)) => {
                    self.oracle
                        .note(&format!("person {} starts again: {error:#}", self.number));
                }
                Some(Err(error)) if power.is_on() => return Err(error),
                Some(Err(_)) | None => {}
            }
            power.off();
            drive.lose_power(&mut random);
            sleep(Duration::from_millis(random.random_range(0..=AWAY_MS_MAX))).await;
        }
    }

    /// Perhaps somebody has put an old copy in the drive's place.
    fn restore(&self, drive: &mut Drive, random: &mut StdRng) {
        if let Some(attic) = &self.attic
            && attic.restore(drive, random).is_some()
            && let Some(channel) = self.book.account(self.number).channel
        {
            self.oracle
                .note(&format!("person {} has an old database", self.number));
            self.oracle.restored(channel);
        }
    }

    /// Copies the drive again and again, once there is a channel on it. Never ends.
    async fn copy(&self, drive: &Drive, random: &mut StdRng) {
        loop {
            sleep(Duration::from_secs(1)).await;
            if let Some(attic) = &self.attic
                && self.book.account(self.number).channel.is_some()
            {
                attic.keep(drive, (), random);
            }
        }
    }

    /// What the world does to a person's node is not the person's fault.
    fn excused(&self, error: &anyhow::Error) -> bool {
        let connect = error.downcast_ref::<ConnectError>();
        let channel = error.downcast_ref::<ChannelError>();
        self.book.is_foe(self.number)
            || matches!(connect, Some(ConnectError::Chain(_)))
            || matches!(channel, Some(ChannelError::Chain(_)))
    }

    /// One incarnation, until `stop`.
    async fn live(&self, power: &Power, drive: &Drive, boot: u64, stop: &Shutdown) -> anyhow::Result<()> {
        self.oracle
            .note(&format!("boot {boot} of person {}", self.number));
        let client = tokio::select! {
            biased;
            () = stop.triggered() => return Ok(()),
            client = self.connect(power, drive, boot) => client?,
        };
        let Some(channel) = self.channel(&client).await? else {
            self.book.leave(self.number);
            stop.triggered().await;
            client.shutdown().await;
            return Ok(());
        };
        // Without a reserve nothing can be received; it comes by itself.
        channel.wait_hub_deposit(1_u128).await?;
        let view = channel.view().context("no view of the own channel")?;
        self.book.set_channel(self.number, channel.id(), view.config);
        let mut apps = JoinSet::new();
        let listening = lanes::listen(
            channel.clone(),
            self.number,
            self.book.clone(),
            self.oracle.clone(),
        );
        apps.spawn(listening);
        apps.spawn(lanes::invoice(channel.clone(), self.number, self.book.clone()));
        if !self.book.is_foe(self.number) {
            let network = self.network.clone();
            apps.spawn(lanes::withdraw(channel.clone(), network, self.oracle.clone()));
        }
        if self.book.is_reliable(self.number) {
            let leaving = lanes::leave(
                channel.clone(),
                self.number,
                self.book.clone(),
                self.oracle.clone(),
            );
            apps.spawn(leaving);
        }
        apps.spawn(lanes::ask_again(
            client.clone(),
            channel.clone(),
            self.number,
            self.book.clone(),
            self.oracle.clone(),
        ));
        for _ in 0..LANES {
            let paying = lanes::pay(
                client.clone(),
                channel.clone(),
                self.number,
                (self.book.clone(), self.network.clone()),
                self.oracle.clone(),
            );
            apps.spawn(paying);
        }
        self.client.send_replace(Some(channel));
        tokio::select! {
            biased;
            () = stop.triggered() => {}
            // Only the one that listens ever ends: when the client has stopped.
            _ = apps.join_next() => anyhow::bail!("the client has stopped"),
        }
        apps.shutdown().await;
        self.client.send_replace(None);
        client.shutdown().await;
        Ok(())
    }

    async fn connect(&self, power: &Power, drive: &Drive, boot: u64) -> anyhow::Result<Client> {
        while self.book.is_away(self.number) {
            sleep(LOOK).await;
        }
        let name = format!("person {} boot {boot}", self.number);
        let clock = self.clock.clone();
        let ports = Ports {
            network: self.network.of(self.number),
            clock: Arc::new(move || clock.now()),
            entropy: Arc::new(Dice(Mutex::new(random(self.seed, &name)))),
        };
        let store = RedbStore::with_backend(drive.disk().file(0)).context("the person's store")?;
        drive.name();
        let pauses = random(self.seed, &format!("{name} disk"));
        let store = Arc::new(Slow::new(store, pauses, self.network.clone()));
        let encoding = if self.number.is_multiple_of(3) {
            Encoding::Json
        } else {
            Encoding::Binary
        };
        let tower = |address| Tower::http(format!("http://{}", watchtower::HOST), address);
        let tower = self
            .watchtower
            .map(|address| tower(address).believe_plain_http(true));
        let lied_to = self.number == LIED_TO && self.network.plan(|plan| plan.is_on(Part::RpcLies));
        let nodes: &[bool] = match lied_to {
            true => &[false, true, false],
            false => &[false],
        };
        loop {
            let client = Client::builder("ws://hub.sim")
                .ports(ports.clone())
                .signer(self.key.clone())
                .sender(wallet(&self.key)?)
                .store(store.clone())
                .token(self.bank.deployed.token)
                .encoding(encoding)
                .chain_poll(Duration::from_secs(1))
                .reconnect(Duration::from_millis(50), Duration::from_secs(1))
                .pay_timeout(Duration::from_secs(6))
                .call_timeout(Duration::from_secs(5));
            let client = tower.iter().cloned().fold(client, ClientBuilder::tower);
            let client = nodes.iter().fold(client, |client, lies| {
                client.rpc(power.node(&self.bank.chain, *lies).erased())
            });
            match client.connect().await {
                Ok(client) => return Ok(client),
                // The hub is away longer than a connect takes.
                Err(ConnectError::Unreachable(_)) => sleep(Duration::from_millis(200)).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The person's channel: from its store, or opened now. `None`: it is closed.
    async fn channel(&self, client: &Client) -> anyhow::Result<Option<ChannelHandle>> {
        if let Some(channel) = client.default_channel() {
            // The store knows it, but a power failure may have come before the transaction.
            let opened = timeout(Duration::from_secs(20), channel.wait_live()).await;
            if matches!(opened, Ok(Ok(()))) || self.bank.is_open(channel.id()).await? {
                return Ok(Some(channel));
            }
        }
        if let Some(id) = self.book.account(self.number).channel
            && !self.bank.is_open(id).await?
        {
            // Where the hub lies its application has much to look after, and then asks what became of its payments.
            return Ok(self.book.hub_lies().then(|| client.channel(id)));
        }
        loop {
            match client.open(DEPOSIT).await {
                Ok(channel) => return Ok(Some(channel)),
                // The hub is away longer than a connect takes.
                Err(ChannelError::Offline) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
