//! A client on simulated ports: the same run again, and nothing left running after its end.

use crate::common::{Wire, attached, key, simulated, simulated_builder};
use alloy::{
    network::Ethereum,
    providers::{RootProvider, mock::Asserter},
    rpc::client::RpcClient,
};
use async_trait::async_trait;
use client_sdk::*;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

const PAYEE: Address = Address::repeat_byte(0x77);

/// Everything that can be seen of one run: what the client sent, when it dialled, what it said happened.
async fn run(seed: u64) -> Vec<String> {
    let start = Instant::now();
    let (hub, network, ports) = simulated(seed);
    let store = RedbStore::with_backend(Disk::default()).unwrap();
    let config = hub.add_channel(&key(1));
    let builder = simulated_builder(&hub, &ports, key(1), store);
    let (client, id) = attached(&hub, config, builder).await;
    let mut events = client.events();
    for round in 0..5_u64 {
        let paying = (0..20).map(|n| client.pay(PAYEE, 10 + n % 7));
        let credited = async {
            sleep(Duration::from_millis(round)).await;
            hub.credit(&id, 3);
            let count = hub.state().requests;
            hub.state().cut = crate::common::Cut::AfterRequest(count + 3);
        };
        let (paid, ()) = tokio::join!(futures::future::join_all(paying), credited);
        assert!(paid.iter().all(Result::is_ok), "{paid:?}");
    }
    client.shutdown().await;
    let mut seen = Vec::new();
    for voucher in &hub.state().vouchers {
        seen.push(format!("{voucher:?}"));
    }
    seen.push(format!("{:?}", hub.state().delivered));
    for (at, host, port) in network.dials.lock().unwrap().iter() {
        seen.push(format!("{:?} {host}:{port}", at.duration_since(start)));
    }
    while let Ok(event) = events.try_recv() {
        seen.push(format!("{event:?}"));
    }
    seen.push(format!("{:?}", start.elapsed()));
    seen
}

#[tokio::test(start_paused = true)]
async fn the_same_ports_give_the_same_run() {
    let first = run(7).await;
    for _ in 0..5 {
        assert_eq!(first, run(7).await);
    }
    assert_ne!(first, run(8).await);
}

