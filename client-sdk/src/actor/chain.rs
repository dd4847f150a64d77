//! What the chain says about the channels: deposits, withdrawals, disputes, closes.

use super::{Actor, entry::Entry, session::Session};
use crate::{
    ChainError, ClientEvent, StoreError,
    chain::{Asked, ChainAccess, Facts, Panel, Reading, Seen},
    options::Options,
    task::OwnedTask,
};
use protocol_spec::{
    ChannelId, Seq, Side,
    channel::{Event, Phase},
    message::ChannelInfo,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// Blocks by which one node may lag behind another of the same endpoint.
const LAGGING_MAX: u64 = 32;

/// The list of channels that the chain tasks read; they end when this is dropped.
pub(super) struct Watched {
    list: watch::Sender<Vec<Asked>>,
    nodes: Vec<Node>,
}

/// What one endpoint said last.
struct Node {
    name: String,
    reading: Option<Reading>,
    /// Why it did not answer, and whether somebody was told.
    failure: Option<(String, bool)>,
    _task: OwnedTask<()>,
}

/// An endpoint's answer.
pub(super) struct Report {
    node: usize,
    result: Result<Reading, ChainError>,
}

/// Starts the tasks that read the chain, one for every endpoint.
pub(super) fn spawn(
    chain: Option<ChainAccess>,
    channels: Vec<Asked>,
    options: &Options,
) -> (Option<Watched>, mpsc::Receiver<Report>) {
    let (sender, reports) = mpsc::channel(1);
    let Some(chain) = chain else {
        return (None, reports);
    };
    let (list, _) = watch::channel(channels);
    let node = |node: usize| Node {
        name: chain.name(node),
        reading: None,
        failure: None,
        _task: OwnedTask::spawn(read_all(
            chain.clone(),
            node,
            list.subscribe(),
            sender.clone(),
            options.chain_poll,
        )),
    };
    let nodes = (0..chain.count()).map(node).collect();
    (Some(Watched { list, nodes }), reports)
}

async fn read_all(
    chain: ChainAccess,
    node: usize,
    mut list: watch::Receiver<Vec<Asked>>,
    reports: mpsc::Sender<Report>,
    poll: Duration,
) {
    loop {
        let channels = list.borrow_and_update().clone();
        let result = chain.read(node, &channels).await;
        if reports.send(Report { node, result }).await.is_err() {
            return;
        }
        tokio::select! {
            biased;
            changed = list.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(poll) => {}
        }
    }
}

impl Watched {
    /// Takes the answer of an endpoint; gives its name and why it failed when that is news for those who listen.
    fn take(&mut self, report: Report, heard: bool) -> Option<(String, String)> {
        let node = self.nodes.get_mut(report.node)?;
        match report.result {
            Ok(reading) => {
                (node.reading, node.failure) = (Some(reading), None);
                None
            }
            Err(error) => {
                let why = error.to_string();
                node.reading = None;
                let known = node.failure.replace((why.clone(), heard));
                let same = known.filter(|(before, _)| *before == why);
                let told = same.is_some_and(|(_, told)| told || !heard);
                (!told).then(|| (node.name.clone(), why))
            }
        }
    }
}

impl Actor {
    /// Tells the chain task which channels there are, and of which locks the marks are wanted. A new channel is read at once, and
    /// new locks where they are disputed; elsewhere they come and go with the payments, and wait for the next look.
    pub(super) fn watch_channels(&self) {
        if let Some(watched) = &self.watched {
            let asked: Vec<Asked> = self.entries.values().map(Entry::asked).collect();
            let disputed = |id: &ChannelId| {
                let entry = self.entries.get(id);
                entry.is_some_and(|entry| matches!(entry.channel.phase(), Phase::Disputed { .. }))
            };
            watched.list.send_if_modified(|before| {
                let others = before.len() != asked.len();
                let news = |(known, asked): (&Asked, &Asked)| {
                    known != asked && (known.id != asked.id || disputed(&asked.id))
                };
                let changed = others || before.iter().zip(&asked).any(news);
                *before = asked;
                changed
            });
        }
    }

    /// An endpoint has answered, or not: what all say together counts.
    pub(super) fn chain_told(&mut self, report: Report) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        let failed = watched.take(report, self.events.receiver_count() > 0);
        let panel = Panel {
            endpoints: watched.nodes.len(),
            agree: self.options.agree,
            own: self.options.ports.now(),
        };
        let readings = watched.nodes.iter().filter_map(|node| node.reading.as_ref());
        let merged = panel.merge(&readings.collect::<Vec<_>>());
        if let Some((node, why)) = failed {
            tracing::warn!(node, why, "the chain cannot be read");
            self.emit(ClientEvent::NodeFailed { node, why });
        }
        if let Some(reading) = merged {
            self.chain_read(reading);
        }
    }

    fn chain_read(&mut self, mut reading: Reading) {
        // From a node that lags behind another one of the same endpoint, or behind one that is not there now: it would undo
        // what was seen. Much lower, and what was seen was wrong.
        let behind = self.reading.number.saturating_sub(reading.number);
        let lags = (1..=LAGGING_MAX).contains(&behind);
        if lags
            && self
                .watched
                .as_ref()
                .is_some_and(|watched| watched.nodes.len() == 1)
        {
            return;
        }
        let only_disputes = lags || reading.too_few;
        let channels = std::mem::take(&mut reading.channels);
        if !only_disputes {
            if reading.confirmed > self.reading.confirmed {
                self.advanced_at = Instant::now();
            }
            self.reading = reading;
        }
        for (id, seen) in channels {
            let seen = match only_disputes {
                true => seen.only_disputes(),
                false => seen,
            };
            self.channel_read(&id, &seen);
        }
        // In a dispute the marks of its locks are wanted, too.
        self.watch_channels();
        self.look();
    }

    fn channel_read(&mut self, id: &ChannelId, seen: &Seen) {
        let clock = self.clock();
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let (confirmed, newest) = (&seen.confirmed, &seen.newest);
        let before = entry.channel.clone();
        if !seen.few {
            // What this side has signed is counted already (R12): only more than that is in doubt.
            entry.doubted = !seen.agreed || seen.hub_withdrawn_most > entry.channel.withdrawn(Side::Hub);
            entry.funds(confirmed);
            entry.mark(&seen.marked_for_good);
        }
        let disputed = newest.disputed || newest.dispute_no.max(confirmed.dispute_no) > Seq::NONE;
        if disputed || !seen.few {
            entry.disputes(disputed);
        }
        entry.phase(seen, (self.reading.number, self.reading.confirmed_number));
        if seen.agreed && !seen.few {
            entry.channel.tick(clock);
        }
        self.changed(id, before.phase(), confirmed.open);
        self.end_on_chain(id, &before, Some(seen));
        if let Some(entry) = self.entries.get_mut(id) {
            entry.dirty |= entry.channel != before;
        }
        self.retry_held(id);
        self.defend(id, seen);
    }

    /// The hub's word, taken only when the caller asked for it.
    pub(super) fn hub_channel(&mut self, info: &ChannelInfo) {
        if self.watched.is_some() {
            return;
        }
        let id = info.channel_id;
        let clock = self.clock();
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let facts = Facts {
            open: info.phase == "open" || info.phase == "closing",
            disputed: info.phase == "disputed",
            closed: info.phase == "closed",
            client_deposit: info.client_deposit,
            hub_deposit: info.hub_deposit,
            client_withdrawn: info.client_withdrawn,
            hub_withdrawn: info.hub_withdrawn,
            dispute_no: Seq(1),
            ..Facts::default()
        };
        entry.hub_ended_locks = info.locks_ended;
        let before = entry.channel.clone();
        entry.funds(&facts);
        // That there was none before is for the chain to say (R28).
        if facts.disputed {
            entry.disputes(true);
        }
        entry.phase(&Seen::by_hub(facts), (0, 0));
        entry.channel.tick(clock);
        entry.dirty |= entry.channel != before;
        if entry.session != Session::Offline && facts.open {
            // Being registered already.
            entry.confirmed = true;
        }
        self.changed(&id, before.phase(), facts.open);
        self.end_on_chain(&id, &before, None);
        self.retry_held(&id);
    }

    /// Reacts to a new phase, and starts the session of a channel that is confirmed now.
    fn changed(&mut self, id: &ChannelId, before: &Phase, open: bool) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let phase = entry.channel.phase().clone();
        let fresh = open && !entry.confirmed;
        if fresh {
            entry.confirmed = true;
            entry.dirty = true;
        }
        let reopened = *before != Phase::Open && phase == Phase::Open;
        let event = match &phase {
            Phase::Closed if *before != phase => Some(ClientEvent::Closed { channel_id: *id }),
            Phase::Disputed { .. } if *before != phase => Some(ClientEvent::Disputed {
                channel_id: *id,
                defence: self.defences.answer(entry.channel.config(), self.options.defend),
            }),
            _ => None,
        };
        if phase == Phase::Closed && *before != phase {
            entry.session = Session::Offline;
            self.guard.forget(id);
        }
        if let Some(event) = event {
            self.emit(event);
        }
        if fresh || reopened {
            self.start_session(*id);
        }
    }

    /// Everything that time alone changes.
    pub(super) async fn sweep(&mut self) -> Result<(), StoreError> {
        self.leave_silent_hub();
        self.retry();
        self.expire_waiters();
        self.watch_locks();
        self.repeat_lock_news();
        self.sweep_streams();
        self.save_evidence().await;
        self.renew_packages();
        if self.watched.is_none() {
            let clock = self.clock();
            for entry in self.entries.values_mut() {
                let before = entry.channel.phase().clone();
                entry.channel.tick(clock);
                entry.dirty |= *entry.channel.phase() != before;
            }
        }
        Ok(())
    }

    async fn save_evidence(&mut self) {
        let Some(dir) = self.options.evidence_dir.clone() else {
            return;
        };
        let due: Vec<ChannelId> = self
            .entries
            .iter_mut()
            .filter_map(|(id, entry)| std::mem::take(&mut entry.evidence_due).then_some(*id))
            .collect();
        for id in due {
            let own = self.own_newest(&id).await.unwrap_or_default();
            let Some(entry) = self.entries.get(&id) else {
                continue;
            };
            let evidence = crate::evidence::of(&entry.channel, &self.hub.domain, own);
            let path = dir.join(format!("{id}.json"));
            let saved = tokio::task::spawn_blocking(move || crate::evidence::save(&evidence, &path)).await;
            if !matches!(saved, Ok(Ok(()))) {
                tracing::error!(channel = %id, "the evidence file cannot be written");
            }
        }
    }
}

