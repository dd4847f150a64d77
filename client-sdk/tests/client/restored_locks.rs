//! Locks in channels of clients and hubs that come back from old backups (A10, A11): to the last unit.

use crate::common::{Hub, builder, connect_with, eventually, key};
use client_sdk::*;
use protocol_spec::{Condition, Invoice, Preimage, Reject, message::Notification, message::Reveal};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinHandle;

const PAYEE: Address = Address::repeat_byte(0x77);
const DAY: Duration = Duration::from_secs(24 * 3600);
const DEPOSIT: u128 = 1_000_000;
/// What is granted for each locked payment.
const FEE: u128 = 3;

/// A client with one channel, whose store is copied and comes back as the copy.
struct Shop {
    hub: Arc<Hub>,
    store: MemoryStore,
    client: Client,
    id: ChannelId,
}

impl Shop {
    async fn open() -> Self {
        let hub = Hub::start().await;
        let store = MemoryStore::new();
        let (client, id) = connect_with(&hub, key(1), store.clone()).await;
        // From here on each side has acknowledged something of the other.
        client.pay(PAYEE, 10).await.unwrap();
        Self {
            hub,
            store,
            client,
            id,
        }
    }

    fn channel(&self) -> ChannelHandle {
        self.client.channel(self.id)
    }

    /// The client's own locks that the hub has.
    fn locked(&self) -> usize {
        self.hub.state().channels[&self.id].channel.received().locks.len()
    }

    /// Locks `amount` on what `secret` opens, and waits until the hub has it and has acknowledged it.
    async fn lock(&self, secret: u8, amount: u128) -> JoinHandle<Result<LockedPaid, PayError>> {
        let before = self.locked();
        let paying = self.lock_unanswered(secret, amount);
        eventually("the hub has the lock", || self.locked() == before + 1).await;
        self.hub.acknowledge(&self.id);
        paying
    }

    fn lock_unanswered(&self, secret: u8, amount: u128) -> JoinHandle<Result<LockedPaid, PayError>> {
        let invoice = Invoice {
            channel_id: ChannelId([6; 32]),
            amount: Amount(amount),
            hash: Condition::preimage(&Preimage([secret; 32])).hash,
            resolver: Address::ZERO,
            expires_at: self.hub.clock().now.after(DAY.as_secs()),
            memo: Digest::ZERO,
        };
        let signature = key(2).sign(&invoice.digest(&self.hub.domain));
        let channel = self.channel();
        tokio::spawn(async move {
            let invoice = SignedInvoice { invoice, signature };
            let options = LockOptions {
                payment_id: Some(payment(secret)),
                fee_max: Some(Amount(FEE)),
                ..LockOptions::default()
            };
            channel.pay_locked(&invoice, key(2).address(), options).await
        })
    }

    /// The hub tells what opens an own lock.
    fn tell(&self, lock_id: u64, secret: u8) {
        let reveal = Reveal {
            channel_id: self.id,
            lock_id,
            witness: Preimage([secret; 32]).into(),
        };
        let state = self.hub.state();
        state
            .push
            .as_ref()
            .unwrap()
            .send(Notification::Reveal(reveal))
            .unwrap();
    }

    /// An invoice on which the hub locks; the client has opened it.
    async fn earn(&self, amount: u128) -> SignedInvoice {
        let invoice = self.channel().invoice(amount, DAY, Digest::ZERO).await.unwrap();
        let expiry = self.hub.clock().now.after(12 * 3600);
        let lock = self.hub.lock(&self.id, Amount(amount), &invoice, expiry);
        eventually("it is opened", || self.hub.state().revealed.contains(&lock.id)).await;
        invoice
    }

    /// Starts the client from `store`; the one before is gone.
    async fn back_from(self, store: MemoryStore) -> Self {
        let Self { hub, client, id, .. } = self;
        client.shutdown().await;
        let client = builder(&hub, key(1), store.clone()).connect().await.unwrap();
        client.channel(id).wait_live().await.unwrap();
        Self {
            hub,
            store,
            client,
            id,
        }
    }

