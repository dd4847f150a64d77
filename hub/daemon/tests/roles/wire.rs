//! What comes between a hub and its client and lies: messages are lost, told twice, out of order, late, told again much later, cut or
//! changed. The handshake passes as it is.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::sleep,
};

/// Messages kept to be told again.
const KEPT: usize = 200;

/// How often something is done to a message, of a thousand; and to whom.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) of_1000: u32,
    pub(crate) to_client: bool,
    pub(crate) to_hub: bool,
    /// Messages are changed, too.
    pub(crate) changes: bool,
}

pub(crate) struct Liar {
    pub(crate) address: SocketAddr,
    /// Lies told.
    pub(crate) done: Arc<AtomicU64>,
    /// Whether it lies.
    pub(crate) on: Arc<AtomicBool>,
}

impl Liar {
    pub(crate) async fn start(hub: SocketAddr, plan: Plan) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (done, on) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, switch) = (done.clone(), on.clone());
        tokio::spawn(async move {
            let mut dice = StdRng::seed_from_u64(plan.seed);
            let kept: Arc<std::sync::Mutex<Vec<Vec<u8>>>> = Arc::default();
            while let Ok((front, _)) = listener.accept().await {
                let Ok(back) = TcpStream::connect(hub).await else {
                    continue;
                };
                let (from_client, to_client) = front.into_split();
                let (from_hub, to_hub) = back.into_split();
                for (from, to, lies, side) in [
                    (from_hub, to_client, plan.to_client, 0),
                    (from_client, to_hub, plan.to_hub, 1),
                ] {
                    let of_1000 = if lies { plan.of_1000 } else { 0 };
                    let dice = StdRng::seed_from_u64(dice.random());
                    let kept = if side == 0 { kept.clone() } else { Arc::default() };
                    tokio::spawn(carry(
                        (from, to),
                        dice,
                        (of_1000, plan.changes),
                        (counted.clone(), switch.clone()),
                        kept,
                    ));
                }
            }
        });
        Self { address, done, on }
    }
}

async fn carry(
    (mut from, mut to): (OwnedReadHalf, OwnedWriteHalf),
    mut dice: StdRng,
    (of_1000, changes): (u32, bool),
    (done, on): (Arc<AtomicU64>, Arc<AtomicBool>),
    kept: Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.ok()?);
    }
    to.write_all(&head).await.ok()?;
    let mut held: Option<Vec<u8>> = None;
    loop {
        let frame = read_frame(&mut from).await?;
        let is_message = matches!(frame[0] & 15, 1 | 2);
        let lie = is_message && on.load(Ordering::Acquire) && dice.random_ratio(of_1000, 1000);
        let mut out = vec![frame.clone()];
        if lie {
            done.fetch_add(1, Ordering::Relaxed);
            match dice.random_range(0..if changes { 9 } else { 5 }) {
                0 => out.clear(),
                1 => out.push(frame.clone()),
                2 if held.is_none() => held = out.pop(),
                3 => sleep(Duration::from_millis(dice.random_range(0..1500))).await,
                4 => {
                    let kept = kept.lock().unwrap();
                    if !kept.is_empty() {
                        out.push(kept[dice.random_range(0..kept.len())].clone());
                    }
                }
                _ => out = vec![changed(&frame, &mut dice)],
            }
        } else if let Some(late) = held.take() {
            out.push(late);
        }
        if is_message {
            let mut kept = kept.lock().unwrap();
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push(frame);
        }
        for frame in out {
            to.write_all(&frame).await.ok()?;
        }
    }
}

async fn read_frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut frame = vec![0; 2];
    from.read_exact(&mut frame).await.ok()?;
    let masked = frame[1] & 0x80 != 0;
    let (more, short) = match frame[1] & 0x7f {
        126 => (2, 0),
        127 => (8, 0),
        short => (0, u64::from(short)),
    };
    let mut length = vec![0; more];
    from.read_exact(&mut length).await.ok()?;
    frame.extend(&length);
    let length = length.iter().fold(short, |sum, byte| sum << 8 | u64::from(*byte));
    let mut rest = vec![0; usize::try_from(length).unwrap() + if masked { 4 } else { 0 }];
    from.read_exact(&mut rest).await.ok()?;
    frame.extend(rest);
    Some(frame)
}

/// Bytes of the payload changed, counted up or down, zeroed, filled, or the end cut off.
fn changed(frame: &[u8], dice: &mut StdRng) -> Vec<u8> {
    let masked = frame[1] & 0x80 != 0;
    let head = match frame[1] & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let start = head + if masked { 4 } else { 0 };
    let mask: [u8; 4] = if masked {
        frame[head..start].try_into().unwrap()
    } else {
        [0; 4]
    };
    let mut payload: Vec<u8> = frame[start..].to_vec();
    let masking = |payload: &mut Vec<u8>| {
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
    };
    masking(&mut payload);
    if payload.is_empty() {
        return frame.to_vec();
    }
    match dice.random_range(0..6) {
        0 => {
            let at = dice.random_range(0..payload.len());
            payload[at] ^= 1 << dice.random_range(0..8);
        }
        // Small numbers are where money is: few bytes of many.
        1 | 2 => {
            let small: Vec<usize> = (0..payload.len())
                .filter(|at| (1..=200).contains(&payload[*at]))
                .collect();
            if !small.is_empty() {
                let at = small[dice.random_range(0..small.len())];
                payload[at] = if dice.random() {
                    payload[at] - 1
                } else {
                    payload[at] + 1
                };
            }
        }
        3 => {
            let at = dice.random_range(0..payload.len());
            let to = payload.len().min(at + 16);
            payload[at..to].fill(if dice.random() { 0 } else { 0xff });
        }
        4 => payload.truncate(dice.random_range(0..payload.len())),
        _ => {
            let at = dice.random_range(0..payload.len());
            payload[at] = dice.random();
        }
    }
    masking(&mut payload);
    let length = payload.len();
    let mut out = vec![frame[0], frame[1] & 0x80];
    if length < 126 {
        out[1] |= u8::try_from(length).unwrap();
    } else {
        out[1] |= 126;
        out.extend(u16::try_from(length).unwrap().to_be_bytes());
    }
    if masked {
        out.extend(mask);
    }
    out.extend(payload);
    out
}
