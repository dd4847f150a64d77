//! Chooses the next step: mostly what a party would do, partly what it must not.

use crate::action::{Action, BatchItem, Both, Submission, config_of};
use crate::book::{Book, Known, preimage};
use crate::cast::{Chain, FUNDER, REFUSER, STRANGER};
use crate::model::{DISPUTED, Model, NONE, OPEN, Rules};
use alloy::primitives::{Address, B256};
use protocol_spec::{
    Accept, Amount, CancelDispute, Config, Digest, Lock, Seq, Side, Signature, UnixSeconds, Withdraw, abi,
    batch::Tree, calls,
};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

/// What a step is chosen from.
pub(crate) struct World<'a, R> {
    pub(crate) chain: &'a Chain,
    pub(crate) model: &'a Model<R>,
    pub(crate) book: &'a Book,
    pub(crate) now: u64,
}

/// The account or the signer of a side.
pub(crate) fn sender(rng: &mut StdRng, config: &Config, side: Side) -> Address {
    // a contract sends nothing by itself
    if config.account(side) == REFUSER || rng.random_bool(0.5) {
        config.signer(side)
    } else {
        config.account(side)
    }
}

fn side(rng: &mut StdRng) -> Side {
    if rng.random_bool(0.5) {
        Side::Client
    } else {
        Side::Hub
    }
}

