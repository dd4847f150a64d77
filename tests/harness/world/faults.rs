//! What goes wrong, and when: at a message that passes over the network, named or drawn.

use super::clock::random;
use rand::{Rng as _, rngs::StdRng};
use std::{fmt, str::FromStr};

/// What happens at a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The message is lost and its connection ends.
    CutBefore,
    /// The message arrives and its connection ends.
    CutAfter,
    /// The hub's machine loses power before the message leaves the wire.
    HubBefore,
    /// The hub's machine loses power right after it.
    HubAfter,
    /// The client's machine loses power before it.
    ClientBefore,
    /// The client's machine loses power right after it.
    ClientAfter,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::CutBefore,
        Self::CutAfter,
        Self::HubBefore,
        Self::HubAfter,
        Self::ClientBefore,
        Self::ClientAfter,
    ];

    /// True when the message still arrives.
    pub(super) fn delivers(self) -> bool {
        matches!(self, Self::CutAfter | Self::HubAfter | Self::ClientAfter)
    }
}

/// A fault at the message with this number, counted from 0 over all connections.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fault {
    /// The message.
    pub message: u64,
    /// What happens.
    pub kind: Kind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.kind, self.message)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: a fault looks like CutAfter@17");
        let (name, message) = text.split_once('@').ok_or_else(wrong)?;
        let kind = Kind::ALL.into_iter().find(|kind| format!("{kind:?}") == name);
        Ok(Self {
            message: message.parse().map_err(|_| wrong())?,
            kind: kind.ok_or_else(wrong)?,
        })
    }
}

/// How often each thing goes wrong, in faults per 10,000 messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Connections cut.
    pub cut: u32,
    /// Power failures of the hub.
    pub hub: u32,
    /// Power failures of a client.
    pub client: u32,
    /// Power failures of the hub's machine at one of its disk operations, per 10,000 of them.
    pub hub_disk: u32,
}

/// The plan of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Faults {
    /// Nothing goes wrong.
    None,
    /// Exactly these.
    At(Vec<Fault>),
    /// Drawn from the run's seed.
    Drawn(Rates),
}

/// Decides message by message.
#[derive(Debug)]
pub(super) struct Plan {
    faults: Faults,
    random: StdRng,
    message: u64,
    quiet: bool,
}

impl Plan {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            random: random(seed, "faults"),
            message: 0,
            quiet: false,
        }
    }

    /// Messages passed so far.
    pub(super) fn messages(&self) -> u64 {
        self.message
    }

    /// From here on nothing goes wrong any more.
    pub(super) fn end(&mut self) {
        self.quiet = true;
    }

    /// Counts a message: what happens at it.
    pub(super) fn judge(&mut self) -> Option<Kind> {
        let message = self.message;
        self.message += 1;
        if self.quiet {
            return None;
        }
        match &self.faults {
            Faults::None => None,
            Faults::At(faults) => {
                let here = faults.iter().find(|fault| fault.message == message);
                here.map(|fault| fault.kind)
            }
            Faults::Drawn(rates) => {
                let draw = self.random.random_range(0..10_000_u32);
                let after = self.random.random::<bool>();
                let [cut, hub, client] = [
                    rates.cut,
                    rates.cut + rates.hub,
                    rates.cut + rates.hub + rates.client,
                ];
                let pair = match draw {
                    draw if draw < cut => [Kind::CutBefore, Kind::CutAfter],
                    draw if draw < hub => [Kind::HubBefore, Kind::HubAfter],
                    draw if draw < client => [Kind::ClientBefore, Kind::ClientAfter],
                    _ => return None,
                };
                Some(pair[usize::from(after)])
            }
        }
    }

    /// At which disk operation from now the hub's machine loses power, if it does.
    pub(super) fn hub_disk(&mut self) -> Option<u64> {
        let Faults::Drawn(rates) = &self.faults else {
            return None;
        };
        if self.quiet || rates.hub_disk == 0 {
            return None;
        }
        // The first failure in a row of independent draws.
        let mean = 10_000_u64.div_ceil(u64::from(rates.hub_disk));
        Some(self.random.random_range(1..=2 * mean))
    }
}
