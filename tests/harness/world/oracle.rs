//! Looks at every message as it leaves its sender: O1 (one digest per seq), O2 (what was acknowledged is durable) and
//! O5 (numbers and sums only grow), for every honest side of every channel, over all restarts; and the rules of `rules` and
//! `forwarding`.

use super::{
    faults::Kind,
    forwarding::Forwarding,
    frames::Content,
    network::{Ears, Party, Way},
    power::Power,
    rules::Record,
    trace::Trace,
};
use crate::world::clock::Clock;
use protocol_spec::{
    Amount, ChannelId, Digest, Domain, Seq, Side, SignedVoucher,
    message::{Message, Notification, Reply, Request, ResumeCall, ResumeReply},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One direction of one channel: who pays in it.
type Direction = (ChannelId, bool);

fn direction(channel: ChannelId, payer: Side) -> Direction {
    (channel, payer == Side::Hub)
}

/// What was seen of one direction.
#[derive(Clone, Debug, Default)]
struct Seen {
    digests: BTreeMap<Seq, Known>,
    newest: (Seq, Amount),
    /// Highest seq ever seen, of whatever became of it.
    highest: Seq,
    /// Highest voucher of this direction that its payee acknowledged by a voucher of its own.
    acknowledged: Seq,
    /// The sum of the highest one that was ever acknowledged.
    acknowledged_paid: Amount,
}

/// A voucher.
#[derive(Clone, Copy, Debug)]
struct Known {
    digest: Digest,
    paid: Amount,
    ack_seq: Seq,
}

/// Of each channel: what the hub has paid, and what it has acknowledged as paid by the client.
pub(super) type Totals = BTreeMap<ChannelId, (Amount, Amount)>;

/// The oracle's knowledge. Clones are one oracle.
#[derive(Clone)]
pub(super) struct Oracle(Arc<Mutex<State>>);

struct State {
    clock: Clock,
    domain: Domain,
    seen: BTreeMap<Direction, Seen>,
    records: BTreeMap<ChannelId, Record>,
    forwarding: Forwarding,
    /// Channels whose clients were restored from old copies: they know less than they did.
    restored: BTreeSet<ChannelId>,
    /// Channels whose clients have not come back since the hub was restored.
    doubted: BTreeSet<ChannelId>,
    /// What the hub paid, and what it was paid, after the copies were made that it was restored from.
    forgotten: (u128, u128),
    /// Channels that nobody registers.
    unregistered: BTreeSet<ChannelId>,
    /// People who need not keep any rule.
    foes: BTreeSet<usize>,
    /// Nor need the hub.
    lies: bool,
    machines: BTreeMap<Party, Power>,
    violations: Vec<String>,
    /// Messages heard, and how many that were at the first violation.
    heard: u64,
    first: Option<u64>,
    trace: Trace,
    checks: u64,
}

impl Oracle {
    pub(super) fn new(clock: Clock, domain: Domain) -> Self {
        Self(Arc::new(Mutex::new(State {
            clock,
            domain,
            seen: BTreeMap::new(),
            records: BTreeMap::new(),
            forwarding: Forwarding::default(),
            restored: BTreeSet::new(),
            doubted: BTreeSet::new(),
            forgotten: (0, 0),
            unregistered: BTreeSet::new(),
            foes: BTreeSet::new(),
            lies: false,
            machines: BTreeMap::new(),
            violations: Vec::new(),
            heard: 0,
            first: None,
            trace: Trace::default(),
            checks: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the machine that runs for a party now.
    pub(super) fn machine(&self, party: Party, power: Power) {
        self.state().machines.insert(party, power);
    }

    pub(super) fn violation(&self, text: String) {
        self.state().violate(text);
    }

    /// Counts a check made elsewhere.
    pub(super) fn check(&self, holds: bool, text: impl FnOnce() -> String) {
        self.state().check(holds, text);
    }

    pub(super) fn note(&self, text: &str) {
        self.state().note(text);
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Nothing is expected of this person.
    pub(super) fn distrust(&self, person: usize) {
        self.state().foes.insert(person);
    }

    /// Nobody is going to register this channel.
    pub(super) fn unregistered(&self, channel: ChannelId) {
        self.state().unregistered.insert(channel);
    }

    /// Nothing is expected of the hub: only clients are watched.
    pub(super) fn distrust_hub(&self) {
        self.state().lies = true;
    }

    /// What a client has said of a channel: what it paid, and what it was paid.
    pub(super) fn said_by_client(&self, channel: ChannelId) -> (u128, u128) {
        let state = self.state();
        let seen = |payer| state.seen.get(&direction(channel, payer));
        let paid = seen(Side::Client).map_or(0, |seen| seen.newest.1.0);
        (paid, seen(Side::Hub).map_or(0, |seen| seen.acknowledged_paid.0))
    }

    /// The client of a channel has an old database. What the hub has not acknowledged may never have arrived, and then the
    /// client cannot know that it signed it: those seqs are free again.
    pub(super) fn restored(&self, channel: ChannelId) {
        let mut state = self.state();
        state.restored.insert(channel);
        state.records.entry(channel).or_default().client_restored();
        let seen = state.seen.entry(direction(channel, Side::Client)).or_default();
        let known = seen.acknowledged;
        seen.digests.retain(|seq, _| *seq <= known);
        let newest = seen.digests.last_key_value();
        seen.newest = newest.map_or((Seq::NONE, Amount::ZERO), |(seq, known)| (*seq, known.paid));
    }

    /// For a copy of the hub's database that is made now.
    pub(super) fn totals(&self) -> Totals {
        let state = self.state();
        let payers = state.seen.keys().filter(|(_, by_hub)| *by_hub);
        let total = |(channel, _): &Direction| {
            let client = state.seen.get(&direction(*channel, Side::Client));
            let received = client.map_or(Amount::ZERO, |client| client.acknowledged_paid);
            (
                *channel,
                (state.seen[&direction(*channel, Side::Hub)].newest.1, received),
            )
        };
        payers.map(total).collect()
    }

    /// The hub has an old database, of a time of these totals (A10). Every channel is in doubt: the hub signs nothing there
    /// until its client has shown what it holds. What no client holds was never signed: those seqs are free again.
    pub(super) fn hub_restored(&self, then: &Totals) {
        let now = self.totals();
        let mut state = self.state();
        state.note("the hub has an old database");
        state.forwarding.hub_restored();
        for (channel, (paid, received)) in now {
            let (paid_then, received_then) = then.get(&channel).copied().unwrap_or_default();
            state.forgotten.0 += paid.0 - paid_then.0.min(paid.0);
            state.forgotten.1 += received.0 - received_then.0.min(received.0);
            state.doubted.insert(channel);
            let record = state.records.entry(channel).or_default();
            record.hub_restored();
            // Of two locks that belong together one may be forgotten.
            let (by_hub, by_client) = record.locked();
            state.forgotten.0 += by_hub;
            state.forgotten.1 += by_client;
            let by_hub = state.seen.entry(direction(channel, Side::Hub)).or_default();
            let known = by_hub.acknowledged;
            by_hub.digests.retain(|seq, _| *seq <= known);
            let newest = by_hub.digests.last_key_value();
            let newest = newest.map(|(seq, known)| (*seq, *known));
            by_hub.newest = newest.map_or((Seq::NONE, Amount::ZERO), |(seq, known)| (seq, known.paid));
            let by_client = state.seen.entry(direction(channel, Side::Client)).or_default();
            by_client.acknowledged = newest.map_or(Seq::NONE, |(_, known)| known.ack_seq);
        }
    }

    /// The most that restores of the hub can have cost it, and that they can have brought it.
    pub(super) fn forgotten(&self) -> (u128, u128) {
        self.state().forgotten
    }

    /// A dispute is in a block.
    pub(super) fn disputed(&self, channel: ChannelId) {
        let mut state = self.state();
        let lived = state.clock.lived();
        state.records.entry(channel).or_default().disputed(lived);
    }

    /// True when anybody may ever have seen the channel in a dispute.
    pub(super) fn was_disputed(&self, channel: ChannelId) -> bool {
        let state = self.state();
        state.records.get(&channel).is_some_and(Record::was_disputed)
    }

    /// It is in no block any more.
    pub(super) fn undisputed(&self, channel: ChannelId) {
        let mut state = self.state();
        state.records.entry(channel).or_default().undisputed();
    }

    /// The message at which the first violation was noticed.
    pub(super) fn step(&self) -> Option<u64> {
        self.state().first
    }

    pub(super) fn trace(&self) -> (Vec<String>, [u8; 32]) {
        let state = self.state();
        (state.trace.lines(), state.trace.hash())
    }

    /// Number of single checks made.
    pub(super) fn checks(&self) -> u64 {
        self.state().checks
    }

    /// Total paid by the newest voucher seen of a direction.
    pub(super) fn paid(&self, channel: ChannelId, payer: Side) -> Amount {
        let state = self.state();
        state
            .seen
            .get(&direction(channel, payer))
            .map_or(Amount::ZERO, |seen| seen.newest.1)
    }
}

impl Ears for Oracle {
    fn hear(&self, message: u64, person: usize, way: Way, content: &Content) {
        let mut state = self.state();
        let arrow = match way {
            Way::ToHub => format!("person {person} -> hub"),
            Way::ToPerson => format!("hub -> person {person}"),
        };
        state.heard = message;
        state.note(&format!("#{message} {arrow}: {}", content.name()));
        match content {
            Content::Message(message) => {
                let honest = !state.foes.contains(&person);
                state.rules(way, message, honest);
                state.message(way, message, honest);
            }
            Content::Unreadable(why) => state.violate(format!("{arrow}: {why}")),
            Content::Head | Content::Control => {}
        }
    }

    fn violation(&self, text: String) {
        self.state().violate(text);
    }

    fn cut_power(&self, party: Party, kind: Kind) {
        let power = self.state().machines.get(&party).cloned();
        self.note(&format!("{kind:?}: the power of {party:?} fails"));
        if let Some(power) = power {
            power.off();
        }
    }
}

impl State {
    fn note(&mut self, text: &str) {
        let line = format!("{:>8} ms {text}", self.clock.lived().as_millis());
        self.trace.add(line);
    }

    fn violate(&mut self, text: String) {
        self.note(&format!("VIOLATION {text}"));
        self.first.get_or_insert(self.heard);
        self.violations.push(text);
    }

    fn check(&mut self, holds: bool, text: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.violate(text());
        }
    }

    /// The rules, by what is on the wire.
    fn rules(&mut self, way: Way, message: &Message, honest: bool) {
        let (now, lived) = (self.clock.now(), self.clock.lived());
        let kept = match (way, message) {
            (Way::ToHub, Message::Request { call, .. }) => match call.as_ref() {
                Request::Voucher(frame) => {
                    self.forwarding.client_sends(frame);
                    let channel = frame.voucher.voucher.channel_id;
                    let record = self.records.entry(channel).or_default();
                    let adds = match honest {
                        true => record.adds(Side::Client, frame),
                        false => Ok(()),
                    };
                    adds.and(record.client_sends(frame, now, lived))
                }
                Request::Consent(call) => {
                    let record = self.records.entry(call.channel_id).or_default();
                    record.consents(Side::Hub, call.lock_id);
                    return;
                }
                _ => return,
            },
            (Way::ToPerson, Message::Notification(body)) => match body.as_ref() {
                Notification::Voucher(_) if self.lies => return,
                Notification::Voucher(frame) => {
                    let record = self.records.entry(frame.voucher.voucher.channel_id);
                    let sent = record.or_default().hub_sends(frame, now);
                    sent.and(self.forwarding.hub_sends(frame))
                }
                Notification::Consent(consent) => {
                    let record = self.records.entry(consent.channel_id).or_default();
                    record.consents(Side::Client, consent.lock_id);
                    match self.lies {
                        true => return,
                        false => self
                            .forwarding
                            .hub_consents(consent.channel_id, consent.lock_id, now),
                    }
                }
                _ => return,
            },
            (
                Way::ToPerson,
                Message::Response {
                    result: Ok(reply), ..
                },
            ) => {
                if let Reply::Resume(resumed) = reply.as_ref()
                    && let Some(sent) = &resumed.sent
                {
                    let record = self.records.entry(sent.voucher.channel_id);
                    record.or_default().hub_shows(&sent.voucher);
                }
                return;
            }
            _ => return,
        };
        self.check(kept.is_ok(), || kept.err().unwrap_or_default());
    }

    fn message(&mut self, way: Way, message: &Message, honest: bool) {
        match (way, message) {
            (Way::ToHub, _) if !honest => self.foe_says(message),
            (Way::ToPerson, _) if self.lies => {}
            (Way::ToHub, Message::Request { call, .. }) => match call.as_ref() {
                Request::Voucher(frame) => {
                    self.in_time(&frame.voucher);
                    self.signed(Side::Client, &frame.voucher);
                }
                Request::Resume(call) => self.client_resumes(call),
                _ => {}
            },
            (Way::ToPerson, Message::Notification(body)) => {
                if let Notification::Voucher(frame) = body.as_ref() {
                    let channel = frame.voucher.voucher.channel_id;
                    let doubted = self.doubted.contains(&channel);
                    self.check(!doubted, || {
                        format!("A10: the hub signs in {channel}, which is in doubt")
                    });
                    let unregistered = self.unregistered.contains(&channel);
                    self.check(!unregistered, || {
                        format!("the hub signs in {channel}, whose terms it was never shown")
                    });
                    self.signed(Side::Hub, &frame.voucher);
                }
            }
            (
                Way::ToPerson,
                Message::Response {
                    result: Ok(reply), ..
                },
            ) => {
                if let Reply::Resume(reply) = reply.as_ref() {
                    self.hub_resumes(reply, honest);
                }
            }
            _ => {}
        }
    }

    /// Only what the hub may know of it.
    fn foe_says(&mut self, message: &Message) {
        let Message::Request { call, .. } = message else {
            return;
        };
        let signed = match call.as_ref() {
            Request::Voucher(frame) => Some(&frame.voucher),
            Request::Resume(call) => {
                self.shown(call);
                call.sent.as_ref()
            }
            _ => None,
        };
        if let Some(signed) = signed {
            let channel = signed.voucher.channel_id;
            let seen = self.seen.entry(direction(channel, Side::Client)).or_default();
            if signed.voucher.seq > seen.newest.0 {
                seen.newest = (signed.voucher.seq, signed.voucher.paid);
            }
            seen.highest = seen.highest.max(signed.voucher.seq);
        }
    }

    /// R6: an honest client signs nothing new in a dispute.
    fn in_time(&mut self, signed: &SignedVoucher) {
        let (channel, seq) = (signed.voucher.channel_id, signed.voucher.seq);
        let seen = self.seen.get(&direction(channel, Side::Client));
        let is_new = seen.is_none_or(|seen| seq > seen.newest.0);
        let lived = self.clock.lived();
        let record = self.records.get(&channel);
        let late = record.is_some_and(|record| record.is_seen_disputed(lived));
        self.check(!late || !is_new, || {
            format!("R6: the client signs seq {seq} in the dispute of {channel}")
        });
    }

    /// A voucher leaves whoever signed it.
    fn signed(&mut self, payer: Side, signed: &SignedVoucher) {
        let voucher = &signed.voucher;
        let digest = voucher.digest(&self.domain);
        let seen = self.seen.entry(direction(voucher.channel_id, payer)).or_default();
        let known = seen.digests.entry(voucher.seq).or_insert(Known {
            digest,
            paid: voucher.paid,
            ack_seq: voucher.ack_seq,
        });
        let first = known.digest;
        let (newest, paid) = seen.newest;
        if voucher.seq > newest {
            seen.newest = (voucher.seq, voucher.paid);
        }
        seen.highest = seen.highest.max(voucher.seq);
        self.check(first == digest, || {
            format!(
                "O1: {payer:?} signed two vouchers with seq {} of {}",
                voucher.seq, voucher.channel_id
            )
        });
        self.check(voucher.seq <= newest || voucher.paid >= paid, || {
            format!(
                "O5: {payer:?} paid {paid} at seq {newest}, {} at {}",
                voucher.paid, voucher.seq
            )
        });
        let other = self
            .seen
            .entry(direction(voucher.channel_id, payer.other()))
            .or_default();
        other.acknowledged = other.acknowledged.max(voucher.ack_seq);
        other.acknowledged_paid = other.acknowledged_paid.max(voucher.ack_paid);
        let known = other.highest;
        self.check(voucher.ack_seq <= known || self.lies, || {
            format!(
                "{payer:?} acknowledges seq {}, the newest seen is {known}",
                voucher.ack_seq
            )
        });
    }

    /// After a restart a side still has what it signed, and what it acknowledged.
    fn has(&mut self, who: Side, channel: ChannelId, signed: Seq, accepted: Seq) {
        let own = self.seen.entry(direction(channel, who)).or_default().newest.0;
        let others = self
            .seen
            .entry(direction(channel, who.other()))
            .or_default()
            .acknowledged;
        // In doubt it shows the hub the one that its newest voucher acknowledges, not the newest own one.
        let client = self.restored.contains(&channel) || self.doubted.contains(&channel);
        let forgets = who == Side::Client && client;
        // A hub that says it was restored is shown what the newest voucher acknowledges.
        self.check(signed >= own || forgets || self.lies, || {
            format!("O2: {who:?} forgot what it signed in {channel}: it has seq {signed}, sent was {own}")
        });
        self.check(accepted >= others || forgets, || {
            format!("O2: {who:?} forgot what it acknowledged in {channel}: it has seq {accepted}, acknowledged was {others}")
        });
    }

    fn client_resumes(&mut self, call: &ResumeCall) {
        let seq =
            |signed: &Option<SignedVoucher>| signed.as_ref().map_or(Seq(0), |signed| signed.voucher.seq);
        self.has(
            Side::Client,
            call.channel_id,
            seq(&call.sent),
            seq(&call.received),
        );
        if let Some(signed) = &call.sent {
            self.signed(Side::Client, signed);
        }
        self.shown(call);
    }

    /// The newest voucher of the hub that a client holds, for which nobody else's signature can stand.
    fn shown(&mut self, call: &ResumeCall) {
        if let Some(signed) = call.received.as_ref().filter(|_| !self.lies) {
            self.signed(Side::Hub, signed);
        }
    }

    fn hub_resumes(&mut self, reply: &ResumeReply, honest: bool) {
        let info = &reply.channel;
        self.doubted.remove(&info.channel_id);
        self.has(Side::Hub, info.channel_id, info.hub_seq, info.client_seq);
        if let Some(signed) = &reply.sent {
            self.signed(Side::Hub, signed);
        }
        // What it holds of an honest client is what that signed.
        if let Some(signed) = reply.received.as_ref().filter(|_| honest) {
            self.signed(Side::Client, signed);
        }
    }
}
