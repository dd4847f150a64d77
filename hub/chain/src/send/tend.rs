//! Looking after what was sent: handing over again what a node has lost, raising what no block takes, and sending
//! again what lost its nonce to another transaction.
//!
//! One request is never in danger of being executed twice: as long as its nonce is free, everything made for it has
//! that nonce; another nonce is taken only when a block has used the first one, for some blocks already, for a
//! transaction that is not ours.

use super::super::error::ChainError;
use super::super::outlet::{Prices, is_nonce_stale};
use super::super::types::{BlockRef, Fees, Tended, TxReceipt, TxRequest};
use super::book::Entry;
use super::fees::{first_payable, is_payable, limit};
use super::prepare::prepare;
use super::worker::{Delivered, Worker};

/// Blocks on top after which a transaction is forgotten: no reorg goes so deep.
const KEPT_BLOCKS: u64 = 64;
/// Most empty transactions that one look fills a gap with.
const FILLED_MAX: usize = 16;
/// Offers in one look for the place of a transaction that is not known; each doubles.
const UNBLOCK_TRIES_MAX: u32 = 8;

/// One look at the chain.
struct Look {
    head: BlockRef,
    /// Nonces below are in blocks.
    used: u64,
    /// Asked once, when the first transaction is to be raised.
    prices: Option<Prices>,
    told: Tended,
}

/// How far a transaction may be raised.
struct Pull {
    /// Most wei per gas.
    limit: Option<u128>,
    /// The first deadline that is not over.
    deadline_s: Option<u64>,
    /// Something is not too late.
    wanted: bool,
}

impl Worker {
    /// See [`crate::Chain::tend`].
    pub(super) async fn tend(&mut self) -> Result<Tended, ChainError> {
        if self.book.is_empty() {
            return Ok(Tended::default());
        }
        let mut look = Look {
            head: self.outlet.head().await?,
            used: self.outlet.used_nonce(self.address()).await?,
            prices: None,
            told: Tended::default(),
        };
        // Ours are looked after whatever becomes of those of an earlier process.
        if let Err(error) = self.fill_gap(&mut look).await {
            tracing::warn!(%error, "nonces below ours could not be freed; trying again");
            look.told.held = look.told.held.saturating_add(1);
        }
        for entry in self.book.all() {
            let (hash, nonce) = (entry.newest(), entry.nonce);
            let looked_after = if nonce < look.used {
                self.follow(entry, &mut look).await
            } else if self.book.is_newest(&entry) {
                self.press(entry, &mut look).await
            } else {
                Ok(())
            };
            match looked_after {
                Ok(()) => {}
                // Nobody answers: the others would fare no better.
                Err(error) if error.is_silence() => return Err(error),
                // What is wrong with one must not cost the others their care.
                Err(error) => {
                    tracing::warn!(%hash, nonce, %error, "a transaction could not be looked after; trying again");
                    look.told.count_failure(&error);
                }
            }
        }
        look.told.waiting = self.book.waiting();
        Ok(look.told)
    }

    /// Its nonce is used: is it in a block, or was it another?
    async fn follow(&mut self, mut entry: Entry, look: &mut Look) -> Result<(), ChainError> {
        let head = look.head.number;
        let deep = |at: u64| head >= at.saturating_add(KEPT_BLOCKS);
        if entry.mined_at.is_some_and(|at| !deep(at)) {
            return Ok(());
        }
        if let Some(receipt) = self.receipt_of(&entry).await? {
            if entry.mined_at.is_none() {
                look.told.mined = look.told.mined.saturating_add(1);
            }
            if deep(receipt.block_number) {
                self.forget(&entry);
                return Ok(());
            }
            entry.mined_at = Some(receipt.block_number);
            entry.taken_at = None;
            self.book.put(entry);
            return Ok(());
        }
        entry.mined_at = None;
        let taken_at = *entry.taken_at.get_or_insert(head);
        self.book.put(entry.clone());
        if head < taken_at.saturating_add(self.policy.stuck_after_blocks) {
            return Ok(());
        }
        self.send_again(entry, look).await
    }

