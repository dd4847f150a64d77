//! Payments for some seconds, with a kill in the middle, and what everybody wrote down about them.

use super::{
    FEE_PPM,
    people::{People, Person},
};
use crate::stage::{child::Hub, http, say};
use anyhow::Context;
use client_sdk::{Client, PayError, PayOptions, PaymentAnswer, PaymentState};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use protocol_spec::{Address, Amount, PaymentId};
use std::{
    collections::HashMap,
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Mutex, task::JoinHandle};

/// Payments one client has under way at once.
const LANES: usize = 8;
/// Longest latency told apart: a minute.
const LATENCY_MAX_US: u64 = 60_000_000;
/// Longest wait for the last outcomes.
const SETTLE_DOWN: Duration = Duration::from_secs(60);

/// What one client wrote down.
#[derive(Clone, Debug, Default)]
pub(super) struct Paid {
    pub(super) amount: u128,
    pub(super) fees: u128,
    pub(super) count: u64,
    pub(super) bounced: u64,
    unknown: Vec<(PaymentId, Amount)>,
}

/// What everybody wrote down.
pub(super) struct Report {
    pub(super) paid: Vec<Paid>,
    pub(super) received: Vec<u128>,
    pub(super) received_count: u64,
    pub(super) seconds: u64,
    pub(super) away: Duration,
    pub(super) latency_us: Histogram<u64>,
}

/// Shared by all lanes.
struct Stage {
    merchants: Vec<Address>,
    stop: AtomicBool,
    delivered: AtomicU64,
    latency_us: Mutex<Histogram<u64>>,
}

/// A merchant's running sum: (payments, money).
type Till = Arc<(AtomicU64, Mutex<u128>)>;

pub(super) async fn run(hub: &mut Hub, people: &People, seconds: u64) -> anyhow::Result<Report> {
    let tills: Vec<Till> = people.merchants.iter().map(|_| Till::default()).collect();
    let streams: Vec<JoinHandle<()>> = people
        .merchants
        .iter()
        .zip(&tills)
        .map(|(merchant, till)| listen(merchant, till.clone()))
        .collect();
    let stage = Arc::new(Stage {
        merchants: people
            .merchants
            .iter()
            .map(|merchant| merchant.key.address())
            .collect(),
        stop: AtomicBool::new(false),
        delivered: AtomicU64::new(0),
        latency_us: Mutex::new(Histogram::new_with_max(LATENCY_MAX_US, 3)?),
    });
    say(&format!(
        "payments flow for {seconds} s; the hub is killed half-way"
    ));
    let lanes: Vec<Vec<JoinHandle<Paid>>> = people
        .payers
        .iter()
        .map(|payer| {
            (0..LANES)
                .map(|_| lane(payer.client.clone(), stage.clone()))
                .collect()
        })
        .collect();
    let away = watch(hub, people, &stage, seconds).await?;
    stage.stop.store(true, Ordering::Release);
    let mut paid = Vec::new();
    for (payer, lanes) in people.payers.iter().zip(lanes) {
        paid.push(collect(payer, lanes).await?);
    }
    let expected = paid.iter().map(|paid| paid.count).fold(0, u64::saturating_add);
    let received_count = wait_for_tills(&tills, expected).await;
    streams.iter().for_each(JoinHandle::abort);
    let mut received = Vec::new();
    for till in &tills {
        received.push(*till.1.lock().await);
    }
    let latency_us = stage.latency_us.lock().await.clone();
    Ok(Report {
        paid,
        received,
        received_count,
        seconds,
        away,
        latency_us,
    })
}

