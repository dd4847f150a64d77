//! Who gets in (attack B8, G3).

use crate::world::{Client, World, eventually, key, logs};
use hub::session::login_digest;
use protocol_spec::{
    ChannelId, SignerKey,
    message::{
        ChannelCall, Empty, ErrorCode, LoginCall, Reply, Request, SUBPROTOCOL_BORSH, SUBPROTOCOL_JSON,
    },
};

fn channel_call() -> Request {
    Request::Channel(ChannelCall {
        channel_id: ChannelId([9; 32]),
    })
}

#[tokio::test]
async fn a_signer_logs_in_over_both_encodings() {
    let world = World::new().await;
    for protocol in [SUBPROTOCOL_JSON, SUBPROTOCOL_BORSH] {
        let mut client = Client::connect(world.address, protocol).await.unwrap();
        let challenge = client.challenge.clone().unwrap();
        assert!(challenge.hub.now.0 > 1_600_000_000, "the time is filled in");
        assert!(matches!(client.log_in(&key(5)).await, Ok(Reply::Login(_))));
        // The engine answers now: its own error, not the session's.
        assert!(
            client
                .call(channel_call())
                .await
                .unwrap_err()
                .is(ErrorCode::UnknownChannel)
        );
        assert!(matches!(
            client.call(Request::Ping(Empty {})).await,
            Ok(Reply::Done(_))
        ));
        // Others may follow over the same challenge, and the same again.
        for seed in [6, 5] {
            assert!(matches!(client.log_in(&key(seed)).await, Ok(Reply::Login(_))));
        }
        drop(client);
    }
    eventually("the engine hears of both ends", || {
        world.gone.lock().unwrap().len() == 2
    })
    .await;
    assert!(world.engine.outboxes.is_empty());
}

#[tokio::test]
async fn before_login_only_info_and_ping_are_answered() {
    let world = World::new().await;
    let mut client = world.connect().await;
    assert!(
        client
            .call(channel_call())
            .await
            .unwrap_err()
            .is(ErrorCode::NotLoggedIn)
    );
    assert!(
        matches!(client.call(Request::Info(Empty {})).await, Ok(Reply::Info(info)) if info.server == "hub.test")
    );
    assert!(matches!(
        client.call(Request::Ping(Empty {})).await,
        Ok(Reply::Done(_))
    ));
    assert!(
        world.engine.outboxes.is_empty(),
        "a stranger costs the engine nothing"
    );
}

#[tokio::test]
async fn a_login_for_another_server_chain_or_protocol_fails() {
    let world = World::new().await;
    let signer = key(5);
    for field in 0..3 {
        let mut client = world.connect().await;
        let challenge = client.challenge.clone().unwrap();
        let (mut hub, mut protocol) = (challenge.hub, SUBPROTOCOL_JSON);
        match field {
            0 => hub.server = "evil.test".into(),
            1 => hub.chain_id += 1,
            _ => protocol = SUBPROTOCOL_BORSH,
        }
        let digest = login_digest(&hub, challenge.nonce, signer.address(), protocol);
        let call = LoginCall {
            signer: signer.address(),
            signature: signer.sign(&digest),
        };
        assert!(
            client
                .call(Request::Login(call))
                .await
                .unwrap_err()
                .is(ErrorCode::LoginFailed),
            "field {field}"
        );
        client.take_challenge().await;
        assert!(client.log_in(&signer).await.is_ok(), "the next challenge works");
    }
}

#[tokio::test]
async fn a_nonce_counts_only_on_its_connection_and_not_after_a_failure() {
    let world = World::new().await;
    let signer = key(5);
    let mut first = world.connect().await;
    let call = first.login_call(&signer);
    let mut second = world.connect().await;
    let stolen = second.call(Request::Login(call.clone())).await.unwrap_err();
    assert!(stolen.is(ErrorCode::LoginFailed));
    second.take_challenge().await;
    // A failure voids the challenge: a good signature over the old one no longer counts.
    let good = first.login_call(&signer);
    let mut bad = good.clone();
    bad.signer = key(6).address();
    assert!(
        first
            .call(Request::Login(bad))
            .await
            .unwrap_err()
            .is(ErrorCode::LoginFailed)
    );
    assert!(
        first
            .call(Request::Login(good))
            .await
            .unwrap_err()
            .is(ErrorCode::LoginFailed)
    );
}

#[tokio::test]
async fn three_failures_end_the_connection() {
    let world = World::new().await;
    let mut client = world.connect().await;
    for _ in 0..3 {
        let mut call = client.login_call(&key(5));
        call.signature.0[10] ^= 1;
        assert!(
            client
                .call(Request::Login(call))
                .await
                .unwrap_err()
                .is(ErrorCode::LoginFailed)
        );
    }
    assert_eq!(client.closed().await, 1008);
    assert!(world.engine.outboxes.is_empty());
}

#[tokio::test]
async fn a_logged_in_connection_keeps_what_it_has_when_further_logins_fail() {
    let world = World::new().await;
    let mut client = world.logged_in(5).await;
    for _ in 0..20 {
        let mut call = client.login_call(&key(6));
        call.signature.0[10] ^= 1;
        let error = client.call(Request::Login(call)).await.unwrap_err();
        assert!(
            error.is(ErrorCode::LoginFailed) || error.is(ErrorCode::Busy),
            "{error}"
        );
    }
    let served = client.call(channel_call()).await.unwrap_err();
    assert!(served.is(ErrorCode::UnknownChannel), "by the engine: {served}");
}

#[tokio::test]
async fn logs_hold_no_key_bytes() {
    let world = World::new().await;
    let secret: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 7 + 13).unwrap());
    let signer = SignerKey::from_bytes(&secret).unwrap();
    tracing::info!(?signer, "a key in a log line");
    let mut client = world.connect().await;
    client.log_in(&signer).await.unwrap();
    client
        .text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"nonsense\"}")
        .await;
    client.error().await;
    let text = String::from_utf8_lossy(&logs().lock().unwrap()).to_lowercase();
    assert!(text.contains("connected"), "logs are captured");
    let list = format!("{secret:?}");
    for needle in [hex::encode(secret), list[1..list.len() - 1].to_owned()] {
        assert!(
            !text.contains(&needle[..needle.len() / 2]),
            "half a key is too much"
        );
    }
}
