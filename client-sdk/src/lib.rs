//! The client side of Channel Hub: connect, pay, receive, keep evidence.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client_sdk::{Address, Client, RedbStore, SignerKey};
//!
//! let client = Client::builder("wss://hub.example")
//!     .signer(SignerKey::from_bytes(&[7; 32])?)
//!     .store(RedbStore::open("wallet.redb")?)
//!     .rpc("https://rpc.example")
//!     .connect()
//!     .await?;
//! client.open(1_000_000).await?;
//! let payee: Address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8".parse()?;
//! let paid = client.pay(payee, 250).await?;
//! println!("paid {}, fee {}", paid.amount, paid.fee);
//! # Ok(())
//! # }
//! ```
//!
//! What is guaranteed: a voucher leaves only after the store has it; a payment counts as delivered or bounced only by
//! a voucher of the hub that was verified; deposits are learned from the chain; whatever the hub does wrong freezes the
//! channel and keeps the proof. One task owns all channels of a client; everything here is `Send` and cheap to clone.

mod actor;
mod board;
mod builder;
mod chain;
mod channel_handle;
mod client;
mod cooperative;
mod error;
mod evidence;
mod limit;
mod link;
mod options;
mod payments;
mod pin;
mod ports;
mod signer;
mod start;
mod store;
mod task;
mod tls;
mod tower;
mod types;

pub use builder::ClientBuilder;
pub use channel_handle::ChannelHandle;
pub use client::Client;
pub use cooperative::{Cooperative, CooperativeMessage};
pub use error::{
    CertificateProblem, ChainError, ChannelError, ConnectError, FaultKind, HubFault, LimitKind, PayError,
    PinMismatch, SignerError, StoreError, StreamError,
};
pub use evidence::{from_store as evidence_from_store, save as save_evidence};
pub use limit::{Limit, SpendLimit};
pub use options::{Encoding, Rpc};
pub use payments::Payments;
pub use ports::{Entropy, Network, Ports, Stream};
pub use signer::{AlloySigner, VoucherSigner};
pub use store::{MemoryStore, RedbStore, Row, StorageBackend, Store, Table, Write};
pub use tower::{Handed, Tower, TowerChannel, TowerFault, TowerView};
pub use types::{
    Balance, CapacityOffer, ChannelView, ClientEvent, Defence, Health, HubPin, IntoAmount, IntoPayee,
    LockHeld, LockOptions, LockedPaid, LockedReceived, Paid, PayOptions, PaymentAnswer, PaymentState, Quote,
    ReceivedPayment,
};

pub use protocol_spec::{
    Address, Amount, ChannelId, Condition, Config, Digest, Evidence, Invoice, Payee, PaymentId, Preimage,
    ReturnReason, SignedInvoice, SignerKey, UnixSeconds, Witness, message::Cursor,
};
