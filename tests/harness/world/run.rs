//! One run of the world, from its seed to a report.

use super::{
    bank::{Bank, ENDOWMENT},
    book::{Book, State},
    clock::{Clock, key_bytes, random},
    court,
    drive::Attic,
    enforce,
    faults::{Faults, Kind, Plan},
    hub::{HubMachine, Known, signer},
    mallory::Mallory,
    network::{Ears as _, Network, Party},
    oracle::Oracle,
    part::Part,
    person::PersonMachine,
    reckoning,
    rogue::Rogue,
    strangers::{self, Strangers},
    watchtower::Guard,
    weather::{SKEW_S_MAX, Weather},
};
use anyhow::Context as _;
use client_sdk::{ChannelHandle, SignerKey};
use hub::ops::Shutdown;
use protocol_spec::{ChannelId, Domain, limits};
use rand::Rng as _;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// How long things may go wrong, and how long everything may take to be well again afterwards: virtual time.
const FAULTS_MAX: Duration = Duration::from_secs(90);
const RECOVERY_MAX: Duration = Duration::from_secs(150);
/// Locks that somebody does not open take their time: it passes in steps, in which everybody looks at the chain.
const LOCKS_STEP_S: u64 = 300;
const LOCKS_STEPS_MAX: usize = 36;
/// A restored hub gives up no payer's lock that something forgotten may rest on: those end by themselves, and last longer.
const LOCKS_STEPS_RESTORED: usize = 60;
/// What a restored hub may have countersigned is void after it, by anybody's clock; and the steps in which that passes.
const LAPSE_S: u64 = limits::DEADLINE_AHEAD_MAX_S + limits::LAG_DEFAULT_S + 300;
const LAPSE_STEPS: u64 = 5;
const LAPSE_PAUSE: Duration = Duration::from_secs(8);
/// What both sides signed for a close is void after it, by anybody's clock.
const LAPSED_S: u64 = 1_400;
const LAPSED_PAYMENTS: usize = 5;
/// How long a client waits for its close by itself.
const CLOSE_MAX: Duration = Duration::from_secs(600);
/// Until everybody has noticed what there is to notice, and no payment is being made any more.
const CALM: Duration = Duration::from_secs(10);
/// No message takes longer.
const LAST_FAULT: Duration = Duration::from_secs(1);
/// Who restores old copies of the own database, where somebody does.
const RESTORER: usize = 0;
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
    /// People who keep no rules.
    pub foes: usize,
    /// Payments of each payer and foe.
    pub payments: usize,
    /// What goes wrong.
    pub faults: Faults,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// What must never happen and did. Empty: all oracles are content.
    pub violations: Vec<String>,
    /// The message at which the first one was noticed.
    pub step: Option<u64>,
    /// How often each part of the world happened.
    pub tally: BTreeMap<Part, u64>,
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
    /// The machines' own.
    clocks: Vec<Clock>,
    people: Vec<watch::Receiver<Option<ChannelHandle>>>,
    machines: Vec<JoinHandle<anyhow::Result<u64>>>,
    keys: Vec<SignerKey>,
    leaver: usize,
    attic: Attic<()>,
    backups: Attic<Known>,
    guard: Option<Guard>,
    seed: u64,
    /// Its faults are drawn: a small world, in which every message has its turn, has no last payments.
    drawn: bool,
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
        let bank = Bank::open(seed, clock.clone()).await?;
        let domain = bank.domain().await?;
        let oracle = Oracle::new(clock.clone(), domain);
        let plan = Plan::new(scenario.faults.clone(), seed);
        let network = Network::new(plan, Arc::new(oracle.clone()), random(seed, "network"));
        let honest = scenario.payers + scenario.merchants;
        let keys = keys_of(scenario)?;
        let book = book_of(scenario, &keys, &network);
        endow(&bank, &keys, &network, seed).await?;
        let (stop_people, stop_hub) = (Shutdown::new(), Shutdown::new());
        let mut skew_s = skews(&network, seed);
        let hub_clock = clock.skewed(skew_s());
        let backups = Attic::default();
        let hub = HubMachine::new(
            seed,
            bank.clone(),
            hub_clock.clone(),
            network.clone(),
            (oracle.clone(), book.clone()),
            backups.clone(),
        );
        let hub = tokio::spawn(hub.run(stop_hub.clone()));
        let owner = Rogue::new(signer(seed)?, domain, clock.clone());
        corrupt_hub(&book, &network, &oracle, owner);
        corrupt_foes(&book, &network, &oracle, (&keys, domain));
        let guard = hired(seed, &bank, &book, &network).await?;
        let mut world = Self {
            bank,
            book,
            oracle,
            network,
            clock,
            clocks: vec![hub_clock],
            people: Vec::new(),
            machines: Vec::new(),
            keys,
            leaver: honest.saturating_sub(1),
            attic: Attic::default(),
            backups,
            guard,
            seed,
            drawn: matches!(scenario.faults, Faults::Drawn(_)),
            stop_people,
            stop_hub,
        };
        world.boot(skew_s);
        Ok((world, hub))
    }

    /// Everybody's machine, the watchtower's last.
    fn boot(&mut self, mut skew_s: impl FnMut() -> i64) {
        for (number, key) in self.keys.iter().cloned().enumerate() {
            let (client, handle) = watch::channel(None);
            let clock = self.clock.skewed(skew_s());
            self.people.push(handle);
            self.clocks.push(clock.clone());
            let machine = PersonMachine {
                number,
                key,
                bank: self.bank.clone(),
                clock,
                network: self.network.clone(),
                oracle: self.oracle.clone(),
                book: self.book.clone(),
                seed: self.seed,
                attic: self.book.is_restorer(number).then(|| self.attic.clone()),
                watchtower: self.guard.as_ref().map(Guard::address),
                client,
            };
            let machine = machine.run(self.stop_people.clone());
            self.machines.push(tokio::spawn(machine));
        }
        // Also where there is none: its part changes nothing for the others.
        let clock = self.clock.skewed(skew_s());
        self.clocks.push(clock.clone());
        if let Some(guard) = &self.guard {
            let (bank, network, oracle) = (self.bank.clone(), self.network.clone(), self.oracle.clone());
            let machine = guard.machine(self.seed, bank, clock, network, oracle);
            let machine = machine.run(self.stop_people.clone());
            // Its boots are no person's.
            self.machines
                .push(tokio::spawn(async { machine.await.map(|()| 0) }));
        }
    }

    /// All its life, and O7 every second of it.
    async fn live(&self) -> anyhow::Result<()> {
        let cancels = self.network.plan(|plan| plan.is_on(Part::Cancel));
        let look = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                if self.book.everybody_is_there() {
                    reckoning::holdings(&self.bank, &self.book, &self.oracle).await?;
                }
                if cancels {
                    court::look_again(&self.bank, &self.book, &self.network, &self.oracle).await?;
                }
            }
        };
        tokio::select! {
            biased;
            failed = look => failed,
            lived = self.stages() => lived,
        }
    }

    /// Payments and faults; then no faults any more, and everything must be well again; then everybody settles.
    async fn stages(&self) -> anyhow::Result<()> {
        let weather = Weather {
            bank: &self.bank,
            book: &self.book,
            clock: &self.clock,
            clocks: &self.clocks,
            network: &self.network,
            oracle: &self.oracle,
            keys: &self.keys,
            leaver: self.leaver,
            restorer: (RESTORER, &self.attic),
            backups: &self.backups,
            strangers: self.strangers(),
        };
        tokio::select! {
            biased;
            failed = weather.run() => failed?,
            _ = self.until(FAULTS_MAX, || self.book.all_answered()) => {}
        }
        self.network.plan(Plan::end);
        self.oracle.note("no faults from here on");
        // A fault that hangs on a message already under way strikes when that arrives.
        sleep(LAST_FAULT).await;
        if self.book.hub_lies() {
            return self.enforce().await;
        }
        self.lapsed().await;
        self.recover("not well again").await;
        if self.drawn {
            if self.book.is_hub_restored() {
                self.lapse().await;
            }
            // O8: everybody can pay again.
            self.book.draw_last(&mut random(self.seed, "last orders"));
            self.recover("nobody can pay again").await;
        }
        reckoning::payments(&self.book, self.people.len(), &self.oracle);
        let Some(channels) = self.quiet() else {
            return Ok(());
        };
        let claims = reckoning::channels(&self.bank, &self.book, &channels, &self.oracle).await?;
        for (person, channel) in &channels {
            let closed = timeout(RECOVERY_MAX, self.close(*person, channel.id())).await;
            if !matches!(closed, Ok(Ok(()))) {
                self.oracle
                    .violation(format!("O8: the close of person {person} takes too long"));
            }
        }
        let (book, network) = (&self.book, &self.network);
        self.strangers().sue().await?;
        court::settle(&self.bank, book, network, &self.oracle, &self.clock, &self.keys).await?;
        self.strangers().end().await?;
        reckoning::tokens(&self.bank, &self.book, &claims, self.people.len(), &self.oracle).await
    }

    /// Nobody can rely on the hub: everybody goes to court.
    async fn enforce(&self) -> anyhow::Result<()> {
        self.book.stop_paying();
        if self.network.plan(|plan| plan.in_court(Part::Vanish)) {
            self.book.set_hub_gone();
            self.oracle.cut_power(Party::Hub, Kind::HubBefore);
        }
        sleep(CALM).await;
        let (bank, book, network, oracle) = (&self.bank, &self.book, &self.network, &self.oracle);
        let ears = (network, oracle);
        let away = match &self.guard {
            Some(guard) => enforce::go_away(bank, book, ears, &self.people, guard).await?,
            None => None,
        };
        court::take(bank, book, network, oracle).await?;
        if let Some(away) = &away {
            court::sue((bank, book), ears, away.person).await?;
        }
        if network.plan(|plan| plan.in_court(Part::LieCourt)) {
            for person in 0..self.people.len() {
                court::lie(bank, book, network, oracle, person).await?;
            }
        }
        let claims = enforce::go_to_court(bank, book, ears, away.as_ref(), &self.people, &self.keys).await?;
        let open = claims.iter().map(|(person, id, _)| (*person, *id)).collect();
        court::end(bank, book, network, oracle, &self.clock, open).await?;
        book.come_back();
        let people = claims.iter().map(|(person, ..)| *person);
        enforce::ask_again(book, oracle, people).await;
        enforce::judge(bank, book, oracle, away.as_ref(), &claims).await
    }

    fn strangers(&self) -> Strangers<'_> {
        Strangers {
            seed: self.seed,
            bank: &self.bank,
            book: &self.book,
            clock: &self.clock,
            network: &self.network,
            oracle: &self.oracle,
        }
    }

    /// Where a close did not arrive in time its signer takes nothing for a while; and is paid once more before it leaves.
    async fn lapsed(&self) {
        // What is signed again by now is let through: it must not lapse, too.
        let has_left = || self.book.has_left(self.leaver);
        if self.book.has_lapsed() && !self.until(CALM, has_left).await {
            self.clock.jump(LAPSED_S);
            // It sees that in a block, some seconds later.
            let mut dice = random(self.seed, "lapsed");
            for _ in 0..LAPSED_PAYMENTS {
                sleep(LAST_FAULT).await;
                self.book.draw_to(self.leaver, &mut dice);
            }
        }
    }

    /// Waits until everything is well; where somebody does not open locks, until they have expired.
    async fn recover(&self, otherwise: &str) {
        let well = || {
            let left = !self.book.is_leaving(self.leaver) || self.book.has_left(self.leaver);
            let answered = left && self.book.all_answered() && self.book.all_received();
            // What foes pay is in nobody's book before it is received.
            let add_up = |quiet: Vec<_>| reckoning::add_up(&self.book, &quiet, &self.oracle);
            answered && self.quiet().is_some_and(add_up)
        };
        // A close that lapsed with the other is waited for by its signer.
        let patience = match self.book.has_lapsed() {
            true => RECOVERY_MAX + CLOSE_MAX,
            false => RECOVERY_MAX,
        };
        if self.until(patience, well).await {
            return;
        }
        if self.book.is_foe(self.people.len() - 1) || self.book.is_hub_restored() || self.book.has_restorer()
        {
            let steps = match self.book.is_hub_restored() {
                true => {
                    // Until then it may hold on to any lock, also to one that a payer made anew.
                    self.lapse().await;
                    LOCKS_STEPS_RESTORED
                }
                false => LOCKS_STEPS_MAX,
            };
            for _ in 0..steps {
                self.clock.jump(LOCKS_STEP_S);
                if self.until(Duration::from_secs(4), well).await {
                    return;
                }
            }
            // Whose close a restored hub has forgotten waits for it as long as for the chain.
            let patience = match self.book.is_hub_restored() {
                true => RECOVERY_MAX + CLOSE_MAX,
                false => RECOVERY_MAX,
            };
            if self.until(patience, well).await {
                return;
            }
        }
        self.oracle
            .violation(format!("O8: {otherwise}: {}", self.complaints()));
    }

    /// What the hub may have countersigned and forgotten lapses: until then nobody pays from a channel that was in doubt.
    async fn lapse(&self) {
        for _ in 0..LAPSE_STEPS {
            self.clock.jump(LAPSE_S / LAPSE_STEPS);
            sleep(LAPSE_PAUSE).await;
        }
    }

    /// Asks again while the two sides have not seen the same blocks yet, and after a restart of the person's machine.
    async fn close(&self, person: usize, id: ChannelId) -> anyhow::Result<()> {
        while self.bank.is_open(id).await? {
            let channel = self.people[person].borrow().clone();
            if let Some(channel) = channel
                && let Err(error) = channel.close().await
            {
                self.oracle
                    .note(&format!("person {person} cannot close yet: {error}"));
            }
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
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

    /// The channels of all who keep the rules and have not left, if every one of them is live with nothing under way.
    fn quiet(&self) -> Option<Vec<(usize, ChannelHandle)>> {
        let quiet = |person: usize| {
            let channel = self.people[person].borrow().clone()?;
            let view = channel.view()?;
            // A voucher that only acknowledges is never answered, so it stays unacknowledged.
            let idle = view.live
                && !view.withdraw_pending
                && view.balance.in_flight.is_zero()
                && view.balance.queued.is_zero()
                && view.balance.locked.is_zero()
                && view.balance.incoming.is_zero();
            idle.then_some((person, channel))
        };
        self.book.honest().into_iter().map(quiet).collect()
    }

    fn complaints(&self) -> String {
        let open = self
            .book
            .orders()
            .iter()
            .filter(|order| order.state == State::Open && !self.book.is_foe(order.payer))
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
                            "person {person}: live {}, {}, {} unacknowledged, withdrawing {}, {:?}",
                            view.live, view.phase, view.unacked, view.withdraw_pending, view.balance
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
            step: oracle.step(),
            tally: self.network.plan(|plan| plan.tally()),
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
            seconds: self.clock.lived().as_secs(),
            trace,
            trace_hash,
        })
    }
}

