//! The real engine between fake sessions and real stores.

#![allow(
    dead_code,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

#[path = "support/client.rs"]
mod client;
#[path = "support/engine.rs"]
mod support;

use client::Client;
use hub::{
    engine::{Inbound, Inbox, Mail, Running, SessionId, Signer, start},
    ledger::Input,
    store::{
        Checkpoint, Durable, Epoch, Identity, JournalRecord, Loaded, MemoryStore, RedbStore, Row, ShardId,
        Store, StoreError, Table, Trimmed,
    },
};
use protocol_spec::{
    Payee, VoucherSignature,
    message::{
        Event, Frame, Message, Notification, RegisterCall, Reply, Request, RpcError, SubscribeCall,
        VoucherReply,
    },
};
use std::{sync::Arc, time::Duration};
use support::{NOW, clients, clock, opening, options};
use tokio::sync::Semaphore;

/// A store whose appends wait for permits.
struct Gated {
    inner: MemoryStore,
    permits: Semaphore,
    appends: std::sync::atomic::AtomicU64,
}

#[async_trait::async_trait]
impl Store for Gated {
    async fn acquire(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        self.inner.acquire(shard).await
    }
    async fn load(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        self.inner.load(shard).await
    }
    async fn append(
        &self,
        shard: ShardId,
        epoch: Epoch,
        record: JournalRecord,
    ) -> Result<Durable, StoreError> {
        self.appends.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        self.permits.acquire().await.unwrap().forget();
        self.inner.append(shard, epoch, record).await
    }
    async fn checkpoint(
        &self,
        shard: ShardId,
        epoch: Epoch,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.inner.checkpoint(shard, epoch, checkpoint).await
    }
    async fn trim(&self, shard: ShardId, epoch: Epoch, below: u64) -> Result<Trimmed, StoreError> {
        self.inner.trim(shard, epoch, below).await
    }
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key).await
    }
    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(table, from, limit).await
    }
    async fn journal_tail(
        &self,
        shard: ShardId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<JournalRecord>, StoreError> {
        self.inner.journal_tail(shard, from, limit).await
    }
}

/// A fake session: what a socket's task would hold.
struct Session {
    id: SessionId,
    key: Arc<Signer>,
    outbox: Inbox,
    calls: u64,
    /// Batch signatures seen.
    batches: usize,
}

impl Session {
    fn open(running: &Running, id: u64, client: &Client, room: usize) -> Self {
        let outbox = running.engine.outboxes.open(SessionId(id), room);
        Self {
            id: SessionId(id),
            key: Signer::new(client.key.public()).unwrap().into(),
            outbox,
            calls: 0,
            batches: 0,
        }
    }

    async fn send(&mut self, running: &Running, call: Request) -> u64 {
        self.calls += 1;
        let call = Inbound::Call {
            session: self.id,
            key: Arc::clone(&self.key),
            id: self.calls,
            call: Box::new(call),
        };
        running.engine.inbound.send(call).await.unwrap();
        self.calls
    }

    /// Takes notifications into `client` until the answer comes.
    async fn call(
        &mut self,
        running: &Running,
        client: &mut Client,
        call: Request,
    ) -> Result<Reply, RpcError> {
        let wanted = self.send(running, call).await;
        loop {
            let batch = self.outbox.recv().await.expect("the session was dropped");
            if let Some(result) = self.take(client, &batch, wanted) {
                return result.map(|reply| *reply);
            }
        }
    }

    fn take(
        &mut self,
        client: &mut Client,
        batch: &[Mail],
        wanted: u64,
    ) -> Option<Result<Box<Reply>, RpcError>> {
        let mut answer = None;
        for mail in batch {
            match mail.message() {
                Message::Notification(notification) => match *notification {
                    Notification::Voucher(frame) => {
                        self.note(&frame.voucher.signature);
                        client
                            .take(&frame, clock())
                            .expect("a client accepts every hub frame");
                    }
                    Notification::Event(event) => self.event(client, &event),
                    _ => {}
                },
                Message::Response { id, result } => {
                    assert_eq!(id, Some(wanted));
                    answer = Some(result);
                }
                Message::Request { .. } => unreachable!(),
            }
        }
        answer
    }

    fn note(&mut self, signature: &VoucherSignature) {
        self.batches += usize::from(matches!(signature, VoucherSignature::Batch { .. }));
    }

    fn event(&mut self, client: &Client, event: &Event) {
        self.note(&event.signature);
        let digest = event.receipt.digest(&client::domain());
        let signature = &event.signature;
        signature
            .verify(&client::domain(), &digest, &client.hub, true)
            .unwrap();
    }

