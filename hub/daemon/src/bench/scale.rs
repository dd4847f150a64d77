//! What channels and connections cost that do nothing.

use super::{channels, lane::Lane, wire::Wire};
use crate::stage::{child::Hub, http, process, say, world::World};
use anyhow::Context;
use hub::cli::bench::BenchArgs;
use protocol_spec::Domain;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Connections set up at once.
const SETTING_UP: usize = 32;
/// Longest wait for the hub to see channels that are on chain.
const SEEN_MAX: Duration = Duration::from_secs(1_800);
/// From the last change of what the hub holds until its memory is what it is.
const SETTLED: Duration = Duration::from_secs(3);
/// Longer than any measurement.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// Numbers of the keys of idle connections: beyond all channels.
const STRANGERS: u32 = 1 << 30;

/// Resident memory of the hub, bytes, before and after; and what opening took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scale {
    pub(super) channels: u32,
    pub(super) channels_before: u64,
    pub(super) channels_after: u64,
    /// From the first opening until the chain had them all, and until the hub knew them.
    pub(super) opened_in: Duration,
    pub(super) known_in: Duration,
    pub(super) connections: u32,
    pub(super) connections_before: u64,
    pub(super) connections_after: u64,
}

impl Scale {
    /// Bytes of memory of an idle channel.
    pub(super) fn channel_bytes(&self) -> Option<u64> {
        each(self.channels, self.channels_before, self.channels_after)
    }

    /// Bytes of memory of an idle connection.
    pub(super) fn connection_bytes(&self) -> Option<u64> {
        each(self.connections, self.connections_before, self.connections_after)
    }
}

/// `None`: there were none, or the process gave more back meanwhile than they took.
fn each(count: u32, before: u64, after: u64) -> Option<u64> {
    after.checked_sub(before)?.checked_div(count.into())
}

/// Opens the channels that nobody uses: all but the `used` first ones. From then on the chain keeps time.
pub(super) async fn channels(
    args: &BenchArgs,
    world: &World,
    hub: &Hub,
    used: u32,
    scale: &mut Scale,
) -> anyhow::Result<()> {
    let Some(all) = args.channels.filter(|all| *all > used) else {
        return world.keep_time();
    };
    scale.channels = all.saturating_sub(used);
    scale.channels_before = resident(hub);
    let began = Instant::now();
    channels::open_idle(world, used..all).await?;
    scale.opened_in = began.elapsed();
    // The last block is confirmed by the next one.
    world.keep_time()?;
    until(hub, began, "hub_channels", |known| known >= all.into()).await?;
    scale.known_in = began.elapsed();
    // Idle is what the hub has written down and does not hold in full any more.
    until(hub, began, "hub_hot_channels", |hot| hot <= used.into()).await?;
    tokio::time::sleep(SETTLED).await;
    scale.channels_after = resident(hub);
    say(&format!(
        "the chain has {all} channels after {} s, the hub knows them after {} s, and they are at rest after {} s",
        scale.opened_in.as_secs(),
        scale.known_in.as_secs(),
        began.elapsed().as_secs()
    ));
    Ok(())
}

/// Waits until what the hub counts is `enough`.
async fn until(hub: &Hub, began: Instant, name: &str, enough: impl Fn(u64) -> bool) -> anyhow::Result<()> {
    loop {
        let metrics = http::get(hub.ops, "/metrics").await?;
        let count = http::find(&metrics, name).context("the hub does not count its channels")?;
        if enough(count) {
            return Ok(());
        }
        anyhow::ensure!(began.elapsed() < SEEN_MAX, "{name} is {count}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Connections that logged in and answer pings. They end with the value.
pub(super) async fn connections(
    args: &BenchArgs,
    world: &World,
    hub: &Hub,
    (domain, seed): (&Domain, u64),
    nonces: &super::keys::Nonces,
    scale: &mut Scale,
) -> anyhow::Result<JoinSet<()>> {
    let mut idle = JoinSet::new();
    let Some(count) = args.idle_connections else {
        return Ok(idle);
    };
    scale.connections = count;
    scale.connections_before = resident(hub);
    let last = STRANGERS.saturating_add(count);
    let strangers = channels::lanes(world, domain, seed, STRANGERS..last)?;
    for some in strangers.chunks(SETTING_UP) {
        let coming = some.iter().map(|lane| come(world, lane, nonces));
        for wire in futures::future::try_join_all(coming).await? {
            idle.spawn(stay(wire));
        }
    }
    scale.connections_after = resident(hub);
    Ok(idle)
}

async fn come(world: &World, lane: &Lane, nonces: &super::keys::Nonces) -> anyhow::Result<Wire> {
    let mut wire = Wire::connect(world.listen).await?;
    wire.log_in(std::slice::from_ref(lane), nonces).await?;
    Ok(wire)
}

/// Answers pings until the hub hangs up.
async fn stay(mut wire: Wire) {
    while wire.next(LONG).await.is_ok() {}
}

fn resident(hub: &Hub) -> u64 {
    hub.pid().and_then(process::rss_bytes).unwrap_or(0)
}
