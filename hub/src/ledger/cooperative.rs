//! Withdraw, close and cancel: the hub agrees by its rules, makes it durable, countersigns and sends the transaction.

use super::{Commit, Countersign, Ledger, Origin, Output, TxKind, input::Change};
use protocol_spec::{
    ChannelId, Reject, Side,
    channel::{Clock, Phase},
    message::{CancelDisputeCall, CloseCall, RpcError, WithdrawCall},
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

    pub(super) fn close(&mut self, origin: Origin, call: CloseCall, clock: Clock, commit: &mut Commit) {
        let what = Countersign::Close(call.close.clone());
        let result = self
            .may_countersign(origin, &call.close.channel_id)
            .and_then(|()| {
                self.sign_close(call, clock, commit)
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
                    .map_err(|reject| RpcError::from(&reject))
            });
        countersign(commit, origin, what, result);
    }

    fn may_countersign(&self, origin: Origin, id: &ChannelId) -> Result<(), RpcError> {
        let index = self.owned(origin, id)?;
        self.require_synced(index)?;
        self.require_certain(index)
    }

    pub(super) fn sign_withdraw(
        &mut self,
        call: WithdrawCall,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let index = self.flushed(&call.withdraw.channel_id, clock, commit)?;
        let entry = self.entry_mut(index)?;
        entry.channel.sign_withdraw(&call.withdraw, clock)?;
        if call.withdraw.side == Side::Hub {
            // From here on the channel itself counts it as gone (R12).
            entry.stored.reserve.offer = None;
        }
        entry.set_transaction(TxKind::Withdraw(call.withdraw.clone()), call.signature);
        self.wait_for(index);
        commit.changes.push(&Change::Withdraw(call));
        Ok(())
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
        self.waiting.insert(index);
        self.dirty.insert(index);
    }
}

fn countersign(commit: &mut Commit, origin: Origin, what: Countersign, result: Result<(), RpcError>) {
    commit.replies.push(match result {
        Ok(()) => Output::Countersign(origin, what),
        Err(error) => Output::Reply(origin, Err(error)),
    });
}
