//! What goes wrong, and when: at a message that passes over the network, named or drawn; and everything else by rate.

use super::{
    clock::random,
    frames::{Content, Unit},
    network::Party,
    part::Part,
};
use protocol_spec::message::{Message, Request};
use rand::{Rng as _, rngs::StdRng};
use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};
use tokio::time::Instant;

/// Longest time that a node is down or knows no new block, a person cut off, and that a node takes to answer.
const DOWN_MS_MAX: u64 = 8_000;
const CUT_OFF_MS_MAX: u64 = 10_000;
const SLOW_MS_MAX: u64 = 4_000;
/// How long somebody whose close is lost reaches nobody, and how long its node knows no new block.
const LOST: Duration = Duration::from_secs(4);
const STALLED: Duration = Duration::from_secs(8);

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

/// How often each part happens; what is not there does not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rates(BTreeMap<Part, u32>);

impl Rates {
    /// The same with this part at this rate; zero turns it off.
    #[must_use]
    pub fn with(mut self, part: Part, rate: u32) -> Self {
        self.0.insert(part, rate);
        self.0.retain(|_, rate| *rate > 0);
        self
    }

    /// What is on, with its rate.
    pub fn on(&self) -> impl Iterator<Item = (Part, u32)> {
        self.0.iter().map(|(part, rate)| (*part, *rate))
    }
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

/// What a machine's node does with a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rpc {
    Answers,
    Refuses,
    /// After this time.
    Late(Duration),
    /// It does it and says nothing.
    Loses,
    /// From now on it knows no new block for so long.
    Lags(Duration),
}

/// Decides. Each part has dice of its own: turning one off changes nothing for the others.
#[derive(Debug)]
pub(super) struct Plan {
    faults: Faults,
    seed: u64,
    dice: BTreeMap<Part, StdRng>,
    message: u64,
    quiet: bool,
    settled: bool,
    down: BTreeMap<Party, Instant>,
    cut_off: BTreeMap<usize, Instant>,
    tally: BTreeMap<Part, u64>,
    closes: Closes,
    /// Whose node is about to stand still.
    stalls: Option<Party>,
}

/// Whether somebody's close gets lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Closes {
    Arrive,
    /// The next one does not.
    Lost,
    /// It did not; its deadline is to be over before its sender is back.
    Late,
    /// It is.
    Over,
}

