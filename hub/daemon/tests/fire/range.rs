//! Where the hub is shot at: the world, the people who pay meanwhile, and the table.

use super::{
    files, judge,
    log::Log,
    orders::Orders,
    people::{MERCHANTS, PAYERS, People},
    process::Hub,
    world::World,
};
use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

/// The names of the cases, as in the list of attacks; `-`: nobody attacks.
const CASES: [&str; 18] = [
    "-", "B1", "B2", "B3", "B5", "B7", "B8", "B9", "B11", "C3", "C4", "C5", "C8", "D1", "D3", "H1", "H5",
    "H6",
];
/// What people pay at: load enough to be hurt, low enough to see who delays it.
const PAUSE: Duration = Duration::from_millis(100);
/// Acknowledgements after a case that show that payments go on, and the longest time for them.
const ACKS_AFTER: u64 = 100;
const ACKS_MAX: Duration = Duration::from_secs(60);
/// Longest time until everything acknowledged is read by its payee.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// O9: so many descriptors more than in the beginning the hub may have after a case. It had 35 after each, full or not, 16 of
/// them the people's, and 33 just after a start. The rest is for connections that are made anew meanwhile.
const DESCRIPTORS_MORE: usize = 8;
/// Longest time until it has given back the others: what it may take to end what it does not want.
const DESCRIPTORS_BACK_MAX: Duration = Duration::from_secs(30);
/// O9: what a hub that is there after a case may have had resident at any time, MiB: three times the most that was seen, full or
/// not, 80, during the POSTs.
const RESIDENT_MIB_MAX: u64 = 256;
/// Sockets of this process and of the hub that inherits it.
const DESCRIPTORS: u64 = 20_000;

pub(crate) struct Range {
    pub(crate) world: World,
    pub(crate) log: Arc<Log>,
    pub(crate) people: People,
    pub(crate) hub: Hub,
    pub(crate) orders: Orders,
    /// The sizes of the list of attacks, not a slice.
    pub(crate) full: bool,
    /// The cases to run, and those that ran.
    chosen: BTreeSet<&'static str>,
    ran: BTreeSet<&'static str>,
    /// Descriptors of the hub with nobody there but the people.
    baseline: usize,
    table: comfy_table::Table,
    began: Instant,
}

