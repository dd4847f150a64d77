//! Nodes that stand still or are down: nothing is accepted, acknowledged, signed or revealed while a dispute may be missed
//! (R6, R22), and nothing is lost by that.

use crate::common::{Hub, Lie, Node, Refuse, Spoil, attached, builder, eventually, key};
use client_sdk::{
    ChannelError, ChannelHandle, ChannelId, Client, ClientEvent, ConnectError, Digest, LockOptions,
    LockedReceived, MemoryStore, PayError, PayOptions, PaymentAnswer, PaymentId, PaymentState, Ports,
    UnixSeconds, Witness,
};
use protocol_spec::{Amount, Condition, Invoice, Preimage, Seq, SignedInvoice};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::broadcast::Receiver, task::JoinHandle};

/// More than `lag`, less than a quarter of the challenge period; and more than that.
const FOR_LOCKS: u64 = 11 * 60;
const FOR_ALL: u64 = 6 * 3600 + 60;

/// What opens a lock on a resolver.
const SIGNED: &[u8] = b"the arbiter's signature";

struct World {
    now: Arc<AtomicU64>,
    hub: Arc<Hub>,
    nodes: Vec<Arc<Node>>,
    client: Client,
    channel: ChannelHandle,
    events: Receiver<ClientEvent>,
}

impl World {
    async fn with(nodes: usize) -> Self {
        Self::of(nodes, None, Lie::default()).await
    }

    /// `agree` nodes must say the same; the last one lies. Without nodes the hub's view is trusted.
    async fn of(nodes: usize, agree: Option<usize>, lie: Lie) -> Self {
        let now = Arc::new(AtomicU64::new(1_800_000_000));
        let read = now.clone();
        let clock: Arc<dyn Fn() -> UnixSeconds + Send + Sync> =
            Arc::new(move || UnixSeconds(read.load(Ordering::SeqCst)));
        let hub = Hub::start_at(clock.clone()).await;
        let config = hub.add_channel(&key(1));
        let ports = Ports {
            clock,
            ..Ports::default()
        };
        let mut builder = builder(&hub, key(1), MemoryStore::new())
            .ports(ports)
            .chain_poll(Duration::from_millis(10))
            .ack_delay(Duration::from_millis(1));
        let mut all = Vec::new();
        for _ in 0..nodes {
            let node = Node::start(hub.clone()).await;
            builder = builder.rpc(node.url.clone());
            all.push(node);
        }
        if let Some(last) = all.last() {
            *last.lie.lock().unwrap() = lie;
        }
        if let Some(agree) = agree {
            builder = builder.agree(agree);
        }
        let (client, id) = attached(&hub, config, builder).await;
        let (channel, events) = (client.channel(id), client.events());
        Self {
            now,
            hub,
            nodes: all,
            client,
            channel,
            events,
        }
    }

    fn id(&self) -> ChannelId {
        self.channel.id()
    }

    /// The time of day goes on, and no node shows a new block.
    async fn stand_still(&mut self, seconds: u64) {
        for node in &self.nodes {
            node.stand_still();
        }
        self.now.fetch_add(seconds, Ordering::SeqCst);
        let only_locks = seconds < FOR_ALL;
        self.told(
            |event| matches!(event, ClientEvent::ChainStale { only_locks: only, .. } if *only == only_locks),
        )
        .await;
    }

    async fn go_on(&mut self) {
        for node in &self.nodes {
            node.go_on();
        }
        self.told(|event| matches!(event, ClientEvent::ChainFresh { .. }))
            .await;
    }

    async fn told(&mut self, wanted: impl Fn(&ClientEvent) -> bool) {
        let told = async { while !wanted(&self.events.recv().await.unwrap()) {} };
        tokio::time::timeout(Duration::from_secs(10), told)
            .await
            .expect("the event did not come");
    }

    /// Everything that the hub has sent before is with the client when this returns.
    async fn settled(&self) {
        let payee = ChannelId([9; 32]);
        self.channel.quote(payee, 1_u128).await.unwrap();
    }