impl Entry {
    /// R26, R12: confirmed deposits and withdrawals.
    fn funds(&mut self, facts: &Facts) {
        self.channel.deposit_confirmed(Side::Client, facts.client_deposit);
        self.channel.deposit_confirmed(Side::Hub, facts.hub_deposit);
        self.channel
            .withdraw_confirmed(Side::Client, facts.client_withdrawn);
        self.channel.withdraw_confirmed(Side::Hub, facts.hub_withdrawn);
    }

    /// R17: confirmed marks. They are stored: after the lock's expiry nothing else tells that it still counts.
    fn mark(&mut self, marked: &BTreeSet<u64>) {
        for id in marked {
            if self.channel.received().locks.lock(*id).is_some() {
                self.channel.mark(Side::Hub, *id);
            }
        }
    }

    /// What is to be read of it: once it was disputed also whether the hub's locks are marked.
    pub(super) fn asked(&self) -> Asked {
        let disputed = match self.channel.phase() {
            Phase::Closed => false,
            Phase::Disputed { .. } => true,
            _ => self.ever_disputed == Some(true),
        };
        let locks = self.channel.received().locks.iter().filter(|_| disputed);
        Asked {
            id: self.channel.id(),
            locks: locks.map(|lock| (lock.id, lock.leaf())).collect(),
        }
    }