impl Plan {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            seed,
            dice: BTreeMap::new(),
            message: 0,
            quiet: false,
            settled: false,
            down: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            tally: BTreeMap::new(),
            closes: Closes::Arrive,
            stalls: None,
        }
    }

    /// Messages passed so far.
    pub(super) fn messages(&self) -> u64 {
        self.message
    }

    /// How often each part happened.
    pub(super) fn tally(&self) -> BTreeMap<Part, u64> {
        self.tally.clone()
    }

    /// Everybody has a channel.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// From here on nothing goes wrong any more.
    pub(super) fn end(&mut self) {
        self.quiet = true;
        self.down.clear();
        self.cut_off.clear();
    }

    /// True when nothing goes wrong any more.
    pub(super) fn is_over(&self) -> bool {
        self.quiet
    }

    /// The part's rate, while it may happen.
    fn rate(&self, part: Part) -> u32 {
        match &self.faults {
            Faults::Drawn(rates) if !self.quiet && (self.settled || !part.waits()) => {
                rates.0.get(&part).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }

    pub(super) fn dice(&mut self, part: Part) -> &mut StdRng {
        let seed = self.seed;
        let dice = self.dice.entry(part);
        dice.or_insert_with(|| random(seed, &format!("fault {part}")))
    }

    pub(super) fn count(&mut self, part: Part) {
        *self.tally.entry(part).or_default() += 1;
    }

    /// True when it may happen in this run.
    pub(super) fn is_on(&self, part: Part) -> bool {
        matches!(&self.faults, Faults::Drawn(rates) if rates.0.contains_key(&part))
    }

    /// True when the hub may lie in this run.
    pub(super) fn lies(&self) -> bool {
        matches!(&self.faults, Faults::Drawn(rates) if rates.0.keys().any(|part| part.is_lie()))
    }

    /// True when it is on for the whole run; then it counts once.
    pub(super) fn always(&mut self, part: Part) -> bool {
        let on = self.is_on(part);
        if on {
            self.tally.insert(part, 1);
        }
        on
    }

    /// True when it is on, also when nothing goes wrong any more. Counts it.
    pub(super) fn in_court(&mut self, part: Part) -> bool {
        let on = self.is_on(part);
        if on {
            self.count(part);
        }
        on
    }

    /// Whether it happens now. Counts it.
    pub(super) fn strikes(&mut self, part: Part) -> bool {
        let strikes = self.draws(part);
        if strikes {
            self.count(part);
        }
        strikes
    }

    fn draws(&mut self, part: Part) -> bool {
        let rate = self.rate(part);
        rate > 0 && self.dice(part).random_range(0..10_000) < rate
    }

    /// Counts a message: what happens at it.
    pub(super) fn judge(&mut self) -> Option<Kind> {
        let message = self.message;
        self.message += 1;
        if let Faults::At(faults) = &self.faults {
            let here = faults
                .iter()
                .find(|fault| !self.quiet && fault.message == message);
            return here.map(|fault| fault.kind);
        }
        let parts = [
            (Part::Cut, [Kind::CutBefore, Kind::CutAfter]),
            (Part::HubPower, [Kind::HubBefore, Kind::HubAfter]),
            (Part::ClientPower, [Kind::ClientBefore, Kind::ClientAfter]),
        ];
        let (part, pair) = parts.into_iter().find(|(part, _)| self.strikes(*part))?;
        Some(pair[usize::from(self.dice(part).random::<bool>())])
    }

    /// After how many operations from now something happens to a disk, if it does: a row of independent draws. Not counted: it may
    /// never get there.
    pub(super) fn disk(&mut self, part: Part) -> Option<u64> {
        let rate = self.rate(part);
        if rate == 0 {
            return None;
        }
        let mean = 10_000_u64.div_ceil(u64::from(rate));
        Some(self.dice(part).random_range(1..=2 * mean))
    }

    /// What a party's node does with a call.
    pub(super) fn rpc(&mut self, party: Party) -> Rpc {
        if self.stalls.take_if(|stalls| *stalls == party).is_some() {
            return Rpc::Lags(STALLED);
        }
        let now = Instant::now();
        if self.down.get(&party).is_some_and(|until| now < *until) {
            return Rpc::Refuses;
        }
        if self.strikes(Part::RpcDown) {
            let ms = self.dice(Part::RpcDown).random_range(500..=DOWN_MS_MAX);
            self.down.insert(party, now + Duration::from_millis(ms));
            return Rpc::Refuses;
        }
        if self.strikes(Part::RpcSlow) {
            let ms = self.dice(Part::RpcSlow).random_range(100..=SLOW_MS_MAX);
            return Rpc::Late(Duration::from_millis(ms));
        }
        if self.strikes(Part::RpcLost) {
            return Rpc::Loses;
        }
        match self.strikes(Part::RpcLags) {
            true => {
                let ms = self.dice(Part::RpcLags).random_range(500..=DOWN_MS_MAX);
                Rpc::Lags(Duration::from_millis(ms))
            }
            false => Rpc::Answers,
        }
    }

    /// Cuts a person off, perhaps.
    pub(super) fn cut_off(&mut self, person: usize) -> bool {
        let strikes = self.strikes(Part::Partition);
        if strikes {
            let ms = self.dice(Part::Partition).random_range(500..=CUT_OFF_MS_MAX);
            self.cut_off
                .insert(person, Instant::now() + Duration::from_millis(ms));
        }
        strikes
    }

    /// Whether a close is lost from now on, the next one that anybody honest sends; once in a world.
    pub(super) fn loses_close(&mut self) -> bool {
        let loses = self.closes == Closes::Arrive && self.draws(Part::Lapse);
        if loses {
            self.closes = Closes::Lost;
        }
        loses
    }

    /// True when this message is that close: its sender is cut off.
    pub(super) fn loses(&mut self, person: usize, unit: &Unit) -> bool {
        let Content::Message(message) = &unit.content else {
            return false;
        };
        let closes = match message.as_ref() {
            Message::Request { call, .. } => matches!(call.as_ref(), Request::Close(_)),
            _ => false,
        };
        let lost = closes && !self.quiet && self.closes == Closes::Lost;
        if lost {
            self.closes = Closes::Late;
            self.cut_off.insert(person, Instant::now() + LOST);
            self.stalls = Some(Party::Person(person));
            self.count(Part::Lapse);
        }
        lost
    }

    /// True once, when it was lost: from now on it is too late.
    pub(super) fn lapses(&mut self) -> bool {
        let late = self.closes == Closes::Late;
        if late {
            self.closes = Closes::Over;
        }
        late
    }

    /// False while the person reaches nobody.
    pub(super) fn reaches(&self, person: usize) -> bool {
        self.cut_off
            .get(&person)
            .is_none_or(|until| Instant::now() >= *until)
    }
}
