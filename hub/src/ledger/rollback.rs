//! A database that is older than what the hub signed (A10): restored from a backup, or found out by a client.
//!
//! Then every channel is in doubt: nothing is signed or accepted in it, and no dispute is started, until its client has
//! shown what it holds. What carries the hub's signature is adopted; what was paid in and out with it is lost to the
//! hub's memory, and told. What the hub may have countersigned can still be mined for a day: until then the client is
//! paid, and what it pays comes back. Disputes are answered all the while, with the best there is.

use super::{
    Commit, Input, Ledger, Output, Resumption,
    entry::Entry,
    input::{Change, ShownVoucher},
    slots::Look,
};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{
    Address, Amount, ChannelId, Config, Lock, Reject, Seq, SignedVoucher, UnixSeconds, VerifiedVoucher,
    canary::{Canary, planted},
    channel::{Clock, Phase, ShownLocks},
    limits,
    message::{ErrorCode, ResumeCall, RpcError},
};

/// As the start in which a channel was released: its client may show what was given up at any time.
pub(super) const LOSS_ACCEPTED: u64 = u64::MAX;

/// Sums that vouchers prove and this database cannot explain, in the token's base units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Adopted {
    /// Paid by the hub to the client.
    pub paid: Amount,
    /// Paid by the client to the hub.
    pub received: Amount,
}

/// A channel in doubt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// The channel.
    pub channel: ChannelId,
    /// Its facts.
    pub config: Config,
    /// Newest voucher of the hub that is known.
    pub hub_seq: Seq,
    /// Newest voucher of the client that is known.
    pub client_seq: Seq,
    /// The most that the hub can lose in it: its whole share by what is known.
    pub loss_max: Amount,
}

