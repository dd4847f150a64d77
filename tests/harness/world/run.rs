//! One run of the world, from its seed to a report.

use super::{
    bank::{Bank, ENDOWMENT},
    book::{Book, State},
    clock::{Clock, key_bytes, random},
    faults::{Faults, Plan},
    hub::HubMachine,
    network::Network,
    oracle::Oracle,
    person::PersonMachine,
    reckoning,
};
use anyhow::Context as _;
use client_sdk::{ChannelHandle, SignerKey};
use hub::ops::Shutdown;
use std::{sync::Arc, time::Duration};
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// How long things may go wrong, and how long everything may take to be well again afterwards: virtual time.
const FAULTS_MAX: Duration = Duration::from_secs(90);
const RECOVERY_MAX: Duration = Duration::from_secs(120);
/// No message takes longer.
const LAST_FAULT: Duration = Duration::from_secs(1);
/// Tasks that may still be there when all machines have stopped: the chain's ticker and what ends by a timer.
const TASKS_LEFT_MAX: usize = 4;

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// People who pay; they receive, too.
    pub payers: usize,
    /// People who only receive.
    pub merchants: usize,
    /// Payments of each payer.
    pub payments: usize,
    /// What goes wrong.
    pub faults: Faults,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// What must never happen and did. Empty: all oracles are content.
    pub violations: Vec<String>,
    /// Messages that passed over the network.
    pub messages: u64,
    /// Payments delivered.
    pub delivered: usize,
    /// Payments returned.
    pub bounced: usize,
    /// Boots of the hub's machine and of all people's machines.
    pub boots: (u64, u64),
    /// Checks made on messages.
    pub checks: u64,
    /// Virtual time, seconds.
    pub seconds: u64,
    /// What happened, line by line.
    pub trace: Vec<String>,
    /// Of the whole trace: equal for equal runs.
    pub trace_hash: [u8; 32],
}

/// Runs the world in this thread.
///
/// # Errors
/// The world could not be set up, or a machine ended for another reason than a fault: a defect of harness or product.
pub fn run(scenario: &Scenario) -> anyhow::Result<Report> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let report = runtime.block_on(World::run(scenario));
    // What is left of crashed machines must not run into the next world.
    runtime.shutdown_background();
    report
}

struct World {
    bank: Bank,
    book: Book,
    oracle: Oracle,
    network: Network,
    clock: Clock,
    people: Vec<watch::Receiver<Option<ChannelHandle>>>,
    machines: Vec<JoinHandle<anyhow::Result<u64>>>,
    stop_people: Shutdown,
    stop_hub: Shutdown,
}

impl World {
    async fn run(scenario: &Scenario) -> anyhow::Result<Report> {
        let (world, mut hub) = Self::create(scenario).await?;
        let lived = tokio::select! {
            biased;
            ended = &mut hub => Err(ended?.err().unwrap_or_else(|| anyhow::anyhow!("the hub's machine stopped"))),
            lived = world.live() => lived,
        };
        if let Err(error) = lived {
            let (trace, _) = world.oracle.trace();
            return Err(error.context(format!("{scenario:?}\n{}", trace.join("\n"))));
        }
        world.report(hub).await
    }

    async fn create(scenario: &Scenario) -> anyhow::Result<(Self, JoinHandle<anyhow::Result<u64>>)> {
        let seed = scenario.seed;
        let clock = Clock::start();
        let bank = Bank::open(seed, clock).await?;
        let oracle = Oracle::new(clock, bank.domain().await?);
        let plan = Plan::new(scenario.faults.clone(), seed);
        let network = Network::new(plan, Arc::new(oracle.clone()), random(seed, "network"));
        let count = scenario.payers + scenario.merchants;
        let key = |number| SignerKey::from_bytes(&key_bytes(seed, &format!("person {number}")));
        let keys: Vec<SignerKey> = (0..count).map(key).collect::<Result<_, _>>()?;
        let book = Book::default();
        book.set_accounts(keys.iter().map(SignerKey::address));
        book.draw(scenario.payers, scenario.payments, &mut random(seed, "orders"));
        for key in &keys {
            bank.endow(key.address(), ENDOWMENT).await?;
        }
        bank.tick()?;
        let (stop_people, stop_hub) = (Shutdown::new(), Shutdown::new());
        let hub = HubMachine::new(seed, bank.clone(), clock, network.clone(), oracle.clone());
        let hub = tokio::spawn(hub.run(stop_hub.clone()));
        let (mut people, mut machines) = (Vec::new(), Vec::new());
        for (number, key) in keys.into_iter().enumerate() {
            let (client, handle) = watch::channel(None);
            people.push(handle);
            let machine = PersonMachine {
                number,
                key,
                bank: bank.clone(),
                clock,
                network: network.clone(),
                oracle: oracle.clone(),
                book: book.clone(),
                seed,
                client,
            };
            machines.push(tokio::spawn(machine.run(stop_people.clone())));
        }
        let world = Self {
            bank,
            book,
            oracle,
            network,
            clock,
            people,
            machines,
            stop_people,
            stop_hub,
        };
        Ok((world, hub))
    }

