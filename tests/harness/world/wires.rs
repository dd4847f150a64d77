//! One connection: carries whole messages both ways, each with its delay, and lets the plan interfere.

use super::{
    faults::Kind,
    frames::{Cutter, Unit},
    network::{Ears, Network, Party, Way},
    rogue::Then,
};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, copy, split},
    sync::{mpsc, watch},
    time::sleep,
};

/// Of an answer that nobody listens to, read at once.
const ANSWER_BYTES: usize = 4096;

/// What carrying one message came to.
enum Carried {
    On,
    Ended,
}

/// Carries bytes, those on the way back with a delay, until both ends have said all.
pub(super) async fn join(network: &Network, asks: DuplexStream, answers: DuplexStream) -> io::Result<()> {
    let ((mut asked, mut told), (mut answered, mut ask)) = (split(asks), split(answers));
    let there = async {
        copy(&mut asked, &mut ask).await?;
        ask.shutdown().await
    };
    let back = async {
        let mut bytes = vec![0; ANSWER_BYTES];
        loop {
            let count = answered.read(&mut bytes).await?;
            sleep(network.delay()).await;
            if count == 0 {
                return told.shutdown().await;
            }
            told.write_all(&bytes[..count]).await?;
        }
    };
    tokio::try_join!(there, back).map(|_| ())
}

/// Carries until one end closes, or `cut`.
pub(super) async fn carry(
    network: &Network,
    person: usize,
    [ours, hub]: [DuplexStream; 2],
    mut cut: watch::Receiver<bool>,
    said: mpsc::UnboundedReceiver<Unit>,
) {
    let (_, nothing) = mpsc::unbounded_channel();
    let (from_person, to_person) = split(ours);
    let (from_hub, to_hub) = split(hub);
    tokio::select! {
        biased;
        _ = cut.wait_for(|cut| *cut) => {}
        () = pump(network, person, Way::ToHub, from_person, to_hub, said) => {}
        () = pump(network, person, Way::ToPerson, from_hub, to_person, nothing) => {}
    }
}

async fn pump(
    network: &Network,
    person: usize,
    way: Way,
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    mut said: mpsc::UnboundedReceiver<Unit>,
) {
    let mut cutter = Cutter::default();
    let mut chunk = [0; 16 * 1024];
    loop {
        let read = tokio::select! {
            biased;
            Some(unit) = said.recv() => {
                let number = network.plan(|plan| plan.messages());
                network.ears().hear(number, person, way, &unit.content);
                if to.write_all(&unit.bytes).await.is_err() {
                    return;
                }
                continue;
            }
            read = from.read(&mut chunk) => read,
        };
        match read {
            Ok(0) | Err(_) => return linger(network).await,
            Ok(count) => cutter.push(&chunk[..count]),
        }
        while let Some(unit) = cutter.next() {
            if matches!(pass(network, person, way, &unit, &mut to).await, Carried::Ended) {
                return;
            }
        }
    }
}

/// The other direction still carries what is under way when one end has closed: as TCP does after a close.
async fn linger(network: &Network) {
    sleep(network.delay() + Duration::from_millis(10)).await;
}

/// What a liar says before it, in the order in which it says it. False: nobody is there any more.
async fn put_before(
    ears: &dyn Ears,
    (number, person, way): (u64, usize, Way),
    units: Vec<Unit>,
    to: &mut WriteHalf<DuplexStream>,
) -> bool {
    for unit in units {
        ears.hear(number, person, way, &unit.content);
        if to.write_all(&unit.bytes).await.is_err() {
            return false;
        }
    }
    true
}

async fn pass(
    network: &Network,
    person: usize,
    way: Way,
    unit: &Unit,
    to: &mut WriteHalf<DuplexStream>,
) -> Carried {
    let (number, kind) = network.plan(|plan| (plan.messages(), plan.judge()));
    let ears = network.ears();
    if way == Way::ToHub && network.plan(|plan| plan.loses(person, unit)) {
        return Carried::Ended;
    }
    let (mut instead, mut kept_back, mut taken) = (None, false, false);
    let swallowed = match way {
        Way::ToHub => {
            if let Some(Err(wrong)) = network.rogue(|rogue, _| rogue.hears(unit)) {
                ears.violation(wrong);
            }
            let doing = network.mallory(person, |mallory, plan| mallory.sends(unit, plan));
            let (before, passes) = doing.unwrap_or((Vec::new(), true));
            if !put_before(ears.as_ref(), (number, person, way), before, to).await {
                return Carried::Ended;
            }
            !passes
        }
        Way::ToPerson => {
            let said = network.rogue(|rogue, plan| rogue.says(person, unit, plan));
            let then = match said {
                Some(said) => {
                    if !put_before(ears.as_ref(), (number, person, way), said.before, to).await {
                        return Carried::Ended;
                    }
                    said.then
                }
                None => Then::Passes,
            };
            kept_back = matches!(then, Then::Nothing);
            if let Then::Instead(unit) = then {
                instead = Some(unit);
            }
            taken = network
                .mallory(person, |mallory, _| mallory.takes(unit))
                .unwrap_or(false);
            kept_back || taken
        }
    };
    let unit = instead.as_ref().unwrap_or(unit);
    // The hub has said what Mallory takes, though her client never reads it.
    if !kept_back && (!swallowed || taken || kind.is_some()) {
        ears.hear(number, person, way, &unit.content);
    }
    if swallowed && kind.is_none() {
        return Carried::On;
    }
    let Some(kind) = kind else {
        sleep(network.delay()).await;
        return match to.write_all(&unit.bytes).await {
            Ok(()) => Carried::On,
            Err(_) => Carried::Ended,
        };
    };
    if kind.delivers() && !kept_back {
        sleep(network.delay()).await;
        // The receiver may be gone; then the fault is all that happens.
        let _ = to.write_all(&unit.bytes).await;
        // A moment in which the receiver may act on it, or not yet.
        sleep(network.delay()).await;
    }
    match kind {
        Kind::CutBefore | Kind::CutAfter => {}
        Kind::HubBefore | Kind::HubAfter => ears.cut_power(Party::Hub, kind),
        Kind::ClientBefore | Kind::ClientAfter => ears.cut_power(Party::Person(person), kind),
    }
    Carried::Ended
}
