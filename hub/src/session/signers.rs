//! Whom a connection acts for: its signers' keys, and which of them each channel belongs to.

use super::limits;
use crate::engine::Signer;
use alloy::primitives::map::HashMap;
use protocol_spec::{
    Address, ChannelId,
    message::{ChannelInfo, ErrorCode, LoginReply, Message, Reply, Request, RpcError},
};
use std::sync::Arc;

/// The signers of one connection. With one signer it decides nothing: the ledger does.
#[derive(Debug, Default)]
pub(crate) struct Signers {
    keys: Vec<Arc<Signer>>,
    /// Places in `keys`; empty while there is one.
    places: HashMap<Address, usize>,
    /// The keys of the channels' signers, as the ledger's answers to what they asked for told them.
    channels: HashMap<ChannelId, Arc<Signer>>,
    /// The same, as answers to logins listed them. Anybody may open channels for a signer, so these are counted apart: they
    /// take no place from a channel that is registered here.
    listed: HashMap<ChannelId, Arc<Signer>>,
}

impl Signers {
    /// Who has logged in.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Address> {
        self.keys.iter().map(|key| key.address())
    }

    /// True before the first login.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key of `signer`, if it has logged in.
    pub(crate) fn get(&self, signer: &Address) -> Option<Arc<Signer>> {
        self.keys.get(self.place(signer)?).cloned()
    }

    /// Errors: `LoginFailed` when there are as many as there may be.
    pub(crate) fn require_room(&self) -> Result<(), RpcError> {
        let max = limits::SIGNERS_MAX;
        if self.keys.len() < max {
            return Ok(());
        }
        let text = "this connection acts for as many signers as one may; log in on another connection";
        let got = self.keys.len().saturating_add(1);
        Err(RpcError::because(ErrorCode::LoginFailed, text).with(max, got))
    }

    /// Adds a signer that is not there yet.
    pub(crate) fn add(&mut self, key: Arc<Signer>) {
        if self.keys.is_empty() {
            self.keys.reserve_exact(1); // nearly all connections have one
        }
        self.keys.push(key);
        if self.keys.len() > 1 {
            let known = self.places.len();
            let new = self.keys.iter().enumerate().skip(known);
            self.places.extend(new.map(|(place, key)| (key.address(), place)));
        }
    }

    /// The key that `call` is verified against. Errors: `NotLoggedIn`, `NotYourChannel`.
    pub(crate) fn key_for(&self, call: &Request) -> Result<Arc<Signer>, RpcError> {
        match self.keys.as_slice() {
            [] => Err(RpcError::of(ErrorCode::NotLoggedIn)),
            [only] => Ok(Arc::clone(only)),
            [first, ..] => match Named::by(call) {
                Named::Nothing => Ok(Arc::clone(first)),
                Named::Signer(signer) => self.get(&signer).ok_or_else(|| {
                    let text = "the channel's `client_signer` has not logged in on this connection";
                    RpcError::because(ErrorCode::NotYourChannel, text)
                }),
                Named::Channel(id) => {
                    let key = self.channels.get(&id).or_else(|| self.listed.get(&id)).cloned();
                    key.ok_or_else(|| self.unknown())
                }
            },
        }
    }

    fn unknown(&self) -> RpcError {
        let text = match self.channels.len() < limits::CHANNELS_KNOWN_MAX {
            true => {
                "no signer of this connection is known to own the channel: log in as its signer, or register it"
            }
            false => "this connection knows no more channels than these; use another one for the others",
        };
        RpcError::because(ErrorCode::NotYourChannel, text)
    }

    /// Learns from an answer of the ledger whose channels are whose.
    pub(crate) fn learn(&mut self, message: &Message) {
        let Message::Response {
            result: Ok(reply), ..
        } = message
        else {
            return;
        };
        match reply.as_ref() {
            Reply::Login(LoginReply { channels }) => channels.iter().for_each(|info| self.list(info)),
            Reply::Channel(info) => self.note(info),
            Reply::Resume(reply) => self.note(&reply.channel),
            _ => {}
        }
    }

    fn note(&mut self, info: &ChannelInfo) {
        let Some(key) = self.get(&info.config.client_signer) else {
            return;
        };
        if self.channels.len() < limits::CHANNELS_KNOWN_MAX {
            self.channels.insert(info.channel_id, key);
            self.listed.remove(&info.channel_id);
        }
    }

    fn list(&mut self, info: &ChannelInfo) {
        let Some(key) = self.get(&info.config.client_signer) else {
            return;
        };
        if self.listed.len() < limits::CHANNELS_KNOWN_MAX && !self.channels.contains_key(&info.channel_id) {
            self.listed.insert(info.channel_id, key);
        }
    }

    fn place(&self, signer: &Address) -> Option<usize> {
        match self.keys.as_slice() {
            [only] => (only.address() == *signer).then_some(0),
            _ => self.places.get(signer).copied(),
        }
    }
}

/// By what a call says whose it is.
enum Named {
    Channel(ChannelId),
    Signer(Address),
    Nothing,
}

impl Named {
    fn by(call: &Request) -> Self {
        Self::Channel(match call {
            Request::Login(_) | Request::Info(_) | Request::Ping(_) => return Self::Nothing,
            Request::Register(call) => return Self::Signer(call.config.client_signer),
            Request::Voucher(frame) => frame.voucher.voucher.channel_id,
            Request::Resume(call) => call.channel_id,
            Request::Quote(call) => call.channel_id,
            Request::Payment(call) => call.channel_id,
            Request::Subscribe(call) => call.channel_id,
            Request::Unsubscribe(call) | Request::Channel(call) => call.channel_id,
            Request::Withdraw(call) => call.withdraw.channel_id,
            Request::Close(call) => call.close.channel_id,
            Request::CancelDispute(call) => call.cancel.channel_id,
            Request::Reveal(call) => call.channel_id,
            Request::Consent(call) => call.channel_id,
            Request::Capacity(call) => call.channel_id,
            Request::PrepareClose(call) => call.channel_id,
        })
    }
}