    async fn receipt_of(&self, entry: &Entry) -> Result<Option<TxReceipt>, ChainError> {
        for hash in entry.hashes.iter().rev() {
            let receipt = self.outlet.receipt(*hash).await?;
            if receipt.is_some() {
                return Ok(receipt);
            }
        }
        Ok(None)
    }

    /// Its nonce went to another transaction: it gets a new one, unless it has no sense any more.
    async fn send_again(&mut self, mut entry: Entry, look: &mut Look) -> Result<(), ChainError> {
        let (hash, nonce) = (entry.newest(), entry.nonce);
        let replaced = entry.ready.request.nonce.is_some();
        if replaced || entry.is_late(look.head.timestamp_s) {
            tracing::warn!(%hash, nonce, "another transaction took the nonce; not sent again: fixed nonce, or too late");
            return self.give_up(&entry, look);
        }
        let request = entry.ready.request.clone();
        let prepared = prepare(self.outlet.as_ref(), self.address(), self.policy, request).await;
        let mut ready = match prepared {
            Ok(ready) => ready,
            Err(error @ ChainError::Reverted { .. }) => {
                tracing::warn!(%hash, nonce, %error, "another transaction took the nonce; not sent again: it would revert");
                return self.give_up(&entry, look);
            }
            Err(error) => return Err(error),
        };
        ready.fees = ready.fees.at_least(entry.ready.fees);
        let Delivered { signed, nonce: new } = self.deliver(&ready).await?;
        tracing::warn!(%hash, nonce, new_hash = %signed.hash, new_nonce = new,
            "another transaction took the nonce: sent again with a new one");
        self.heirs.link(hash, signed.hash);
        entry.replace(ready, new, signed.raw, signed.hash);
        self.book.put(entry);
        look.told.sent_again = look.told.sent_again.saturating_add(1);
        Ok(())
    }

    fn give_up(&mut self, entry: &Entry, look: &mut Look) -> Result<(), ChainError> {
        look.told.given_up = look.told.given_up.saturating_add(1);
        self.forget(entry);
        Ok(())
    }

    /// Its nonce is free: a node must have it, and blocks must want it.
    async fn press(&mut self, mut entry: Entry, look: &mut Look) -> Result<(), ChainError> {
        let head = look.head.number;
        if entry.mined_at.take().is_some() || entry.taken_at.take().is_some() {
            // A reorg gave the nonce back.
            entry.offered_at = None;
        }
        let offered_at = *entry.offered_at.get_or_insert(head);
        entry.since_s.get_or_insert(look.head.timestamp_s);
        self.book.put(entry.clone());
        let (hash, nonce) = (entry.newest(), entry.nonce);
        let mut refused = false;
        if !self.outlet.knows(hash).await? {
            match self.outlet.submit(entry.raw.clone()).await {
                Ok(()) => {
                    tracing::warn!(%hash, nonce, "the mempool had lost a transaction: handed over again");
                    look.told.handed_over = look.told.handed_over.saturating_add(1);
                }
                // Mined or taken since the look began; the next one finds out.
                Err(error) if is_nonce_stale(&error) => return Ok(()),
                Err(error @ ChainError::InsufficientFunds(_)) => {
                    tracing::warn!(%hash, nonce, %error, "a transaction cannot be paid for");
                    look.told.held = look.told.held.saturating_add(1);
                    return Ok(());
                }
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => {
                    tracing::warn!(%hash, nonce, %error, "the mempool refuses a transaction that was taken before");
                    refused = true;
                }
            }
        }
        if refused || head >= offered_at.saturating_add(self.policy.stuck_after_blocks) {
            return self.raise(entry, look).await;
        }
        Ok(())
    }

