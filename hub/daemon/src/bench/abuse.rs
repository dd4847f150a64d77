//! Connections that mean no good, beside the honest ones: each does one thing wrong, is thrown out, and comes again.

use super::{keys::LoadKey, lane::Lane, shared::Stage, wire::Wire};
use anyhow::Context;
use protocol_spec::{
    Payee, PaymentId,
    message::{ChannelCall, Message, Request, binary},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Bytes;

/// Messages sent before answers are looked for.
const BURST: usize = 64;
/// Longest wait for an answer; an abuser does not care for it.
const GLANCE: Duration = Duration::from_millis(20);
/// Before it comes again after it was thrown out.
const AWAY: Duration = Duration::from_millis(100);
/// How long a slow reader holds out before it looks whether it has been thrown out.
const DEAF: Duration = Duration::from_secs(1);

/// What is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    /// Vouchers whose signatures are no good.
    Signatures,
    /// Frames that are no messages.
    Frames,
    /// Good messages, far more than allowed.
    Flood,
    /// Asks and does not read the answers.
    Deaf,
}

/// In the order in which abusers take them up.
const ALL: [Wrong; 4] = [Wrong::Signatures, Wrong::Frames, Wrong::Flood, Wrong::Deaf];
/// The same for people.
pub(super) const NAMES: [&str; ALL.len()] = ["bad signatures", "malformed frames", "floods", "slow readers"];

/// What all abusers do, by what is wrong with them.
#[derive(Default)]
struct Deeds {
    over: AtomicBool,
    sent: [AtomicU64; ALL.len()],
    thrown_out: [AtomicU64; ALL.len()],
}

/// Abusers at work. They end with this value.
pub(super) struct Abuse {
    tasks: JoinSet<Vec<Lane>>,
    deeds: Arc<Deeds>,
}

/// What they did in one measurement, in the order of [`NAMES`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) messages: [u64; ALL.len()],
    pub(super) thrown_out: [u64; ALL.len()],
}

impl Abuse {
    /// One abuser for each lane.
    pub(super) fn start(hub: SocketAddr, lanes: Vec<Lane>, stage: &Arc<Stage>) -> Self {
        let deeds = Arc::new(Deeds::default());
        let mut tasks = JoinSet::new();
        for (lane, (at, wrong)) in lanes.into_iter().zip(ALL.iter().enumerate().cycle()) {
            let (stage, deeds) = (Arc::clone(stage), Arc::clone(&deeds));
            tasks.spawn(async move {
                let lanes = vec![lane];
                while !deeds.over.load(Ordering::Relaxed) {
                    let ended = abuse(hub, *wrong, &lanes, &stage, (&deeds.over, deeds.sent.get(at))).await;
                    if let (Err(_), Some(thrown_out)) = (ended, deeds.thrown_out.get(at)) {
                        thrown_out.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(AWAY).await;
                }
                lanes
            });
        }
        Self { tasks, deeds }
    }

    /// Ends them, and gives their channels back.
    pub(super) async fn end(mut self) -> anyhow::Result<(Vec<Lane>, Done)> {
        self.deeds.over.store(true, Ordering::Relaxed);
        let mut lanes = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            lanes.extend(ended?);
        }
        let counts = |of: &[AtomicU64; ALL.len()]| of.each_ref().map(|count| count.load(Ordering::Relaxed));
        let done = Done {
            messages: counts(&self.deeds.sent),
            thrown_out: counts(&self.deeds.thrown_out),
        };
        Ok((lanes, done))
    }
}

/// One connection, until the measurement is over. Errors: it broke, which is the hub's doing.
async fn abuse(
    hub: SocketAddr,
    wrong: Wrong,
    lanes: &[Lane],
    stage: &Stage,
    (over, sent): (&AtomicBool, Option<&AtomicU64>),
) -> anyhow::Result<()> {
    let mut wire = Wire::connect(hub).await?;
    wire.log_in(lanes, &stage.nonces).await?;
    if wrong == Wrong::Signatures {
        wire.resume(lanes).await?;
    }
    let message = message(wrong, lanes, stage)?;
    while !over.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            wire.feed(message.clone()).await?;
        }
        wire.flush().await?;
        if let Some(sent) = sent {
            sent.fetch_add(BURST as u64, Ordering::Relaxed);
        }
        if wrong == Wrong::Deaf {
            tokio::time::sleep(DEAF).await;
            continue;
        }
        let mut next = wire.next(GLANCE).await?;
        while next.is_some() {
            next = wire.ready()?;
        }
    }
    Ok(())
}

fn message(wrong: Wrong, lanes: &[Lane], stage: &Stage) -> anyhow::Result<Bytes> {
    let lane = lanes.first().context("an abuser without a channel")?;
    let call = match wrong {
        Wrong::Signatures => return forged(lane, stage),
        Wrong::Frames => return Ok(Bytes::from_static(&[0xff; 200])),
        Wrong::Flood | Wrong::Deaf => Request::Channel(ChannelCall { channel_id: lane.id }),
    };
    let call = Box::new(call);
    Ok(binary::encode(&Message::Request { id: 0, call }).into())
}

/// The channel's next voucher, right in everything, by the key of somebody else.
fn forged(lane: &Lane, stage: &Stage) -> anyhow::Result<Bytes> {
    let key = LoadKey::new(0, u32::MAX)?;
    let payee = Payee::Channel(stage.payees.pick(0, &lane.id));
    let payment = stage.payment(PaymentId([0; 16]), payee);
    lane.forged(&key, vec![payment], &stage.domain, &stage.nonces)
}
