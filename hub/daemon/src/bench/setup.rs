//! A hub with channels, and connections that wait for the load to begin.

use super::{
    channels,
    keys::Nonces,
    lane::Lane,
    load::Line,
    payees::Payees,
    scale::{self, Scale},
    shared::Stage,
};
use crate::stage::{child::Hub, cores::Cores, say, world::World};
use anyhow::Context;
use hub::{
    chain::Chain,
    cli::bench::{BenchArgs, Shape},
    ops::SecretRef,
};
use protocol_spec::{ChannelId, Domain, PublicKey, SignerKey, UnixSeconds};
use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinSet;

/// How long a payment made now is good for.
const LIFE_S: u64 = 6 * 3600;

/// All that a measurement needs.
pub(super) struct Ready {
    pub(super) hub: Hub,
    pub(super) stage: Arc<Stage>,
    /// Payers' first.
    pub(super) lines: Vec<Line>,
    pub(super) payer_lines: usize,
    /// Channels of abusers who are not there.
    pub(super) abusers: Vec<Lane>,
    pub(super) idle: JoinSet<()>,
    pub(super) scale: Scale,
    /// The processors of this process before it left some to the hub.
    pub(super) cores: Cores,
}

/// Starts the hub, opens all channels, connects, and waits for reserves.
pub(super) async fn get_ready(args: &BenchArgs, world: &World) -> anyhow::Result<Ready> {
    let before = Cores::all()?;
    let cores = args.hub_cores.map(|count| before.split(count));
    // The hub looks at nothing older than its first start.
    let hub = Hub::start(world, cores.map(|(hub, _)| hub))
        .await
        .context("starting the hub")?;
    if let Some((_, own)) = cores {
        own.take_over()?;
    }
    let domain = Domain::new(world.bank.chain_id().await?, world.deployed.adjudicator);
    let seed = rand::random();
    let clients = open(args, world, &domain, seed).await?;
    let used = clients.count()?;
    let mut scale = Scale::default();
    scale::channels(args, world, &hub, used, &mut scale).await?;

    let nonces = Nonces::new(seed)?;
    let payer_lines = args.connections.min(args.payers) as usize;
    let mut lines = channels::connect(&hub, world, clients.payers, payer_lines, &nonces).await?;
    let payer_lines = lines.len();
    let receiving = args.payee_connections.min(args.payees()) as usize;
    lines.extend(channels::connect(&hub, world, clients.payees, receiving, &nonces).await?);
    let duplex = args.shape == Shape::Duplex;
    let first_receiver = if duplex { 0 } else { payer_lines };
    let receivers = lines.get_mut(first_receiver..).context("no payees")?;
    channels::wait_for_reserves(receivers).await?;
    let ids: Vec<ChannelId> = receivers
        .iter()
        .flat_map(|(_, lanes)| lanes.iter().map(|lane| lane.id))
        .collect();
    let abusers = present(&hub, world, clients.abusers, &nonces).await?;
    let idle = scale::connections(args, world, &hub, (&domain, seed), &nonces, &mut scale).await?;

    let stage = Arc::new(Stage::new(
        domain,
        hub_key(world)?,
        nonces,
        Payees::new(ids, args.zipf)?,
        (args.shape, args.per_voucher()),
        now()?.after(LIFE_S),
    ));
    let mut running = Vec::new();
    for (at, (wire, lanes)) in lines.into_iter().enumerate() {
        let depth = if at < payer_lines { args.depth as usize } else { 0 };
        running.push(Line::new(wire, lanes, depth, seed.wrapping_add(at as u64))?);
    }
    Ok(Ready {
        hub,
        stage,
        lines: running,
        payer_lines,
        abusers,
        idle,
        scale,
        cores: before,
    })
}

struct Clients {
    payers: Vec<Lane>,
    payees: Vec<Lane>,
    abusers: Vec<Lane>,
}

impl Clients {
    fn count(&self) -> anyhow::Result<u32> {
        let parts = [&self.payers, &self.payees, &self.abusers];
        Ok(u32::try_from(parts.iter().map(|part| part.len()).sum::<usize>())?)
    }
}

