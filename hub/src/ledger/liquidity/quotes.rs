//! Capacity for sale: a quote counts against other quotes, and a payment to the hub accepts it while the vault still
//! covers it. From then on the hub owes it.

use crate::ledger::{Commit, Ledger, Origin, Output, input::Change};
use protocol_spec::{
    Amount, CapacityQuote, Payment, Reject, ReturnReason,
    channel::{Clock, Phase},
    message::{CapacityCall, ErrorCode, RpcError},
};

/// How long a quote binds, seconds.
pub(in crate::ledger) const CAPACITY_QUOTE_LIFE_S: u64 = 120;

impl Ledger {
    pub(in crate::ledger) fn capacity_asked(
        &mut self,
        origin: Origin,
        call: &CapacityCall,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let output = match self.capacity_quote(origin, call, clock, commit) {
            Ok(quote) => Output::Quoted(origin, Box::new(quote)),
            Err(error) => Output::Reply(origin, Err(error)),
        };
        commit.replies.push(output);
    }

    fn capacity_quote(
        &mut self,
        origin: Origin,
        call: &CapacityCall,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<CapacityQuote, RpcError> {
        let index = self.owned(origin, &call.channel_id)?;
        self.require_synced(index)?;
        self.require_chain(index, clock)?;
        if self.is_held(index) {
            return Err(RpcError::because(
                ErrorCode::NoCapacity,
                "the hub was restored: what this channel pays comes back until what may have been forgotten has lapsed",
            ));
        }
        let entry = self.entry(index).map_err(|reject| RpcError::from(&reject))?;
        if let Some(open) = entry.stored.reserve.open_quote(clock.now) {
            if open.amount == call.amount {
                return Ok(open.clone());
            }
            let left_s = open.expires_at.0.saturating_sub(clock.now.0);
            let busy = RpcError::because(ErrorCode::Busy, "another quote is open in this channel");
            let left_ms = u32::try_from(left_s.saturating_mul(1000)).unwrap_or(u32::MAX);
            return Err(busy.retry_after_ms(left_ms));
        }
        let quote = self.priced(index, call, clock)?;
        self.set_quote(index, quote.clone(), commit);
        Ok(quote)
    }

    /// The quote, or why there is none: never more than the vault holds beyond what is promised.
    fn priced(&self, index: usize, call: &CapacityCall, clock: Clock) -> Result<CapacityQuote, RpcError> {
        let none = |expected: Amount, why: &str| {
            RpcError::because(ErrorCode::NoCapacity, why).with(expected, call.amount)
        };
        let entry = self.entry(index).map_err(|reject| RpcError::from(&reject))?;
        let token = entry.channel.config().token;
        let terms = self.policy.tariff(token).map(|tariff| &tariff.capacity);
        let max = terms.map_or(Amount::ZERO, |terms| terms.max);
        let spare = self.spare(token, clock.now);
        // With what is ordered already and what is on its way.
        let book = &entry.stored.reserve;
        let coming = book.owed.0.saturating_add(book.refilling.0);
        let fits = entry.takes(Amount(coming.saturating_add(call.amount.0)));
        let vault = self.vaults.get(&token);
        let refused = vault.is_some_and(|vault| !vault.new_channels);
        let vault = vault.and_then(|vault| vault.ready_in_s);
        match (terms.and_then(|terms| terms.fee(call.amount)), vault) {
            _ if !entry.stored.registered || *entry.channel.phase() != Phase::Open => {
                Err(none(Amount::ZERO, "the channel is not open"))
            }
            _ if call.amount.is_zero() || call.amount > max => {
                Err(none(max, "it is not between 1 and the most that is sold"))
            }
            _ if !fits => Err(none(
                Amount::ZERO,
                "with what is in the channel it is more than a channel can hold: withdraw first",
            )),
            _ if refused && entry.channel.funds().hub_deposit.is_zero() => Err(none(
                Amount::ZERO,
                "the hub pays into no new channel now: its wallet could not defend it",
            )),
            _ if call.amount > spare => Err(none(spare, "the vault holds no more that is not promised")),
            (Some(fee), Some(ready_in_s)) => Ok(CapacityQuote {
                channel_id: call.channel_id,
                amount: call.amount,
                fee,
                expires_at: clock.now.after(CAPACITY_QUOTE_LIFE_S),
                ready_in_s: entry.stored.reserve.takes_s(ready_in_s),
                hold_s: terms.map_or(0, |terms| terms.hold_s),
            }),
            (_, _) => Err(none(Amount::ZERO, "the hub pays nothing into channels now")),
        }
    }

    pub(in crate::ledger) fn set_quote(&mut self, index: usize, quote: CapacityQuote, commit: &mut Commit) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.stored.reserve.quote = Some(quote.clone());
            commit.changes.push(&Change::Quoted(quote));
            self.note_promise(index);
        }
    }

    /// Those that expired by the chain's time are no promises any more.
    pub(in crate::ledger) fn forget_quotes(&mut self) {
        let chain = self.chain.timestamp;
        for index in self.promising.clone() {
            if let Some(entry) = self.entries.get_mut(index) {
                let quote = &mut entry.stored.reserve.quote;
                if quote.take_if(|quote| quote.expires_at <= chain).is_some() {
                    self.note_promise(index);
                }
            }
        }
    }

    /// A payment to the hub itself must be what accepts an open quote of the payer's channel. When the vault does not cover
    /// it any more, the fee comes back: the hub owes no more than it holds.
    pub(in crate::ledger) fn accepts_quote(
        &self,
        payer: usize,
        payment: &Payment,
        clock: Clock,
    ) -> Result<(), ReturnReason> {
        let entry = self.entries.get(payer).ok_or(ReturnReason::Unavailable)?;
        let open = entry.stored.reserve.open_quote(clock.now);
        let accepts = |quote: &&CapacityQuote| {
            payment.amount == quote.fee && payment.invoice == quote.digest(&self.domain)
        };
        let accepted = open.filter(accepts).ok_or(ReturnReason::QuoteUnknown)?;
        match self.covers(entry.channel.config().token, accepted.amount) {
            true => Ok(()),
            false => Err(ReturnReason::InsufficientReserve),
        }
    }

    /// The fee is the hub's: nothing is credited to anybody, and the hub owes the capacity.
    pub(in crate::ledger) fn order(&mut self, payer: usize, clock: Clock) -> Result<(), Reject> {
        let book = &mut self.entry_mut(payer)?.stored.reserve;
        if let Some(quote) = book.quote.take() {
            book.owed = book.owed.plus(quote.amount)?;
            book.hold_until = book.hold_until.max(clock.now.after(quote.hold_s));
        }
        self.note_promise(payer);
        Ok(())
    }
}