    /// Once disputed, it stays known.
    fn disputes(&mut self, disputed: bool) {
        self.ever_disputed = Some(disputed || self.ever_disputed == Some(true));
    }

    /// A dispute counts as soon as it is seen, its end and a close only when confirmed. `numbers`: of the newest block, and of
    /// the confirmed one.
    fn phase(&mut self, seen: &Seen, (number, final_number): (u64, u64)) {
        let (newest, confirmed) = (&seen.newest, &seen.confirmed);
        if newest.disputed {
            // In whose block is not known when too few tell of it: the next one counts.
            self.disputed_at = (!seen.few).then_some(number);
        }
        // Open in a final block that is older than the dispute says nothing about the dispute.
        let gone = !seen.few && {
            let last_seen = *self.disputed_at.get_or_insert(number);
            newest.open && confirmed.open && final_number >= last_seen
        };
        let phase = self.channel.phase().clone();
        let event = match &phase {
            Phase::Closed if seen.not_closed => return self.unclosed(),
            Phase::Closed => return,
            _ if confirmed.closed => Event::ClosedOnChain,
            // Which one it is most say: one endpoint could tell of another at every reading.
            Phase::Disputed { .. } if newest.disputed && seen.shared_dispute.is_none() => return,
            _ if newest.disputed => Event::DisputeSeen {
                dispute_no: newest.dispute_no,
            },
            Phase::Disputed { .. } if gone => Event::DisputeGone,
            _ => return,
        };
        self.enter(&event);
        if event == Event::ClosedOnChain {
            self.saw_close = true;
        }
    }

