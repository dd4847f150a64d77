//! What becomes of payments that were under way when the channel is closed on chain: what the chain made of them.

use crate::{
    common::{Court, DEPOSIT, PURSE, eventually, key},
    court::merchant,
};
use client_sdk::{
    Amount, ChannelError, ChannelHandle, Client, ClientEvent, Digest, LockOptions, LockedPaid, MemoryStore,
    Paid, PayError, PayOptions, PaymentAnswer, PaymentId, PaymentState, SignedInvoice,
};
use protocol_spec::{
    Address, ChannelId, Condition, DirectionEvidence, Invoice, Preimage, Reject, Seq, Side, Witness,
    abi::Status, calls,
};
use std::time::Duration;
use tokio::{task::JoinHandle, time::Instant};

const AMOUNT: u128 = 99;
/// With the hub's fee.
const PAID: u128 = 100;
const UNDER_WAY: u128 = 2_500;
const DIRECT: PaymentId = PaymentId([3; 16]);
const LOCKED: PaymentId = PaymentId([4; 16]);
const SECRET: Preimage = Preimage([7; 32]);
const SMALL: PaymentId = PaymentId([5; 16]);
const LITTLE: u128 = 300;
const OTHER: Preimage = Preimage([8; 32]);

/// A client that has paid, with one more payment that the hub has, and of which it says nothing.
struct UnderWay {
    court: Court,
    store: MemoryStore,
    client: Client,
    channel: ChannelHandle,
}

impl UnderWay {
    async fn begin() -> Self {
        let (court, store) = (Court::open().await, MemoryStore::new());
        let day = Duration::from_secs(86_400);
        let builder = court.client(store.clone()).pay_timeout(day);
        let (client, channel) = merchant(&court, builder).await;
        let paid = channel.pay(PURSE, AMOUNT).await.unwrap();
        assert_eq!(paid.amount.0 + paid.fee.0, PAID);
        court.hub.state().mute = true;
        Self {
            court,
            store,
            client,
            channel,
        }
    }

    fn pay(&self, payment_id: PaymentId) -> JoinHandle<Result<Paid, PayError>> {
        let channel = self.channel.clone();
        tokio::spawn(async move {
            let options = PayOptions {
                payment_id: Some(payment_id),
                fee_max: Some(Amount::ZERO),
                ..PayOptions::default()
            };
            channel.pay_with(PURSE, UNDER_WAY, options).await
        })
    }

    fn pay_locked(&self) -> JoinHandle<Result<LockedPaid, PayError>> {
        self.lock(LOCKED, UNDER_WAY, SECRET)
    }

    fn lock(
        &self,
        payment_id: PaymentId,
        amount: u128,
        secret: Preimage,
    ) -> JoinHandle<Result<LockedPaid, PayError>> {
        let invoice = Invoice {
            channel_id: ChannelId([6; 32]),
            amount: Amount(amount),
            hash: Condition::preimage(&secret).hash,
            resolver: Address::ZERO,
            expires_at: self.court.hub.clock().now.after(36_000),
            memo: Digest::ZERO,
        };
        let signature = key(2).sign(&invoice.digest(&self.court.hub.domain));
        let channel = self.channel.clone();
        tokio::spawn(async move {
            let options = LockOptions {
                payment_id: Some(payment_id),
                fee_max: Some(Amount::ZERO),
                life: Some(Duration::from_secs(2 * 3600)),
            };
            let invoice = SignedInvoice { invoice, signature };
            channel.pay_locked(&invoice, key(2).address(), options).await
        })
    }

    async fn hub_has(&self, vouchers: usize) {
        eventually("the hub has the voucher", || {
            self.court.hub.state().vouchers.len() == vouchers
        })
        .await;
    }