/// One of a client's lanes: pays a random merchant again and again.
fn lane(client: Client, stage: Arc<Stage>) -> JoinHandle<Paid> {
    tokio::spawn(async move {
        let mut paid = Paid::default();
        let mut latencies = Vec::new();
        while !stage.stop.load(Ordering::Acquire) {
            let index = rand::random::<u32>() as usize;
            let Some(merchant) = index
                .checked_rem(stage.merchants.len())
                .and_then(|at| stage.merchants.get(at))
            else {
                return paid;
            };
            let amount = u128::from(rand::random::<u16>()).saturating_add(1);
            let began = Instant::now();
            if pay(&client, *merchant, amount, &mut paid).await {
                stage.delivered.fetch_add(1, Ordering::Relaxed);
                latencies.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
        }
        let mut histogram = stage.latency_us.lock().await;
        for latency in latencies {
            histogram.saturating_record(latency);
        }
        drop(histogram);
        paid
    })
}

/// One payment, written down. True when it was delivered.
async fn pay(client: &Client, merchant: Address, amount: u128, paid: &mut Paid) -> bool {
    let fee = Amount(amount.saturating_mul(FEE_PPM).div_ceil(1_000_000));
    let payment_id = PaymentId(rand::random());
    let options = PayOptions {
        payment_id: Some(payment_id),
        fee_max: Some(fee),
        ..PayOptions::default()
    };
    match client.pay_with(merchant, amount, options).await {
        Ok(done) => {
            paid.delivered(amount, done.fee);
            return true;
        }
        Err(PayError::Bounced { .. }) => paid.bounced = paid.bounced.saturating_add(1),
        Err(PayError::Unknown { .. }) => paid.unknown.push((payment_id, Amount(amount))),
        // Nothing was signed: a full queue or a hub that is away.
        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
    }
    false
}

impl Paid {
    fn delivered(&mut self, amount: u128, fee: Amount) {
        self.amount = self.amount.saturating_add(amount);
        self.fees = self.fees.saturating_add(fee.0);
        self.count = self.count.saturating_add(1);
    }
}

/// Adds up a client's lanes; what was unknown at a break is asked for until it is known.
async fn collect(payer: &Person, lanes: Vec<JoinHandle<Paid>>) -> anyhow::Result<Paid> {
    let mut sum = Paid::default();
    for lane in lanes {
        let part = lane.await?;
        sum.amount = sum.amount.saturating_add(part.amount);
        sum.fees = sum.fees.saturating_add(part.fees);
        sum.count = sum.count.saturating_add(part.count);
        sum.bounced = sum.bounced.saturating_add(part.bounced);
        sum.unknown.extend(part.unknown);
    }
    let began = Instant::now();
    let mut open: HashMap<PaymentId, Amount> = sum.unknown.drain(..).collect();
    while !open.is_empty() {
        for (id, amount) in open.clone() {
            match payer.client.payment(id).await {
                Ok(PaymentAnswer::Known(PaymentState::Delivered { fee, .. })) => sum.delivered(amount.0, fee),
                Ok(PaymentAnswer::Known(PaymentState::Bounced { .. })) => {
                    sum.bounced = sum.bounced.saturating_add(1)
                }
                _ => continue,
            }
            open.remove(&id);
        }
        anyhow::ensure!(
            began.elapsed() < SETTLE_DOWN,
            "{}: outcomes still unknown: {}",
            payer.name,
            open.len()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    while payer
        .channel
        .view()
        .is_some_and(|view| !view.balance.in_flight.is_zero() || view.unacked > 0)
    {
        anyhow::ensure!(
            began.elapsed() < SETTLE_DOWN,
            "{}: vouchers still in flight",
            payer.name
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(sum)
}

fn listen(merchant: &Person, till: Till) -> JoinHandle<()> {
    let mut payments = merchant.channel.payments(None);
    let name = merchant.name.clone();
    tokio::spawn(async move {
        while let Some(payment) = payments.next().await {
            match payment {
                Ok(payment) => {
                    let mut sum = till.1.lock().await;
                    *sum = sum.saturating_add(payment.receipt.amount.0);
                    till.0.fetch_add(1, Ordering::Release);
                }
                Err(error) => say(&format!("{name}: {error}")),
            }
        }
    })
}

async fn wait_for_tills(tills: &[Till], expected: u64) -> u64 {
    let began = Instant::now();
    loop {
        let got = tills
            .iter()
            .map(|till| till.0.load(Ordering::Acquire))
            .fold(0, u64::saturating_add);
        if got >= expected || began.elapsed() > SETTLE_DOWN {
            return got;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The live display, and the kill half-way. Returns how long the hub was away.
async fn watch(hub: &mut Hub, people: &People, stage: &Stage, seconds: u64) -> anyhow::Result<Duration> {
    let bar = ProgressBar::new(seconds);
    bar.set_style(ProgressStyle::with_template("{elapsed:>4} {bar:20} {msg}").context("template")?);
    let channels = people.payers.len().saturating_add(people.merchants.len());
    let terminal = std::io::stderr().is_terminal();
    let mut away = Duration::ZERO;
    let mut before = 0;
    for second in 0..seconds {
        if second == seconds / 2 {
            bar.suspend(|| say("kill -9"));
            away = hub.kill_and_restart().await?;
            bar.suspend(|| {
                say(&format!(
                    "the hub is back after {} ms; clients resume by themselves",
                    away.as_millis()
                ))
            });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let delivered = stage.delivered.load(Ordering::Relaxed);
        let commits = http::get(hub.ops, "/metrics")
            .await
            .map(|text| http::counter(&text, "hub_commits_total"));
        let line = format!(
            "{:>7} payments/s  {delivered:>9} delivered  {channels} channels  {} disk commits",
            delivered.saturating_sub(before),
            commits.unwrap_or(0),
        );
        before = delivered;
        bar.inc(1);
        if terminal {
            bar.set_message(line);
        } else {
            say(&line);
        }
    }
    bar.finish_and_clear();
    Ok(away)
}