    /// No new ones are taken, and it is said before anything is signed; direct payments go on.
    async fn locks_have_ended(&self) {
        assert!(self.channel().view().unwrap().locks_ended);
        let mine = self.lock_unanswered(9, 10).await.unwrap();
        assert!(
            matches!(mine, Err(PayError::Refused(Reject::LocksEnded))),
            "{mine:?}"
        );
        let ended = self.channel().invoice(41_u128, DAY, Digest::ZERO).await;
        let ended = ended.unwrap_err().to_string();
        assert!(ended.contains("old backup"), "{ended}");
        self.client.pay(PAYEE, 10).await.unwrap();
    }

    /// Both sides' sums, and that no lock is left.
    async fn ends_with(&self, client_paid: u128, hub_paid: u128) {
        let sums = || {
            let state = self.hub.state();
            let channel = &state.channels[&self.id].channel;
            let (own, theirs) = (channel.sent(), channel.received());
            (theirs.paid.0, own.paid.0, theirs.locks.len() + own.locks.len())
        };
        eventually("nothing is locked any more", || sums().2 == 0).await;
        assert_eq!((sums().0, sums().1), (client_paid, hub_paid));
        let whole = Amount(DEPOSIT - client_paid + hub_paid);
        eventually("it is all there", || self.client.balance().spendable == whole).await;
        assert_eq!(self.client.balance().settled, whole);
        let balance = self.client.balance();
        assert_eq!((balance.locked, balance.incoming), (Amount::ZERO, Amount::ZERO));
        assert_eq!(self.client.health(), Health::Good);
    }
}

fn payment(secret: u8) -> PaymentId {
    PaymentId([secret; 16])
}