    /// The hub shows `own`, its newest voucher of the client, and what opens the lock in it; then all is paid out.
    async fn settle(&self, shows: impl FnOnce(&mut DirectionEvidence)) {
        let mut shown = self.channel.evidence().await.unwrap().sent;
        shows(&mut shown);
        let call = calls::dispute(&self.court.config, Side::Client, &shown);
        self.court.hub_goes(&self.channel).await;
        self.court.send(&key(9), &call, 0).await;
        self.paid_out().await;
    }

    async fn paid_out(&self) {
        let mut events = self.client.events();
        for _ in 0..3 {
            self.court.pass(self.court.config.challenge_period_s + 1).await;
        }
        let closed = |state: &protocol_spec::abi::ChannelState| matches!(state.status, Status::Closed);
        self.court.until("the payout", closed).await;
        while !matches!(events.recv().await.unwrap(), ClientEvent::Closed { .. }) {}
    }

    /// `None`: it asks the hub, which is gone.
    async fn state(&self, id: PaymentId) -> Option<PaymentState> {
        match self.client.payment(id).await {
            Ok(PaymentAnswer::Known(state)) => Some(state),
            Err(ChannelError::Offline) => None,
            other => panic!("{other:?}"),
        }
    }

    /// Now, and after a restart.
    async fn ends_as(mut self, id: PaymentId, state: Option<PaymentState>) {
        assert_eq!(self.state(id).await, state);
        let began = Instant::now();
        self.client.shutdown().await;
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "nothing comes of waiting"
        );
        self.client = self.court.client(self.store.clone()).connect().await.unwrap();
        assert_eq!(self.state(id).await, state, "after a restart");
        self.channel = self.client.channel(self.court.id());
        if id == DIRECT {
            let asked_again = self.pay(id).await.unwrap();
            match state {
                Some(PaymentState::NotPaid { .. }) => not_paid(&asked_again, id),
                _ => unknown(&asked_again, id),
            }
        }
        self.client.shutdown().await;
    }
}

fn not_paid<T: std::fmt::Debug>(result: &Result<T, PayError>, id: PaymentId) {
    let is = matches!(result, Err(PayError::NotPaid { payment_id }) if *payment_id == id);
    assert!(is, "{result:?}");
}

fn unknown<T: std::fmt::Debug>(result: &Result<T, PayError>, id: PaymentId) {
    let is = matches!(result, Err(PayError::Unknown { payment_id }) if *payment_id == id);
    assert!(is, "{result:?}");
}

fn nothing(shown: &mut DirectionEvidence) {
    *shown = DirectionEvidence::default();
}

const VOID: Option<PaymentState> = Some(PaymentState::NotPaid { seq: Seq(2) });