impl Range {
    pub(crate) async fn begin(dir: &Path) -> Self {
        let chosen = chosen();
        files::raise(DESCRIPTORS);
        let world = World::embedded(dir).await;
        let log = Arc::new(Log::create(&dir.join("clients.log")));
        let orders = Orders::new(dir);
        let mut hub = Hub::spawn_with(&world, obedient(&orders));
        hub.ready();
        let mut people = People::arrive(&world, &log).await;
        people.pay(&log, 1, PAUSE);
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "attack",
            "what",
            "what was seen",
            "s",
            "payments",
            "p50 ms",
            "p99 ms",
            "hub MiB, most",
            "fds",
        ]);
        let mut range = Self {
            world,
            log,
            people,
            hub,
            orders,
            full: std::env::var("FIRE").is_ok_and(|size| size == "full"),
            chosen,
            ran: BTreeSet::new(),
            baseline: 0,
            table,
            began: Instant::now(),
        };
        range.go_on("the beginning").await;
        range.baseline = range.descriptors();
        range
    }

    /// A number for the slice and one for the whole.
    pub(crate) const fn size(&self, slice: usize, full: usize) -> usize {
        if self.full { full } else { slice }
    }

    /// Runs a case, then waits until payments go on and nothing of it is left. The case says what it saw.
    pub(crate) async fn case(
        &mut self,
        attack: &'static str,
        what: &str,
        run: impl AsyncFnOnce(&mut Self) -> String,
    ) {
        assert!(
            CASES.contains(&attack),
            "{attack} is not among the names of the cases"
        );
        if !self.chosen.contains(attack) {
            return;
        }
        self.ran.insert(attack);
        self.log.waits();
        let began = Instant::now();
        let seen = run(self).await;
        let took = began.elapsed();
        let waits = self.log.waits();
        self.go_on(attack).await;
        self.nothing_stays(attack).await;
        let at = |share: usize| {
            waits
                .get(waits.len() * share / 100)
                .map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
        };
        println!("{attack} {what}: {seen}");
        self.table.add_row([
            attack.to_owned(),
            what.to_owned(),
            seen,
            format!("{:.1}", took.as_secs_f64()),
            waits.len().to_string(),
            format!("{:.0}", at(50)),
            format!("{:.0}", at(99)),
            format!("{}, {}", self.resident_mib(), self.most_resident_mib()),
            self.descriptors().to_string(),
        ]);
    }

    /// O9: fails unless the hub gives back the attackers' descriptors, and never had more memory than it may.
    async fn nothing_stays(&self, attack: &str) {
        let (may, began) = (self.baseline + DESCRIPTORS_MORE, Instant::now());
        while self.descriptors() > may {
            let open = self.descriptors();
            let baseline = self.baseline;
            assert!(
                began.elapsed() < DESCRIPTORS_BACK_MAX,
                "after {attack} the hub keeps {open} descriptors open; in the beginning they were {baseline}"
            );
            // Another process: it can only be looked at again.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let most = self.most_resident_mib();
        assert!(
            most < RESIDENT_MIB_MAX,
            "after {attack}: the hub had {most} MiB resident"
        );
    }

    /// Fails unless payments are acknowledged now.
    async fn go_on(&mut self, attack: &str) {
        self.hub.must_run();
        let before = self.log.counts();
        let more = self
            .log
            .wait(|counts| counts.failed > 0 || counts.acked >= before.acked + ACKS_AFTER);
        let more = tokio::time::timeout(ACKS_MAX, more).await;
        let after = self.log.counts();
        assert!(
            more.is_ok() && after.failed == 0,
            "after {attack} payments do not go on: {before:?}, then {after:?}: {:?}",
            self.log.failures()
        );
    }

    pub(crate) async fn quiet(&self) -> String {
        tokio::time::sleep(Duration::from_secs(3)).await;
        format!("{PAYERS} payers and {MERCHANTS} merchants pay each other")
    }

    /// A hub in the place of the one that ended; the people notice both.
    pub(crate) async fn again(&mut self) -> Duration {
        self.again_with(obedient(&self.orders)).await
    }

    pub(crate) async fn again_with(&mut self, command: Command) -> Duration {
        self.people.offline().await;
        self.orders.clear();
        let began = Instant::now();
        self.hub = Hub::spawn_with(&self.world, command);
        self.hub.ready();
        began.elapsed()
    }

    /// Memory of the hub.
    pub(crate) fn resident_mib(&self) -> u64 {
        self.status_mib("VmRSS:")
    }

    /// The most that this hub had since its start.
    fn most_resident_mib(&self) -> u64 {
        self.status_mib("VmHWM:")
    }

    fn status_mib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.hub.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
    }

    /// Open files and sockets of the hub.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.hub.pid()))
            .unwrap()
            .count()
    }

    /// Everything adds up: acknowledgements, credits, streams, vouchers, chain; and no key is in a log.
    pub(crate) async fn end(mut self) {
        assert_eq!(self.ran, self.chosen, "the cases that ran");
        self.people.rest(DRAIN_MAX).await;
        let drained = self
            .log
            .wait(|counts| counts.events >= counts.acked && counts.credits >= counts.acked);
        let drained = tokio::time::timeout(DRAIN_MAX, drained).await.is_ok();
        let half = judge::judge(&self.log.read(), false);
        self.people.read_again(&self.log, &half.received).await;
        let verdict = judge::judge(&self.log.read(), true);
        println!("{}", self.table);
        println!(
            "{} payments sent, {} acknowledged, {} bounced, {} credited; {} lost, {} doubled, {} wrong; {:.1?} in all",
            verdict.sent,
            verdict.acked,
            verdict.bounced,
            verdict.credited,
            verdict.lost,
            verdict.doubled,
            verdict.wrong.len(),
            self.began.elapsed(),
        );
        assert!(
            verdict.wrong.is_empty(),
            "{:#?}",
            &verdict.wrong[..verdict.wrong.len().min(10)]
        );
        assert_eq!((verdict.lost, verdict.doubled, drained), (0, 0, true));
        assert_eq!(judge::vouchers(&self.people, &verdict), [""; 0]);
        self.people.close().await;
        let (clients, vault, wrong) = judge::chain(&self.world, &self.people, &verdict).await;
        println!(
            "tokens on chain: clients {clients}, vault {vault}; {} differences from the clients' own ledgers",
            wrong.len()
        );
        assert_eq!(wrong, [""; 0]);
        self.people.shutdown().await;
        self.hub.stop();
        println!("G3 {}", super::processes::keys_in_logs(&self.world));
    }
}

/// All cases, or those that `FIRE_CASES` names.
fn chosen() -> BTreeSet<&'static str> {
    let Ok(names) = std::env::var("FIRE_CASES") else {
        return CASES.into();
    };
    let known = |name: &str| CASES.into_iter().find(|case| *case == name);
    let case = |name| known(name).unwrap_or_else(|| panic!("FIRE_CASES: no {name:?} in {}", CASES.join(",")));
    names.split(',').map(case).collect()
}

/// The hub with a disk and a clock that obey.
pub(crate) fn obedient(orders: &Orders) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hub"));
    orders.load_into(&mut command);
    command
}
