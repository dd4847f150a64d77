//! One measurement: load for some seconds, what was used meanwhile, and whether it adds up.

use super::{
    abuse::Done as Deeds,
    load::Line,
    shared::{Phase, Stage},
    tally::Tally,
};
use crate::stage::{child::Hub, http, process, say};
use anyhow::Context;
use hub::cli::bench::BenchArgs;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Longest wait for the last credits.
const ARRIVE_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a measurement found.
pub(super) struct Measured {
    pub(super) tally: Tally,
    pub(super) took: Duration,
    /// Of hub and generator, milliseconds.
    pub(super) hub_cpu_ms: u64,
    pub(super) own_cpu_ms: u64,
    pub(super) commits: u64,
    /// Signatures of clients that the hub verified; none: it does not tell.
    pub(super) verified: Option<u64>,
    pub(super) table_hits: Option<u64>,
    /// Batches in which they were verified.
    pub(super) batches: Option<u64>,
    pub(super) disk_bytes: u64,
    pub(super) rss_bytes: u64,
    /// Payments acknowledged in each second that counted.
    pub(super) seconds: Vec<u64>,
    /// What abusers did meanwhile, if there were any.
    pub(super) deeds: Option<Deeds>,
}

#[derive(Clone, Copy, Default)]
struct Used {
    hub_cpu_ms: u64,
    own_cpu_ms: u64,
    commits: u64,
    verified: Option<u64>,
    table_hits: Option<u64>,
    batches: Option<u64>,
    disk_bytes: u64,
}

async fn used(hub: &Hub) -> Used {
    let pid = hub.pid().unwrap_or(0);
    let metrics = http::get(hub.ops, "/metrics").await.unwrap_or_default();
    Used {
        hub_cpu_ms: process::cpu_ms(pid).unwrap_or(0),
        own_cpu_ms: process::cpu_ms(std::process::id()).unwrap_or(0),
        commits: http::counter(&metrics, "hub_commits_total"),
        verified: http::find(&metrics, "hub_signatures_verified_total"),
        table_hits: http::find(&metrics, "hub_signature_table_hits_total"),
        batches: http::find(&metrics, "hub_signature_batches_total"),
        disk_bytes: process::written_bytes(pid).unwrap_or(0),
    }
}

/// Runs the load once over all lines, payers first, and gives them back.
pub(super) async fn run(
    hub: &Hub,
    stage: Arc<Stage>,
    lines: Vec<Line>,
    payer_lines: usize,
    args: &BenchArgs,
) -> anyhow::Result<(Vec<Line>, Measured)> {
    let every = args.rate.map(|rate| {
        let vouchers = u64::from(rate).div_ceil(args.per_voucher().into()).max(1);
        let each = 1_000_000_000_u64.saturating_mul(payer_lines as u64);
        Duration::from_nanos(each.checked_div(vouchers).unwrap_or(each))
    });
    stage.enter(Phase::WarmUp);
    let (mut tasks, count) = (JoinSet::new(), lines.len());
    for (at, line) in lines.into_iter().enumerate() {
        let running = line.run(Arc::clone(&stage), every);
        tasks.spawn(async move { running.await.map(|done| (at, done)) });
    }
    let mut watch = Watch::new(&stage);
    watch.seconds(args.warm_up, "warm-up", &mut tasks).await?;
    let before = used(hub).await;
    let began = Instant::now();
    stage.enter(Phase::Counting);
    let seconds = watch.seconds(args.seconds, "counting", &mut tasks).await?;
    stage.enter(Phase::Draining);
    let took = began.elapsed();
    let after = used(hub).await;
    let rss_bytes = hub.pid().and_then(process::rss_bytes).unwrap_or(0);

    until(&mut tasks, || stage.drained.load(Ordering::Acquire) == count).await?;
    let (began, sent) = (Instant::now(), stage.sent.load(Ordering::Relaxed));
    let arrived = || stage.arrived.load(Ordering::Relaxed) >= sent;
    until(&mut tasks, || arrived() || began.elapsed() >= ARRIVE_MAX).await?;
    stage.enter(Phase::Done);
    let (mut tally, mut done) = (Tally::new()?, Vec::new());
    while let Some(ended) = tasks.join_next().await {
        let (at, (line, part)) = ended.context("a connection of the load")??;
        tally.add(&part)?;
        done.push((at, line));
    }
    stage.arrived.store(0, Ordering::Relaxed);
    stage.sent.store(0, Ordering::Relaxed);
    stage.drained.store(0, Ordering::Relaxed);
    done.sort_by_key(|(at, _)| *at);
    let lines = done.into_iter().map(|(_, line)| line).collect();
    let minus = |after: u64, before: u64| after.saturating_sub(before);
    let measured = Measured {
        tally,
        took,
        hub_cpu_ms: minus(after.hub_cpu_ms, before.hub_cpu_ms),
        own_cpu_ms: minus(after.own_cpu_ms, before.own_cpu_ms),
        commits: minus(after.commits, before.commits),
        verified: after.verified.map(|now| minus(now, before.verified.unwrap_or(0))),
        table_hits: after
            .table_hits
            .map(|now| minus(now, before.table_hits.unwrap_or(0))),
        batches: after.batches.map(|now| minus(now, before.batches.unwrap_or(0))),
        disk_bytes: minus(after.disk_bytes, before.disk_bytes),
        rss_bytes,
        seconds,
        deeds: None,
    };
    Ok((lines, measured))
}

type Done = (usize, (Line, Tally));
type Tasks = JoinSet<anyhow::Result<Done>>;

/// Waits. Errors: a connection ended, which none does by itself.
async fn until(tasks: &mut Tasks, done: impl Fn() -> bool) -> anyhow::Result<()> {
    while !done() {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Some(ended) = tasks.join_next() => return Err(failed(ended)),
        }
    }
    Ok(())
}

struct Watch<'a> {
    stage: &'a Stage,
    before: u64,
}

impl<'a> Watch<'a> {
    fn new(stage: &'a Stage) -> Self {
        let before = stage.acknowledged.load(Ordering::Relaxed);
        Self { stage, before }
    }

    /// Shows each second. Errors: a connection ended, which none does by itself.
    async fn seconds(&mut self, count: u32, what: &str, tasks: &mut Tasks) -> anyhow::Result<Vec<u64>> {
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        clock.tick().await;
        let mut seconds = Vec::new();
        for second in 1..=count {
            tokio::select! {
                _ = clock.tick() => {}
                Some(ended) = tasks.join_next() => return Err(failed(ended)),
            }
            let now = self.stage.acknowledged.load(Ordering::Relaxed);
            seconds.push(now.saturating_sub(self.before));
            say(&format!(
                "{what} {second:>3}/{count} s  {:>8} payments/s",
                now.saturating_sub(self.before)
            ));
            self.before = now;
        }
        Ok(seconds)
    }
}

fn failed(ended: Result<anyhow::Result<Done>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(_)) => anyhow::anyhow!("a connection of the load ended too early"),
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    }
}