/// What the first payment costs, and what of it came back.
const FIRST: (u128, u128) = (10 + 2, 1);

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_client_goes_on_with_the_locks_of_both_sides() {
    let shop = Shop::open().await;
    shop.lock(1, 100).await.abort();
    let known = shop.earn(40).await;
    let backup = shop.store.snapshot();
    shop.lock(2, 200).await.abort();
    shop.earn(50).await;
    shop.client.pay(PAYEE, 10).await.unwrap();
    let shop = shop.back_from(backup).await;
    let balance = shop.client.balance();
    assert_eq!(
        (balance.locked, balance.incoming),
        (Amount(100 + 200 + 2 * FEE), Amount(40 + 50))
    );
    // Whose opening the copy knows is told to the hub again; the other was opened in the lost part.
    shop.hub.fold(&shop.id, 1);
    let paid = shop.channel().accept(&known).await.unwrap();
    assert_eq!(paid.amount, Amount(40));
    shop.hub.fold(&shop.id, 2);
    shop.tell(1, 1);
    shop.tell(2, 2);
    let (cost, change) = FIRST;
    shop.ends_with(2 * cost + 100 + 200 + 2 * FEE, 2 * change + 40 + 50)
        .await;
    let paid = shop.client.pay(PAYEE, 10).await.unwrap();
    assert_eq!(paid.fee, Amount(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_client_is_told_of_locks_that_ended() {
    let shop = Shop::open().await;
    shop.lock(1, 100).await.abort();
    shop.lock(2, 200).await.abort();
    let known = shop.earn(40).await;
    let backup = shop.store.snapshot();
    shop.tell(1, 1);
    shop.hub.fold(&shop.id, 1);
    shop.channel().accept(&known).await.unwrap();
    eventually("the own one is folded", || shop.locked() == 1).await;
    shop.hub.acknowledge(&shop.id);
    shop.client.pay(PAYEE, 10).await.unwrap();
    let shop = shop.back_from(backup).await;
    // One of its own has ended, nobody here can prove how: the hub is asked. The other is as it was.
    let answer = shop.client.payment(payment(1)).await.unwrap();
    assert!(matches!(answer, PaymentAnswer::HubSays(_)), "{answer:?}");
    let answer = shop.client.payment(payment(2)).await.unwrap();
    let in_flight = matches!(answer, PaymentAnswer::Known(PaymentState::InFlight { .. }));
    assert!(in_flight, "{answer:?}");
    assert_eq!(shop.client.balance().locked, Amount(200 + FEE));
    // The hub's was opened before the copy was made: it can only have been paid.
    let paid = shop.channel().accept(&known).await.unwrap();
    assert_eq!(paid.amount, Amount(40));
    shop.tell(2, 2);
    let (cost, change) = FIRST;
    shop.ends_with(2 * cost + 100 + 200 + 2 * FEE, 2 * change + 40)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_hub_is_shown_the_locks_of_both_sides() {
    let shop = Shop::open().await;
    let old = shop.hub.state().channels[&shop.id].clone();
    shop.lock(1, 100).await.abort();
    shop.lock(2, 200).await.abort();
    shop.earn(40).await;
    shop.client.pay(PAYEE, 10).await.unwrap();
    // The hub has the voucher that adds the one and takes out the other, and has not acknowledged it.
    shop.tell(1, 1);
    eventually("the one is folded", || shop.locked() == 1).await;
    let next = shop.lock_unanswered(3, 300);
    eventually("the next is there", || shop.locked() == 2).await;
    next.abort();
    let Shop {
        hub,
        store,
        client,
        id,
    } = shop;
    client.shutdown().await;
    {
        let mut state = hub.state();
        state.channels.insert(id, old);
        state.rolled_back = true;
    }
    let client = builder(&hub, key(1), store.clone()).connect().await.unwrap();
    client.channel(id).wait_live().await.unwrap();
    let shop = Shop {
        hub,
        store,
        client,
        id,
    };
    eventually("what it had not acknowledged comes again", || {
        let state = shop.hub.state();
        let locks = &state.channels[&shop.id].channel.received().locks;
        locks.iter().map(|lock| lock.id).eq([2, 3])
    })
    .await;
    shop.hub.fold(&shop.id, 1);
    shop.tell(2, 2);
    shop.tell(3, 3);
    let (cost, change) = FIRST;
    let client_paid = 2 * cost + 100 + 200 + 300 + 3 * FEE;
    shop.ends_with(client_paid, 2 * change + 40).await;
    shop.locks_have_ended().await;
}

/// What waits to be locked while the hub is restored is not signed: its lock would hang until it expires.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_waits_for_a_hub_that_is_restored_is_refused() {
    let shop = Shop::open().await;
    let view = || shop.channel().view().unwrap();
    assert!(!view().locks_ended);
    shop.hub.state().hang_up = true;
    shop.hub.cut_next();
    let direct = shop.client.clone();
    let direct = tokio::spawn(async move { direct.pay(PAYEE, 10).await });
    eventually("the hub is gone", || !view().live).await;
    let waits = shop.lock_unanswered(1, 100);
    let queued = || view().balance.queued == Amount(100 + FEE);
    eventually("it waits", queued).await;
    {
        let mut state = shop.hub.state();
        (state.rolled_back, state.hang_up) = (true, false);
    }
    let refused = waits.await.unwrap();
    assert!(
        matches!(refused, Err(PayError::Refused(Reject::LocksEnded))),
        "{refused:?}"
    );
    direct.await.unwrap().unwrap();
    assert_eq!(view().balance.queued, Amount::ZERO);
    shop.locks_have_ended().await;
}

/// The lists are what the vouchers commit to, or nothing is adopted.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_shows_other_locks_is_not_followed() {
    let shop = Shop::open().await;
    let backup = shop.store.snapshot();
    shop.lock(1, 100).await.abort();
    shop.hub.state().hides_locks = true;
    let Shop { hub, client, .. } = shop;
    client.shutdown().await;
    let client = builder(&hub, key(1), backup).connect().await.unwrap();
    let frozen = || match client.health() {
        Health::Frozen(fault) => Some(fault.kind),
        Health::Good => None,
    };
    eventually("it is noticed", || frozen().is_some()).await;
    assert_eq!(frozen(), Some(FaultKind::CannotAdopt));
}
