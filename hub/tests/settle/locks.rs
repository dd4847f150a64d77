//! Locks in the evidence: what is resolved, when it is too late, and that a stale lock dies.

use crate::{
    tower_locks::TWO_FACED,
    vouchers::{CLIENT, HUB, PERIOD_S, Parties, lock, opening, preimage},
    world::World,
};
use protocol_spec::{Address, DirectionEvidence, Evidence, Lock, Side, Witness, calls};

/// The hub paid 100 and locked `locks`; the preimages of `known` are known.
pub(crate) fn locked(p: &Parties, locks: Vec<Lock>, known: &[u64]) -> DirectionEvidence {
    let opening = opening(&locks);
    DirectionEvidence {
        voucher: Some(p.direct(Side::Hub, p.voucher((4, 100), (0, 0), opening.commitment()))),
        locks,
        opening: Some(opening),
        witnesses: known
            .iter()
            .map(|id| (id.to_string(), preimage(*id).into()))
            .collect(),
    }
}

/// What a client holds of whom paid it 100 and locked `count` times `amount` of the lock's id until `expiry`: it knows all preimages.
pub(crate) fn all_known(p: &Parties, count: u64, amount: impl Fn(u64) -> u128, expiry: u64) -> Evidence {
    let ids: Vec<u64> = (1..=count).collect();
    let locks = ids.iter().map(|id| lock(*id, amount(*id), expiry)).collect();
    p.evidence(Side::Client, locked(p, locks, &ids), DirectionEvidence::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_that_is_named_is_that_of_the_first_lock_that_expires() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let expiry = world.now().await + PERIOD_S / 2;
    let locks = vec![lock(1, 20, expiry), lock(2, 30, expiry - 600)];
    let evidence = p.evidence(Side::Client, locked(p, locks, &[1]), DirectionEvidence::default());
    let file = world.file(&evidence);
    world
        .send_as(CLIENT, "dispute", &file, &["--without-evidence"])
        .exits(0);
    let plan = world.settle("plan", &file, &["--json"]).exits(0).json();
    assert_eq!(plan["steps"][0]["step"], "submit", "{plan:#}");
    let before = &plan["steps"][0]["before"]["chain_time"];
    assert_eq!(*before, expiry.to_string(), "{plan:#}");
    let status = world.settle("status", &file, &["--json"]).exits(0).json();
    let next = status["next"].as_str().unwrap();
    assert!(next.contains(&expiry.to_string()), "{next}");
}

/// What was counted already has no time left to be named.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_no_time_of_a_lock_that_is_counted_already() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let (first, second) = (now + PERIOD_S / 3, now + PERIOD_S / 2);
    let locks = vec![lock(1, 20, first), lock(2, 30, second)];
    let knowing = |known: &[u64]| {
        let received = locked(p, locks.clone(), known);
        world.file(&p.evidence(Side::Client, received, DirectionEvidence::default()))
    };
    world.send_as(CLIENT, "dispute", &knowing(&[1]), &[]).exits(0);
    let file = knowing(&[1, 2]);
    let plan = world.settle("plan", &file, &["--json"]).exits(0).json();
    assert_eq!(plan["steps"][0]["step"], "submit", "{plan:#}");
    let before = &plan["steps"][0]["before"]["chain_time"];
    assert_eq!(*before, second.to_string(), "{plan:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn known_locks_are_resolved_and_counted_to_the_unit() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    // 1 and 3 are known, 2 is not, 4 is known but expired.
    let locks = vec![
        lock(1, 20, now + 7200),
        lock(2, 30, now + 7200),
        lock(3, 50, now + 10_000),
        lock(4, 90, now - 5),
    ];
    let evidence = p.evidence(
        Side::Client,
        locked(p, locks, &[1, 3, 4]),
        DirectionEvidence::default(),
    );
    let file = world.file(&evidence);
    let sent = world
        .send_as(CLIENT, "dispute", &file, &["--json"])
        .exits(0)
        .says("have expired")
        .json();
    assert_eq!(
        (&sent["locks_resolved"], &sent["after"]["client"]),
        (&2.into(), &"1170".into())
    );
    world.settle("submit", &file, &[]).exits(4);
    // R18: locks keep it open for one more period, and until the last expiry.
    world.pass(PERIOD_S).await;
    world.send_as(CLIENT, "finalize", &file, &[]).exits(7);
    world.pass(10_000 - PERIOD_S).await;
    world.send_as(CLIENT, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1000 + 100 + 20 + 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preimage_learnt_after_the_window_is_resolved_by_submit() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let locks = vec![lock(1, 20, now + 6000), lock(2, 30, now + 9000)];
    let first = p.evidence(
        Side::Client,
        locked(p, locks.clone(), &[1]),
        DirectionEvidence::default(),
    );
    let file = world.file(&first);
    world.send_as(CLIENT, "dispute", &file, &[]).exits(0);
    world.pass(PERIOD_S + 60).await;
    let learnt = p.evidence(
        Side::Client,
        locked(p, locks, &[1, 2]),
        DirectionEvidence::default(),
    );
    let file = world.file(&learnt);
    let sent = world
        .send_as(CLIENT, "submit", &file, &["--json"])
        .exits(0)
        .json();
    assert_eq!(sent["locks_resolved"], 1);
    world.pass(9000).await;
    world.send_as(CLIENT, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1150);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_kills_a_stale_lock_although_it_costs_something_now() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    // The client's stale voucher 2 promises 600 on a lock; voucher 3 dropped it and paid 10.
    let stale_locks = vec![lock(1, 600, now + 9000)];
    let stale_opening = opening(&stale_locks);
    let stale = DirectionEvidence {
        voucher: Some(p.direct(
            Side::Client,
            p.voucher((2, 0), (0, 0), stale_opening.commitment()),
        )),
        locks: stale_locks,
        opening: Some(stale_opening),
        witnesses: Vec::new(),
    };
    let to = p.domain.adjudicator;
    world
        .call(HUB, to, 0, &calls::dispute(&p.config, Side::Client, &stale))
        .await;
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (1, 0), (3, 10)),
        p.paid(Side::Client, (3, 10), (1, 0)),
    );
    let file = world.file(&evidence);
    world.send_as(CLIENT, "submit", &file, &[]).exits(0);
    let mut claim = stale;
    claim.witnesses = vec![("1".to_owned(), preimage(1).into())];
    let (_, resolutions) = calls::evidence(Side::Client, &claim);
    assert_eq!(resolutions.len(), 1);
    world.pass(PERIOD_S).await;
    world.send_as(CLIENT, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 990);
}

