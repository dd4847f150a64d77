//! What the operator asks of the running driver.

use crate::liquidity::Report;
use protocol_spec::{Address, ChannelId};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// Questions that wait, at most: it is one person.
const ASKS_MAX: usize = 8;

/// Which of what is gathered goes now; nothing set: all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleNow {
    /// Channels of this token only.
    pub token: Option<Address>,
    /// This channel only.
    pub channel: Option<ChannelId>,
    /// The newest vouchers of open channels, too, whatever they are worth.
    pub checkpoints: bool,
}

impl SettleNow {
    /// True for what was meant.
    #[must_use]
    pub fn covers(&self, token: Address, channel: ChannelId) -> bool {
        self.token.is_none_or(|only| only == token) && self.channel.is_none_or(|only| only == channel)
    }
}

/// What was sent for it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Settled {
    /// Closes and withdrawals.
    pub cooperative: Vec<ChannelId>,
    /// Vouchers shown.
    pub checkpoints: Vec<ChannelId>,
    /// Transactions.
    pub transactions: u64,
}

/// One question with its answer's way.
#[derive(Debug)]
pub enum Ask {
    /// What is where, and what would be sent.
    Liquidity(oneshot::Sender<Result<Report, String>>),
    /// Sends what is gathered.
    SettleNow(SettleNow, oneshot::Sender<Result<Settled, String>>),
}

/// Asks the driver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Operator(mpsc::Sender<Ask>);

impl Operator {
    /// The operator's end and the driver's.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (sender, receiver) = mpsc::channel(ASKS_MAX);
        (Self(sender), receiver)
    }

    /// The reserves and what would be done about them. Errors: words; the chain could not be read, or the hub stops.
    pub async fn liquidity(&self) -> Result<Report, String> {
        self.ask(Ask::Liquidity).await
    }

    /// Sends what is gathered. Errors: words; the hub stops.
    pub async fn settle_now(&self, what: SettleNow) -> Result<Settled, String> {
        self.ask(|sender| Ask::SettleNow(what, sender)).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Ask) -> Result<T, String> {
        let stops = || "the hub is stopping".to_owned();
        let (sender, receiver) = oneshot::channel();
        self.0.send(ask(sender)).await.map_err(|_| stops())?;
        receiver.await.map_err(|_| stops())?
    }
}