    /// Everything, once, from a hub that did nothing wrong.
    async fn receives(&self, sum: u128) {
        eventually("everything is accepted, or it is frozen", || {
            self.received() == sum || self.client.health() != client_sdk::Health::Good
        })
        .await;
        assert_eq!(self.client.health(), client_sdk::Health::Good);
        assert_eq!(self.received(), sum);
    }

    fn received(&self) -> u128 {
        self.channel.view().unwrap().balance.received.0
    }

    fn lock(&self, amount: u128, invoice: &SignedInvoice, expiry: UnixSeconds) {
        self.hub.lock(&self.id(), Amount(amount), invoice, expiry);
    }
}

/// E6: the node stands still and answers on; the hub has disputed with nothing and goes on paying.
#[tokio::test]
async fn a_node_that_stands_still_ends_all_updates_until_it_goes_on() {
    let mut world = World::with(1).await;
    world.stand_still(FOR_ALL).await;
    for amount in [3, 4] {
        world.hub.credit(&world.id(), amount);
    }
    world.settled().await;
    assert_eq!(world.received(), 0, "a payment was accepted");
    let refused = world.client.pay(ChannelId([9; 32]), 10_u128).await;
    assert_eq!(refused, Err(PayError::ChainStale));
    let refused = world.channel.close().await;
    assert!(matches!(refused, Err(ChannelError::ChainStale)), "{refused:?}");
    let refused = world.channel.withdraw(1_u128).await;
    assert!(matches!(refused, Err(ChannelError::ChainStale)), "{refused:?}");
    assert_eq!(world.hub.state().vouchers.len(), 0, "something was signed");
    world.go_on().await;
    eventually("what waited is accepted", || world.received() == 7).await;
    eventually("and acknowledged", || {
        world.hub.state().vouchers.last().map(|own| own.voucher.ack_seq) == Some(Seq(2))
    })
    .await;
    world.client.pay(ChannelId([9; 32]), 10_u128).await.unwrap();
    assert_eq!(world.hub.state().logins, 1, "the connection lived on");
}

/// More than is held: the rest is asked for again.
#[tokio::test]
async fn a_flood_while_the_node_stands_still_loses_nothing() {
    let mut world = World::with(1).await;
    world.stand_still(FOR_ALL).await;
    for _ in 0..1_500 {
        world.hub.credit(&world.id(), 1);
    }
    world.settled().await;
    assert_eq!(world.received(), 0);
    world.go_on().await;
    eventually("everything is accepted", || world.received() == 1_500).await;
    assert_eq!(world.hub.state().logins, 1, "the connection lived on");
}

/// What it pays on while the rest is asked for follows a gap, until it has answered.
#[tokio::test]
async fn a_flood_that_goes_on_while_the_rest_is_asked_for_loses_nothing() {
    let mut world = World::with(1).await;
    world.stand_still(FOR_ALL).await;
    for _ in 0..1_100 {
        world.hub.credit(&world.id(), 1);
    }
    world.settled().await;
    world.hub.state().refuse = Some(Refuse::Register);
    world.go_on().await;
    eventually("it asks", || !world.hub.state().refused_at.is_empty()).await;
    for _ in 0..50 {
        world.hub.credit(&world.id(), 1);
    }
    world.settled().await;
    {
        let mut state = world.hub.state();
        (state.refuse, state.credits_at_resume) = (None, Some([1, 1]));
    }
    world.receives(1_152).await;
    assert_eq!(world.hub.state().logins, 1, "the connection lived on");
}

/// R6: what comes while a signed close may still be mined is not taken; the hub pays on as soon as it cannot be.
#[tokio::test]
async fn a_close_that_lapses_while_the_hub_pays_on_loses_nothing() {
    // Without nodes nothing but time opens the channel again.
    for nodes in [0, 1] {
        let world = World::with(nodes).await;
        world.hub.state().refuse = Some(Refuse::Close);
        let channel = world.channel.clone();
        let closing = tokio::spawn(async move { channel.close().await });
        world.phase("closing").await;
        world.hub.credit(&world.id(), 3);
        world.settled().await;
        assert_eq!(world.received(), 0, "a payment was accepted");
        world.now.fetch_add(30 * 60, Ordering::SeqCst);
        world.hub.state().refuse = Some(Refuse::Register);
        world.phase("open").await;
        world.hub.credit(&world.id(), 4);
        world.settled().await;
        world.hub.state().refuse = None;
        world.receives(7).await;
        closing.abort();
    }
}

