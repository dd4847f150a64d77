//! H2: somebody opens channels without end, all of them for the signer of a client who never asked for them.
//! `OPENS_CHANNELS=100000` makes it so many.

use super::{client::domain, world::World};
use crate::ledger::{ChainFact, Input, session::LOGIN_CHANNELS_MAX};
use protocol_spec::{
    Amount, Config, Digest, limits,
    message::{Message, Reply, json},
};
use std::time::{Duration, Instant};

/// What a block of 30 million gas has room for.
const EACH: u64 = 250;
const USUALLY: u64 = 2_000;
const DUST: Amount = Amount(1);

fn opened(like: &Config, number: u64) -> [ChainFact; 2] {
    let mut salt = [0x0f; 32];
    salt[..8].copy_from_slice(&number.to_be_bytes());
    let config = Config {
        salt: Digest(salt),
        ..like.clone()
    };
    let deposited = ChainFact::Deposited {
        channel: config.id(&domain()),
        total: DUST,
        client_net: (DUST, Amount::ZERO),
    };
    [ChainFact::Opened(config), deposited]
}

/// As the engine does: a checkpoint, and then whatever may go cold does.
fn rest(world: &mut World) {
    let _ = world.ledger.checkpoint();
    while world.ledger.is_cooling() {
        world.ledger.cool();
    }
}

fn pays(world: &mut World) {
    let ops = vec![world.pay_op(0, 1, 10, 5)];
    let origin = world.send(0, ops);
    assert!(world.voucher_reply(origin).bounced.is_empty());
}

#[test]
fn h2_channels_without_end_for_one_signer_shut_nobody_out() {
    let count = std::env::var("OPENS_CHANNELS").map_or(USUALLY, |text| text.parse().unwrap());
    let mut world = World::new(2, 10_000_000);
    let victim = world.clients[0].channel.config().clone();
    let (mut bytes, mut times) = (Vec::new(), Vec::new());
    for first in (0..count).step_by(EACH as usize) {
        let numbers = first..count.min(first + EACH);
        let facts = numbers.flat_map(|number| opened(&victim, number)).collect();
        let block = world.block_of(facts);
        // Without what the harness checks after each commit: that looks at all channels.
        let began = Instant::now();
        let commit = world.ledger.commit(vec![block], world.now);
        times.push(began.elapsed());
        let (_, record) = commit.record.unwrap();
        bytes.push(record.len());
        world.records.push(record);
        world.issued_by_record.push(Vec::new());
        pays(&mut world);
        rest(&mut world);
        // Two checkpoints later they are cold: no more is held in full than a few blocks opened.
        assert!(
            world.ledger.hot() as u64 <= 3 * EACH,
            "{} are hot",
            world.ledger.hot()
        );
    }
    rest(&mut world);
    rest(&mut world);
    let (cold, sum) = world.ledger.entries.cold();
    let each = sum / cold;
    let tenth = times.len().div_ceil(10);
    let mean = |some: &[Duration]| some.iter().sum::<Duration>() / some.len() as u32;
    println!(
        "{cold} channels at rest, {each} bytes each; a block of {EACH}: {:?} bytes of record, {:.2?} at first, {:.2?} at the end",
        bytes.iter().max(),
        mean(&times[..tenth]),
        mean(&times[times.len() - tenth..]),
    );
    assert!(
        cold as u64 >= count && each < 400,
        "{cold} at rest, {each} bytes each"
    );
    let most = bytes[0] + 64;
    assert!(
        bytes.iter().all(|bytes| *bytes <= most),
        "records grow: {bytes:?}"
    );
    comes_back(&mut world);
}

/// The signer logs in again, and goes on as before.
fn comes_back(world: &mut World) {
    world.offline(0);
    let origin = world.fresh_origin(0);
    let hot = world.ledger.hot();
    world.commit(vec![Input::Login(origin)]);
    assert_eq!(world.ledger.hot(), hot, "a login makes nothing hot");
    let reply = world.answer(origin).clone();
    let Ok(Reply::Login(list)) = &reply else {
        panic!("{reply:?}")
    };
    assert_eq!(list.channels.len(), LOGIN_CHANNELS_MAX);
    assert_eq!(
        list.channels[0].channel_id,
        world.id(0),
        "the oldest is among them"
    );
    let answer = Message::Response {
        id: Some(1),
        result: reply.map(Box::new),
    };
    let bytes = json::encode(&answer).len();
    assert!(bytes <= limits::MESSAGE_BYTES_MAX, "{bytes} bytes");
    world.online(0);
    pays(world);
}
