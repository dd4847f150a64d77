//! Withdraw, close and cancel: the hub agrees by its rules, makes it durable, countersigns and sends the transaction; but a
//! withdrawal of next to nothing is its client's to send, or one could empty the hub's wallet with one after the other. A close
//! and a cancel end what the client paid more gas for.

use super::{Commit, Countersign, Ledger, Origin, Output, TxKind, input::Change, session::answer};
use protocol_spec::{
    Amount, ChannelId, Reject, Side,
    channel::{Clock, Phase},
    limits,
    message::{CancelDisputeCall, ChannelInfo, CloseCall, PrepareCloseCall, Reply, RpcError, WithdrawCall},
};

impl Ledger {
    pub(super) fn withdraw(&mut self, origin: Origin, call: WithdrawCall, clock: Clock, commit: &mut Commit) {
        let what = Countersign::Withdraw(call.withdraw.clone());
        let allowed = self
            .may_countersign(origin, &call.withdraw.channel_id)
            .and_then(|()| match call.withdraw.side {
                Side::Client => Ok(()),
                Side::Hub => self.require_offered(&call.withdraw),
            });
        let result = allowed.and_then(|()| {
            self.sign_withdraw(call, clock, commit)
                .map_err(|reject| RpcError::from(&reject))
        });
        countersign(commit, origin, what, result);
    }

    /// Nothing is credited to a client that is about to sign a close: the close would name other sums than the hub's, and
    /// its signature holds the channel until the deadline (R6).
    pub(super) fn prepare_close(
        &mut self,
        origin: Origin,
        call: PrepareCloseCall,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let result = self.may_countersign(origin, &call.channel_id).and_then(|()| {
            self.set_leaving(call, clock, commit)
                .map_err(|reject| RpcError::from(&reject))
        });
        answer(commit, origin, result.map(|info| Reply::Channel(Box::new(info))));
    }

    /// The numbers returned are those that the close has to name: what had gathered is in them.
    pub(super) fn set_leaving(
        &mut self,
        call: PrepareCloseCall,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<ChannelInfo, Reject> {
        let latest = clock.now.after(limits::DEADLINE_AHEAD_MAX_S);
        if call.until > latest {
            return Err(Reject::DeadlineOutOfRange {
                after: clock.now,
                until: latest,
                got: call.until,
            });
        }
        let index = self.flushed(&call.channel_id, clock, commit)?;
        let entry = self.entry_mut(index)?;
        let before = std::mem::replace(&mut entry.stored.leaving_until, call.until);
        let info = entry.info();
        if before != call.until {
            self.dirty.insert(index);
            commit.changes.push(&Change::Leaving(call));
        }
        Ok(info)
    }

    pub(super) fn close(&mut self, origin: Origin, call: CloseCall, clock: Clock, commit: &mut Commit) {
        let what = Countersign::Close(call.close.clone());
        let result = self
            .may_countersign(origin, &call.close.channel_id)
            .and_then(|()| {
                self.sign_close(call, clock, commit)
                    .map(|()| true)
                    .map_err(|reject| RpcError::from(&reject))
            });
        countersign(commit, origin, what, result);
    }

    pub(super) fn cancel_dispute(
        &mut self,
        origin: Origin,
        call: CancelDisputeCall,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let what = Countersign::Cancel(call.cancel.clone());
        let result = self
            .may_countersign(origin, &call.cancel.channel_id)
            .and_then(|()| {
                self.sign_cancel(call, clock, commit)
                    .map(|()| true)
                    .map_err(|reject| RpcError::from(&reject))
            });
        countersign(commit, origin, what, result);
    }

    fn may_countersign(&self, origin: Origin, id: &ChannelId) -> Result<(), RpcError> {
        let index = self.served(origin, id)?;
        self.require_synced(index)?;
        self.require_certain(index)
    }

    /// Returns whether the hub sends it.
    pub(super) fn sign_withdraw(
        &mut self,
        call: WithdrawCall,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<bool, Reject> {
        let index = self.flushed(&call.withdraw.channel_id, clock, commit)?;
        let entry = self.entry_mut(index)?;
        let moved = entry.channel.funds().withdrawn(call.withdraw.side);
        let moved = call.withdraw.total.saturating_minus(moved);
        entry.channel.sign_withdraw(&call.withdraw, clock)?;
        let own = call.withdraw.side == Side::Hub;
        if own {
            // From here on the channel itself counts it as gone (R12).
            entry.stored.reserve.offer = None;
        }
        // The hub asked for its own reserve, by limits of its own.
        let sends = own || self.pays_for(index, moved)?;
        if sends {
            let kind = TxKind::Withdraw(call.withdraw.clone());
            self.entry_mut(index)?.set_transaction(kind, call.signature);
        }
        self.wait_for(index);
        commit.changes.push(&Change::Withdraw(call));
        Ok(sends)
    }

    pub(super) fn sign_close(
        &mut self,
        call: CloseCall,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let index = self.flushed(&call.close.channel_id, clock, commit)?;
        let entry = self.entry_mut(index)?;
        entry.channel.sign_close(&call.close, clock)?;
        entry.set_transaction(TxKind::Close(call.close.clone()), call.signature);
        self.wait_for(index);
        commit.changes.push(&Change::Close(call));
        Ok(())
    }

    pub(super) fn sign_cancel(
        &mut self,
        call: CancelDisputeCall,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let index = self.flushed(&call.cancel.channel_id, clock, commit)?;
        let entry = self.entry_mut(index)?;
        entry.channel.sign_cancel(&call.cancel, clock)?;
        entry.set_transaction(TxKind::Cancel(call.cancel.clone()), call.signature);
        self.wait_for(index);
        commit.changes.push(&Change::Cancel(call));
        Ok(())
    }

    /// Whether the hub sends a withdrawal of so much: none in a token that it does not serve.
    fn pays_for(&self, index: usize, moved: Amount) -> Result<bool, Reject> {
        let token = self.entry(index)?.channel.config().token;
        let tariff = self.policy.tariff(token);
        Ok(tariff.is_some_and(|tariff| moved >= tariff.send_min))
    }

    /// The channel's index, after what had gathered for it was issued.
    fn flushed(&mut self, id: &ChannelId, clock: Clock, commit: &mut Commit) -> Result<usize, Reject> {
        let index = self.index(id).ok_or(Reject::WrongChannel)?;
        // Journaled also when what follows is refused: replay must cut the vouchers in the same places.
        if self.has_to_issue(index)? {
            self.flush(id, clock, commit)?;
        }
        Ok(index)
    }

    /// False also where an acknowledgement is due that cannot be signed: it would be due again after every attempt.
    fn has_to_issue(&self, index: usize) -> Result<bool, Reject> {
        let entry = self.entry(index)?;
        let signs = *entry.channel.phase() == Phase::Open && !self.uncertain(index);
        Ok(!entry.pending.is_empty() || (signs && entry.channel.must_ack()))
    }

    pub(super) fn flush(&mut self, id: &ChannelId, clock: Clock, commit: &mut Commit) -> Result<(), Reject> {
        let index = self.index(id).ok_or(Reject::WrongChannel)?;
        commit.changes.push(&Change::Flush(*id));
        self.issue(index, clock, commit);
        Ok(())
    }

    fn wait_for(&mut self, index: usize) {
        self.dirty.insert(index);
        self.note_waiting(index);
    }
}

fn countersign(commit: &mut Commit, origin: Origin, what: Countersign, result: Result<bool, RpcError>) {
    commit.replies.push(match result {
        Ok(sends) => Output::Countersign(origin, what, sends),
        Err(error) => Output::Reply(origin, Err(error)),
    });
}