/// The hub is restarted while its voucher waits for the chain, and sends all that was not acknowledged in one frame.
#[tokio::test]
async fn a_voucher_that_waits_is_forgotten_when_its_channel_is_resumed() {
    let mut world = World::with(1).await;
    world.stand_still(FOR_ALL).await;
    world.hub.credit(&world.id(), 3);
    world.settled().await;
    {
        let mut state = world.hub.state();
        world.hub.issue_credit(&mut state, &world.id(), 4);
        state.in_one = true;
    }
    world.hub.cut_next();
    let cut = world.channel.quote(ChannelId([9; 32]), 2_u128).await;
    cut.expect_err("the connection was not cut");
    world
        .told(|event| matches!(event, ClientEvent::ChannelLive(_)))
        .await;
    world.settled().await;
    assert_eq!(world.received(), 0, "it did not wait");
    world.go_on().await;
    world.receives(7).await;
    assert_eq!(world.hub.state().logins, 2);
}

#[tokio::test]
async fn an_older_view_stops_locks_and_reveals_but_not_payments() {
    let mut world = World::with(1).await;
    let hour = Duration::from_secs(3600);
    let invoices = [
        world
            .channel
            .invoice(40_u128, hour, Digest([1; 32]))
            .await
            .unwrap(),
        world
            .channel
            .invoice(50_u128, hour, Digest([2; 32]))
            .await
            .unwrap(),
    ];
    world.stand_still(FOR_LOCKS).await;
    world.client.pay(ChannelId([9; 32]), 10_u128).await.unwrap();
    let asked = Invoice {
        channel_id: ChannelId([9; 32]),
        amount: Amount(5),
        hash: Condition::preimage(&Preimage([4; 32])).hash,
        resolver: client_sdk::Address::ZERO,
        expires_at: world.hub.clock().now.after(3600),
        memo: Digest::ZERO,
    };
    let signature = key(2).sign(&asked.digest(&world.hub.domain));
    let asked = SignedInvoice {
        invoice: asked,
        signature,
    };
    let refused = world
        .channel
        .pay_locked(&asked, key(2).address(), LockOptions::default())
        .await;
    assert_eq!(refused, Err(PayError::ChainStale));
    // The one is paid in time, the other's lock expires while the node stands still.
    let now = world.hub.clock().now;
    world.lock(40, &invoices[0], now.after(2 * 3600));
    world.lock(50, &invoices[1], now.after(60));
    world.settled().await;
    assert!(world.hub.state().revealed.is_empty(), "a preimage was told");
    world.now.fetch_add(120, Ordering::SeqCst);
    world.go_on().await;
    eventually("the one is opened", || world.hub.state().revealed == [1]).await;
    eventually("the other given up", || world.hub.state().consented == [2]).await;
    assert_eq!(world.client.health(), client_sdk::Health::Good);
}

/// A lock whose frame waited until it had expired is the hub's honest work.
#[tokio::test]
async fn a_lock_that_expires_while_its_frame_waits_is_given_up_and_blamed_on_nobody() {
    let mut world = World::with(1).await;
    let hour = Duration::from_secs(3600);
    let invoice = world
        .channel
        .invoice(40_u128, hour, Digest([1; 32]))
        .await
        .unwrap();
    world.stand_still(FOR_ALL).await;
    world.lock(40, &invoice, world.hub.clock().now.after(3600));
    world.hub.credit(&world.id(), 5);
    world.settled().await;
    world.now.fetch_add(2 * 3600, Ordering::SeqCst);
    world.go_on().await;
    eventually("what came behind it is accepted", || world.received() == 5).await;
    eventually("it is given up", || world.hub.state().consented == [1]).await;
    assert!(world.hub.state().revealed.is_empty());
    assert_eq!(world.client.health(), client_sdk::Health::Good);
}

