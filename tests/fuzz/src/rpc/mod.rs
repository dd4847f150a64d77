//! Answers of nodes: bytes decide what a chain port is asked, and how the answers that it gets are bent.
//!
//! The truth is an embedded chain. With one node whatever the port believes must be what the node said, as a second reader
//! of the same JSON understands it, and must not contradict itself or what was asked; with three, of which one is bent,
//! the port must say the truth. Nothing is signed that was not asked for. A node behind HTTP has a key in its URL, which no
//! error may tell.

mod bend;
mod case;
mod door;
mod follow;
mod read;
mod reads;
mod script;
mod sends;
mod tree;
mod wire;
mod world;

use crate::{bytes::Bytes, panics};
use alloy::rpc::client::RpcClient;
use door::Door;
use script::{Script, Way};
use std::sync::Arc;
use tokio::runtime::Builder;
use wire::Wire;
use world::World;

/// In the URL of the node behind HTTP.
const KEY: &str = "k3y-0123456789-s3cret";
/// The same as JSON may have it.
const KEY_ESCAPED: &str = "\\u006b3y-0123456789-s3cret";
/// The path as JSON may have it.
const PATH_ESCAPED: &str = "\\/v3\\/k3y-0123456789-s3cret";

thread_local! {
    static WORLD: Arc<World> = Arc::new(World::new());
    static DOOR: Door = Door::new(WORLD.with(Arc::clone));
}

pub(crate) fn run(bytes: &[u8]) {
    let world = WORLD.with(Arc::clone);
    world.reset();
    let mut bytes = Bytes::new(bytes);
    let way = match bytes.below(5) {
        0 | 1 => Way::Alone,
        2 | 3 => Way::OneOfThree,
        _ => Way::Http,
    };
    world.set_keyed(way == Way::Http);
    panics::none_in(|| match way {
        Way::Http => DOOR.with(|door| {
            let stage = (door.wire.clone(), door.client.clone());
            door.runtime.block_on(play(world, way, stage, bytes));
        }),
        Way::Alone | Way::OneOfThree => {
            let wire = Wire::new(world.clone(), false);
            let stage = (wire.clone(), wire.client());
            let paused = Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build();
            paused.unwrap().block_on(play(world, way, stage, bytes));
        }
    });
}

async fn play(world: Arc<World>, way: Way, stage: (Wire, RpcClient), mut bytes: Bytes<'_>) {
    let mut script = Script::begin(world, way, stage, &mut bytes).await;
    while !bytes.is_empty() {
        script.step(&mut bytes).await;
    }
    script.end().await;
}
