//! More receive capacity for a fee, and when the hub may have its reserve back. In virtual time.

use crate::common::{
    CAPACITY_FEE, CAPACITY_HOLD_S, FORGED_CAPACITY, Hub, attached, key, simulated, simulated_builder,
};
use client_sdk::*;
use protocol_spec::{
    Side,
    message::{Notification, Release},
};
use std::time::Duration;
use tokio::time::sleep;

/// Asks for `total`, waits, and tells what the hub got back in all.
async fn ask_back(hub: &Hub, channel_id: ChannelId, total: u128) -> u128 {
    let release = Release {
        channel_id,
        total: Amount(total),
        deadline: hub.clock().now.after(300),
    };
    let push = hub.state().push.clone().unwrap();
    push.send(Notification::Release(release)).unwrap();
    sleep(Duration::from_secs(5)).await;
    hub.state().channels[&channel_id].channel.withdrawn(Side::Hub).0
}

#[tokio::test(start_paused = true)]
async fn a_release_is_agreed_to_unless_the_capacity_was_paid_for() {
    let (hub, _, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::default());
    let (client, id) = attached(&hub, config, builder).await;
    assert_eq!(ask_back(&hub, id, 10).await, 10);
    assert_eq!(ask_back(&hub, id, 10).await, 10, "nothing new in it");
    client.pay(Address::repeat_byte(0x77), 5_u128).await.unwrap();

    let channel = client.channel(id);
    let forged = channel.request_capacity(FORGED_CAPACITY).await.unwrap_err();
    assert!(matches!(forged, ChannelError::BadCountersignature), "{forged}");
    let offer = channel.request_capacity(50_u128).await.unwrap();
    let paid = channel.accept_capacity(&offer).await.unwrap();
    assert_eq!((paid.amount, paid.fee), (CAPACITY_FEE, Amount(0)));
    assert_eq!(ask_back(&hub, id, 20).await, 10, "paid for");
    sleep(Duration::from_secs(CAPACITY_HOLD_S)).await;
    assert_eq!(ask_back(&hub, id, 20).await, 20, "for an hour");
    // What the client wants itself is not held up by it.
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn releases_can_be_refused_for_good_and_what_is_not_there_is_not_signed() {
    let (hub, _, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::default());
    let (client, id) = attached(&hub, config, builder.accept_releases(false)).await;
    assert_eq!(ask_back(&hub, id, 10).await, 0);
    client.shutdown().await;
    let config = hub.config(&key(1));
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::default());
    let (client, id) = attached(&hub, config, builder).await;
    assert_eq!(
        ask_back(&hub, id, u128::MAX >> 60).await,
        0,
        "more than the hub has there (R13)"
    );
    assert_eq!(ask_back(&hub, id, 10).await, 10, "and nothing is held up by it");
    assert_eq!(client.health(), Health::Good);
}