#[tokio::test]
async fn a_release_while_the_view_is_old_is_refused_and_tells_nothing() {
    let mut world = World::with(1).await;
    let invoice = held(&world.hub, &world.channel).await;
    world.stand_still(FOR_LOCKS).await;
    *world.nodes[0].takes.lock().unwrap() = Some(SIGNED.to_vec());
    let refused = world.channel.release(&invoice, signed()).await;
    assert!(matches!(refused, Err(ChannelError::ChainStale)), "{refused:?}");
    world.settled().await;
    assert!(world.hub.state().revealed.is_empty(), "a witness was told");
    world.go_on().await;
    let (channel, hub) = (world.channel.clone(), &world.hub);
    tokio::spawn(async move { channel.release(&invoice, signed()).await });
    eventually("the witness is told", || hub.state().revealed == [1]).await;
}

/// The chain is not old, only not read yet.
#[tokio::test]
async fn a_release_just_after_a_start_waits_for_the_first_reading() {
    let hub = Hub::start().await;
    let node = Node::start(hub.clone()).await;
    let config = hub.add_channel(&key(1));
    let store = MemoryStore::new();
    let first = builder(&hub, key(1), store.clone()).rpc(node.url.clone());
    let (client, id) = attached(&hub, config, first).await;
    let invoice = held(&hub, &client.channel(id)).await;
    client.shutdown().await;
    *node.takes.lock().unwrap() = Some(SIGNED.to_vec());

    // Shut down before, it is not kept, and says so.
    let (client, releasing) = releases_unread(&hub, &node, &store, &invoice).await;
    client.shutdown().await;
    let ended = releasing.await.unwrap();
    assert!(matches!(ended, Err(ChannelError::ChainStale)), "{ended:?}");

    // What is read first is too old. From the start: a reading that had its block before would be a good one.
    *node.stands_at.lock().unwrap() = Some(hub.clock().now.0 - FOR_LOCKS);
    let (client, releasing) = releases_unread(&hub, &node, &store, &invoice).await;
    node.hides_channels.store(false, Ordering::SeqCst);
    let ended = releasing.await.unwrap();
    assert!(matches!(ended, Err(ChannelError::ChainStale)), "{ended:?}");
    client.shutdown().await;
    assert!(hub.state().revealed.is_empty(), "a witness was told");

    node.go_on();
    let (_client, _releasing) = releases_unread(&hub, &node, &store, &invoice).await;
    assert!(hub.state().revealed.is_empty(), "a witness was told");
    node.hides_channels.store(false, Ordering::SeqCst);
    eventually("the witness is told", || hub.state().revealed == [1]).await;
}

/// A release of a held lock that waits for the first reading.
struct Unread {
    hub: Arc<Hub>,
    node: Arc<Node>,
    invoice: SignedInvoice,
    channel: ChannelHandle,
    releasing: Releasing,
}

impl Unread {
    async fn new() -> Self {
        let hub = Hub::start().await;
        let node = Node::start(hub.clone()).await;
        let config = hub.add_channel(&key(1));
        let store = MemoryStore::new();
        let first = builder(&hub, key(1), store.clone()).rpc(node.url.clone());
        let (client, id) = attached(&hub, config, first).await;
        let invoice = held(&hub, &client.channel(id)).await;
        client.shutdown().await;
        *node.takes.lock().unwrap() = Some(SIGNED.to_vec());
        let (client, releasing) = releases_unread(&hub, &node, &store, &invoice).await;
        Self {
            channel: client.channel(id),
            hub,
            node,
            invoice,
            releasing,
        }
    }

    /// The chain is read: what comes of the release.
    async fn read(self) -> (Arc<Hub>, ChannelHandle, Result<LockedReceived, ChannelError>) {
        self.node.hides_channels.store(false, Ordering::SeqCst);
        (self.hub, self.channel, self.releasing.await.unwrap())
    }
}

#[tokio::test]
async fn two_releases_that_wait_for_one_lock_are_both_paid_by_it() {
    let world = Unread::new().await;
    let (channel, invoice, hub) = (world.channel.clone(), world.invoice.clone(), world.hub.clone());
    let mut second = tokio::spawn(async move { channel.release(&invoice, signed()).await });
    let at_once = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(at_once.is_err(), "{at_once:?}");
    let id = world.channel.id();
    let folds = async {
        eventually("the witness is told", || hub.state().revealed.contains(&1)).await;
        hub.fold(&id, 1);
    };
    let ((_, _, first), ()) = tokio::join!(world.read(), folds);
    assert_eq!(first.unwrap(), second.await.unwrap().unwrap());
}

