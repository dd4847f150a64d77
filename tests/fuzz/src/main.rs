//! `fuzz run`, `fuzz replay`, `fuzz seeds`: see `README.md`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::float_arithmetic,
    reason = "a program for tests"
)]

use clap::{Parser, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use fuzz::{
    TARGETS, Target,
    runner::{Bounds, corpus, pack, run},
};
use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

#[derive(Parser)]
#[command(about = "Bytes into everything that reads bytes from outside")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs targets over their seeds, their corpus and changes of those; all targets when none is named.
    Run {
        targets: Vec<String>,
        /// Changed inputs for each target at most, after its seeds and its corpus.
        #[arg(long, default_value_t = u64::MAX)]
        changes: u64,
        /// Time for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Decides the changes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Runs a target over files.
    Replay { target: String, files: Vec<PathBuf> },
    /// Writes a target's seeds and its corpus into a directory, as libFuzzer wants them.
    Seeds { target: String, dir: PathBuf },
    /// Makes the committed pack of a target of all inputs of a directory, which libFuzzer's merge has left few.
    Pack { target: String, dir: PathBuf },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run {
            targets,
            changes,
            seconds,
            seed,
        } => {
            let bounds = Bounds {
                seed,
                changes,
                time: Duration::from_secs(seconds),
            };
            run_all(&chosen(&targets), &bounds)
        }
        Command::Replay { target, files } => {
            let target = named(&target);
            files
                .iter()
                .for_each(|file| (target.run)(&fs::read(file).unwrap()));
            println!("{}: {} files, nothing failed", target.name, files.len());
            ExitCode::SUCCESS
        }
        Command::Seeds { target, dir } => {
            fs::create_dir_all(&dir).unwrap();
            let target = named(&target);
            let mut seeds = (target.seeds)();
            seeds.extend(corpus(target));
            for (number, seed) in seeds.iter().enumerate() {
                fs::write(dir.join(format!("seed-{number}")), seed).unwrap();
            }
            println!("{} seeds", seeds.len());
            ExitCode::SUCCESS
        }
        Command::Pack { target, dir } => {
            println!("{} inputs", pack(named(&target), &dir));
            ExitCode::SUCCESS
        }
    }
}

fn chosen(names: &[String]) -> Vec<&'static Target> {
    match names {
        [] => TARGETS.iter().collect(),
        names => names.iter().map(|name| named(name)).collect(),
    }
}

fn named(name: &str) -> &'static Target {
    fuzz::target(name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("no target {name}; there are {}", names.join(", "));
        std::process::exit(2)
    })
}

fn run_all(targets: &[&Target], bounds: &Bounds) -> ExitCode {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["target", "reads", "inputs", "a second", "failed"]);
    let mut failures = 0_u32;
    for target in targets {
        let done = run(target, bounds);
        if let Some(input) = &done.failed {
            failures = failures.saturating_add(1);
            let file = format!("{}-failed", target.name);
            fs::write(&file, input).unwrap();
            println!("{} fails; again: fuzz replay {} {file}", target.name, target.name);
        }
        let rate = format!("{:.0}", done.inputs as f64 / done.seconds.max(1e-9));
        let failed = done.failed.map_or("-", |_| "yes");
        table.add_row([target.name, target.reads, &done.inputs.to_string(), &rate, failed]);
    }
    println!("{table}");
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
