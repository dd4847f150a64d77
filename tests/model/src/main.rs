//! Searches the instances at larger bounds, or one of them with a rule removed.
//!
//! `cargo run --release -p model -- [--bounds small|large] [--instance NAME] [--rule-removed RULE] [--limit STATES] [--threads N]`
//! `cargo run --release -p model -- --replay client|hub [...]` takes the real `Channel` of that side through the instances instead.
#![allow(
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a table on stdout"
)]

use model::instances::INSTANCES;
use model::one::One;
use model::pair;
use model::race;
use model::replay::walk;
use model::route;
use model::rules::{Rule, Rules};
use model::search::{Model, Report, search};
use protocol_spec::Side;
use std::{process::ExitCode, time::Instant};

const HELP: &str = "\
Searches the model's instances, breadth first over all states.

  --bounds small|large   small is what every test run searches
  --instance NAME        only this one; tests/model/README.md lists them
  --rule-removed RULE    without it: the loss is printed, event by event
  --replay client|hub    the real Channel of that side goes through the instances instead
  --limit STATES         at most so many (40000000)
  --threads N            (2)";

struct Args {
    large: bool,
    instance: Option<String>,
    removed: Option<Rule>,
    limit: usize,
    threads: usize,
    replay: Option<Side>,
}

fn args() -> Result<Args, String> {
    let mut args = Args {
        large: false,
        instance: None,
        removed: None,
        limit: 40_000_000,
        threads: 2,
        replay: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--help" {
            println!("{HELP}");
            std::process::exit(0);
        }
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        match word.as_str() {
            "--bounds" => args.large = value == "large",
            "--replay" if value == "hub" => args.replay = Some(Side::Hub),
            "--replay" => args.replay = Some(Side::Client),
            "--instance" => args.instance = Some(value),
            "--rule-removed" => args.removed = Some(value.parse()?),
            "--limit" => args.limit = value.parse().map_err(|_| format!("{value} is no number"))?,
            "--threads" => args.threads = value.parse().map_err(|_| format!("{value} is no number"))?,
            _ => return Err(format!("{word} is unknown")),
        }
    }
    Ok(args)
}

/// Returns whether it went as it should: no fault with all rules.
fn run<M: Model>(name: &str, model: &M, args: &Args) -> bool {
    let progress = |depth: usize, states: usize| {
        if states > 500_000 {
            eprint!("\r{name}: depth {depth}, {states} states ");
        }
    };
    let report: Report<M::State, M::Action> = search(model, args.limit, args.threads, &progress);
    let end = match (&report.fault, report.complete) {
        (Some((fault, _)), _) => fault.as_str(),
        (None, true) => "no fault",
        (None, false) => "limit reached, no fault so far",
    };
    println!(
        "{name:<14} {:>11} states {:>10} ended {:>4} deep {:>8.2} s  {end}",
        report.states,
        report.ended,
        report.depth,
        report.time.as_secs_f64()
    );
    if let Some((_, steps)) = &report.fault {
        for (action, _) in steps {
            println!("    {action:?}");
        }
    }
    report.fault.is_some() == args.removed.is_some() && report.complete
}

/// Returns whether model and channel agree.
fn run_replay(name: &str, model: &One, args: &Args) -> bool {
    let begun = Instant::now();
    let walk = walk(model, args.limit);
    let end = match (&walk.fault, walk.complete) {
        (Some((fault, _)), _) => fault.as_str(),
        (None, true) => "agree",
        (None, false) => "limit reached, agree so far",
    };
    println!(
        "{name:<14} {:>10} states {:>8} views {:>8} events {:>10} verdicts {:>8.2} s  {end}",
        walk.states,
        walk.views,
        walk.events,
        walk.verdicts,
        begun.elapsed().as_secs_f64()
    );
    for (why, count) in &walk.not_replayed {
        println!("    {count} not replayed: {why}");
    }
    for step in walk.fault.iter().flat_map(|(_, steps)| steps) {
        println!("    {step:?}");
    }
    walk.fault.is_none()
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let rules = args.removed.map_or(Rules::ALL, Rules::without);
    let wanted = |name: &str, finds: &[Rule]| {
        args.instance.as_ref().is_none_or(|wanted| wanted == name)
            && (args.instance.is_some() || args.removed.is_none_or(|rule| finds.contains(&rule)))
    };
    let mut good = true;
    for instance in INSTANCES
        .iter()
        .filter(|instance| wanted(instance.name, instance.finds))
    {
        let model = instance.model(args.large, rules, args.replay.unwrap_or(Side::Client));
        good &= match args.replay {
            Some(_) => run_replay(instance.name, &model, &args),
            None => run(instance.name, &model, &args),
        };
    }
    let routes = route::instances::INSTANCES
        .iter()
        .filter(|_| args.replay.is_none());
    for instance in routes.filter(|instance| wanted(instance.name, instance.finds)) {
        good &= run(instance.name, &instance.model(args.large, rules), &args);
    }
    let pairs = pair::instances::INSTANCES
        .iter()
        .filter(|_| args.replay.is_none());
    for instance in pairs.filter(|instance| wanted(instance.name, instance.finds)) {
        good &= run(instance.name, &instance.model(args.large, rules), &args);
    }
    let races = race::instances::INSTANCES
        .iter()
        .filter(|_| args.replay.is_none());
    for instance in races.filter(|instance| wanted(instance.name, instance.finds)) {
        good &= run(instance.name, &instance.model(args.large, rules), &args);
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