/// What everybody has at first; from then on blocks come.
async fn endow(bank: &Bank, keys: &[SignerKey], network: &Network, seed: u64) -> anyhow::Result<()> {
    for key in keys {
        bank.endow(key.address(), ENDOWMENT).await?;
    }
    if network.plan(|plan| plan.is_on(Part::Stranger)) {
        strangers::endow(bank, seed).await?;
    }
    bank.tick()
}

/// A hub that lies is in its owner's hands, and nobody expects anything of it.
fn corrupt_hub(book: &Book, network: &Network, oracle: &Oracle, owner: Rogue) {
    if book.hub_lies() {
        oracle.distrust_hub();
        network.lie(owner);
    }
}

/// Foes' messages pass through Mallory's hands, and nobody expects anything of them.
fn corrupt_foes(book: &Book, network: &Network, oracle: &Oracle, (keys, domain): (&[SignerKey], Domain)) {
    let foes = keys.iter().enumerate().filter(|(number, _)| book.is_foe(*number));
    for (number, key) in foes {
        oracle.distrust(number);
        network.corrupt(number, Mallory::new(key.clone(), domain));
    }
}

/// Where the hub lies there may be a watchtower.
async fn hired(seed: u64, bank: &Bank, book: &Book, network: &Network) -> anyhow::Result<Option<Guard>> {
    match book.hub_lies() && network.plan(|plan| plan.always(Part::Watchtower)) {
        true => Ok(Some(Guard::hire(seed, bank).await?)),
        false => Ok(None),
    }
}