/// The hub turns out to have broken the protocol: it is told nothing, and the chain can collect the lock.
#[tokio::test]
async fn a_release_that_waits_while_the_channel_freezes_is_kept_for_the_chain() {
    let world = Unread::new().await;
    world.hub.state().spoil = Some(Spoil::Signature);
    world.hub.credit(&world.channel.id(), 5);
    // The voucher is here before the answer.
    world.channel.quote(ChannelId([9; 32]), 1_u128).await.unwrap();
    let (hub, channel, ended) = world.read().await;
    assert!(matches!(ended, Err(ChannelError::Frozen(_))), "{ended:?}");
    let evidence = channel.evidence().await.unwrap();
    assert_eq!(evidence.received.witnesses, [("1".to_owned(), signed())]);
    assert!(hub.state().revealed.is_empty(), "a witness was told");
}

/// R11: what was given up is never used.
#[tokio::test]
async fn a_release_that_waits_while_its_lock_is_given_up_tells_nothing() {
    let world = Unread::new().await;
    world.channel.give_up(&world.invoice).await.unwrap();
    let (hub, channel, ended) = world.read().await;
    assert!(matches!(ended, Err(ChannelError::NotHeld)), "{ended:?}");
    eventually("it is given up", || hub.state().consented == [1]).await;
    assert!(hub.state().revealed.is_empty(), "a witness was told");
    assert!(channel.evidence().await.unwrap().received.witnesses.is_empty());
}

/// Without the hub it is stored, and told as soon as that is back.
#[tokio::test]
async fn a_release_that_waits_while_the_hub_goes_is_told_when_it_is_back() {
    let world = Unread::new().await;
    world.hub.state().refuse = Some(Refuse::Register);
    world.hub.cut_next();
    let cut = world.channel.quote(ChannelId([9; 32]), 1_u128).await;
    cut.unwrap_err();
    let (hub, _channel, ended) = world.read().await;
    assert!(matches!(ended, Err(ChannelError::Offline)), "{ended:?}");
    assert!(hub.state().revealed.is_empty());
    hub.state().refuse = None;
    eventually("the witness is told", || hub.state().revealed == [1]).await;
}

type Releasing = JoinHandle<Result<LockedReceived, ChannelError>>;

/// A client that has started, has not read its channel, and releases.
async fn releases_unread(
    hub: &Hub,
    node: &Node,
    store: &MemoryStore,
    invoice: &SignedInvoice,
) -> (Client, Releasing) {
    node.hides_channels.store(true, Ordering::SeqCst);
    let builder = builder(hub, key(1), store.clone()).rpc(node.url.clone());
    let connecting = builder.chain_poll(Duration::from_millis(10)).connect();
    let client = connecting.await.unwrap();
    let channel = client.channel(invoice.invoice.channel_id);
    channel.wait_live().await.unwrap();
    let invoice = invoice.clone();
    let mut releasing = tokio::spawn(async move { channel.release(&invoice, signed()).await });
    let at_once = tokio::time::timeout(Duration::from_millis(300), &mut releasing).await;
    assert!(at_once.is_err(), "{at_once:?}");
    (client, releasing)
}

/// A lock that pays an invoice on a resolver and is held.
async fn held(hub: &Hub, channel: &ChannelHandle) -> SignedInvoice {
    let condition = Condition::data(client_sdk::Address::repeat_byte(0x0e), b"deal");
    let life = Duration::from_secs(3600);
    let invoice = channel.invoice_on(40_u128, life, Digest::ZERO, condition);
    let invoice = invoice.await.unwrap();
    let expiry = hub.clock().now.after(2 * 3600);
    hub.lock(&channel.id(), Amount(40), &invoice, expiry);
    channel.held(&invoice).await.unwrap();
    invoice
}

fn signed() -> Witness {
    Witness::new(SIGNED.to_vec()).unwrap()
}