    /// Payments and faults; then no faults any more, and everything must be well again; then everybody settles.
    async fn live(&self) -> anyhow::Result<()> {
        self.until(FAULTS_MAX, || self.book.all_answered()).await;
        self.network.plan(Plan::end);
        self.oracle.note("no faults from here on");
        // A fault that hangs on a message already under way strikes when that arrives.
        sleep(LAST_FAULT).await;
        let well = || self.book.all_answered() && self.book.all_received() && self.quiet().is_some();
        if !self.until(RECOVERY_MAX, well).await {
            self.oracle
                .violation(format!("O8: not well again: {}", self.complaints()));
        }
        reckoning::payments(&self.book, self.people.len(), &self.oracle);
        let Some(channels) = self.quiet() else {
            return Ok(());
        };
        reckoning::channels(&self.bank, &self.book, &channels, &self.oracle).await?;
        for (person, channel) in channels.iter().enumerate() {
            let closed = timeout(RECOVERY_MAX, self.close(person, channel)).await;
            if closed.is_err() {
                self.oracle
                    .violation(format!("O8: the close of person {person} takes too long"));
            }
        }
        reckoning::tokens(&self.bank, &self.book, self.people.len(), &self.oracle).await
    }

    /// Asks again while the two sides have not seen the same blocks yet.
    async fn close(&self, person: usize, channel: &ChannelHandle) {
        while let Err(error) = channel.close().await {
            self.oracle
                .note(&format!("person {person} cannot close yet: {error}"));
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Looks again and again, for at most `patience`.
    async fn until(&self, patience: Duration, done: impl Fn() -> bool) -> bool {
        let began = Instant::now();
        while !done() {
            if began.elapsed() >= patience || self.machines.iter().any(JoinHandle::is_finished) {
                return false;
            }
            sleep(Duration::from_millis(50)).await;
        }
        true
    }

    /// All channels, if every one of them is live with nothing under way.
    fn quiet(&self) -> Option<Vec<ChannelHandle>> {
        let quiet = |person: &watch::Receiver<Option<ChannelHandle>>| {
            let channel = person.borrow().clone()?;
            let view = channel.view()?;
            // A voucher that only acknowledges is never answered, so it stays unacknowledged.
            let idle = view.live
                && view.balance.in_flight.is_zero()
                && view.balance.queued.is_zero()
                && view.balance.locked.is_zero();
            idle.then_some(channel)
        };
        self.people.iter().map(quiet).collect()
    }

    fn complaints(&self) -> String {
        let open = self
            .book
            .orders()
            .iter()
            .filter(|order| order.state == State::Open)
            .count();
        let views: Vec<String> = self
            .people
            .iter()
            .enumerate()
            .map(|(person, handle)| {
                let view = handle.borrow().as_ref().and_then(ChannelHandle::view);
                view.map_or_else(
                    || format!("person {person} is not up"),
                    |view| {
                        format!(
                            "person {person}: live {}, {} unacknowledged",
                            view.live, view.unacked
                        )
                    },
                )
            })
            .collect();
        format!("{open} payments open; {}", views.join("; "))
    }

    async fn report(self, hub: JoinHandle<anyhow::Result<u64>>) -> anyhow::Result<Report> {
        let oracle = self.oracle;
        self.stop_people.trigger();
        let mut boots = (0, 0);
        for machine in self.machines {
            boots.1 += timeout(RECOVERY_MAX, machine)
                .await
                .context("a person's machine does not stop")???;
        }
        self.stop_hub.trigger();
        boots.0 = timeout(RECOVERY_MAX, hub)
            .await
            .context("the hub's machine does not stop")???;
        // O9: nothing is left behind but what is about to end by itself.
        sleep(Duration::from_secs(60)).await;
        let left = Handle::current().metrics().num_alive_tasks();
        if left > TASKS_LEFT_MAX || self.network.wires() > 0 {
            oracle.violation(format!(
                "O9: {left} tasks and {} connections are left",
                self.network.wires()
            ));
        }
        let orders = self.book.orders();
        let (trace, trace_hash) = oracle.trace();
        Ok(Report {
            violations: oracle.violations(),
            messages: self.network.plan(|plan| plan.messages()),
            delivered: orders
                .iter()
                .filter(|order| matches!(order.state, State::Delivered { .. }))
                .count(),
            bounced: orders
                .iter()
                .filter(|order| order.state == State::Bounced)
                .count(),
            boots,
            checks: oracle.checks(),
            seconds: self.clock.elapsed_ms() / 1000,
            trace,
            trace_hash,
        })
    }
}