/// By how many seconds each clock is wrong, one after the other.
fn skews(network: &Network, seed: u64) -> impl FnMut() -> i64 + use<> {
    let skewed = network.plan(|plan| plan.always(Part::Skew));
    let mut skew = random(seed, "skew");
    move || match skewed {
        true => skew.random_range(-SKEW_S_MAX..=SKEW_S_MAX),
        false => 0,
    }
}

/// One key for each person, the foes last.
fn keys_of(scenario: &Scenario) -> anyhow::Result<Vec<SignerKey>> {
    let count = scenario.payers + scenario.merchants + scenario.foes;
    let key = |number| SignerKey::from_bytes(&key_bytes(scenario.seed, &format!("person {number}")));
    Ok((0..count).map(key).collect::<Result<_, _>>()?)
}

/// Who is who, and what they are going to pay.
fn book_of(scenario: &Scenario, keys: &[SignerKey], network: &Network) -> Book {
    let book = Book::default();
    let honest = scenario.payers + scenario.merchants;
    book.set_accounts(keys.iter().map(SignerKey::address), honest);
    if network.plan(|plan| plan.is_on(Part::ClientRestore)) {
        book.set_restorer(RESTORER);
    }
    if network.plan(|plan| plan.is_on(Part::HubRestore)) {
        book.set_hub_restorer();
    }
    if network.plan(|plan| plan.always(Part::Forgetful)) {
        book.set_forgetful();
    }
    if network.plan(|plan| plan.lies()) {
        book.set_lies();
    }
    let mut dice = random(scenario.seed, "orders");
    book.draw(scenario.payers, scenario.payments, &mut dice);
    network.plan(|plan| book.share_ids(plan));
    book
}
