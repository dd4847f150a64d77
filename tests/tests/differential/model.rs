//! The reference: `protocol_spec::settlement` for the rules, and around it the guards of the verbs, in the order of
//! `IAdjudicator.sol`, so that it says of every call whether it succeeds and with which error it does not.

use crate::action::{Action, Both, Submission};
use crate::cast::{Chain, REFUSER, RESOLVER};
use crate::counts::Counts;
use alloy::primitives::Address;
use alloy::sol_types::SolError as _;
use protocol_spec::abi::{self, IAdjudicator as I};
use protocol_spec::settlement::{Adjudication, Direction, Funds};
use protocol_spec::{
    Amount, Config, Digest, Lock, LocksOpening, Side, Signature, UnixSeconds, Voucher, batch, limits,
};

/// Selector of an error of the contract.
pub(crate) type Selector = [u8; 4];
type Checked<T = ()> = Result<T, Selector>;

const LOCK_LIFE_ON_CHAIN_S: u64 = 60 * 24 * 3600;
pub(crate) const NONE: u8 = 0;
pub(crate) const OPEN: u8 = 1;
pub(crate) const DISPUTED: u8 = 2;
pub(crate) const CLOSED: u8 = 3;

fn require(holds: bool, otherwise: Selector) -> Checked {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// What is compared with the bytecode: the real module, or a copy with a bug in it.
pub(crate) trait Rules: Clone + Sync {
    fn direction(&self, payer: Side) -> &Direction;
    fn submit(&mut self, payer: Side, voucher: &Voucher, opening: Option<&LocksOpening>);
    fn open_locks(&mut self, payer: Side, opening: &LocksOpening);
    fn resolve(&mut self, payer: Side, leaf: Digest, amount: Amount, in_time: bool) -> bool;
    fn withdraw(&mut self, client: (u64, Amount), hub: (u64, Amount));
    fn final_at(&self, window_end: UnixSeconds, challenge_period_s: u64) -> UnixSeconds;
    fn balances(&self, funds: &Funds) -> (Amount, Amount);
    fn mark(&self, payer: Side, leaf: Digest) -> Option<u64>;
}

impl Rules for Adjudication {
    fn direction(&self, payer: Side) -> &Direction {
        self.direction(payer)
    }
    fn submit(&mut self, payer: Side, voucher: &Voucher, opening: Option<&LocksOpening>) {
        self.submit(payer, voucher, opening);
    }
    fn open_locks(&mut self, payer: Side, opening: &LocksOpening) {
        self.open_locks(payer, opening);
    }
    fn resolve(&mut self, payer: Side, leaf: Digest, amount: Amount, in_time: bool) -> bool {
        self.resolve(payer, leaf, amount, in_time)
    }
    fn withdraw(&mut self, client: (u64, Amount), hub: (u64, Amount)) {
        self.withdraw(client, hub);
    }
    fn final_at(&self, window_end: UnixSeconds, challenge_period_s: u64) -> UnixSeconds {
        self.final_at(window_end, challenge_period_s)
    }
    fn balances(&self, funds: &Funds) -> (Amount, Amount) {
        self.balances(funds)
    }
    fn mark(&self, payer: Side, leaf: Digest) -> Option<u64> {
        self.marks.get(&(payer, leaf)).copied()
    }
}

/// One channel and the money around it.
#[derive(Clone)]
pub(crate) struct Model<R> {
    pub(crate) config: Config,
    pub(crate) rules: R,
    pub(crate) funds: Funds,
    pub(crate) status: u8,
    pub(crate) dispute_no: u64,
    /// 0 unless disputed.
    pub(crate) window_end: UnixSeconds,
    pub(crate) vault: u128,
    /// Coin that arrived at the client's account, and what waits there to be claimed.
    pub(crate) client_coin: u128,
    pub(crate) claimable: u128,
    /// Highest seq of a voucher shown, by payer; for the counts.
    pub(crate) best_seq: [u64; 2],
}

impl<R: Rules> Model<R> {
    pub(crate) fn new(config: Config, rules: R) -> Self {
        Self {
            config,
            rules,
            funds: Funds::default(),
            status: NONE,
            dispute_no: 0,
            window_end: UnixSeconds(0),
            vault: 0,
            client_coin: 0,
            claimable: 0,
            best_seq: [0, 0],
        }
    }

    /// R18.
    pub(crate) fn final_at(&self) -> u64 {
        self.rules
            .final_at(self.window_end, self.config.challenge_period_s)
            .0
    }

    /// What a closed channel still holds is nothing.
    pub(crate) fn total(&self) -> u128 {
        if self.status == CLOSED {
            0
        } else {
            self.funds.total().0
        }
    }

    /// Does what the rules say. An error leaves the model as it was.
    pub(crate) fn apply(&mut self, chain: &Chain, action: &Action, now: u64, counts: &mut Counts) -> Checked {
        let mut next = self.clone();
        next.step(chain, action, now, counts)?;
        *self = next;
        Ok(())
    }

    fn step(&mut self, chain: &Chain, action: &Action, now: u64, counts: &mut Counts) -> Checked {
        match action {
            Action::Open(amount) => {
                require(matches!(self.status, NONE | OPEN), I::WrongStatus::SELECTOR)?;
                self.status = OPEN;
                self.deposit(*amount)
            }
            Action::Deposit(amount) => {
                require(self.status == OPEN, I::WrongStatus::SELECTOR)?;
                self.deposit(*amount)
            }
            Action::FundVault(amount) => {
                self.vault += amount;
                Ok(())
            }
            Action::Reserve { from, amount } => self.reserve(*from, *amount),
            Action::Evidence {
                from,
                dispute,
                submissions,
                resolutions,
            } => {
                let may_dispute = if *dispute { self.dispute(now)? } else { false };
                let allowed = self.submit(chain, *from, submissions, now, counts)?;
                self.resolve(*from, resolutions, now, counts)?;
                let party = self.is_party(*from, Side::Client) || self.is_party(*from, Side::Hub);
                require(
                    !dispute || may_dispute || allowed || party,
                    I::NotThePayee::SELECTOR,
                )
            }
            Action::Withdraw {
                from,
                message,
                signatures,
            } => {
                self.require_both(chain, *from, &message.digest(&chain.domain), signatures)?;
                require_deadline(message.deadline.0, now)?;
                self.withdraw(message)
            }
            Action::Cancel {
                from,
                message,
                signatures,
            } => {
                self.require_both(chain, *from, &message.digest(&chain.domain), signatures)?;
                require_deadline(message.deadline.0, now)?;
                require(self.status == DISPUTED, I::WrongStatus::SELECTOR)?;
                require(
                    message.dispute_no.0 == self.dispute_no,
                    I::WrongDisputeNo::SELECTOR,
                )?;
                require(now < self.final_at(), I::AlreadyFinal::SELECTOR)?;
                (self.status, self.window_end) = (OPEN, UnixSeconds(0));
                Ok(())
            }
            Action::Finalize => self.finalize(now),
        }
    }

    fn is_party(&self, from: Address, side: Side) -> bool {
        from == self.config.account(side) || from == self.config.signer(side)
    }

    fn require_both(&self, chain: &Chain, from: Address, digest: &Digest, signatures: &Both) -> Checked {
        for (side, signature) in [Side::Client, Side::Hub].into_iter().zip(signatures) {
            let by =
                |key: &protocol_spec::PublicKey, signature: &Signature| key.verify(digest, signature).is_ok();
            let signed = signature.as_ref().is_some_and(|signature| {
                by(&chain.signer(side).public, signature)
                    || (self.config.account(side) != REFUSER && by(&chain.account(side).public, signature))
            });
            require(signed || self.is_party(from, side), I::BadSignature::SELECTOR)?;
        }
        Ok(())
    }

    fn deposit(&mut self, amount: u128) -> Checked {
        require(amount <= limits::AMOUNT_MAX, I::TotalTooLarge::SELECTOR)?;
        self.funds.client_deposit.0 += amount;
        require(
            self.funds.total().0 <= limits::AMOUNT_MAX,
            I::TotalTooLarge::SELECTOR,
        )
    }

    fn reserve(&mut self, from: Address, amount: u128) -> Checked {
        require(self.is_party(from, Side::Hub), I::NotAParty::SELECTOR)?;
        if self.status != OPEN {
            return Ok(());
        }
        require(amount <= self.vault, I::InsufficientVault::SELECTOR)?;
        self.vault -= amount;
        self.funds.hub_deposit.0 += amount;
        require(
            self.funds.total().0 <= limits::AMOUNT_MAX,
            I::TotalTooLarge::SELECTOR,
        )
    }

    fn dispute(&mut self, now: u64) -> Checked<bool> {
        require(self.status == OPEN, I::WrongStatus::SELECTOR)?;
        self.status = DISPUTED;
        self.dispute_no += 1;
        self.window_end = UnixSeconds(now + self.config.challenge_period_s);
        Ok(false)
    }

    /// R16. True when a countersignature lets the sender dispute.
    fn submit(
        &mut self,
        chain: &Chain,
        from: Address,
        submissions: &[Submission],
        now: u64,
        counts: &mut Counts,
    ) -> Checked<bool> {
        if submissions.is_empty() {
            return Ok(false);
        }
        require(matches!(self.status, OPEN | DISPUTED), I::WrongStatus::SELECTOR)?;
        require(
            self.status == OPEN || now < self.window_end.0,
            I::WindowOver::SELECTOR,
        )?;
        let mut may_dispute = false;
        for item in submissions {
            may_dispute |= self.check_submission(chain, from, item, now)?;
            self.check_opening(item, now)?;
            self.count_voucher(item, counts);
            self.rules
                .submit(item.payer, &item.signed.voucher, item.opening.as_ref());
            let best = &mut self.best_seq[usize::from(item.payer.index())];
            *best = item.signed.voucher.seq.0.max(*best);
        }
        Ok(may_dispute)
    }

    fn check_submission(&self, chain: &Chain, from: Address, item: &Submission, now: u64) -> Checked<bool> {
        let voucher = &item.signed.voucher;
        require(
            voucher.seq.max(voucher.ack_seq).0 <= limits::SEQ_MAX,
            I::SeqTooLarge::SELECTOR,
        )?;
        require(
            voucher.paid.max(voucher.ack_paid).0 <= limits::AMOUNT_MAX,
            I::PaidTooLarge::SELECTOR,
        )?;
        let digest = voucher.digest(&chain.domain);
        let key = &chain.signer(item.payer).public;
        let signed = item
            .signed
            .signature
            .verify(&chain.domain, &digest, key, item.payer == Side::Hub);
        require(signed.is_ok(), I::BadSignature::SELECTOR)?;
        if self.is_party(from, item.payer.other()) {
            return Ok(false);
        }
        let Some((accept, signature)) = &item.accept else {
            return Err(I::NotThePayee::SELECTOR);
        };
        require(accept.deadline.0 >= now, I::DeadlinePassed::SELECTOR)?;
        let honest = accept.voucher == digest && accept.submitter == from;
        let payee = &chain.signer(item.payer.other()).public;
        let countersigned = honest && payee.verify(&accept.digest(&chain.domain), signature).is_ok();
        require(countersigned, I::BadCountersignature::SELECTOR)?;
        Ok(accept.may_dispute)
    }

    /// An opening is read when it would be stored: with a newest voucher, or for the stored one that has none yet.
    fn check_opening(&self, item: &Submission, now: u64) -> Checked {
        let (voucher, direction) = (&item.signed.voucher, self.rules.direction(item.payer));
        let Some(opening) = item.opening.as_ref().filter(|_| voucher.locks != Digest::ZERO) else {
            return Ok(());
        };
        let stored = direction.live.as_ref().filter(|_| voucher.seq.0 <= direction.seq);
        let read = match stored {
            Some(live) => live.max_expiry.is_none() && live.commitment == voucher.locks,
            None => voucher.seq.0 >= direction.seq,
        };
        if !read {
            return Ok(());
        }
        self.require_opening(&voucher.locks, opening, now)
    }

    fn require_opening(&self, commitment: &Digest, opening: &LocksOpening, now: u64) -> Checked {
        require(opening.commitment() == *commitment, I::WrongOpening::SELECTOR)?;
        let start = if self.status == DISPUTED {
            self.window_end.0 - self.config.challenge_period_s
        } else {
            now
        };
        require(
            opening.max_expiry.0 <= start + LOCK_LIFE_ON_CHAIN_S,
            I::ExpiryTooFar::SELECTOR,
        )
    }

    fn count_voucher(&self, item: &Submission, counts: &mut Counts) {
        let (voucher, direction) = (&item.signed.voucher, self.rules.direction(item.payer));
        let live = direction.live.as_ref();
        counts.bump("voucher: submitted");
        if voucher.seq.0 < direction.seq {
            counts.bump("voucher: stale");
        }
        if voucher.seq.0 == direction.seq && live.is_some_and(|live| live.commitment != voucher.locks) {
            counts.bump("voucher: equal seq, other content");
        }
        if voucher.seq.0 > direction.seq && voucher.paid < direction.paid {
            counts.bump("voucher: newer but less paid");
        }
        if item.signed.signature.to_bytes().len() > 65 {
            counts.bump("voucher: batch signature");
        }
        if item.accept.is_some() {
            counts.bump("voucher: countersigned");
        }
        if voucher.locks != Digest::ZERO {
            counts.bump("voucher: with locks");
        }
    }

    /// R17.
    fn resolve(
        &mut self,
        from: Address,
        items: &[abi::Resolution],
        now: u64,
        counts: &mut Counts,
    ) -> Checked {
        if items.is_empty() {
            return Ok(());
        }
        require(self.status == DISPUTED, I::WrongStatus::SELECTOR)?;
        require(now < self.final_at(), I::AlreadyFinal::SELECTOR)?;
        for item in items {
            let payer = if item.payer == 0 { Side::Client } else { Side::Hub };
            let opening = opening_of(&item.opening);
            require(self.is_party(from, payer.other()), I::NotThePayee::SELECTOR)?;
            let live = self
                .rules
                .direction(payer)
                .live
                .clone()
                .ok_or(I::NoLiveLocks::SELECTOR)?;
            if live.max_expiry.is_none() {
                require(now < self.window_end.0, I::WindowOver::SELECTOR)?;
                self.require_opening(&live.commitment, &opening, now)?;
            }
            require(opening.commitment() == live.commitment, I::WrongOpening::SELECTOR)?;
            self.rules.open_locks(payer, &opening);
            for unlock in &item.unlocks {
                self.count_lock(payer, &opening, unlock, now, counts)?;
            }
        }
        Ok(())
    }

    fn count_lock(
        &mut self,
        payer: Side,
        opening: &LocksOpening,
        unlock: &abi::Unlock,
        now: u64,
        counts: &mut Counts,
    ) -> Checked {
        let lock = lock_of(&unlock.lock);
        let leaf = lock.leaf();
        let proof: Vec<_> = unlock.proof.iter().map(|node| Digest(node.0)).collect();
        require(
            batch::root_of(&leaf, &proof) == Ok(opening.root),
            I::LockNotProven::SELECTOR,
        )?;
        let marked = self.rules.mark(payer, leaf).is_some();
        if !marked {
            require(now < lock.expiry.0, I::LockExpired::SELECTOR)?;
            match lock.resolver {
                Address::ZERO => require(lock.opened_by(&unlock.witness), I::WrongPreimage::SELECTOR)?,
                resolver => require(resolver == RESOLVER, I::ResolverRefused::SELECTOR)?,
            }
        }
        match (self.rules.resolve(payer, leaf, lock.amount, !marked), marked) {
            (true, false) => counts.bump("lock: resolved"),
            (true, true) => counts.bump("lock: re-counted"),
            (false, _) => counts.bump("lock: already counted"),
        }
        if marked && now >= lock.expiry.0 {
            counts.bump("lock: marked, shown after its expiry");
        }
        Ok(())
    }

    /// R14.
    fn withdraw(&mut self, message: &protocol_spec::Withdraw) -> Checked {
        require(self.status == OPEN, I::WrongStatus::SELECTOR)?;
        require(
            message.client_seq.max(message.hub_seq).0 <= limits::SEQ_MAX,
            I::SeqTooLarge::SELECTOR,
        )?;
        let paid = message.client_paid.max(message.hub_paid).0;
        require(paid <= limits::AMOUNT_MAX, I::PaidTooLarge::SELECTOR)?;
        let client = (message.client_seq.0, message.client_paid);
        self.rules.withdraw(client, (message.hub_seq.0, message.hub_paid));
        let before = self.funds.withdrawn(message.side).0;
        require(message.total.0 > before, I::WithdrawalNotNewer::SELECTOR)?;
        let amount = message.total.0 - before;
        require(amount <= self.funds.total().0, I::InsufficientTotal::SELECTOR)?;
        match message.side {
            Side::Client => {
                self.funds.client_withdrawn = message.total;
                self.pay_client(amount);
            }
            Side::Hub => {
                self.funds.hub_withdrawn = message.total;
                self.vault += amount;
            }
        }
        Ok(())
    }

    fn finalize(&mut self, now: u64) -> Checked {
        require(self.status == DISPUTED, I::WrongStatus::SELECTOR)?;
        require(now >= self.final_at(), I::NotFinal::SELECTOR)?;
        let (client, hub) = self.rules.balances(&self.funds);
        (self.status, self.window_end) = (CLOSED, UnixSeconds(0));
        self.vault += hub.0;
        self.pay_client(client.0);
        Ok(())
    }

    fn pay_client(&mut self, amount: u128) {
        if self.config.client == REFUSER {
            self.claimable += amount;
        } else {
            self.client_coin += amount;
        }
    }
}

fn require_deadline(deadline: u64, now: u64) -> Checked {
    require(deadline >= now, I::DeadlinePassed::SELECTOR)?;
    require(
        deadline <= now + limits::DEADLINE_AHEAD_MAX_S,
        I::DeadlineTooFar::SELECTOR,
    )
}

fn opening_of(opening: &abi::LocksOpening) -> LocksOpening {
    LocksOpening {
        root: Digest(opening.root.0),
        total: Amount(opening.total),
        max_expiry: UnixSeconds(opening.maxExpiry),
    }
}

fn lock_of(lock: &abi::Lock) -> Lock {
    Lock {
        id: lock.id,
        amount: Amount(lock.amount),
        expiry: UnixSeconds(lock.expiry),
        hash: Digest(lock.hash.0),
        resolver: lock.resolver,
    }
}