#[tokio::test(start_paused = true)]
async fn what_the_hub_does_not_show_in_court_was_not_paid() {
    let test = UnderWay::begin().await;
    let paying = test.pay(DIRECT);
    test.hub_has(2).await;
    test.settle(nothing).await;
    not_paid(&paying.await.unwrap(), DIRECT);
    assert_eq!(test.court.paid_out().await, DEPOSIT, "not even what it delivered");
    test.ends_as(DIRECT, VOID).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_shows_in_court_was_paid_and_nobody_here_knows_more() {
    let test = UnderWay::begin().await;
    let paying = test.pay(DIRECT);
    test.hub_has(2).await;
    test.settle(|_| ()).await;
    unknown(&paying.await.unwrap(), DIRECT);
    assert_eq!(test.court.paid_out().await, DEPOSIT - PAID - UNDER_WAY);
    test.ends_as(DIRECT, None).await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_paid_as_far_as_it_was_opened_in_court() {
    for (shows, opens) in [(false, false), (true, false), (true, true)] {
        let test = UnderWay::begin().await;
        let paying = test.pay_locked();
        test.hub_has(2).await;
        test.settle(|shown| {
            if !shows {
                nothing(shown);
            }
            if opens {
                shown.witnesses = vec![("1".to_owned(), Witness::from(SECRET))];
            }
        })
        .await;
        let (answer, got) = (paying.await.unwrap(), test.court.paid_out().await);
        match (shows, opens) {
            (_, true) => {
                unknown(&answer, LOCKED);
                assert_eq!(got, DEPOSIT - PAID - UNDER_WAY);
                test.ends_as(LOCKED, None).await;
            }
            (shows, _) => {
                not_paid(&answer, LOCKED);
                assert_eq!(got, DEPOSIT - if shows { PAID } else { 0 });
                test.ends_as(LOCKED, VOID).await;
            }
        }
    }
}

/// Which of several locks were opened follows from the sum that counts, as far as it does.
#[tokio::test(start_paused = true)]
async fn a_lock_of_more_than_was_opened_in_court_was_not_paid() {
    let test = UnderWay::begin().await;
    let large = test.pay_locked();
    test.hub_has(2).await;
    let small = test.lock(SMALL, LITTLE, OTHER);
    test.hub_has(3).await;
    test.settle(|shown| shown.witnesses = vec![("2".to_owned(), Witness::from(OTHER))])
        .await;
    not_paid(&large.await.unwrap(), LOCKED);
    unknown(&small.await.unwrap(), SMALL);
    assert_eq!(test.court.paid_out().await, DEPOSIT - PAID - LITTLE);
    assert_eq!(test.state(LOCKED).await, VOID);
    test.ends_as(SMALL, None).await;
}

/// What was never signed needs no court, and an invoice that nobody has paid is paid by nobody any more.
#[tokio::test(start_paused = true)]
async fn what_waits_when_the_channel_closes_waits_in_vain() {
    let test = UnderWay::begin().await;
    let hour = Duration::from_secs(3600);
    let invoice = test.channel.invoice(1_u128, hour, Digest::ZERO).await.unwrap();
    let channel = test.channel.clone();
    let waited_for = invoice.clone();
    let accepting = tokio::spawn(async move { channel.accept(&waited_for).await });
    test.court.hub_goes(&test.channel).await;
    let waits = test.pay(DIRECT);
    while test.state(DIRECT).await != Some(PaymentState::Queued) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    test.court.dispute().await;
    test.paid_out().await;
    let refused = waits.await.unwrap();
    assert!(
        matches!(
            refused,
            Err(PayError::Refused(Reject::ChannelNotOpen { phase: "closed" }))
        ),
        "{refused:?}"
    );
    let closed = |result| {
        matches!(
            result,
            Err(ChannelError::Refused(Reject::ChannelNotOpen { phase: "closed" }))
        )
    };
    assert!(closed(accepting.await.unwrap()));
    assert!(closed(test.channel.accept(&invoice).await), "asked afterwards");
    test.client.shutdown().await;
}

/// The exit that README describes: the app is not running while others dispute and finalize for it.
#[tokio::test(start_paused = true)]
async fn a_close_that_happened_while_the_client_was_away_ends_payments_too() {
    let mut test = UnderWay::begin().await;
    let paying = test.pay(DIRECT);
    test.hub_has(2).await;
    let evidence = test.channel.evidence().await.unwrap();
    test.court.hub_goes(&test.channel).await;
    test.client.shutdown().await;
    assert!(paying.await.unwrap().is_err());
    let call = calls::dispute(&test.court.config, Side::Hub, &evidence.received);
    test.court.send(&key(1), &call, 0).await;
    test.court.pass(test.court.config.challenge_period_s + 1).await;
    test.court
        .send(&key(1), &calls::finalize(&test.court.config), 0)
        .await;
    test.client = test.court.client(test.store.clone()).connect().await.unwrap();
    let closed = |client: &Client| client.channel(test.court.id()).view().unwrap().phase == "closed";
    eventually("the close is seen", || closed(&test.client)).await;
    test.channel = test.client.channel(test.court.id());
    assert_eq!(test.court.paid_out().await, DEPOSIT - PAID);
    test.ends_as(DIRECT, VOID).await;
}