impl Ledger {
    /// True while some channel is in doubt.
    #[must_use]
    pub fn rolled_back(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Number of channels in doubt.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// The channels in doubt.
    pub fn doubts(&self) -> impl Iterator<Item = Doubt> {
        let entries = self.unsynced.iter().filter_map(|index| self.entries.look(*index));
        entries.map(|entry| Doubt {
            channel: entry.channel.id(),
            config: entry.channel.config().clone(),
            hub_seq: entry.channel.sent().seq,
            client_seq: entry.channel.received().seq,
            loss_max: entry.channel.settlement().1,
        })
    }

    /// Before anything of the commit is applied: what is accepted in it would be signed at its end.
    pub(super) fn look_for_rollback(&mut self, inputs: &[Box<Input>], now: UnixSeconds, commit: &mut Commit) {
        for input in inputs {
            if let Input::Resume(origin, resumption) = input.as_ref()
                && let Resumption {
                    call,
                    received: Some(shown),
                    ..
                } = &**resumption
                && shown.voucher().channel_id == call.channel_id
                && let Ok(index) = self.owned(*origin, &call.channel_id)
                && self
                    .entry(index)
                    .is_ok_and(|entry| !entry.stored.unsynced && entry.forgotten(shown))
            {
                self.set_rolled_back(call.channel_id, shown.signed().clone(), now, commit);
            }
        }
    }

    /// A voucher of the hub that is not known. It puts all channels in doubt; but the client of one that was released
    /// since the hub started may show what it held back then, as often as it likes, and one whose loss was accepted what
    /// was lost: that says nothing of the others. After another start it may as well be another rollback, of a database
    /// that was copied after the first.
    pub(super) fn set_rolled_back(
        &mut self,
        channel: ChannelId,
        shown: SignedVoucher,
        now: UnixSeconds,
        commit: &mut Commit,
    ) {
        let Some(index) = self.index(&channel) else { return };
        let released = |entry: &Entry| {
            let lenient = [self.starts, LOSS_ACCEPTED].contains(&entry.stored.released_in);
            entry.was_in_doubt() && lenient
        };
        if self.entries.get(index).is_some_and(released) {
            self.doubt(index);
        } else {
            self.doubt_all(now);
            commit.outputs.push(Output::RolledBack(self.rollbacks));
            // Their clients come back and re-sync.
            let sessions = self.by_session.keys().copied();
            commit.outputs.extend(sorted(sessions).map(Output::Drop));
        }
        commit.changes.push(&Change::RolledBack { channel, shown });
    }

    /// All of a database that was restored from a backup: called once, before its first start. Its log of events is
    /// another one from now on. `before`: restores of this hub that are known beside what the ledger knows.
    pub(crate) fn restored(&mut self, before: u64) {
        self.rollbacks = self.rollbacks.max(before);
        self.doubt_all(UnixSeconds(u64::MAX));
        self.policy.log_epoch = 0;
    }

    /// What was opened before this start is in doubt, if the database was restored.
    pub(super) fn started(&mut self, now: UnixSeconds, commit: &mut Commit) {
        self.starts = self.starts.saturating_add(1);
        if self.opened_until == UnixSeconds(u64::MAX) {
            self.opened_until = now;
            commit.outputs.push(Output::RolledBack(self.rollbacks));
        }
    }

    /// Times that all channels were put in doubt: by restores, and by clients who showed what the hub had forgotten.
    pub(crate) fn rollbacks(&self) -> u64 {
        self.rollbacks
    }

    /// Channels from `first` on were opened between the chain times `seen` and `at`; the hub may have served them before.
    pub(super) fn doubt_opened(&mut self, first: usize, seen: UnixSeconds, at: UnixSeconds) {
        if seen < self.opened_until || at <= self.opened_until {
            (first..self.entries.len()).for_each(|index| self.doubt(index));
        }
    }

    fn doubt_all(&mut self, until: UnixSeconds) {
        (0..self.entries.len()).for_each(|index| self.doubt(index));
        self.opened_until = until;
        self.rollbacks = self.rollbacks.saturating_add(1);
    }

    fn doubt(&mut self, index: usize) {
        let doubted = self.entries.change(index, |entry| {
            let open = *entry.channel.phase() != Phase::Closed && !planted(Canary::TrustBackup);
            if open {
                (entry.stored.unsynced, entry.stored.adopted) = (true, None);
            }
            open.then(|| entry.lock_lists())
        });
        if let Some(lists) = doubted.flatten() {
            self.unsynced.insert(index);
            self.list_locks(index, lists);
            self.dirty.insert(index);
        }
    }

    /// Token of each channel that is not closed, and what its newest vouchers would pay: client, hub.
    pub(crate) fn worth(&self) -> impl Iterator<Item = (Address, (Amount, Amount))> {
        let open = |entry: &Look<'_>| *entry.channel.phase() != Phase::Closed;
        let open = self.entries.each().filter(open);
        open.map(|entry| (entry.channel.config().token, entry.channel.settlement()))
    }

    pub(super) fn require_synced(&self, index: usize) -> Result<(), RpcError> {
        match self.unsynced.contains(&index) {
            true => Err(RpcError::of(ErrorCode::RolledBack)),
            false => Ok(()),
        }
    }

    /// True while a client's money stays where it is, because its channel was in doubt: a withdrawal or close that the
    /// hub countersigned and forgot could pay it out a second time, until it lapses (R12).
    pub(super) fn is_held(&self, payer: usize) -> bool {
        self.entries.get(payer).is_some_and(|entry| {
            let lapse_s = limits::DEADLINE_AHEAD_MAX_S.saturating_add(entry.channel.delays().lag_s);
            // Nothing that was forgotten was signed after `opened_until`.
            entry.was_in_doubt() && self.chain.timestamp <= self.opened_until.after(lapse_s)
        })
    }

    /// Adopts what the client shows, and releases the channel if it was in doubt.
    ///
    /// `received` is its newest voucher of the hub, `sent` its own that this one acknowledges. What it has signed since
    /// it sends again.
    pub(super) fn resync(
        &mut self,
        index: usize,
        call: &ResumeCall,
        sent: Option<&VerifiedVoucher>,
        received: Option<&VerifiedVoucher>,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), RpcError> {
        let entry = self.entry(index).map_err(|reject| RpcError::from(&reject))?;
        let own = received.filter(|shown| entry.forgotten(shown));
        if !entry.stored.unsynced {
            return own.map_or(Ok(()), |_| Err(RpcError::of(ErrorCode::RolledBack)));
        }
        let refused = |text: String| RpcError::because(ErrorCode::RolledBack, text);
        let theirs = match own.map(|own| own.voucher().ack_seq) {
            Some(needed) if needed > entry.channel.received().seq => {
                let fits = sent.filter(|shown| shown.voucher().seq == needed);
                Some(fits.ok_or_else(|| {
                    refused(format!("show the own voucher {needed}, which it acknowledges"))
                })?)
            }
            _ => None,
        };
        // Of either side: the client's, or the hub's own, out of which it pays and returns.
        let shown = Shown {
            own: own.map(|own| (own, call.received_locks.as_deref())),
            theirs: theirs.map(|theirs| (theirs, call.sent_locks.as_deref())),
        };
        let covered = shown
            .own
            .map_or(Ok(()), |(own, locks)| entry.channel.covers(own.voucher(), locks));
        let released = covered.and_then(|()| self.release_doubt(index, shown, clock, commit));
        released.map_err(|reject| match reject {
            // A deposit that this database has not seen yet: it will. A list that is missing: it can be shown.
            Reject::BalanceExceeded { .. } | Reject::LocksNotShown { .. } => RpcError::from(&reject),
            reject => refused(reject.to_string()),
        })
    }

    pub(super) fn repeat_resync(
        &mut self,
        channel: &ChannelId,
        own: Option<Box<ShownVoucher>>,
        theirs: Option<Box<ShownVoucher>>,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let index = self.index(channel).ok_or(Reject::RecordCorrupt)?;
        let config = self.entry(index)?.channel.config();
        let (hub, client) = (config.hub_signer, config.client_signer);
        let verified = |shown: Box<ShownVoucher>, signer| {
            let verified = VerifiedVoucher::assume_verified(shown.signed, &self.domain, signer);
            (verified, shown.locks)
        };
        let own = own.map(|shown| verified(shown, hub));
        let theirs = theirs.map(|shown| verified(shown, client));
        let shown = Shown {
            own: own.as_ref().map(|(own, locks)| (own, locks.as_deref())),
            theirs: theirs.as_ref().map(|(theirs, locks)| (theirs, locks.as_deref())),
        };
        self.release_doubt(index, shown, clock, commit)
    }

    fn release_doubt(
        &mut self,
        index: usize,
        shown: Shown<'_>,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let entry = self.entry_mut(index)?;
        let (sent, received) = (entry.channel.sent().paid, entry.channel.received().paid);
        if let Some((own, own_locks)) = shown.own {
            let (theirs, their_locks) = shown.theirs.unzip();
            let locks = ShownLocks {
                own: own_locks,
                theirs: their_locks.flatten(),
            };
            entry.channel.adopt(own, theirs, locks)?;
            // What the client shows follows all of these, and the answer to a voucher that was forgotten is, too.
            entry.stored.bounced.clear();
            self.trim_backlog(index, Seq(u64::MAX));
        }
        let entry = self.entry(index)?;
        let adopted = Adopted {
            paid: entry.channel.sent().paid.saturating_minus(sent),
            received: entry.channel.received().paid.saturating_minus(received),
        };
        let channel = entry.channel.id();
        self.certain(index, adopted, self.starts, commit);
        commit.changes.push(&Change::Resynced {
            channel,
            own: shown.own.map(ShownVoucher::boxed),
            theirs: shown.theirs.map(ShownVoucher::boxed),
        });
        self.take_over_locks(index, clock, commit)?;
        self.catch_up(index, clock, commit);
        Ok(())
    }

    /// The operator takes what is known for the truth. Those not in doubt are left out.
    pub(super) fn accept_loss(&mut self, channels: &[ChannelId], clock: Clock, commit: &mut Commit) {
        for channel in channels {
            let Some(index) = self.index(channel).filter(|index| self.unsynced.contains(index)) else {
                continue;
            };
            self.certain(index, Adopted::default(), LOSS_ACCEPTED, commit);
            commit.changes.push(&Change::LossAccepted(*channel));
            self.catch_up(index, clock, commit);
        }
    }

    fn certain(&mut self, index: usize, adopted: Adopted, released_in: u64, commit: &mut Commit) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        (entry.stored.unsynced, entry.stored.adopted) = (false, Some(adopted));
        entry.stored.released_in = released_in;
        commit.outputs.push(Output::Released(entry.channel.id(), adopted));
        self.unsynced.remove(&index);
        self.dirty.insert(index);
    }
}