impl<R: Rules> World<'_, R> {
    /// The next call.
    pub(crate) fn action(&self, rng: &mut StdRng) -> Action {
        let odds: [u32; 10] = match self.model.status {
            NONE => [90, 1, 3, 2, 1, 1, 1, 1, 1, 1],
            OPEN => [3, 10, 8, 14, 30, 16, 14, 1, 10, 2],
            DISPUTED => [1, 1, 2, 1, 80, 1, 1, 6, 1, 7],
            _ => [1; 10],
        };
        let mut place = rng.random_range(0..odds.iter().sum());
        let kind = odds.iter().position(|odd| {
            let here = place < *odd;
            place = place.saturating_sub(*odd);
            here
        });
        let amount = self.amount(rng);
        match kind.unwrap() {
            0 => Action::Open(amount),
            1 => Action::Deposit(amount),
            2 => Action::FundVault(amount),
            3 => self.reserve(rng, amount),
            4 => self.evidence(rng, false),
            5 => self.evidence(rng, true),
            6 => self.withdraw(rng),
            7 => self.cancel(rng),
            8 => self.withdraw_many(rng),
            _ => Action::Finalize,
        }
    }

    fn amount(&self, rng: &mut StdRng) -> u128 {
        match rng.random_range(0..200) {
            0 => 0,
            1 => protocol_spec::limits::AMOUNT_MAX,
            2 => protocol_spec::limits::AMOUNT_MAX + 1,
            _ => rng.random_range(0..=self.book.scale.saturating_mul(3)),
        }
    }

    fn reserve(&self, rng: &mut StdRng, amount: u128) -> Action {
        let from = match rng.random_range(0..20) {
            0 => STRANGER,
            _ => sender(rng, &self.model.config, Side::Hub),
        };
        let amount = if rng.random_bool(0.8) {
            amount.min(self.model.vault)
        } else {
            amount
        };
        Action::Reserve { from, amount }
    }

    /// `submit` or `dispute` with vouchers, resolutions or both.
    pub(crate) fn evidence(&self, rng: &mut StdRng, dispute: bool) -> Action {
        let payee = side(rng);
        let from = match rng.random_range(0..20) {
            0 => STRANGER,
            _ => sender(rng, &self.model.config, payee),
        };
        let disputed = dispute || self.model.status == DISPUTED;
        let late = self.model.status == DISPUTED && self.now >= self.model.window_end.0;
        let submissions: Vec<_> = if late && rng.random_bool(0.9) || dispute && rng.random_bool(0.3) {
            Vec::new()
        } else {
            let many = rng.random_range(1..=3);
            (0..many)
                .filter_map(|_| self.submission(rng, from, payee))
                .collect()
        };
        let wanted = if disputed { 0.6 } else { 0.03 };
        let resolve = rng.random_bool(if submissions.is_empty() && disputed {
            0.97
        } else {
            wanted
        });
        let resolutions = if resolve {
            self.resolution(rng, payee.other(), &submissions)
                .into_iter()
                .collect()
        } else {
            Vec::new()
        };
        Action::Evidence {
            from,
            dispute,
            submissions,
            resolutions,
        }
    }

    /// Mostly the payee's newest; sometimes an older one, or one of its own with the other side's countersignature.
    fn submission(&self, rng: &mut StdRng, from: Address, payee: Side) -> Option<Submission> {
        let payer = if rng.random_bool(0.88) {
            payee.other()
        } else {
            payee
        };
        let made = &self.book.page(payer).made;
        let known = if rng.random_bool(0.6) {
            made.last()
        } else {
            made.choose(rng)
        }?;
        let is_payee = from != STRANGER && payer == payee.other();
        let needed = if is_payee { 0.02 } else { 0.9 };
        let accept = rng
            .random_bool(needed)
            .then(|| self.accept(rng, from, payer, known));
        let mut opening = known.opening.filter(|_| rng.random_bool(0.65));
        if rng.random_bool(0.04) {
            opening = made.choose(rng).and_then(|other| other.opening);
        }
        Some(Submission {
            payer,
            signed: known.signed.clone(),
            opening,
            accept,
        })
    }

    fn accept(&self, rng: &mut StdRng, from: Address, payer: Side, known: &Known) -> (Accept, Signature) {
        let accept = Accept {
            voucher: known.signed.voucher.digest(&self.chain.domain),
            submitter: if rng.random_bool(0.05) { FUNDER } else { from },
            may_dispute: rng.random_bool(0.5),
            deadline: UnixSeconds(match rng.random_range(0..20) {
                0 => self.now - 1,
                1 => self.now,
                _ => self.now + 10_000,
            }),
        };
        let by = if rng.random_bool(0.05) {
            payer
        } else {
            payer.other()
        };
        let signature = self.chain.signer(by).key.sign(&accept.digest(&self.chain.domain));
        (accept, signature)
    }

    /// For the voucher that will be the stored one after these submissions, mostly.
    fn resolution(
        &self,
        rng: &mut StdRng,
        payer: Side,
        submissions: &[Submission],
    ) -> Option<abi::Resolution> {
        let stored = self
            .model
            .rules
            .direction(payer)
            .live
            .as_ref()
            .map(|live| live.commitment);
        let newest = submissions
            .iter()
            .filter(|item| item.payer == payer)
            .max_by_key(|item| item.signed.voucher.seq)
            .map(|item| item.signed.voucher.locks);
        let made = &self.book.page(payer).made;
        let with = |locks: Digest| made.iter().find(|known| known.signed.voucher.locks == locks);
        let known = match rng.random_range(0..20) {
            0 => made.choose(rng),
            1..=9 => newest.or(stored).and_then(with),
            _ => stored.or(newest).and_then(with),
        };
        let known = known.filter(|known| known.opening.is_some())?;
        let opening = known.opening?;
        if rng.random_bool(0.05) {
            return Some(abi::Resolution {
                payer: payer.index(),
                opening: opening.to_abi(),
                unlocks: Vec::new(),
            });
        }
        let careful = rng.random_bool(0.92);
        let wanted: Vec<u64> = known
            .locks
            .iter()
            .filter(|lock| rng.random_bool(0.7) && (!careful || self.resolvable(payer, lock)))
            .map(|lock| lock.id)
            .collect();
        let tell = |id: u64| wanted.contains(&id).then(|| preimage(payer, id).into());
        let mut resolution = calls::resolution(payer, &opening, &known.locks, tell)?;
        self.spoil(rng, known, &mut resolution);
        Some(resolution)
    }

    fn resolvable(&self, payer: Side, lock: &Lock) -> bool {
        let marked = self.model.rules.mark(payer, lock.leaf()).is_some();
        marked || (self.now < lock.expiry.0 && lock.resolver != crate::cast::NO_RESOLVER)
    }

    /// Sometimes: a wrong witness, a wrong proof, a lock that is not in the voucher, the same lock twice.
    fn spoil(&self, rng: &mut StdRng, known: &Known, resolution: &mut abi::Resolution) {
        let Some(first) = resolution.unlocks.first_mut() else {
            return;
        };
        match rng.random_range(0..100) {
            0 => first.witness = vec![7; 32].into(),
            1 => first.witness = vec![7; 31].into(),
            2 => first.proof.push(B256::from(rng.random::<[u8; 32]>())),
            3 => first.lock.amount = first.lock.amount.wrapping_add(1),
            4 => resolution.opening.total = resolution.opening.total.wrapping_add(1),
            5 => resolution.opening.root = B256::from(Tree::new(vec![known.signed.voucher.history]).root().0),
            6..=11 => {
                let again = first.clone();
                resolution.unlocks.push(again);
            }
            _ => {}
        }
    }

    fn withdraw(&self, rng: &mut StdRng) -> Action {
        let message = self.withdrawal(rng);
        let (from, signatures) = self.both(rng, &message.digest(&self.chain.domain));
        Action::Withdraw {
            from,
            message,
            signatures,
        }
    }

    /// Some of them say the same again, or are of a channel that does not exist.
    fn withdraw_many(&self, rng: &mut StdRng) -> Action {
        let (from, party) = self.caller(rng);
        let mut items: Vec<BatchItem> = Vec::new();
        for _ in 0..rng.random_range(0..=4) {
            let again = items.choose(rng).filter(|_| rng.random_bool(0.1)).cloned();
            items.push(again.unwrap_or_else(|| self.batch_item(rng, party)));
        }
        Action::WithdrawMany { from, items }
    }

    fn batch_item(&self, rng: &mut StdRng, party: Option<Side>) -> BatchItem {
        let mut item = BatchItem {
            never_opened: rng.random_bool(0.05),
            message: self.withdrawal(rng),
            signatures: [None; 2],
        };
        item.message.channel_id = config_of(&self.model.config, &item).id(&self.chain.domain);
        item.signatures = self.signatures(rng, &item.message.digest(&self.chain.domain), party);
        item
    }

    fn withdrawal(&self, rng: &mut StdRng) -> Withdraw {
        let (funds, side) = (&self.model.funds, side(rng));
        let newest = |rng: &mut StdRng, payer: Side| {
            let made = &self.book.page(payer).made;
            let known = if rng.random_bool(0.7) {
                made.last()
            } else {
                made.choose(rng)
            };
            known.map_or((Seq(0), Amount(0)), |known| {
                (known.signed.voucher.seq, known.signed.voucher.paid)
            })
        };
        let ((client_seq, client_paid), (hub_seq, hub_paid)) =
            (newest(rng, Side::Client), newest(rng, Side::Hub));
        let before = funds.withdrawn(side).0;
        let all = funds.total().0;
        Withdraw {
            channel_id: self.book.channel_id,
            side,
            total: Amount(match rng.random_range(0..20) {
                0 => before,
                1 => before + all,
                2 => before + all + 1,
                _ => before + rng.random_range(0..=all / 3 + 1),
            }),
            client_seq,
            client_paid,
            hub_seq,
            hub_paid,
            deadline: self.deadline(rng),
        }
    }

    fn cancel(&self, rng: &mut StdRng) -> Action {
        let off = u64::from(rng.random_bool(0.1));
        let message = CancelDispute {
            channel_id: self.book.channel_id,
            dispute_no: Seq(self.model.dispute_no + off),
            deadline: self.deadline(rng),
        };
        let (from, signatures) = self.both(rng, &message.digest(&self.chain.domain));
        Action::Cancel {
            from,
            message,
            signatures,
        }
    }

    fn deadline(&self, rng: &mut StdRng) -> UnixSeconds {
        let day = protocol_spec::limits::DEADLINE_AHEAD_MAX_S;
        UnixSeconds(match rng.random_range(0..40) {
            0 => self.now - 1,
            1 => self.now,
            2 => self.now + day,
            3 => self.now + day + 1,
            _ => self.now + 3600,
        })
    }

    /// A sender, and signatures of both sides: by signer, by account, left out for the sender, or wrong.
    fn both(&self, rng: &mut StdRng, digest: &Digest) -> (Address, Both) {
        let (from, party) = self.caller(rng);
        (from, self.signatures(rng, digest, party))
    }

    /// Who sends, and which party that is.
    fn caller(&self, rng: &mut StdRng) -> (Address, Option<Side>) {
        let party = rng.random_bool(0.5).then(|| side(rng));
        let from = party.map_or(FUNDER, |side| sender(rng, &self.model.config, side));
        (from, party)
    }

    fn signatures(&self, rng: &mut StdRng, digest: &Digest, party: Option<Side>) -> Both {
        [Side::Client, Side::Hub].map(|side| match rng.random_range(0..40) {
            0 => None,
            1 => Some(self.chain.stranger.key.sign(digest)),
            2..=9 => Some(self.chain.account(side).key.sign(digest)),
            _ if party == Some(side) => None,
            _ => Some(self.chain.signer(side).key.sign(digest)),
        })
    }
}
