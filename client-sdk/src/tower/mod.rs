//! Watchtowers: who defends this client's channels while it is away, and what they hold.
//!
//! A watchtower gets packages ([`Package`]): the newest voucher that the client accepted, countersigned for the tower's own
//! key (R28). With it the tower can show that voucher, and nothing else: no witnesses go along, because only the payee can
//! resolve locks. A package whose voucher has locks keeps the dispute open until they expire, so that the client can still
//! come and resolve them.

mod door;
mod folder;
mod worker;

pub(crate) use worker::{Order, Orders, Report, Worker};

use crate::{ConnectError, Network};
use door::Door;
use folder::Folder;
use protocol_spec::{Address, ChannelId, Package, Seq, UnixSeconds};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// How long a countersignature counts when nothing else is said: a year.
const LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Between two packages of one channel.
const EVERY: Duration = Duration::from_secs(1);

/// A watchtower that this client keeps up to date: `settle watch`, or anything that takes the same packages.
#[derive(Clone, Debug)]
pub struct Tower {
    at: Location,
    pub(crate) submitter: Address,
    pub(crate) may_dispute: bool,
    pub(crate) life: Duration,
    pub(crate) every: Duration,
    root_certificates: Vec<Vec<u8>>,
    believe_plain_http: bool,
}

#[derive(Clone, Debug)]
enum Location {
    Directory(PathBuf),
    Http(String),
}

impl Tower {
    /// A tower that reads packages from `dir`, which must exist: one file per channel, replaced in one step. `submitter` is
    /// the address of the tower's key.
    #[must_use]
    pub fn directory(dir: impl Into<PathBuf>, submitter: Address) -> Self {
        Self::new(Location::Directory(dir.into()), submitter)
    }

    /// A tower that takes packages by POST at `url`, `http://` or `https://`; without a path at `/packages`, where
    /// `settle watch --listen` takes them. `submitter` is the address of the tower's key. `http://` is for loopback: anywhere
    /// else [`Self::believe_plain_http`] is needed, or `connect` fails.
    #[must_use]
    pub fn http(url: impl Into<String>, submitter: Address) -> Self {
        Self::new(Location::Http(url.into()), submitter)
    }

    fn new(at: Location, submitter: Address) -> Self {
        Self {
            at,
            submitter,
            may_dispute: false,
            life: LIFE,
            every: EVERY,
            root_certificates: Vec::new(),
            believe_plain_http: false,
        }
    }

    /// Takes the answer of a tower at `http://` that is not on loopback for the tower's, although whoever sits between could
    /// drop the package and say that the tower has it. Only for a wire that is protected otherwise, by a VPN for instance.
    /// Default: false, `connect` refuses such a tower.
    #[must_use]
    pub fn believe_plain_http(mut self, believe: bool) -> Self {
        self.believe_plain_http = believe;
        self
    }

    /// Lets the tower start disputes, too. Answering one, and paying out after it, needs no such leave. Default: false.
    #[must_use]
    pub fn may_dispute(mut self, may: bool) -> Self {
        self.may_dispute = may;
        self
    }

    /// How long a package counts. A connected client renews it at half of that, so it may always be away for the other half.
    /// Default: a year.
    #[must_use]
    pub fn life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// Shortest time between two packages of one channel: of the vouchers accepted meanwhile only the newest is handed over.
    /// Default: 1 s. Longer where every signature costs somebody a press of a button.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval;
        self
    }

    /// As [`crate::ClientBuilder::root_certificate_pem`], for the tower's `https://`.
    #[must_use]
    pub fn root_certificate_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }

    /// How [`TowerView::place`] shows it.
    pub(crate) fn place(&self) -> String {
        match &self.at {
            Location::Directory(dir) => dir.display().to_string(),
            Location::Http(url) => url.clone(),
        }
    }

    /// Where its packages go. Errors: options that make no sense.
    pub(crate) fn outlet(&self, network: Arc<dyn Network>) -> Result<Outlet, ConnectError> {
        if self.submitter == Address::ZERO {
            return Err(ConnectError::Options(
                "a watchtower's submitter is zero: name the address of its key",
            ));
        }
        if self.life.as_secs() < 2 {
            return Err(ConnectError::Options("a watchtower's packages must live longer"));
        }
        match &self.at {
            Location::Directory(dir) if self.root_certificates.is_empty() => {
                Ok(Outlet::Folder(Folder::new(dir.clone())))
            }
            Location::Directory(_) => Err(ConnectError::Options(
                "a root certificate was given for a watchtower's directory: it would protect nothing",
            )),
            Location::Http(url) => {
                let door = Door::new(url, &self.root_certificates, network)?;
                if !self.believe_plain_http && !door.authentic() {
                    return Err(ConnectError::Options(
                        "a watchtower's URL is http:// and not on this machine: anybody between could say that a package was \
                         taken; use https://, or `.believe_plain_http(true)` on the tower if the wire is protected otherwise",
                    ));
                }
                Ok(Outlet::Door(Box::new(door)))
            }
        }
    }
}

/// Where packages go, ready for use.
pub(crate) enum Outlet {
    Folder(Folder),
    Door(Box<Door>),
}

impl Outlet {
    /// Hands one package over. Errors: why it is not with the tower, for people.
    async fn hand(&self, package: Package) -> Result<(), String> {
        match self {
            Self::Folder(folder) => folder.put(package).await,
            Self::Door(door) => door.post(&package).await,
        }
    }
}

/// A watchtower as this client knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TowerView {
    /// Its directory or URL.
    pub place: String,
    /// The address of its key.
    pub submitter: Address,
    /// What was handed over since `connect`, and what went wrong, by channel.
    pub channels: BTreeMap<ChannelId, TowerChannel>,
}

/// One channel at one watchtower.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TowerChannel {
    /// The newest package that the tower has.
    pub handed: Option<Handed>,
    /// Why a newer one is not there. It is tried again with growing waits. `None` once it worked.
    pub fault: Option<TowerFault>,
}

/// A package that a watchtower has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handed {
    /// The hub's voucher in it.
    pub seq: Seq,
    /// When the tower took it.
    pub at: UnixSeconds,
    /// The last chain time at which it counts.
    pub deadline: UnixSeconds,
}

/// Why a package is not with a watchtower.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TowerFault {
    /// The hub's voucher in it.
    pub seq: Seq,
    /// The last attempt.
    pub at: UnixSeconds,
    /// What happened, for people.
    pub why: String,
}

impl TowerView {
    /// True when the tower has voucher `seq` of the channel, or a newer one. Nothing is there to be had at zero.
    #[must_use]
    pub fn holds(&self, channel: &ChannelId, seq: Seq) -> bool {
        let handed = self.channels.get(channel).and_then(|channel| channel.handed);
        handed.map_or(Seq::NONE, |handed| handed.seq) >= seq
    }
}
