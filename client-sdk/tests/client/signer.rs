//! G1: a signer that fails, hangs or lies. What it does not sign as it should never leaves, and the same is signed once it
//! does. In virtual time.

use crate::common::{Hub, TOWER, attached, key, simulated, simulated_builder};
use alloy::primitives::{U256, uint};
use async_trait::async_trait;
use client_sdk::*;
use protocol_spec::{Register, Seq, Signature};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;

const PAYEE: Address = Address::repeat_byte(0x77);
/// What the mini-hub takes of a payment.
const FEE: u128 = 1;
/// Longer than the SDK waits for a signer, twice, and for whatever it tries again.
const LONG: Duration = Duration::from_secs(120);
/// The order of secp256k1.
const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

/// What a signer does instead of signing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Fails,
    Hangs,
    AnotherKey,
    AnotherDigest,
    /// The twin of the right signature, which the adjudicator does not accept.
    HighS,
    /// Recovers to another key.
    AnotherParity,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::Fails,
        Self::Hangs,
        Self::AnotherKey,
        Self::AnotherDigest,
        Self::HighS,
        Self::AnotherParity,
    ];

    /// What whoever asked is told.
    fn error(self) -> SignerError {
        match self {
            Self::Fails => SignerError::Failed("no device".to_owned()),
            Self::Hangs => SignerError::Failed("no answer in time".to_owned()),
            _ => SignerError::WrongSignature,
        }
    }

    fn assert_told(self, told: &ChannelError) {
        let is_told = matches!(told, ChannelError::Signer(error) if *error == self.error());
        assert!(is_told, "{self:?}: {told}");
    }
}

/// Signs with `key(1)`, unless it is broken.
#[derive(Clone, Default)]
struct Broken(Arc<Mutex<Option<Fault>>>);

impl Broken {
    fn breaks(&self, fault: Fault) {
        *self.0.lock().unwrap() = Some(fault);
    }

    fn mends(&self) {
        *self.0.lock().unwrap() = None;
    }
}

#[async_trait]
impl VoucherSigner for Broken {
    fn address(&self) -> Address {
        key(1).address()
    }

    async fn sign(&self, digest: &Digest) -> Result<Signature, SignerError> {
        let fault = *self.0.lock().unwrap();
        let mut signature = key(1).sign(digest);
        match fault {
            None => {}
            Some(fault @ Fault::Fails) => return Err(fault.error()),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::AnotherKey) => signature = key(2).sign(digest),
            Some(Fault::AnotherDigest) => signature = key(1).sign(&Digest([7; 32])),
            Some(Fault::HighS) => {
                let s = U256::from_be_slice(&signature.0[32..64]);
                signature.0[32..64].copy_from_slice(&(ORDER - s).to_be_bytes::<32>());
                signature.0[64] = 27 + 28 - signature.0[64];
            }
            Some(Fault::AnotherParity) => signature.0[64] = 27 + 28 - signature.0[64],
        }
        Ok(signature)
    }
}

/// A hub, and a client whose signer can break.
struct World {
    hub: Arc<Hub>,
    network: Arc<crate::common::SimulatedNetwork>,
    ports: Ports,
    signer: Broken,
    store: MemoryStore,
}

impl World {
    fn new() -> Self {
        let (hub, network, ports) = simulated(1);
        hub.add_channel(&key(1));
        Self {
            hub,
            network,
            ports,
            signer: Broken::default(),
            store: MemoryStore::new(),
        }
    }

    fn builder(&self) -> ClientBuilder {
        simulated_builder(&self.hub, &self.ports, key(1), self.store.clone()).signer(self.signer.clone())
    }

    async fn attached(&self, builder: ClientBuilder) -> (Client, ChannelHandle) {
        let (client, id) = attached(&self.hub, self.hub.config(&key(1)), builder).await;
        let channel = client.channel(id);
        (client, channel)
    }

    /// All that the hub was ever sent, in numbers.
    fn heard(&self) -> (u64, usize, usize) {
        let state = self.hub.state();
        (state.requests, state.vouchers.len(), state.cooperative.len())
    }

    /// No seq with two contents, and each signed as it should be: the mini-hub has verified them.
    fn assert_one_content_for_each_seq(&self) {
        let mut digests: HashMap<Seq, Digest> = HashMap::new();
        for signed in &self.hub.state().vouchers {
            let digest = signed.voucher.digest(&self.hub.domain);
            assert_eq!(*digests.entry(signed.voucher.seq).or_insert(digest), digest);
        }
    }
}