/// Waits for a second of virtual time more than a closing link may take, then counts.
async fn alive() -> usize {
    sleep(Duration::from_secs(2)).await;
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handles_ends_every_task() {
    for wire in [Wire::Good, Wire::Hangs, Wire::Refused, Wire::Dead] {
        let before = alive().await;
        let (hub, network, ports) = simulated(1);
        let config = hub.add_channel(&key(1));
        let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new()).provider(failing_chain());
        let client = builder.connect().await;
        assert!(matches!(client, Err(ConnectError::Chain(_))), "{client:?}");
        assert_eq!(alive().await, before, "{wire:?}: a failed connect left tasks");
        let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new());
        let (client, _) = attached(&hub, config, builder).await;
        client.pay(PAYEE, 10).await.unwrap();
        // The next connection is made over the wire of this case.
        *network.wire.lock().unwrap() = wire;
        hub.cut_next();
        let _ = tokio::time::timeout(Duration::from_millis(200), client.pay(PAYEE, 10)).await;
        drop(client);
        assert_eq!(alive().await, before, "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_disk_ends_every_task_and_says_so() {
    let before = alive().await;
    let (hub, network, ports) = simulated(1);
    let disk = Disk::default();
    let failed = disk.failed.clone();
    let config = hub.add_channel(&key(1));
    let store = RedbStore::with_backend(disk).unwrap();
    let builder = simulated_builder(&hub, &ports, key(1), store);
    let (client, _) = attached(&hub, config, builder).await;
    client.pay(PAYEE, 10).await.unwrap();
    let sent = hub.state().vouchers.len();
    failed.store(true, Ordering::SeqCst);
    *network.wire.lock().unwrap() = Wire::Dead;
    // Whether the disk has the voucher is not known, so neither is the payment's outcome.
    let error = client.pay(PAYEE, 10).await.unwrap_err();
    assert!(matches!(error, PayError::Unknown { .. }), "{error}");
    assert_eq!(alive().await, before);
    assert_eq!(
        hub.state().vouchers.len(),
        sent,
        "what is not stored must not leave"
    );
    assert!(!client.connected());
    let error = client.pay(PAYEE, 10).await.unwrap_err();
    assert!(matches!(error, PayError::Stopped(_)), "{error}");
}

/// What was committed is there after the disk has come back; the unfinished commit may be there or not.
#[tokio::test(start_paused = true)]
async fn a_test_disk_keeps_what_was_committed() {
    let disk = Disk::default();
    let (hub, _, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let store = RedbStore::with_backend(disk.clone()).unwrap();
    let (client, _) = attached(
        &hub,
        config.clone(),
        simulated_builder(&hub, &ports, key(1), store),
    )
    .await;
    let paid = client.pay(PAYEE, 10).await.unwrap();
    disk.failed.store(true, Ordering::SeqCst);
    client.pay(PAYEE, 10).await.unwrap_err();
    drop(client);
    sleep(Duration::from_secs(1)).await;
    let again = disk.again();
    let store = RedbStore::with_backend(again).unwrap();
    let (client, _) = attached(&hub, config, simulated_builder(&hub, &ports, key(1), store)).await;
    assert_eq!(
        client.payment(paid.payment_id).await.unwrap(),
        PaymentAnswer::Known(PaymentState::Delivered {
            seq: paid.seq,
            fee: paid.fee
        })
    );
    client.pay(PAYEE, 10).await.unwrap();
}

/// A hub that sends without end and an app that asks without end keep the client neither from its deadlines nor from
/// noticing that it is not wanted. In real time and on several threads, so that there is always more.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_starves_nothing() {
    let (hub, _, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let builder =
        simulated_builder(&hub, &ports, key(1), MemoryStore::new()).pay_timeout(Duration::from_millis(300));
    let (client, id) = attached(&hub, config, builder).await;
    client.pay(PAYEE, 10).await.unwrap();
    let flooding: Vec<_> = (0..3)
        .map(|_| {
            let channel = client.channel(id);
            tokio::spawn(async move {
                // Asks and does not wait for the answer.
                while futures::poll!(std::pin::pin!(channel.evidence())).is_pending() {
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    hub.state().flood = true;
    hub.state().mute = true;
    let start = Instant::now();
    let paying = tokio::time::timeout(Duration::from_secs(10), client.pay(PAYEE, 10));
    let error = paying.await.expect("no deadline was looked at").unwrap_err();
    assert!(
        matches!(error, PayError::Unknown { .. } | PayError::NotSent { .. }),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    for task in flooding {
        task.abort();
    }
    tokio::time::timeout(Duration::from_secs(8), client.shutdown())
        .await
        .expect("shutdown was not noticed");
}

/// A chain that answers every call with an error.
fn failing_chain() -> RootProvider<Ethereum> {
    RootProvider::new(RpcClient::mocked(Asserter::new()))
}

/// A disk in memory that can fail from some moment on.
#[derive(Clone, Debug, Default)]
struct Disk {
    bytes: Arc<std::sync::Mutex<Vec<u8>>>,
    failed: Arc<AtomicBool>,
}

impl Disk {
    fn again(&self) -> Self {
        Self {
            bytes: Arc::new(std::sync::Mutex::new(self.bytes.lock().unwrap().clone())),
            failed: Arc::default(),
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(io::Error::other("power cut"));
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check()?;
        let from = offset as usize;
        out.copy_from_slice(&self.bytes.lock().unwrap()[from..from + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        let from = offset as usize;
        self.bytes.lock().unwrap()[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// The trait must stay usable as an object from outside.
struct Nowhere;

#[async_trait]
impl Network for Nowhere {
    async fn connect(&self, _: &str, _: u16) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::HostUnreachable.into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_without_the_hub_is_unreachable_in_time() {
    let start = Instant::now();
    let ports = Ports {
        network: Arc::new(Nowhere),
        ..Ports::default()
    };
    let connecting = Client::builder("ws://nowhere.example")
        .signer(key(1))
        .store(MemoryStore::new())
        .trust_hub_chain_view(true)
        .ports(ports)
        .connect();
    let error = connecting.await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(11));
}
