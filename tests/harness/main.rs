//! Runs many worlds, each drawn from its seed: `cargo run --release -p tests --bin world -- --seeds 1..1000`.
//!
//! Words go to stderr, the table to stdout. Exit code 1: some world found a violation; its seed, step and the command that
//! runs it again are printed, with as few parts turned on as it takes.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test tool"
)]

use clap::Parser;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    str::FromStr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tests::world::{Part, Report, Scenario, run};

/// Newest lines of a failing world's trace that are shown.
const TRACE_LINES: usize = 30;

#[derive(Parser, Debug)]
#[command(about = "Worlds that try to break the hub, each drawn from its seed")]
struct Arguments {
    /// The first and the last seed.
    #[arg(long, default_value = "1..100")]
    seeds: Seeds,
    /// Worlds at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Parts that are turned off, separated by commas.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Part>,
    /// Parts that are turned on in every world, at their highest rates, separated by commas.
    #[arg(long, value_delimiter = ',')]
    with: Vec<Part>,
    /// Only worlds in which the hub lies, one for each seed.
    #[arg(long)]
    lying: bool,
    /// The small worlds full of Mallory in which planted bugs are looked for.
    #[arg(long, conflicts_with = "lying")]
    dense: bool,
    /// Prints the whole trace of every world.
    #[arg(long)]
    trace: bool,
    /// Does not look for the parts that a failure needs.
    #[arg(long)]
    no_shrink: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seeds {
    first: u64,
    last: u64,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| text.parse().map_err(|_| format!("{text}: no seed; try 1..1000"));
        let (first, last) = (number(first)?, number(last)?);
        (first <= last)
            .then_some(Self { first, last })
            .ok_or_else(|| format!("{text}: no seed"))
    }
}

/// A world that was not content.
struct Failure {
    why: Vec<String>,
    step: Option<u64>,
    trace: Vec<String>,
}

impl Failure {
    /// What was violated first: `O4`, for example.
    fn kind(&self) -> &str {
        let first = self.why.first().map_or("", String::as_str);
        first.split_once(':').map_or(first, |(kind, _)| kind)
    }
}

/// Runs one world; whatever ends it otherwise than well is a failure.
fn judge(scenario: &Scenario) -> Result<Report, Failure> {
    let ended = catch_unwind(AssertUnwindSafe(|| run(scenario)));
    let gave_up = |why: String| Failure {
        why: vec![why],
        step: None,
        trace: Vec::new(),
    };
    match ended {
        Ok(Ok(report)) if report.violations.is_empty() => Ok(report),
        Ok(Ok(report)) => Err(Failure {
            why: report.violations,
            step: report.step,
            trace: report.trace,
        }),
        Ok(Err(error)) => Err(gave_up(format!("a machine gave up: {error:#}"))),
        Err(_) => Err(gave_up("the world panicked".to_owned())),
    }
}

impl Arguments {
    /// The world of a seed without what is off.
    fn scenario(&self, seed: u64, off: &[Part]) -> Scenario {
        let whole = match () {
            () if self.lying => Scenario::lying(seed),
            () if self.dense => Scenario::dense(seed),
            () => Scenario::swarm(seed),
        };
        let with = self.with.iter().fold(whole, |some, part| some.with(*part));
        off.iter().fold(with, |some, part| some.without(*part))
    }

    /// What runs it again.
    fn command(&self, seed: u64, off: &[Part]) -> String {
        let list = |name: &str, parts: &[Part]| {
            let parts: Vec<String> = parts.iter().map(Part::to_string).collect();
            match parts.is_empty() {
                true => String::new(),
                false => format!(" --{name} {}", parts.join(",")),
            }
        };
        let kind = match () {
            () if self.lying => " --lying",
            () if self.dense => " --dense",
            () => "",
        };
        let parts = list("with", &self.with) + &list("without", off);
        format!("cargo run --release -p tests --bin world -- --seeds {seed}{kind}{parts} --trace")
    }

    /// Turns parts off one by one for as long as it still fails in the same way. Returns what is off.
    fn shrink(&self, seed: u64, failure: &Failure) -> Vec<Part> {
        let mut off = self.without.clone();
        for part in self.scenario(seed, &off).parts() {
            let mut fewer = off.clone();
            fewer.push(part);
            let judged = judge(&self.scenario(seed, &fewer));
            if judged.is_err_and(|other| other.kind() == failure.kind()) {
                off = fewer;
            }
        }
        off
    }
}