/// A payment that needs no quote: all that leaves for it is a voucher.
fn payment(id: u8) -> PayOptions {
    PayOptions {
        payment_id: Some(PaymentId([id; 16])),
        fee_max: Some(Amount(FEE)),
        ..PayOptions::default()
    }
}

/// The payment is stored and waits; nothing is sent, nobody is paid. The same payment goes through with a signer that signs,
/// in the same voucher, once, also after a restart.
#[tokio::test(start_paused = true)]
async fn g1_a_voucher_leaves_as_it_should_be_signed_or_not_at_all() {
    for (fault, restart) in Fault::ALL
        .into_iter()
        .flat_map(|fault| [(fault, false), (fault, true)])
    {
        let world = World::new();
        let (mut client, mut channel) = world.attached(world.builder()).await;
        let first = client.pay_with(PAYEE, 10_u128, payment(1)).await.unwrap();
        sleep(LONG).await;
        let (before, balance) = (world.heard(), client.balance());
        world.signer.breaks(fault);
        let error = client.pay_with(PAYEE, 10_u128, payment(2)).await.unwrap_err();
        assert!(matches!(error, PayError::Unknown { .. }), "{fault:?}: {error}");
        let error = channel.evidence().await.unwrap_err();
        fault.assert_told(&error);
        sleep(LONG).await;
        assert_eq!(world.heard(), before, "{fault:?}: something left");
        let now = client.balance();
        assert_eq!(
            (now.settled.0 + now.in_flight.0, now.in_flight.0),
            (balance.settled.0, 10 + FEE)
        );
        assert_eq!(channel.health(), Health::Good, "the hub has done nothing wrong");
        if restart {
            client.shutdown().await;
            assert_eq!(world.heard(), before, "{fault:?}: something left on the way out");
            world.signer.mends();
            (client, channel) = world.attached(world.builder()).await;
        } else {
            world.signer.mends();
        }
        let paid = client.pay_with(PAYEE, 10_u128, payment(2)).await.unwrap();
        assert!(paid.seq > first.seq);
        client.pay_with(PAYEE, 10_u128, payment(3)).await.unwrap();
        assert_eq!(
            world.hub.state().delivered,
            [1, 2, 3].map(|id| PaymentId([id; 16]))
        );
        assert!(channel.evidence().await.unwrap().sent.voucher.is_some());
        world.assert_one_content_for_each_seq();
    }
}

/// The hub hears nothing from a client that cannot say who it is, at the first login and at a later one.
#[tokio::test(start_paused = true)]
async fn g1_nobody_logs_in_without_a_right_signature() {
    for fault in Fault::ALL {
        let world = World::new();
        world.signer.breaks(fault);
        let error = world.builder().connect().await.unwrap_err();
        // Also when the time to connect, which is shorter than the signer's, ends: the hub answered.
        let expected = ConnectError::Signer(fault.error());
        assert_eq!(error, expected, "{fault:?}");
        assert_eq!(world.heard(), (0, 0, 0), "{fault:?}");
        world.signer.mends();
        let (client, _) = world.attached(world.builder()).await;
        client.pay_with(PAYEE, 10_u128, payment(1)).await.unwrap();
        world.signer.breaks(fault);
        let logins = world.hub.state().logins;
        world.hub.cut_next();
        // What nobody signs meets the cut.
        client.quote(PAYEE, 10_u128).await.unwrap_err();
        client.pay_with(PAYEE, 10_u128, payment(2)).await.unwrap_err();
        sleep(LONG).await;
        let dials = world.network.dials.lock().unwrap().len();
        assert!(dials > 3, "{fault:?}: dialled {dials} times");
        assert_eq!(world.hub.state().logins, logins, "{fault:?}");
        assert_eq!(client.unreachable(), Some(expected), "{fault:?}");
        world.signer.mends();
        // The attempt that hangs ends by its own time limit.
        sleep(LONG).await;
        client.pay_with(PAYEE, 10_u128, payment(2)).await.unwrap();
        assert_eq!(world.hub.state().delivered.len(), 2, "{fault:?}");
        world.assert_one_content_for_each_seq();
    }
}

