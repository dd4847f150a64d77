//! What the mini-hub knows, and what it is to do wrong.

use client_sdk::{Amount, ChannelId, PaymentId, ReturnReason};
use protocol_spec::{
    Channel, Seq, Signature, SignedVoucher, UnixSeconds,
    message::{Frame, Notification, Reveal},
};
use std::collections::HashMap;
use tokio::sync::mpsc::UnboundedSender;

/// Where the hub drops the connection, counted over all requests and notifications.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    Never,
    /// Before the n-th request is handled.
    BeforeRequest(u64),
    /// After the n-th request is handled, before anything is answered.
    AfterRequest(u64),
}

/// How the next frame is spoiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoil {
    Signature,
    Paid,
    AckSeq,
    AckPaid,
    History,
}

/// A kind of call that is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refuse {
    Register,
    Resume,
    Voucher,
    Close,
    Withdraw,
    /// Not busy: it never will.
    WithdrawForGood,
    /// Its clock is ahead.
    RevealAsLate,
    Subscribe,
    /// Not busy: what was asked for is no longer kept.
    SubscribeForGood,
}

/// A kind of call that is handled, but not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    Register,
    Resume,
    Voucher,
    Quote,
    Withdraw,
}

#[derive(Clone)]
pub struct HubChannel {
    pub channel: Channel,
    /// Every hub frame, oldest first.
    pub frames: Vec<Frame>,
    pub received: Option<SignedVoucher>,
}

pub struct State {
    pub channels: HashMap<ChannelId, HubChannel>,
    pub delivered: Vec<PaymentId>,
    pub bounce: Option<ReturnReason>,
    pub cut: Cut,
    pub requests: u64,
    pub spoil: Option<Spoil>,
    /// Accept vouchers, but never answer.
    pub mute: bool,
    /// The next call of this kind gets no answer.
    pub silence: Option<Silence>,
    /// Deadlines of the closes that were announced.
    pub prepared: Vec<UnixSeconds>,
    /// Credited when a close is announced: it reaches the client after the answer.
    pub late_credit: Option<u128>,
    /// The numbers told when a close is announced are wrong.
    pub wrong_numbers: bool,
    /// All calls of this kind are refused.
    pub refuse: Option<Refuse>,
    /// What is refused by the script may be tried again after that.
    pub retry_after_ms: Option<u32>,
    /// When a call was refused.
    pub refused_at: Vec<tokio::time::Instant>,
    /// All closes and withdrawals as they came, encoded.
    pub cooperative: Vec<Vec<u8>>,
    /// Leaves right after the login.
    pub hang_up: bool,
    /// All client vouchers as they came, with duplicates.
    pub vouchers: Vec<SignedVoucher>,
    pub fee: Amount,
    /// After each answer: notifications without end, as fast as the socket takes them.
    pub flood: bool,
    /// To the connection that resumed last: vouchers are taken from it alone.
    pub push: Option<UnboundedSender<Notification>>,
    /// Answers vouchers with this seq.
    pub lie: Option<Seq>,
    /// Returns so much of the next payment before it acknowledges anything; see [`Hub::acknowledge`].
    pub early_return: Option<Amount>,
    /// Shows the last receipt once more at the next position.
    pub replay: bool,
    /// Own locks whose witness was told, and those that were given up.
    pub revealed: Vec<u64>,
    /// What they were told with.
    pub reveals: Vec<Reveal>,
    pub consented: Vec<u64>,
    /// Logins so far.
    pub logins: u64,
    /// What the owners of channels signed for `register`, if anything.
    pub owners: Vec<Option<Signature>>,
    /// It presents itself under another name.
    pub renamed: bool,
    /// Its database is an old one, and it knows: it adopts what it is shown.
    pub rolled_back: bool,
    /// Shows no lists of locks.
    pub hides_locks: bool,
    /// What it signs is for the chain to carry out.
    pub on_chain: bool,
    /// Says that it does not send what it countersigns.
    pub leaves_lying: bool,
    /// What a resume lacks comes as one frame, as a hub that was restarted sends it.
    pub in_one: bool,
    /// Credited when a resume has come: the first is sent before its answer, as what was under way already, both after it.
    pub credits_at_resume: Option<[u128; 2]>,
}

impl Default for State {
    /// A hub that does nothing wrong.
    fn default() -> Self {
        Self {
            channels: HashMap::new(),
            delivered: Vec::new(),
            bounce: None,
            cut: Cut::Never,
            requests: 0,
            spoil: None,
            mute: false,
            silence: None,
            prepared: Vec::new(),
            late_credit: None,
            wrong_numbers: false,
            refuse: None,
            retry_after_ms: None,
            refused_at: Vec::new(),
            cooperative: Vec::new(),
            hang_up: false,
            vouchers: Vec::new(),
            fee: Amount(1),
            flood: false,
            push: None,
            lie: None,
            early_return: None,
            replay: false,
            revealed: Vec::new(),
            reveals: Vec::new(),
            consented: Vec::new(),
            logins: 0,
            owners: Vec::new(),
            renamed: false,
            rolled_back: false,
            hides_locks: false,
            on_chain: false,
            leaves_lying: false,
            in_one: false,
            credits_at_resume: None,
        }
    }
}
