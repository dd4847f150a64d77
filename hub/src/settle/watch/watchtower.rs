//! A watchtower without a command line: its options, and what `settle watch` and other programs run.

use super::{
    door::{self, Desk},
    event::{Event, Voice},
    tower::{Looked, Tower},
    trust::Trust,
};
use crate::settle::{Node, SettleError, args::WatchArgs, journal::Journal, signer::Signer};
use alloy::signers::local::PrivateKeySigner;
use axum::serve::Listener;
use protocol_spec::Address;
use std::{fmt, future::Future, path::PathBuf, sync::Arc, time::Duration};

/// How a watchtower guards.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// The directory with packages: every `*.json` in it.
    pub dir: PathBuf,
    /// Adjudicators that are believed; none: all whose code is the committed one.
    pub adjudicators: Vec<Address>,
    /// Between two looks, as whoever calls [`Watchtower::look`] keeps it.
    pub every: Duration,
    /// Where transactions are written down before they are sent. `None`: nothing is sent, it is only said what is due.
    pub journal: Option<PathBuf>,
    /// Most gas that showing one side's packages of one channel may take in all.
    pub gas_max_per_channel: u64,
    /// Most wei per gas; `None`: 8 times what the node asks for.
    pub fee_max: Option<u128>,
    /// After how long a transaction that is in no block is replaced with higher fees.
    pub bump_after: Duration,
}

impl From<&WatchArgs> for WatchOptions {
    fn from(args: &WatchArgs) -> Self {
        let named = args.journal.clone();
        let journal = || named.unwrap_or_else(|| args.dir.join("settle.journal"));
        Self {
            dir: args.dir.clone(),
            adjudicators: args.adjudicator.clone(),
            every: Duration::from_secs(args.every),
            journal: args.broadcast.then(journal),
            gas_max_per_channel: args.max_gas_per_channel,
            fee_max: args.max_fee_gwei,
            bump_after: Duration::from_secs(args.bump_after),
        }
    }
}

/// A watchtower: it looks when it is told to, and keeps nothing in memory that matters.
pub struct Watchtower {
    tower: Tower,
    desk: Arc<Desk>,
}

impl fmt::Debug for Watchtower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watchtower")
    }
}

impl Watchtower {
    /// With a key of this program's. `told` hears of everything, and must be quick.
    ///
    /// # Errors
    /// [`SettleError::Usage`] naming the journal: it cannot be used, or another process uses it.
    pub fn open(
        options: &WatchOptions,
        key: PrivateKeySigner,
        node: Node,
        told: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<Self, SettleError> {
        Self::with(options, &Signer::Local(key), node, Voice::Ear(Arc::new(told)))
    }

    pub(super) fn with(
        options: &WatchOptions,
        signer: &Signer,
        node: Node,
        voice: Voice,
    ) -> Result<Self, SettleError> {
        let journal = options.journal.as_deref().map(Journal::open).transpose()?;
        let trust = Trust::new(node.clone(), &options.adjudicators);
        let desk = Desk::new(options.dir.clone(), signer.address(), node.clone(), trust.clone());
        Ok(Self {
            tower: Tower::new(options, (node, trust), signer, journal, voice),
            desk: Arc::new(desk),
        })
    }

    /// Takes packages by `POST /packages` of whoever connects. Ends never; end it by dropping it. There is no login (see
    /// `settle watch --help`), and the number of connections is the listener's to bound.
    pub fn serve<L: Listener<Addr: fmt::Debug>>(&self, listener: L) -> impl Future<Output = ()> + use<L> {
        door::serve(listener, self.desk.clone())
    }

    /// Looks once and does what is due. Dropped in the middle it loses nothing: what was sent is in the journal, from which the
    /// next look goes on, of this one or of another that is opened after it.
    ///
    /// # Errors
    /// Only that the directory cannot be read and nothing is held. Everything else is told, and tried again at the next look.
    pub async fn look(&mut self) -> Result<Looked, SettleError> {
        self.tower.look().await
    }

    pub(super) fn desk(&self) -> Arc<Desk> {
        self.desk.clone()
    }

    pub(super) fn tower(&mut self) -> &mut Tower {
        &mut self.tower
    }
}