    async fn join(&mut self, running: &Running, client: &mut Client) {
        let config = client.channel.config().clone();
        let register = protocol_spec::Register {
            channel_id: client.channel.id(),
            server: "hub.test".to_owned(),
        };
        let owner_signature = Some(client.key.sign(&register.digest(&client::domain())));
        let call = Request::Register(RegisterCall {
            config,
            owner_signature,
        });
        self.call(running, client, call).await.unwrap();
        self.resume(running, client).await;
    }

    async fn resume(&mut self, running: &Running, client: &mut Client) {
        let call = Request::Resume(Box::new(client.resume_call()));
        let Ok(Reply::Resume(reply)) = self.call(running, client, call).await else {
            panic!("no resume reply")
        };
        client.accepted_up_to(reply.channel.client_seq);
    }
}

async fn begin(store: Arc<dyn Store>, clients: &[Client]) -> Running {
    let running = start(options(store)).await.unwrap();
    running
        .control
        .tell(Input::Chain(opening(clients, 1_000_000)))
        .await;
    running
}

fn payment(from: &mut Client, to: &Client) -> Frame {
    let op = from.pay(Payee::Account(to.account()), 10, 1, NOW.after(60));
    from.frame(vec![op], clock()).unwrap()
}

async fn stop(running: Running) {
    drop((running.engine, running.control));
    running.fatal.await.unwrap().unwrap();
}

