//! What the two parties sign in one sequence: honest vouchers mostly, and those of an equivocating payer.

use crate::cast::{Chain, NO_RESOLVER, RESOLVER};
use alloy::primitives::{Address, keccak256};
use protocol_spec::batch::{Tree, batch_digest};
use protocol_spec::{
    Amount, ChannelId, Digest, Lock, LocksOpening, Preimage, Seq, Side, SignedVoucher, UnixSeconds, Voucher,
    VoucherSignature, limits,
};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use sha2::Digest as _;

/// A voucher with what its payee knows about its locks.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) signed: SignedVoucher,
    pub(crate) locks: Vec<Lock>,
    pub(crate) opening: Option<LocksOpening>,
}

/// One payer's side of the book.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) made: Vec<Known>,
    locks: Vec<Lock>,
    seq: u64,
    paid: u128,
    lock_ids: u64,
}

/// Everything signed so far.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) channel_id: ChannelId,
    /// Unit of the amounts of this sequence.
    pub(crate) scale: u128,
    pub(crate) challenge_period_s: u64,
    pages: [Page; 2],
}

/// The preimage of a payer's lock.
pub(crate) fn preimage(payer: Side, id: u64) -> Preimage {
    Preimage(keccak256([&[payer.index()][..], &id.to_be_bytes()].concat()).0)
}

impl Book {
    pub(crate) fn new(channel_id: ChannelId, scale: u128, challenge_period_s: u64) -> Self {
        Self {
            channel_id,
            scale,
            challenge_period_s,
            pages: [Page::default(), Page::default()],
        }
    }

    pub(crate) fn page(&self, payer: Side) -> &Page {
        &self.pages[usize::from(payer.index())]
    }

    fn page_mut(&mut self, payer: Side) -> &mut Page {
        &mut self.pages[usize::from(payer.index())]
    }

    /// Every lock of both directions.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (Side, Digest)> + '_ {
        [Side::Client, Side::Hub].into_iter().flat_map(|payer| {
            let all = self.page(payer).made.iter().flat_map(|known| &known.locks);
            let mut leaves: Vec<_> = all.map(|lock| (payer, lock.leaf())).collect();
            leaves.sort();
            leaves.dedup();
            leaves
        })
    }

    /// Signs one more voucher of `payer`.
    pub(crate) fn add(&mut self, chain: &Chain, rng: &mut StdRng, payer: Side, now: u64) {
        let seq = self.seq(rng, payer);
        let paid = self.paid(rng, payer);
        let (ack_seq, ack_paid) = self.ack(rng, payer);
        self.change_locks(rng, payer, now);
        let page = self.page(payer);
        let locks = page.locks.clone();
        let opening = opening(rng, &locks, now);
        let voucher = Voucher {
            channel_id: self.channel_id,
            seq: Seq(seq),
            paid: Amount(paid),
            ack_seq: Seq(ack_seq),
            ack_paid: Amount(ack_paid),
            locks: opening.map_or(Digest::ZERO, |opening| opening.commitment()),
            history: Digest(rng.random()),
        };
        let signature = sign(chain, rng, payer, &voucher);
        let signed = SignedVoucher { voucher, signature };
        let page = self.page_mut(payer);
        if seq < limits::SEQ_MAX / 2 {
            page.seq = page.seq.max(seq);
        }
        if paid < limits::AMOUNT_MAX / 2 {
            page.paid = page.paid.max(paid);
        }
        page.made.push(Known {
            signed,
            locks,
            opening,
        });
    }

    fn seq(&self, rng: &mut StdRng, payer: Side) -> u64 {
        let last = self.page(payer).seq;
        match rng.random_range(0..1000) {
            0..=1 => limits::SEQ_MAX + 1,
            2..=4 => limits::SEQ_MAX,
            5..=9 => 0,
            10..=149 => rng.random_range(0..=last),
            150..=229 => last + rng.random_range(2..6),
            _ => last + 1,
        }
    }

    fn paid(&self, rng: &mut StdRng, payer: Side) -> u128 {
        let last = self.page(payer).paid;
        match rng.random_range(0..1000) {
            0..=1 => limits::AMOUNT_MAX + 1,
            2..=6 => limits::AMOUNT_MAX,
            7..=149 => rng.random_range(0..=last),
            150..=299 => last,
            _ => last + rng.random_range(0..=self.scale),
        }
    }

    fn ack(&self, rng: &mut StdRng, payer: Side) -> (u64, u128) {
        let other = self.page(payer.other());
        let of = |known: &Known| (known.signed.voucher.seq.0, known.signed.voucher.paid.0);
        match rng.random_range(0..100) {
            0..=9 => (0, 0),
            10..=29 => other.made.choose(rng).map(of).unwrap_or_default(),
            30..=39 => (
                rng.random_range(0..=other.seq + 2),
                rng.random_range(0..=other.paid + self.scale),
            ),
            _ => other.made.last().map(of).unwrap_or_default(),
        }
    }

    fn change_locks(&mut self, rng: &mut StdRng, payer: Side, now: u64) {
        let (scale, period) = (self.scale, self.challenge_period_s);
        let page = self.page_mut(payer);
        if rng.random_bool(0.25) {
            page.locks.retain(|_| rng.random_bool(0.5));
        }
        if rng.random_bool(0.07) {
            page.locks.clear();
        }
        let new = if page.locks.len() > 4 {
            0
        } else {
            rng.random_range(0..=4_u64) / 2
        };
        for _ in 0..new {
            page.lock_ids += 1;
            let lock = lock(rng, payer, page.lock_ids, scale, now, period);
            page.locks.push(lock);
        }
    }
}

