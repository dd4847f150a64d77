//! The end of the server (attack H5).

use crate::world::{World, eventually};
use hub::session::{Drained, limits::SHUTDOWN_DEADLINE};
use protocol_spec::{
    ChannelId,
    message::{ChannelCall, Empty, ErrorCode, Reply, Request},
};
use tokio::{net::TcpStream, time::timeout};

fn unsubscribe() -> Request {
    Request::Unsubscribe(ChannelCall {
        channel_id: ChannelId([9; 32]),
    })
}

#[tokio::test]
async fn calls_under_way_are_answered_new_ones_refused_then_1001() {
    let world = World::new().await;
    let mut idle = world.connect().await;
    let mut busy = world.logged_in(5).await;
    world.hold.send(true).unwrap();
    let under_way = [busy.send(unsubscribe()).await, busy.send(unsubscribe()).await];
    assert!(
        matches!(busy.call(Request::Ping(Empty {})).await, Ok(Reply::Done(_))),
        "both are with the engine"
    );
    world.shutdown.trigger();
    assert_eq!(idle.closed().await, 1001);
    assert!(
        busy.call(Request::Ping(Empty {}))
            .await
            .unwrap_err()
            .is(ErrorCode::ShuttingDown)
    );
    assert!(
        TcpStream::connect(world.address).await.is_err(),
        "no new connections"
    );
    world.hold.send(false).unwrap();
    for id in under_way {
        assert!(matches!(busy.answer().await, (Some(got), Ok(Reply::Done(_))) if got == id));
    }
    assert_eq!(busy.closed().await, 1001);
    drop((idle, busy));
    let drained = timeout(SHUTDOWN_DEADLINE, world.server)
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(drained, Drained { cut_off: 0 });
    assert!(world.engine.outboxes.is_empty());
}

#[tokio::test]
async fn an_engine_that_never_answers_does_not_hold_the_shutdown_up() {
    let world = World::new().await;
    let mut busy = world.logged_in(5).await;
    world.hold.send(true).unwrap();
    busy.send(unsubscribe()).await;
    assert!(matches!(
        busy.call(Request::Ping(Empty {})).await,
        Ok(Reply::Done(_))
    ));
    world.shutdown.trigger();
    assert_eq!(busy.closed().await, 1001);
    timeout(SHUTDOWN_DEADLINE, world.server)
        .await
        .expect("in time")
        .unwrap();
}

#[tokio::test]
async fn an_engine_that_died_ends_its_connections() {
    let world = World::new().await;
    let mut client = world.logged_in(5).await;
    // Closes the queue: the scripted engine stops when its switch is gone.
    world.hold.send(true).unwrap();
    client.send(unsubscribe()).await;
    drop(world.hold);
    eventually("the queue is closed", || world.engine.inbound.is_closed()).await;
    client.send(unsubscribe()).await;
    let (_, error) = client.error().await;
    assert!(error.is(ErrorCode::Internal));
    assert_eq!(client.closed().await, 1011);
}