/// Pays over `store`, restarts, pays again.
async fn pay_restart_pay(open: impl Fn() -> Arc<dyn Store>) {
    let mut all = clients(2, 1_000_000);
    for round in 1..=3_usize {
        let store = open();
        let running = begin(Arc::clone(&store), &all).await;
        let (left, right) = all.split_at_mut(1);
        let (payer, payee) = (&mut left[0], &mut right[0]);
        let mut paying = Session::open(&running, 1, payer, 64);
        let mut receiving = Session::open(&running, 2, payee, 64);
        paying.join(&running, payer).await;
        receiving.join(&running, payee).await;
        let subscribe = SubscribeCall {
            channel_id: payee.channel.id(),
            after: None,
        };
        receiving
            .call(&running, payee, Request::Subscribe(subscribe))
            .await
            .unwrap();
        for _ in 0..20 {
            let frame = payment(payer, payee);
            let reply = paying
                .call(&running, payer, Request::Voucher(frame))
                .await
                .unwrap();
            assert!(matches!(reply, Reply::Voucher(VoucherReply { bounced, .. }) if bounced.is_empty()));
        }
        let ack = payee.frame(vec![], clock());
        while payee.credits.len() < round * 20 {
            let batch = receiving.outbox.recv().await.unwrap();
            assert!(receiving.take(payee, &batch, 0).is_none());
        }
        drop(ack);
        payee.unaccepted.clear();
        // A commit carries the payer's acknowledgement, the credit and the receipt: a batch signature.
        assert!(paying.batches >= 19, "{} batch signatures", paying.batches);
        assert_eq!(payer.channel.received().ack_seq.0, round as u64 * 20);
        stop(running).await;
        drop(store);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_survive_restarts_on_the_memory_store() {
    let store = MemoryStore::new();
    pay_restart_pay(|| Arc::new(store.reopen())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_survive_restarts_on_redb() {
    let dir = tempfile::tempdir().unwrap();
    pay_restart_pay(|| {
        for _ in 0..500 {
            match RedbStore::open(dir.path(), identity()) {
                Ok(store) => return Arc::new(store) as Arc<dyn Store>,
                Err(_) => std::thread::sleep(Duration::from_millis(10)), // the old handle's threads are ending
            }
        }
        panic!("the store does not open again");
    })
    .await;
}

fn identity() -> Identity {
    Identity {
        format_version: 1,
        chain_id: 31_337,
        genesis_hash: [1; 32],
        adjudicator: [0xad; 20],
        code_hash: [3; 32],
        hub_signer: [4; 20],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_and_the_driver_learns_nothing_before_the_record_is_durable() {
    let store = Arc::new(Gated {
        inner: MemoryStore::new(),
        permits: Semaphore::new(100),
        appends: std::sync::atomic::AtomicU64::new(0),
    });
    let mut all = clients(2, 1_000_000);
    let running = begin(store.clone(), &all).await;
    let (left, right) = all.split_at_mut(1);
    let (payer, payee) = (&mut left[0], &mut right[0]);
    let mut paying = Session::open(&running, 1, payer, 64);
    let mut receiving = Session::open(&running, 2, payee, 64);
    paying.join(&running, payer).await;
    receiving.join(&running, payee).await;
    store.permits.forget_permits(1000);
    let appends = || store.appends.load(std::sync::atomic::Ordering::Acquire);
    let before = appends();
    let frame = payment(payer, payee);
    let wanted = paying.send(&running, Request::Voucher(frame)).await;
    while appends() == before {
        tokio::task::yield_now().await; // until the ledger has applied it and the journal waits
    }
    let control = running.control.clone();
    let mut snapshot = tokio::spawn(async move { control.snapshot().await });
    let silence = Duration::from_millis(300);
    let early = tokio::time::timeout(silence, &mut snapshot).await;
    assert!(early.is_err(), "told before it was durable: {early:?}");
    assert!(paying.outbox.try_recv().is_none() && receiving.outbox.try_recv().is_none());
    store.permits.add_permits(1000);
    assert!(snapshot.await.unwrap().is_some());
    let batch = paying.outbox.recv().await.unwrap();
    assert!(paying.take(payer, &batch, wanted).unwrap().is_ok());
    let batch = receiving.outbox.recv().await.unwrap();
    assert!(receiving.take(payee, &batch, 0).is_none());
    assert_eq!(payee.credits.len(), 1);
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_append_is_fatal_and_nothing_of_it_leaves() {
    let store = MemoryStore::new();
    let handle: Arc<MemoryStore> = Arc::new(store.reopen());
    let mut all = clients(2, 1_000_000);
    let running = begin(handle.clone(), &all).await;
    let (left, right) = all.split_at_mut(1);
    let (payer, payee) = (&mut left[0], &mut right[0]);
    let mut paying = Session::open(&running, 1, payer, 64);
    paying.join(&running, payer).await;
    let mut receiving = Session::open(&running, 2, payee, 64);
    receiving.join(&running, payee).await;
    handle.fail_after(0);
    let frame = payment(payer, payee);
    paying.send(&running, Request::Voucher(frame.clone())).await;
    let error = running.fatal.await.unwrap().unwrap_err();
    assert!(error.contains("planned failure"), "{error}");
    assert!(paying.outbox.try_recv().is_none() && receiving.outbox.try_recv().is_none());
    // After the restart the frame is news.
    let running = begin(Arc::new(store.reopen()), &[]).await;
    let mut paying = Session::open(&running, 1, payer, 64);
    paying.resume(&running, payer).await;
    assert_eq!(payer.unaccepted, std::slice::from_ref(&frame));
    paying
        .call(&running, payer, Request::Voucher(frame))
        .await
        .unwrap();
    let mut receiving = Session::open(&running, 2, payee, 64);
    receiving.resume(&running, payee).await;
    while payee.credits.is_empty() {
        let batch = receiving.outbox.recv().await.unwrap();
        receiving.take(payee, &batch, 0);
    }
    assert_eq!(payee.credits.len(), 1);
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_read_is_dropped_and_others_go_on() {
    let mut all = clients(2, 1_000_000);
    let running = begin(Arc::new(MemoryStore::new()), &all).await;
    let (left, right) = all.split_at_mut(1);
    let (payer, payee) = (&mut left[0], &mut right[0]);
    let mut paying = Session::open(&running, 1, payer, 64);
    paying.join(&running, payer).await;
    let mut stuck = Session::open(&running, 2, payee, 4);
    stuck.join(&running, payee).await;
    for _ in 0..20 {
        let frame = payment(payer, payee);
        paying
            .call(&running, payer, Request::Voucher(frame))
            .await
            .unwrap();
    }
    assert!(
        !running.engine.outboxes.contains(SessionId(2)),
        "its outbox was full"
    );
    running
        .engine
        .inbound
        .send(Inbound::Gone {
            session: SessionId(2),
        })
        .await
        .unwrap();
    let mut back = Session::open(&running, 3, payee, 64);
    back.resume(&running, payee).await;
    while payee.credits.len() < 20 {
        let batch = back.outbox.recv().await.unwrap();
        back.take(payee, &batch, 0);
    }
    stop(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_is_refused_and_the_next_call_is_served() {
    let mut all = clients(2, 1_000_000);
    let running = begin(Arc::new(MemoryStore::new()), &all).await;
    let (left, right) = all.split_at_mut(1);
    let (payer, payee) = (&mut left[0], &mut right[0]);
    let mut paying = Session::open(&running, 1, payer, 64);
    paying.join(&running, payer).await;
    let mut receiving = Session::open(&running, 2, payee, 64);
    receiving.join(&running, payee).await;
    let frame = payment(payer, payee);
    let mut forged = frame.clone();
    forged.voucher.voucher.paid.0 += 1;
    let error = paying
        .call(&running, payer, Request::Voucher(forged))
        .await
        .unwrap_err();
    assert_eq!(error.data.name, "SignatureInvalid");
    paying
        .call(&running, payer, Request::Voucher(frame))
        .await
        .unwrap();
    stop(running).await;
}