/// The owner's account may be another key: what it does not sign as it should is not shown to the hub, which then goes by
/// the channel's signer alone.
#[tokio::test(start_paused = true)]
async fn g1_no_wrong_signature_of_an_owner_is_shown() {
    for fault in Fault::ALL {
        let world = World::new();
        let builder = || world.builder().signer(key(1)).owner(world.signer.clone());
        world.signer.breaks(fault);
        // Shorter than an attached channel is waited for.
        let (client, _) = world
            .attached(builder().sign_timeout(Duration::from_secs(1)))
            .await;
        assert_eq!(world.hub.state().owners, [None], "{fault:?}");
        client.pay_with(PAYEE, 10_u128, payment(1)).await.unwrap();
        client.shutdown().await;
        world.signer.mends();
        let (_client, channel) = world.attached(builder()).await;
        let statement = Register {
            channel_id: channel.id(),
            server: world.hub.info().server,
        };
        let signed = key(1).sign(&statement.digest(&world.hub.domain));
        assert_eq!(world.hub.state().owners, [None, Some(signed)], "{fault:?}");
    }
}

/// Whoever names an owner is not handed a channel that pays out to a stranger.
#[tokio::test(start_paused = true)]
async fn with_an_owner_no_channel_is_attached_that_pays_out_to_anybody_else() {
    let world = World::new();
    let client = world
        .builder()
        .signer(key(1))
        .owner(key(5))
        .connect()
        .await
        .unwrap();
    let terms = |account: Address| Config {
        client: account,
        ..world.hub.config(&key(1))
    };
    let refused = client.attach(terms(key(7).address())).await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("pays out to another account"), "{told}");
    assert!(client.channels().is_empty());
    for own in [1, 5] {
        let config = world.hub.add_channel_of(terms(key(own).address()));
        client.attach(config).await.unwrap();
    }
    assert_eq!(client.channels().len(), 2);
}

/// What lessens or ends the channel stays unsent, whoever still waits for it, and goes on once it is signed.
#[tokio::test(start_paused = true)]
async fn g1_no_withdrawal_and_no_close_leaves_with_a_wrong_signature() {
    for fault in Fault::ALL {
        let world = World::new();
        let (_client, channel) = world.attached(world.builder()).await;
        sleep(LONG).await;
        let view = || channel.view().unwrap();
        let sent = || world.hub.state().cooperative.len();
        world.signer.breaks(fault);
        let error = channel.withdraw(1_000_u128).await.unwrap_err();
        assert!(matches!(error, ChannelError::Timeout), "{fault:?}: {error}");
        sleep(LONG).await;
        assert!(view().withdraw_pending, "{fault:?}: it is planned");
        assert_eq!(
            (sent(), view().withdrawn_on_chain),
            (0, Amount::ZERO),
            "{fault:?}"
        );
        world.signer.mends();
        sleep(LONG).await;
        assert_eq!(
            (sent(), view().withdrawn_on_chain),
            (1, Amount(1_000)),
            "{fault:?}"
        );
        world.signer.breaks(fault);
        let error = channel.sign_close().await.map(drop).unwrap_err();
        assert!(matches!(error, ChannelError::Timeout), "{fault:?}: {error}");
        sleep(LONG).await;
        assert_eq!((sent(), view().phase), (1, "closing"), "{fault:?}");
        world.signer.mends();
        channel.sign_close().await.unwrap();
        channel.wait_closed().await.unwrap();
        assert_eq!(sent(), 2, "{fault:?}");
    }
}

/// An invoice that nobody could hold the payee to is not given out, and no watchtower gets a package that it could not use.
#[tokio::test(start_paused = true)]
async fn g1_no_invoice_and_no_package_is_made_with_a_wrong_signature() {
    for fault in Fault::ALL {
        let world = World::new();
        let tower = Tower::http(format!("http://{TOWER}:8080"), Address::repeat_byte(0x55));
        let builder = world.builder().tower(tower.believe_plain_http(true));
        let (client, channel) = world.attached(builder).await;
        world.signer.breaks(fault);
        let hour = Duration::from_secs(3_600);
        let error = channel.invoice(40_u128, hour, Digest::ZERO).await.unwrap_err();
        fault.assert_told(&error);
        world.hub.credit(&channel.id(), 5);
        sleep(LONG).await;
        assert!(world.network.tower.posts.lock().unwrap().is_empty(), "{fault:?}");
        let [view] = client.towers().try_into().unwrap();
        let told = &view.channels[&channel.id()];
        assert_eq!(told.fault.as_ref().unwrap().why, fault.error().to_string());
        assert!(told.handed.is_none() && !view.holds(&channel.id(), Seq(1)));
        world.signer.mends();
        channel.wait_towers(Seq(1)).await.unwrap();
        let package = world.network.tower.posts.lock().unwrap()[0].1.clone();
        let accepted = package.countersignature;
        accepted.verify(&world.hub.domain, key(1).address()).unwrap();
        channel.invoice(40_u128, hour, Digest::ZERO).await.unwrap();
    }
}
