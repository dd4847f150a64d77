//! The options of a client, with their defaults.

use crate::{HubPin, Ports, SpendLimit, Tower, VoucherSigner};
use alloy::{
    providers::{DynProvider, RootProvider},
    signers::local::PrivateKeySigner,
};
use protocol_spec::{
    Address,
    message::{SUBPROTOCOL_BORSH, SUBPROTOCOL_JSON},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How messages are encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encoding {
    /// Borsh in binary frames.
    #[default]
    Binary,
    /// JSON-RPC 2.0 in text frames.
    Json,
}

impl Encoding {
    /// The WebSocket subprotocol.
    #[must_use]
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Binary => SUBPROTOCOL_BORSH,
            Self::Json => SUBPROTOCOL_JSON,
        }
    }
}

/// Where the chain is read: a URL (`http`, `https`, `ws`, `wss`) or an alloy provider.
#[derive(Clone, Debug)]
pub enum Rpc {
    /// A URL.
    Url(String),
    /// A provider; it needs no wallet when a sender is configured.
    Provider(DynProvider),
}
impl From<&str> for Rpc {
    fn from(url: &str) -> Self {
        Self::Url(url.to_owned())
    }
}
impl From<String> for Rpc {
    fn from(url: String) -> Self {
        Self::Url(url)
    }
}
impl From<RootProvider> for Rpc {
    fn from(provider: RootProvider) -> Self {
        Self::Provider(DynProvider::new(provider))
    }
}
impl From<DynProvider> for Rpc {
    fn from(provider: DynProvider) -> Self {
        Self::Provider(provider)
    }
}

/// Everything the builder collects.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) url: String,
    pub(crate) encoding: Encoding,
    pub(crate) token: Address,
    pub(crate) pin: Option<HubPin>,
    pub(crate) server: Option<String>,
    pub(crate) owner: Option<Arc<dyn VoucherSigner>>,
    pub(crate) sender: Option<PrivateKeySigner>,
    pub(crate) rpcs: Vec<Rpc>,
    /// How many endpoints must agree; `None`: see the builder.
    pub(crate) agree: Option<usize>,
    pub(crate) trust_hub_chain_view: bool,
    pub(crate) confirmations: Option<u64>,
    pub(crate) limit: SpendLimit,
    /// Percent of the amount.
    pub(crate) fee_limit_percent: u8,
    pub(crate) connect_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) pay_timeout: Duration,
    pub(crate) expires_in: Duration,
    pub(crate) chain_timeout: Duration,
    pub(crate) chain_poll: Duration,
    pub(crate) sign_timeout: Duration,
    pub(crate) reconnect_min: Duration,
    pub(crate) reconnect_max: Duration,
    pub(crate) ack_delay: Duration,
    pub(crate) frames_in_flight: usize,
    pub(crate) broadcast: bool,
    pub(crate) accept_releases: bool,
    pub(crate) defend: bool,
    pub(crate) evidence_dir: Option<PathBuf>,
    pub(crate) towers: Vec<Tower>,
    pub(crate) root_certificates: Vec<Vec<u8>>,
    pub(crate) ports: Ports,
}

impl Options {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            encoding: Encoding::Binary,
            token: Address::ZERO,
            pin: None,
            server: None,
            owner: None,
            sender: None,
            rpcs: Vec::new(),
            agree: None,
            trust_hub_chain_view: false,
            confirmations: None,
            limit: SpendLimit::default(),
            fee_limit_percent: 5,
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(20),
            pay_timeout: Duration::from_secs(30),
            expires_in: Duration::from_secs(600),
            chain_timeout: Duration::from_secs(600),
            chain_poll: Duration::from_secs(2),
            sign_timeout: Duration::from_secs(30),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(30),
            ack_delay: Duration::from_millis(20),
            frames_in_flight: 4,
            broadcast: false,
            accept_releases: true,
            defend: true,
            evidence_dir: None,
            towers: Vec::new(),
            root_certificates: Vec::new(),
            ports: Ports::default(),
        }
    }
}
