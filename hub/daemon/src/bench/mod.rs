//! `hub bench`: load on a real hub in a process of its own, and what it took.
//!
//! Clients speak the protocol without the SDK. Every payment has its signature, every credit is counted where it
//! arrives, and in the end the hub is killed and must still have everything that it acknowledged.

mod channels;
mod keys;
mod lane;
mod load;
mod payees;
mod plot;
mod report;
mod run;
mod tally;
mod wire;

use crate::stage::{
    child::Hub,
    say,
    world::{Play, WorkDir, World},
};
use anyhow::Context;
use hub::{
    chain::Chain,
    cli::{
        Failure,
        bench::{BenchArgs, Shape},
    },
    ops::SecretRef,
};
use keys::Nonces;
use lane::Lane;
use load::{Line, Stage};
use payees::Payees;
use protocol_spec::{Domain, SignerKey, UnixSeconds};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// The limits of one connection are for one client, not for forty.
const PLAY: Play = Play {
    name: "bench",
    fee_ppm: 0,
    reserve: 100_000_000,
    config: "[limits]\nmessages_per_s = 1000000\nmessages_burst = 1000000\nbytes_per_s = 1000000000\n",
};
/// How long a payment made now is good for.
const LIFE_S: u64 = 6 * 3600;

/// Runs the benchmark. Errors: something failed, or the sums do not add up.
pub(crate) async fn bench(args: BenchArgs) -> Result<(), Failure> {
    let differences = measure(&args).await.map_err(Failure::Running)?;
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Failure::DoesNotAddUp(differences.join("; ")))
    }
}

async fn measure(args: &BenchArgs) -> anyhow::Result<Vec<String>> {
    let dir = WorkDir::new(&PLAY, args.dir.clone(), false)?;
    let world = World::build(&PLAY, None, dir.path())
        .await
        .context("building the chain")?;
    let Ready {
        mut hub,
        stage,
        lines: mut running,
        payer_lines,
    } = get_ready(args, &world).await?;
    let mut measured = Vec::new();
    for number in 1..=args.runs {
        if args.runs > 1 {
            say(&format!("run {number} of {}", args.runs));
        }
        let (lines, one) = run::run(&hub, Arc::clone(&stage), running, payer_lines, args).await?;
        running = lines;
        measured.push(one);
    }
    let mut differences = measured.iter().flat_map(report::differences).collect::<Vec<_>>();

    let (wires, lanes): (Vec<_>, Vec<Vec<Lane>>) =
        running.into_iter().map(|line| (line.wire, line.lanes)).unzip();
    drop(wires);
    let away = hub.kill_and_restart().await?;
    let lanes: Vec<Lane> = lanes.into_iter().flatten().collect();
    let kept = kept(&hub, &world, lanes, &stage).await?;
    differences.extend(kept.lost);
    report::print(args, &measured, kept.channels, away, &differences)?;
    Ok(differences)
}

/// A hub with channels, and connections that wait for the load to begin.
struct Ready {
    hub: Hub,
    stage: Arc<Stage>,
    /// Payers' first.
    lines: Vec<Line>,
    payer_lines: usize,
}

async fn get_ready(args: &BenchArgs, world: &World) -> anyhow::Result<Ready> {
    let domain = Domain::new(world.bank.chain_id().await?, world.deployed.adjudicator);
    let seed = rand::random();
    let payees = if args.shape == Shape::Hot { 1 } else { args.payees };
    let payees = if args.shape == Shape::Duplex { 0 } else { payees };
    let payers = channels::lanes(world, &domain, seed, 0..args.payers)?;
    let last = args.payers.saturating_add(payees);
    let paid = channels::lanes(world, &domain, seed, args.payers..last)?;
    say(&format!(
        "{} payers and {} payees open their channels on chain",
        payers.len(),
        paid.len()
    ));
    // The hub looks at nothing older than its first start.
    let hub = Hub::start(world, args.hub_cores.as_deref())
        .await
        .context("starting the hub")?;
    channels::open(world, &payers, true).await.context("opening")?;
    channels::open(world, &paid, false).await.context("opening")?;
    world.keep_time()?;

    let nonces = Nonces::new(seed)?;
    let payer_lines = args.connections.min(args.payers) as usize;
    let mut lines = channels::connect(&hub, world, payers, payer_lines, &nonces).await?;
    let payer_lines = lines.len();
    let receiving = args.payee_connections.min(payees) as usize;
    lines.extend(channels::connect(&hub, world, paid, receiving, &nonces).await?);
    let receivers = if args.shape == Shape::Duplex {
        0..payer_lines
    } else {
        payer_lines..lines.len()
    };
    let receivers = lines.get_mut(receivers).context("no payees")?;
    channels::wait_for_reserves(receivers).await?;
    let ids = receivers
        .iter()
        .flat_map(|(_, lanes)| lanes.iter().map(|lane| lane.id))
        .collect();

    let stage = Arc::new(Stage::new(
        domain,
        hub_key(world)?,
        nonces,
        Payees::new(ids, args.zipf)?,
        args.per_voucher(),
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
    })
}

struct Kept {
    channels: usize,
    lost: Vec<String>,
}

/// After kill -9: has the hub everything that it acknowledged, and signed nothing that nobody got?
async fn kept(hub: &Hub, world: &World, lanes: Vec<Lane>, stage: &Stage) -> anyhow::Result<Kept> {
    let channels = lanes.len();
    let connections = channels.div_ceil(64);
    let mut lost = Vec::new();
    for (mut wire, lanes) in channels::connect(hub, world, lanes, connections, &stage.nonces).await? {
        let resumed = wire.resume(&lanes).await?;
        anyhow::ensure!(
            resumed.len() == lanes.len(),
            "the hub resumed fewer channels than asked"
        );
        for (lane, reply) in lanes.iter().zip(resumed) {
            let has = reply
                .received
                .map(|signed| signed.voucher.seq)
                .unwrap_or_default();
            if has != lane.seq {
                lost.push(format!(
                    "channel {}: acknowledged {}, has {has}",
                    lane.id, lane.seq
                ));
            }
        }
    }
    Ok(Kept { channels, lost })
}

fn hub_key(world: &World) -> anyhow::Result<protocol_spec::PublicKey> {
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