#[tokio::test]
async fn with_two_nodes_one_may_stand_still_or_be_down() {
    let mut world = World::with(2).await;
    world.nodes[0].stand_still();
    world.now.fetch_add(FOR_ALL, Ordering::SeqCst);
    world.nodes[1].down.store(false, Ordering::SeqCst);
    eventually("the one that goes on counts", || {
        world.hub.credit(&world.id(), 1);
        world.received() > 0
    })
    .await;
    world.nodes[0].down.store(true, Ordering::SeqCst);
    let name = world.nodes[0].url.clone();
    world
        .told(|event| matches!(event, ClientEvent::NodeFailed { node, .. } if *node == name))
        .await;
    world.client.pay(ChannelId([9; 32]), 10_u128).await.unwrap();
    world.nodes[1].stand_still();
    world.now.fetch_add(FOR_ALL, Ordering::SeqCst);
    world
        .told(|event| matches!(event, ClientEvent::ChainStale { .. }))
        .await;
}

/// A restart in a dispute is not kept out by one node that is wrong.
#[tokio::test]
async fn a_node_of_another_chain_is_left_out_and_named() {
    let lie = Lie {
        other_chain: true,
        ..Lie::default()
    };
    for nodes in [2, 3] {
        let mut world = World::of(nodes, None, lie).await;
        let name = world.nodes[nodes - 1].url.clone();
        world
            .told(|event| {
                matches!(event, ClientEvent::NodeFailed { node, why } if *node == name && why.contains("chain"))
            })
            .await;
        world.client.pay(ChannelId([9; 32]), 10_u128).await.unwrap();
    }
    let hub = Hub::start().await;
    let wrong = Node::start(hub.clone()).await;
    *wrong.lie.lock().unwrap() = lie;
    for honest in [0, 1] {
        let mut builder = builder(&hub, key(1), MemoryStore::new());
        for _ in 0..honest {
            builder = builder.rpc(Node::start(hub.clone()).await.url.clone());
        }
        let error = builder
            .rpc(wrong.url.clone())
            .rpc(wrong.url.clone())
            .connect()
            .await
            .unwrap_err();
        let other = client_sdk::ChainError::WrongChain {
            expected: 31337,
            got: 5,
        };
        assert_eq!(error, ConnectError::Chain(other));
    }
}

