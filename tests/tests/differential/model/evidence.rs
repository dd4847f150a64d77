//! R16 and R17: the guards of `submit` and `dispute` around the rules.

use super::{Checked, DISPUTED, Model, OPEN, Rules, require};
use crate::action::Submission;
use crate::cast::{Chain, RESOLVER};
use crate::counts::Counts;
use alloy::primitives::Address;
use alloy::sol_types::SolError as _;
use protocol_spec::abi::{self, IAdjudicator as I};
use protocol_spec::{Amount, Digest, Lock, LocksOpening, Side, UnixSeconds, Voucher, batch, limits};

const LOCK_LIFE_ON_CHAIN_S: u64 = 60 * 24 * 3600;

/// Read after the signatures: numbers that nobody signed have another fault.
fn check_range(voucher: &Voucher) -> Checked {
    require(
        voucher.seq.max(voucher.ack_seq).0 <= limits::SEQ_MAX,
        I::SeqTooLarge::SELECTOR,
    )?;
    require(
        voucher.paid.max(voucher.ack_paid).0 <= limits::AMOUNT_MAX,
        I::PaidTooLarge::SELECTOR,
    )
}

impl<R: Rules> Model<R> {
    /// R16. True when a countersignature lets the sender dispute.
    pub(super) fn submit(
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
            check_range(&item.signed.voucher)?;
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
    pub(super) fn resolve(
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
                Address::ZERO => require(
                    lock.condition().opened_by(&unlock.witness),
                    I::WrongPreimage::SELECTOR,
                )?,
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