    /// Replaces it by one that offers more, if that is allowed and of use.
    async fn raise(&mut self, mut entry: Entry, look: &mut Look) -> Result<(), ChainError> {
        let prices = match look.prices {
            Some(prices) => prices,
            None => *look.prices.insert(self.outlet.prices().await?),
        };
        let is_first = self.book.lowest_waiting(look.used) == Some(entry.nonce);
        if !is_first && is_payable(entry.ready.fees, prices) {
            // It waits for the one before it, not for better fees.
            return Ok(());
        }
        let now_s = look.head.timestamp_s;
        let pull = self.pull(&entry, now_s);
        let limit = pull.limit;
        let offer = entry.offer(limit, pull.deadline_s, now_s);
        entry.ceiling = offer.ceiling_now(prices);
        let fees = offer.raised(prices, entry.ceiling);
        self.book.put(entry.clone());
        match fees.filter(|_| pull.wanted) {
            Some(fees) => self.replace(entry, fees, look).await,
            None => {
                let limit_reached = limit.is_some_and(|limit| entry.ceiling >= limit);
                self.hold(entry, prices, limit_reached, look);
                Ok(())
            }
        }
    }

    /// How far it may go. The lowest nonce keeps all behind it waiting: it may cost what the most valuable of them may,
    /// and is as urgent as the most urgent, whatever it is worth itself and however late it is.
    fn pull(&self, entry: &Entry, now_s: u64) -> Pull {
        let own = (
            limit(&entry.ready.request, entry.ready.gas_limit, self.policy),
            entry,
        );
        let behind = self.book.behind(entry);
        let all = behind.map(|other| {
            (
                limit(&other.ready.request, other.ready.gas_limit, self.policy),
                other,
            )
        });
        let mut pull = Pull {
            limit: own.0,
            deadline_s: None,
            wanted: false,
        };
        for (limit, other) in std::iter::once(own).chain(all) {
            pull.limit = match (pull.limit, limit) {
                (Some(one), Some(other)) => Some(one.max(other)),
                _ => None,
            };
            if !other.is_late(now_s) {
                pull.wanted = true;
                let deadline_s = other.ready.request.deadline_s;
                pull.deadline_s = pull.deadline_s.into_iter().chain(deadline_s).min();
            }
        }
        pull
    }

    async fn replace(&mut self, before: Entry, fees: Fees, look: &mut Look) -> Result<(), ChainError> {
        let mut entry = before.clone();
        let mut ready = entry.ready.clone();
        ready.fees = fees;
        let signed = self.sign(&ready, entry.nonce)?;
        let (old, new, nonce) = (entry.newest(), signed.hash, entry.nonce);
        // Written down first: the bytes may arrive even if the answer does not.
        self.heirs.link(old, new);
        entry.replace(ready, nonce, signed.raw.clone(), new);
        entry.offered_at = Some(look.head.number);
        self.book.put(entry);
        match self.outlet.submit(signed.raw).await {
            Ok(()) => {
                let (max, tip) = (fees.max_fee_per_gas, fees.max_priority_fee_per_gas);
                tracing::info!(%old, %new, nonce, max_fee_per_gas = max, tip, "a stuck transaction offers more");
                look.told.replaced = look.told.replaced.saturating_add(1);
            }
            Err(error) if is_nonce_stale(&error) => {}
            Err(error) if error.is_retryable() => return Err(error),
            Err(error @ ChainError::InsufficientFunds(_)) => {
                tracing::warn!(%old, nonce, %error, "a stuck transaction cannot be raised");
                look.told.held = look.told.held.saturating_add(1);
                self.book.put(before);
            }
            // Something of the same nonce offers more: the next raise goes from here.
            Err(error) => tracing::warn!(%new, nonce, %error, "a replacement was refused"),
        }
        Ok(())
    }

    fn hold(&mut self, mut entry: Entry, prices: Prices, limit_reached: bool, look: &mut Look) {
        let late = entry.is_late(look.head.timestamp_s);
        let counter = match late || limit_reached {
            true => &mut look.told.held,
            false => &mut look.told.patient,
        };
        *counter = counter.saturating_add(1);
        let head = look.head.number;
        let again = |at: u64| head >= at.saturating_add(self.policy.stuck_after_blocks);
        if entry.told_at.is_none_or(again) {
            let (hash, nonce) = (entry.newest(), entry.nonce);
            let (offered, base_fee) = (entry.ready.fees.max_fee_per_gas, prices.base_fee);
            let ceiling = entry.ceiling;
            if late || limit_reached {
                tracing::warn!(%hash, nonce, offered, ceiling, base_fee, late, "a stuck transaction may not be raised");
            } else {
                tracing::info!(%hash, nonce, offered, ceiling, base_fee, "high prices are waited out: the deadline is far");
            }
            entry.told_at = Some(head);
            self.book.put(entry);
        }
    }