fn tell(seed: u64, failure: &Failure, arguments: &Arguments) {
    let tail = failure.trace.len().saturating_sub(TRACE_LINES);
    for line in failure.trace.iter().skip(if arguments.trace { 0 } else { tail }) {
        eprintln!("{line}");
    }
    let step = failure
        .step
        .map_or_else(|| "?".to_owned(), |step| step.to_string());
    eprintln!("FAILED: seed {seed}, step {step}");
    for why in &failure.why {
        eprintln!("  {why}");
    }
    eprintln!("again:  {}", arguments.command(seed, &arguments.without));
    if !arguments.no_shrink && !arguments.trace {
        let off = arguments.shrink(seed, failure);
        let on = arguments.scenario(seed, &off);
        eprintln!(
            "needs:  {:?} of {} people and {} foes",
            on.parts(),
            on.payers + on.merchants,
            on.foes
        );
        eprintln!("shrunk: {}", arguments.command(seed, &off));
    }
}

/// Sums over all worlds.
#[derive(Default)]
struct Sums {
    worlds: u64,
    failed: u64,
    messages: u64,
    delivered: u64,
    bounced: u64,
    checks: u64,
    seconds: u64,
    boots: (u64, u64),
    tally: BTreeMap<Part, (u64, u64)>,
}

impl Sums {
    fn add(&mut self, scenario: &Scenario, report: &Report) {
        self.messages += report.messages;
        self.delivered += report.delivered as u64;
        self.bounced += report.bounced as u64;
        self.checks += report.checks;
        self.seconds += report.seconds;
        self.boots.0 += report.boots.0;
        self.boots.1 += report.boots.1;
        for part in scenario.parts() {
            let (worlds, times) = self.tally.entry(part).or_default();
            *worlds += 1;
            *times += report.tally.get(&part).copied().unwrap_or(0);
        }
    }

    fn faults(&self) -> u64 {
        self.tally.values().map(|(_, times)| times).sum()
    }

    fn print(&self, took: Duration) {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["part", "worlds", "times"]);
        for (part, (worlds, times)) in &self.tally {
            table.add_row([part.to_string(), worlds.to_string(), times.to_string()]);
        }
        println!("{table}");
        let per_s = |count: u64| count as f64 / took.as_secs_f64();
        println!(
            "{} worlds, {} failed, in {:.1} s: {} payments delivered, {} bounced, {} messages, {} boots of hubs, {} of people, {} oracle checks, {} s of virtual time",
            self.worlds,
            self.failed,
            took.as_secs_f64(),
            self.delivered,
            self.bounced,
            self.messages,
            self.boots.0,
            self.boots.1,
            self.checks,
            self.seconds,
        );
        println!(
            "{:.2} worlds/s, {:.1} payments/s, {:.1} faults/s",
            per_s(self.worlds),
            per_s(self.delivered + self.bounced),
            per_s(self.faults()),
        );
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Ok(filter) = std::env::var("WORLD_LOG") {
        let _ = hub::ops::logging::start(&filter);
    }
    let (began, next) = (Instant::now(), AtomicU64::new(arguments.seeds.first));
    let sums = Mutex::new(Sums::default());
    std::thread::scope(|threads| {
        for _ in 0..arguments.jobs.max(1) {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > arguments.seeds.last {
                        return;
                    }
                    let scenario = arguments.scenario(seed, &arguments.without);
                    let judged = judge(&scenario);
                    let mut sums = sums.lock().unwrap();
                    sums.worlds += 1;
                    match judged {
                        Ok(report) => {
                            sums.add(&scenario, &report);
                            if arguments.trace {
                                eprintln!("{}\n{scenario:?}", report.trace.join("\n"));
                            }
                        }
                        Err(failure) => {
                            sums.failed += 1;
                            // One at a time: what is told of one failure stays together.
                            tell(seed, &failure, &arguments);
                        }
                    }
                    if sums.worlds.is_multiple_of(50) {
                        eprintln!(
                            "{} worlds in {:.0?}, {} failed",
                            sums.worlds,
                            began.elapsed(),
                            sums.failed
                        );
                    }
                }
            });
        }
    });
    let sums = sums.into_inner().unwrap();
    sums.print(began.elapsed());
    for part in &arguments.with {
        let on = sums.tally.get(part).map_or(0, |(worlds, _)| *worlds);
        if on < sums.worlds - sums.failed {
            eprintln!(
                "{part} was on in {on} of {} worlds: elsewhere nobody was there to do it, or another part excludes it",
                sums.worlds - sums.failed
            );
        }
    }
    ExitCode::from(u8::from(sums.failed > 0))
}