fn lock(rng: &mut StdRng, payer: Side, id: u64, scale: u128, now: u64, period: u64) -> Lock {
    let around = [period / 2, period, period * 2, period * 3]
        .choose(rng)
        .copied()
        .unwrap();
    let expiry = now + around + rng.random_range(0..3) - 1;
    Lock {
        id,
        amount: Amount(match rng.random_range(0..200) {
            0 => u128::MAX,
            1 => limits::AMOUNT_MAX,
            _ => rng.random_range(0..=scale),
        }),
        expiry: UnixSeconds(expiry),
        hash: Digest(sha2::Sha256::digest(preimage(payer, id).0).into()),
        resolver: match rng.random_range(0..40) {
            0 => NO_RESOLVER,
            1 | 2 => RESOLVER,
            _ => Address::ZERO,
        },
    }
}

/// What the voucher commits to; a lying payer states another total, expiry or root than those of the locks.
fn opening(rng: &mut StdRng, locks: &[Lock], now: u64) -> Option<LocksOpening> {
    let max_expiry = locks.iter().map(|lock| lock.expiry).max()?;
    let sum = locks
        .iter()
        .fold(0_u128, |sum, lock| sum.saturating_add(lock.amount.0));
    let mut opening = LocksOpening {
        root: Tree::new(locks.iter().map(Lock::leaf).collect()).root(),
        total: Amount(sum),
        max_expiry,
    };
    match rng.random_range(0..100) {
        0..=4 => opening.total = Amount(rng.random_range(0..=sum)),
        5..=7 => opening.max_expiry = UnixSeconds(0),
        8 => opening.max_expiry = UnixSeconds(now + 60 * 24 * 3600 + rng.random_range(0..7200)),
        9 => opening.max_expiry = UnixSeconds(u64::MAX),
        10 => opening.root = Digest(rng.random()),
        _ => {}
    }
    Some(opening)
}

fn sign(chain: &Chain, rng: &mut StdRng, payer: Side, voucher: &Voucher) -> VoucherSignature {
    let digest = voucher.digest(&chain.domain);
    let forged = rng.random_bool(0.01);
    let player = if forged {
        &chain.stranger
    } else {
        chain.signer(payer)
    };
    // a client's batch signature is refused
    let batch = rng.random_bool(if payer == Side::Hub { 0.5 } else { 0.005 });
    if !batch {
        return VoucherSignature::Direct(player.key.sign(&digest));
    }
    let depth_many = rng.random_range(2..=9);
    let place = rng.random_range(0..depth_many);
    let mut leaves: Vec<_> = (0..depth_many).map(|_| Digest(rng.random())).collect();
    leaves[place] = digest;
    let tree = Tree::new(leaves);
    VoucherSignature::Batch {
        root_signature: player.key.sign(&batch_digest(&chain.domain, &tree.root())),
        proof: tree.proof(place),
    }
}