    /// Most endpoints say that it is not closed: who said so lied, or the payout was taken away (R25).
    fn unclosed(&mut self) {
        let signed = self.channel.signed_close();
        self.enter(&Event::PayoutGone);
        if std::mem::take(&mut self.saw_close) {
            self.enter(&Event::CloseLapsed);
            // Only a close that was signed can still be mined.
            if let Some(deadline) = signed {
                self.enter(&Event::CloseSigned { deadline });
            }
        }
    }

    fn enter(&mut self, event: &Event) {
        if let Err(error) = self.channel.enter(event) {
            tracing::warn!(channel = %self.channel.id(), %error, "unexpected event on chain");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::{super::samples::untouched, *};
    use crate::chain::Shown;

    fn disputed(entry: &Entry) -> bool {
        matches!(entry.channel.phase(), Phase::Disputed { .. })
    }

    const OPEN: Facts = Facts {
        open: true,
        disputed: false,
        closed: false,
        client_deposit: protocol_spec::Amount::ZERO,
        hub_deposit: protocol_spec::Amount::ZERO,
        client_withdrawn: protocol_spec::Amount::ZERO,
        hub_withdrawn: protocol_spec::Amount::ZERO,
        dispute_no: protocol_spec::Seq(0),
        shown: NOTHING,
        taken: NOTHING,
    };
    const NOTHING: Shown = Shown {
        seq: protocol_spec::Seq(0),
        paid: protocol_spec::Amount::ZERO,
        live: false,
        opened: false,
        counted: protocol_spec::Amount::ZERO,
        window_end: protocol_spec::UnixSeconds(0),
    };
    const DISPUTED: Facts = Facts {
        open: false,
        disputed: true,
        dispute_no: protocol_spec::Seq(1),
        ..OPEN
    };

    fn look(entry: &mut Entry, (newest, number): (Facts, u64), (confirmed, final_number): (Facts, u64)) {
        let seen = Seen {
            confirmed,
            newest,
            ..Seen::by_hub(newest)
        };
        entry.phase(&seen, (number, final_number));
    }

    /// A reorg takes the dispute out of the newest block. It is over only when a final block, not older than the last
    /// one that showed it, is without it: until then it may be mined again.
    #[test]
    fn a_dispute_is_over_only_in_a_final_block_that_is_newer() {
        let mut entry = untouched();
        look(&mut entry, (DISPUTED, 100), (OPEN, 88));
        assert!(disputed(&entry));
        for number in 101..112 {
            look(&mut entry, (OPEN, number), (OPEN, number - 12));
            assert!(disputed(&entry), "block {number}");
        }
        look(&mut entry, (OPEN, 112), (OPEN, 100));
        assert!(!disputed(&entry));
    }

    /// After a restart it is not known when the dispute was seen last.
    #[test]
    fn a_restart_in_a_dispute_waits_for_a_final_block_of_its_own_time() {
        let mut entry = untouched();
        entry
            .channel
            .enter(&Event::DisputeSeen {
                dispute_no: protocol_spec::Seq(1),
            })
            .unwrap();
        look(&mut entry, (OPEN, 101), (OPEN, 89));
        assert!(disputed(&entry));
        look(&mut entry, (OPEN, 113), (OPEN, 101));
        assert!(!disputed(&entry));
    }

    /// Of two nodes one was alone for a moment and lied.
    #[test]
    fn a_close_that_most_do_not_show_is_undone_and_what_was_signed_stays_signed() {
        let seen = |facts: Facts, not_closed: bool| Seen {
            not_closed,
            ..Seen::by_hub(facts)
        };
        let closed = Facts {
            open: false,
            closed: true,
            ..OPEN
        };
        let deadline = protocol_spec::UnixSeconds(7);
        for signed in [false, true] {
            let mut entry = untouched();
            if signed {
                entry.channel.enter(&Event::CloseSigned { deadline }).unwrap();
            }
            let before = entry.channel.phase().clone();
            entry.phase(&seen(closed, false), (100, 98));
            entry.phase(&seen(OPEN, false), (101, 99));
            assert_eq!(*entry.channel.phase(), Phase::Closed, "one alone undoes nothing");
            entry.phase(&seen(OPEN, true), (102, 100));
            assert_eq!(*entry.channel.phase(), before);
            entry.phase(&seen(closed, false), (103, 101));
            entry.saw_close = false;
            entry.phase(&seen(OPEN, true), (104, 102));
            assert_eq!(
                entry.channel.phase().name(),
                "closing",
                "after a restart nobody knows"
            );
            entry.phase(&seen(DISPUTED, false), (105, 103));
            assert!(disputed(&entry), "it is defended");
        }
    }

    /// The first answers after a start come one by one: a dispute that the first one tells of is not over with the second.
    #[test]
    fn a_dispute_that_too_few_tell_of_is_over_only_after_a_newer_block_is_final() {
        let mut entry = untouched();
        let few = Seen::by_hub(DISPUTED).only_disputes();
        entry.phase(&few, (0, 0));
        assert!(disputed(&entry));
        look(&mut entry, (OPEN, 100), (OPEN, 98));
        assert!(disputed(&entry));
        look(&mut entry, (OPEN, 102), (OPEN, 100));
        assert!(!disputed(&entry));
    }

    /// One that gives another number at every reading is one piece of news.
    #[test]
    fn which_dispute_it_is_one_node_alone_does_not_change() {
        let mut entry = untouched();
        for number in 1..10 {
            let facts = Facts {
                dispute_no: Seq(number),
                ..DISPUTED
            };
            let seen = Seen {
                shared_dispute: None,
                ..Seen::by_hub(facts)
            };
            entry.phase(&seen, (100 + number, 98));
            let first = Phase::Disputed {
                dispute_no: Seq(1),
                is_final: false,
            };
            assert_eq!(*entry.channel.phase(), first);
        }
    }
}