#[tokio::test]
async fn a_dispute_that_one_of_two_nodes_shows_freezes() {
    let mut world = World::with(2).await;
    // Of two with the same head the other one counts.
    world.nodes[0].disputed.store(true, Ordering::SeqCst);
    world
        .told(|event| matches!(event, ClientEvent::Disputed { .. }))
        .await;
    world.hub.credit(&world.id(), 5);
    world.settled().await;
    assert_eq!(world.received(), 0);
    let refused = world.client.pay(ChannelId([9; 32]), 10_u128).await;
    assert!(matches!(refused, Err(PayError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn one_of_two_nodes_alone_has_no_say_about_a_resolver() {
    // Its answers are `Chain::opens`'s; the rule itself is tested there.
    let world = World::with(2).await;
    let condition = Condition::data(client_sdk::Address::repeat_byte(0x0e), b"deal");
    let invoice = world
        .channel
        .invoice_on(40_u128, Duration::from_secs(3600), Digest::ZERO, condition)
        .await
        .unwrap();
    *world.nodes[0].takes.lock().unwrap() = Some(vec![7; 20]);
    let witness = Witness::new(vec![7; 20]).unwrap();
    let refused = world.channel.release(&invoice, witness.clone()).await;
    assert!(
        matches!(refused, Err(ChannelError::WitnessRefused)),
        "{refused:?}"
    );
    *world.nodes[1].takes.lock().unwrap() = Some(vec![7; 20]);
    let refused = world.channel.release(&invoice, witness).await;
    assert!(matches!(refused, Err(ChannelError::NotHeld)), "{refused:?}");
}

/// A node that is ahead of all others shuts nobody out: not with its time, its dispute, its deposits, or its number.
#[tokio::test]
async fn a_node_from_the_future_hides_no_dispute_and_makes_no_deposit() {
    let mut world = World::with(3).await;
    *world.nodes[2].lie.lock().unwrap() = Lie {
        blocks: 1_000_000_000,
        seconds: 700,
        hub_deposit: 1_000_000,
        past_dispute: 99,
        ..Lie::default()
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.channel.view().unwrap().hub_deposit, Amount(1_000_000));
    for node in &world.nodes[..2] {
        node.disputed.store(true, Ordering::SeqCst);
    }
    world
        .told(|event| matches!(event, ClientEvent::Disputed { .. }))
        .await;
}

/// What was wrong once is not believed for ever.
#[tokio::test]
async fn a_number_that_was_wrong_blinds_nobody_once_it_is_gone() {
    let mut world = World::with(1).await;
    let lie = Lie {
        blocks: 1_000_000_000,
        ..Lie::default()
    };
    *world.nodes[0].lie.lock().unwrap() = lie;
    tokio::time::sleep(Duration::from_millis(200)).await;
    *world.nodes[0].lie.lock().unwrap() = Lie::default();
    world.nodes[0].disputed.store(true, Ordering::SeqCst);
    world
        .told(|event| matches!(event, ClientEvent::Disputed { .. }))
        .await;
}

/// Where two of three must agree one neither hides a deposit nor invents one; where all must, it invents none.
#[tokio::test]
async fn one_of_three_nodes_makes_no_deposit_and_hides_none_where_two_must_agree() {
    let hides = Lie {
        hides_deposits: true,
        ..Lie::default()
    };
    let invents = Lie {
        hub_deposit: 5,
        ..Lie::default()
    };
    for (agree, lie) in [(2, hides), (2, invents), (3, invents)] {
        let world = World::of(3, Some(agree), lie).await;
        eventually("the deposits", || {
            let view = world.channel.view().unwrap();
            (view.hub_deposit, view.balance.deposit) == (Amount(1_000_000), Amount(1_000_000))
        })
        .await;
        // Every node was read a few times.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(
            world.channel.view().unwrap().hub_deposit,
            Amount(1_000_000),
            "{lie:?}"
        );
        world.client.pay(ChannelId([9; 32]), 10_u128).await.unwrap();
    }
}

#[tokio::test]
async fn while_fewer_nodes_answer_than_must_agree_the_view_grows_old() {
    let mut world = World::of(3, Some(2), Lie::default()).await;
    world.nodes[0].down.store(true, Ordering::SeqCst);
    world.nodes[1].down.store(true, Ordering::SeqCst);
    // Both failures are known before time goes on.
    for _ in 0..2 {
        world
            .told(|event| matches!(event, ClientEvent::NodeFailed { .. }))
            .await;
    }
    world.now.fetch_add(FOR_ALL, Ordering::SeqCst);
    world
        .told(|event| {
            matches!(
                event,
                ClientEvent::ChainStale {
                    only_locks: false,
                    ..
                }
            )
        })
        .await;
    world.nodes[0].down.store(false, Ordering::SeqCst);
    world
        .told(|event| matches!(event, ClientEvent::ChainFresh { .. }))
        .await;
    world.client.pay(ChannelId([9; 32]), 10_u128).await.unwrap();
}

#[tokio::test]
async fn as_many_as_there_are_can_agree_and_not_more() {
    let hub = Hub::start().await;
    for (agree, nodes) in [(0, 1), (2, 1), (1, 0)] {
        let mut builder = builder(&hub, key(1), MemoryStore::new()).agree(agree);
        for _ in 0..nodes {
            builder = builder.rpc("http://127.0.0.1:1");
        }
        let error = builder.connect().await.unwrap_err();
        let ConnectError::Agree {
            agree: told,
            endpoints,
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((*told, *endpoints), (agree, nodes));
        assert!(error.to_string().contains("from 1 to"), "{error}");
    }
}

const UNDER_WAY: PaymentId = PaymentId([3; 16]);

impl World {
    fn lie(&self, nodes: std::ops::Range<usize>, closed: bool) {
        for node in &self.nodes[nodes] {
            node.lie.lock().unwrap().closed = closed;
        }
    }

    async fn phase(&self, phase: &str) {
        eventually(phase, || self.channel.view().unwrap().phase == phase).await;
    }

    /// The hub has the payment, and says nothing about it.
    async fn pay_unheard(&self) -> tokio::task::JoinHandle<Result<client_sdk::Paid, PayError>> {
        self.hub.state().mute = true;
        let channel = self.channel.clone();
        let paying = tokio::spawn(async move {
            let options = PayOptions {
                payment_id: Some(UNDER_WAY),
                fee_max: Some(Amount(1)),
                ..PayOptions::default()
            };
            channel.pay_with(ChannelId([9; 32]), 10_u128, options).await
        });
        eventually("the hub has it", || self.hub.state().vouchers.len() == 1).await;
        paying
    }

    async fn known(&self) -> PaymentState {
        match self.client.payment(UNDER_WAY).await.unwrap() {
            PaymentAnswer::Known(state) => state,
            other => panic!("{other:?}"),
        }
    }
}

/// R25: what a close has made of a payment is taken back with it; here most of the nodes had lied.
#[tokio::test]
async fn a_close_that_was_none_takes_back_what_it_made_of_payments() {
    let world = World::with(3).await;
    let paying = world.pay_unheard().await;
    world.lie(0..2, true);
    world.phase("closed").await;
    let told = paying.await.unwrap();
    assert!(matches!(told, Err(PayError::NotPaid { .. })), "{told:?}");
    let seq = Seq(1);
    assert_eq!(world.known().await, PaymentState::NotPaid { seq });
    assert_eq!(world.channel.view().unwrap().balance.in_flight, Amount::ZERO);
    world.hub.state().mute = false;
    world.lie(0..2, false);
    world.phase("open").await;
    world.channel.wait_live().await.unwrap();
    while world.known().await == (PaymentState::InFlight { seq }) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let fee = Amount(1);
    assert_eq!(world.known().await, PaymentState::Delivered { seq, fee });
}

/// A store that is older than what was shown in court, or an old copy, cannot say that anything was not paid.
#[tokio::test]
async fn a_close_by_more_than_the_client_knows_gives_no_money_back() {
    let world = World::with(3).await;
    let paying = world.pay_unheard().await;
    for node in &world.nodes {
        node.lie.lock().unwrap().taken = 2;
    }
    world.lie(0..3, true);
    let told = paying.await.unwrap();
    assert!(matches!(told, Err(PayError::Unknown { .. })), "{told:?}");
}

/// And of an invoice whose lock it seemed to have collected: that is not paid any more, until the hub pays.
#[tokio::test]
async fn a_close_that_was_none_takes_back_what_it_made_of_invoices() {
    let world = World::with(3).await;
    let hour = Duration::from_secs(3600);
    let invoice = world.channel.invoice(40_u128, hour, Digest::ZERO).await.unwrap();
    let expiry = world.hub.clock().now.after(2 * 3600);
    let lock = world.hub.lock(&world.id(), Amount(40), &invoice, expiry);
    eventually("the preimage is told", || world.hub.state().revealed == [lock.id]).await;
    for node in &world.nodes[0..2] {
        node.lie.lock().unwrap().collected = (1, 40);
    }
    world.lie(0..2, true);
    world.phase("closed").await;
    let collected = world.channel.accept(&invoice).await.unwrap();
    assert_eq!(collected.amount, Amount(40));
    world.lie(0..2, false);
    world.phase("open").await;
    world.channel.wait_live().await.unwrap();
    let channel = world.channel.clone();
    let mut accepting = tokio::spawn(async move { channel.accept(&invoice).await });
    let at_once = tokio::time::timeout(Duration::from_millis(300), &mut accepting).await;
    assert!(at_once.is_err(), "{at_once:?}");
    world.hub.fold(&world.id(), lock.id);
    assert_eq!(accepting.await.unwrap().unwrap().amount, Amount(40));
}

/// Of two nodes one that is left alone closes the channel; that money is back it does not say alone.
#[tokio::test]
async fn one_of_two_nodes_alone_gives_no_money_back() {
    let world = World::with(2).await;
    let paying = world.pay_unheard().await;
    world.nodes[1].down.store(true, Ordering::SeqCst);
    world.lie(0..1, true);
    world.phase("closed").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.known().await, PaymentState::InFlight { seq: Seq(1) });
    assert!(!paying.is_finished());
    world.nodes[1].down.store(false, Ordering::SeqCst);
    world.lie(1..2, true);
    let told = paying.await.unwrap();
    assert!(matches!(told, Err(PayError::NotPaid { .. })), "{told:?}");
}
