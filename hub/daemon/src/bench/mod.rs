//! `hub bench`: load on a real hub in a process of its own, and what it took.
//!
//! Clients speak the protocol without the SDK. Every payment has its signature, every credit is counted where it
//! arrives, and in the end the hub is killed and must still have everything that it acknowledged.

mod abuse;
mod channels;
mod kept;
mod keys;
mod lane;
mod load;
mod open;
mod payees;
mod plot;
mod report;
mod run;
mod scale;
mod setup;
mod shared;
mod sweep;
mod take;
mod tally;
mod wire;

use crate::stage::{
    say,
    world::{Play, WorkDir, World},
};
use abuse::Abuse;
use anyhow::Context;
use hub::cli::{
    Failure,
    bench::{BenchArgs, engine_name},
};
use lane::Lane;
use run::Measured;
use scale::Scale;
use setup::Ready;
use std::{sync::Arc, time::Duration};

/// The limits of one connection are for one client, not for forty; nor does one answer pings while others are set up.
const WIDE_LIMITS: &str = "[limits]\nmessages_per_s = 1000000\nmessages_burst = 1000000\nbytes_per_s = 1000000000\n\
                           idle_timeout_s = 7200\n";

/// The hub: with abusers under the limits of every hub, which are what holds them back.
fn play(args: &BenchArgs) -> Play {
    let limits = if args.abusers.is_some() { "" } else { WIDE_LIMITS };
    let engine = args.engine.map_or_else(String::new, |engine| {
        format!("[signatures]\nengine = \"{}\"\n", engine_name(engine))
    });
    Play {
        name: "bench",
        fee_ppm: 0,
        reserve: 100_000_000,
        channels: args.all_channels().max(100_000),
        config: format!("{limits}{engine}").into(),
    }
}

/// What the measurements on one hub found.
struct Found {
    quiet: Vec<Measured>,
    /// With abusers, each after the quiet one with the same number.
    abused: Vec<Measured>,
    scale: Scale,
    /// Channels looked at after kill -9, and how long the hub was away.
    compared: usize,
    away: Duration,
    differences: Vec<String>,
}

/// Runs the benchmark. Errors: something failed, or the sums do not add up.
pub(crate) async fn bench(args: BenchArgs) -> Result<(), Failure> {
    args.check()
        .map_err(|why| Failure::Running(anyhow::anyhow!(why)))?;
    let differences = match &args.sweep {
        None => alone(&args).await,
        Some(sweep) => sweep::sweep(&args, sweep).await,
    };
    let differences = differences.map_err(Failure::Running)?;
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Failure::DoesNotAddUp(differences.join("; ")))
    }
}

async fn alone(args: &BenchArgs) -> anyhow::Result<Vec<String>> {
    let found = measure(args).await?;
    report::print(args, &found)?;
    Ok(found.differences)
}

/// A hub of its own, measured as the arguments say.
async fn measure(args: &BenchArgs) -> anyhow::Result<Found> {
    let play = play(args);
    let dir = WorkDir::new(&play, args.dir.clone(), false)?;
    let world = World::build(&play, None, dir.path())
        .await
        .context("building the chain")?;
    let mut ready = setup::get_ready(args, &world).await?;
    let (mut quiet, mut abused) = (Vec::new(), Vec::new());
    for number in 1..=args.runs {
        if args.runs > 1 {
            say(&format!("run {number} of {}", args.runs));
        }
        quiet.push(once(&mut ready, args).await?);
        if !ready.abusers.is_empty() {
            abused.push(once_abused(&mut ready, &world, args).await?);
        }
    }
    let all = quiet.iter().chain(&abused);
    let mut differences: Vec<String> = all.flat_map(report::differences).collect();

    let lines = std::mem::take(&mut ready.lines);
    let (wires, lanes): (Vec<_>, Vec<Vec<Lane>>) =
        lines.into_iter().map(|line| (line.wire, line.lanes)).unzip();
    drop((wires, ready.idle));
    let away = ready.hub.kill_and_restart().await?;
    let lanes: Vec<Lane> = lanes.into_iter().flatten().collect();
    if args.hub_cores.is_some() {
        ready.cores.take_over()?;
    }
    let kept = kept::kept(&ready.hub, &world, lanes, &ready.stage).await?;
    differences.extend(kept.lost);
    Ok(Found {
        quiet,
        abused,
        scale: ready.scale,
        compared: kept.channels,
        away,
        differences,
    })
}

/// One measurement on the lines that are there.
async fn once(ready: &mut Ready, args: &BenchArgs) -> anyhow::Result<Measured> {
    let mut lines = std::mem::take(&mut ready.lines);
    if let Some(count) = args.presign {
        lines = setup::sign_ahead(lines, ready.payer_lines, &ready.stage, count).await?;
    }
    let stage = Arc::clone(&ready.stage);
    let (lines, measured) = run::run(&ready.hub, stage, lines, ready.payer_lines, args).await?;
    ready.lines = lines;
    Ok(measured)
}

async fn once_abused(ready: &mut Ready, world: &World, args: &BenchArgs) -> anyhow::Result<Measured> {
    let lanes = std::mem::take(&mut ready.abusers);
    say(&format!("{} abusers come", lanes.len()));
    let abuse = Abuse::start(world.listen, lanes, &ready.stage);
    let measured = once(ready, args).await;
    let (lanes, deeds) = abuse.end().await?;
    ready.abusers = lanes;
    Ok(Measured {
        deeds: Some(deeds),
        ..measured?
    })
}