    /// Nonces below ours that nobody uses: transactions of an earlier process, lost by the mempool. Ours would wait
    /// for them forever, and must not be moved: both could then be executed.
    async fn fill_gap(&mut self, look: &mut Look) -> Result<(), ChainError> {
        let lowest = self.book.lowest_waiting(look.used);
        let Some(lowest) = lowest.filter(|lowest| *lowest > look.used) else {
            self.book.gap_at = None;
            return Ok(());
        };
        let free = self.outlet.next_nonce(self.address()).await?;
        if free >= lowest {
            self.book.gap_at = None;
            return self.unblock(lowest, look).await;
        }
        let head = look.head.number;
        let gap_at = *self.book.gap_at.get_or_insert(head);
        if head < gap_at.saturating_add(self.policy.stuck_after_blocks) {
            return Ok(());
        }
        for nonce in (free..lowest).take(FILLED_MAX) {
            let request = TxRequest {
                to: Some(self.address()),
                nonce: Some(nonce),
                ..TxRequest::default()
            };
            let ready = prepare(self.outlet.as_ref(), self.address(), self.policy, request).await?;
            let sent = self.send(ready).await?;
            tracing::warn!(nonce, hash = %sent.hash, "a gap below our transactions was filled with an empty one");
            look.told.gaps_filled = look.told.gaps_filled.saturating_add(1);
        }
        Ok(())
    }

    /// Transactions of an earlier process that no block takes: they cannot be raised, since what they were is forgotten,
    /// and ours wait behind them. Empty ones take their places; what they were for its sender has sent again.
    async fn unblock(&mut self, lowest: u64, look: &mut Look) -> Result<(), ChainError> {
        let (nonce, head) = (look.used, look.head.number);
        let since = match self.book.blocked_at {
            Some((at, since)) if at == nonce => since,
            _ => self.book.blocked_at.insert((nonce, head)).1,
        };
        if head < since.saturating_add(self.policy.stuck_after_blocks) {
            return Ok(());
        }
        let prices = self.outlet.prices().await?;
        let mut fees = first_payable(&TxRequest::default(), 0, Some(prices), self.policy)?;
        for nonce in (nonce..lowest).take(FILLED_MAX) {
            fees = self.displace(nonce, fees).await?;
            look.told.unblocked = look.told.unblocked.saturating_add(1);
        }
        Ok(())
    }

    /// Puts an empty transaction in the place of one that is not known, nor what it offers: more and more, until the nodes
    /// take it. Returns what was enough.
    async fn displace(&mut self, nonce: u64, mut fees: Fees) -> Result<Fees, ChainError> {
        let most = self.policy.max_fee_per_gas.unwrap_or(u128::MAX);
        let mut tries = 0_u32;
        loop {
            tries = tries.saturating_add(1);
            let request = TxRequest {
                to: Some(self.address()),
                nonce: Some(nonce),
                fees: Some(fees),
                ..TxRequest::default()
            };
            let ready = prepare(self.outlet.as_ref(), self.address(), self.policy, request).await?;
            match self.send(ready).await {
                Ok(sent) => {
                    tracing::warn!(nonce, hash = %sent.hash,
                        "a stuck transaction of an earlier process was replaced by an empty one");
                    return Ok(fees);
                }
                // Nodes want more of both, and the tip may grow where the fee is at its limit.
                Err(ChainError::Rejected { .. })
                    if fees.max_priority_fee_per_gas < most && tries < UNBLOCK_TRIES_MAX =>
                {
                    fees.max_fee_per_gas = fees.max_fee_per_gas.saturating_mul(2).min(most);
                    let tip = fees.max_priority_fee_per_gas.saturating_mul(2);
                    fees.max_priority_fee_per_gas = tip.min(fees.max_fee_per_gas);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