/// Makes the clients' keys and opens their channels.
async fn open(args: &BenchArgs, world: &World, domain: &Domain, seed: u64) -> anyhow::Result<Clients> {
    let abusers = args.abusers.map_or(0, |percent| {
        args.connections.saturating_mul(percent).div_ceil(100).max(1)
    });
    let mut next = 0_u32;
    let mut some = |count: u32| {
        let first = next;
        next = next.saturating_add(count);
        channels::lanes(world, domain, seed, first..next)
    };
    let clients = Clients {
        payers: some(args.payers)?,
        payees: some(args.payees())?,
        abusers: some(abusers)?,
    };
    say(&format!(
        "{} payers, {} payees and {abusers} abusers open their channels on chain",
        clients.payers.len(),
        clients.payees.len()
    ));
    channels::open(world, &clients.payers, true)
        .await
        .context("opening")?;
    channels::open(world, &clients.payees, false)
        .await
        .context("opening")?;
    channels::open(world, &clients.abusers, true)
        .await
        .context("opening")?;
    Ok(clients)
}

/// Registers channels whose clients go away again.
async fn present(hub: &Hub, world: &World, lanes: Vec<Lane>, nonces: &Nonces) -> anyhow::Result<Vec<Lane>> {
    let lines = channels::connect(hub, world, lanes, 1, nonces).await?;
    Ok(lines.into_iter().flat_map(|(_, lanes)| lanes).collect())
}

/// Signs vouchers ahead on all payers' lines until each of their channels has its share of `count`.
pub(super) async fn sign_ahead(
    mut lines: Vec<Line>,
    payer_lines: usize,
    stage: &Arc<Stage>,
    count: u32,
) -> anyhow::Result<Vec<Line>> {
    let began = Instant::now();
    let paid = lines.split_off(payer_lines.min(lines.len()));
    let channels: usize = lines.iter().map(|line| line.lanes.len()).sum();
    let each = (count as usize).div_ceil(channels.max(1));
    let stage = Arc::clone(stage);
    let sign = move || sign_each(&mut lines, each, &stage).map(|sum| (lines, sum));
    let (mut lines, (signed, bytes)) = tokio::task::spawn_blocking(sign).await??;
    say(&format!(
        "{signed} vouchers signed ahead, {each} for each channel, {} MiB, in {} ms",
        bytes >> 20,
        began.elapsed().as_millis()
    ));
    lines.extend(paid);
    Ok(lines)
}

/// The same on all processors. Returns the vouchers and the memory they take, bytes.
fn sign_each(lines: &mut [Line], each: usize, stage: &Stage) -> anyhow::Result<(usize, usize)> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let part = lines.len().div_ceil(workers).max(1);
    let plus = |sum: (usize, usize), more: (usize, usize)| {
        (sum.0.saturating_add(more.0), sum.1.saturating_add(more.1))
    };
    let sign = |lines: &mut [Line]| {
        lines.iter_mut().try_fold((0, 0), |sum, line| {
            anyhow::Ok(plus(sum, line.sign_ahead(each, stage)?))
        })
    };
    let sign = &sign;
    std::thread::scope(|scope| {
        let parts = lines.chunks_mut(part);
        let signing: Vec<_> = parts.map(|part| scope.spawn(move || sign(part))).collect();
        signing
            .into_iter()
            .try_fold((0, 0), |sum, part| match part.join() {
                Ok(signed) => Ok(plus(sum, signed?)),
                Err(_) => Err(anyhow::anyhow!("vouchers were not signed")),
            })
    })
}

fn hub_key(world: &World) -> anyhow::Result<PublicKey> {
    let path = world.dir.join("hub/keys/hub_signer.key");
    let reference: SecretRef = format!("file:{}", path.display())
        .parse()
        .map_err(anyhow::Error::msg)?;
    let key: SignerKey = reference.load().map_err(anyhow::Error::msg)?;
    Ok(key.public())
}

fn now() -> anyhow::Result<UnixSeconds> {
    Ok(UnixSeconds(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    ))
}