/// What a client shows of a channel in doubt: vouchers with the lists of their locks.
#[derive(Clone, Copy)]
struct Shown<'a> {
    /// A voucher of the hub that was forgotten.
    own: Option<(&'a VerifiedVoucher, Option<&'a [Lock]>)>,
    /// The client's that it acknowledges, if that was forgotten, too.
    theirs: Option<(&'a VerifiedVoucher, Option<&'a [Lock]>)>,
}

impl ShownVoucher {
    fn boxed((shown, locks): (&VerifiedVoucher, Option<&[Lock]>)) -> Box<Self> {
        Box::new(Self {
            signed: shown.signed().clone(),
            locks: locks.map(<[Lock]>::to_vec),
        })
    }
}

/// The order of a map's keys is not part of a replay.
fn sorted<T: Ord>(keys: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let mut keys: Vec<T> = keys.collect();
    keys.sort_unstable();
    keys.into_iter()
}

impl Entry {
    /// True of a channel that was in doubt once. Its client may hold, and show in a dispute, a voucher of the hub that this
    /// database has forgotten: what it acknowledges ends locks that are accepted here, and the ids of its locks, which the
    /// chain remembers, may be used again. So no lock is forwarded from or to this channel any more.
    pub(super) fn was_in_doubt(&self) -> bool {
        self.stored.adopted.is_some()
    }

    /// True while the hub has taken out of this channel what paid for it only in the lost part: whatever its client pays
    /// could not be returned. Only a channel that was in doubt can be.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.was_in_doubt() && self.channel.is_overdrawn()
    }

    /// A voucher of the hub that this database does not know: newer than the newest, or another one of the same seq.
    fn forgotten(&self, shown: &VerifiedVoucher) -> bool {
        let (sent, seq) = (self.channel.sent(), shown.voucher().seq);
        let kept = self
            .stored
            .backlog
            .items()
            .search(|issue| issue.voucher.seq.cmp(&seq))
            .map(|issue| issue.digest);
        let known = if seq == sent.seq { Some(sent.digest) } else { kept };
        seq > sent.seq || known.is_some_and(|digest| digest != shown.digest())
    }
}