#[tokio::test(flavor = "multi_thread")]
async fn resolvers_are_asked_and_what_they_refuse_is_left_out() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let (yes, no) = (Address::repeat_byte(0x51), Address::repeat_byte(0x52));
    world.set_code(yes, "0x600160005260206000f3").await;
    world.set_code(no, "0x600260005260206000f3").await;
    let on = |resolver, lock: Lock| Lock { resolver, ..lock };
    let locks = vec![
        lock(1, 20, now + 7200),
        on(yes, lock(2, 30, now + 7200)),
        on(no, lock(3, 50, now + 7200)),
        on(yes, lock(4, 90, now + 7200)),
    ];
    let mut received = locked(p, locks, &[1, 3]);
    let signed = Witness::new(vec![7; 129]).unwrap();
    received.witnesses.push(("2".to_owned(), signed));
    let evidence = p.evidence(Side::Client, received, DirectionEvidence::default());
    let file = world.file(&evidence);
    let sent = world
        .send_as(CLIENT, "dispute", &file, &["--json"])
        .exits(0)
        .says("locks 3: the resolver does not take the witness")
        .json();
    // 1 by its preimage, 2 by its resolver; of 4 nothing is known.
    assert_eq!(
        (&sent["locks_resolved"], &sent["after"]["client"]),
        (&2.into(), &"1150".into())
    );
    world.pass(2 * PERIOD_S).await;
    world.send_as(CLIENT, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1000 + 100 + 20 + 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_refused_in_a_transaction_can_be_left_out_by_hand() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let no = Address::repeat_byte(0x52);
    world.set_code(no, TWO_FACED).await;
    let bad = Lock {
        resolver: no,
        ..lock(2, 30, now + 7200)
    };
    let locks = vec![lock(1, 20, now + 7200), bad, lock(3, 50, now + 7200)];
    let mut received = locked(p, locks, &[1, 3]);
    let witness = Witness::new(vec![7; 40]).unwrap();
    received.witnesses.push(("2".to_owned(), witness));
    let evidence = p.evidence(Side::Client, received, DirectionEvidence::default());
    let file = world.file(&evidence);
    world.empty_dispute(p).await;

    // Every check before it is sent says yes.
    world.settle("submit", &file, &[]).exits(0);
    world
        .send_as(CLIENT, "submit", &file, &[])
        .exits(8)
        .says("--leave-out-locks");
    world
        .send_as(CLIENT, "submit", &file, &["--leave-out-locks", "2,9"])
        .exits(2)
        .says("--leave-out-locks 9");
    let without = ["--leave-out-locks", "2", "--json"];
    let sent = world
        .send_as(CLIENT, "submit", &file, &without)
        .exits(0)
        .says("locks 2: left out, as told")
        .json();
    assert_eq!(
        (&sent["locks_resolved"], &sent["after"]["client"]),
        (&2.into(), &"1170".into())
    );
    // The bad one is all that is left; without it there is nothing to do.
    world.send_as(CLIENT, "resolve", &file, &[]).exits(8);
    world.send_as(CLIENT, "resolve", &file, &without).exits(4);
    world.pass(2 * PERIOD_S).await;
    world.send_as(CLIENT, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1170);
}
