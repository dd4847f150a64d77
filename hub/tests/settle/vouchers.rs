//! Parties, vouchers and evidence, signed as hub and client would.

use protocol_spec::{
    Address, Amount, ChannelId, Config, Digest, DirectionEvidence, Domain, Evidence, Lock, LocksOpening,
    PaymentId, Preimage, Receipt, Seq, Side, SignedVoucher, SignerKey, UnixSeconds, Voucher,
    VoucherSignature, batch,
};
use sha2::{Digest as _, Sha256};

/// Four keys and a channel.
pub(crate) struct Parties {
    pub(crate) domain: Domain,
    pub(crate) config: Config,
}

pub(crate) const PERIOD_S: u64 = 3600;

pub(crate) fn key(seed: u8) -> SignerKey {
    SignerKey::from_bytes(&[seed; 32]).unwrap()
}

pub(crate) const CLIENT: u8 = 0x11;
pub(crate) const CLIENT_SIGNER: u8 = 0x12;
pub(crate) const HUB: u8 = 0x21;
pub(crate) const HUB_SIGNER: u8 = 0x22;
pub(crate) const STRANGER: u8 = 0x31;

impl Parties {
    pub(crate) fn new(chain_id: u64, adjudicator: Address, token: Address) -> Self {
        let config = Config {
            client: key(CLIENT).address(),
            client_signer: key(CLIENT_SIGNER).address(),
            hub: key(HUB).address(),
            hub_signer: key(HUB_SIGNER).address(),
            token,
            challenge_period_s: PERIOD_S,
            salt: Digest([7; 32]),
        };
        Self {
            domain: Domain::new(chain_id, adjudicator),
            config,
        }
    }

    pub(crate) fn id(&self) -> ChannelId {
        self.config.id(&self.domain)
    }

    pub(crate) fn voucher(&self, (seq, paid): (u64, u128), ack: (u64, u128), locks: Digest) -> Voucher {
        Voucher {
            channel_id: self.id(),
            seq: Seq(seq),
            paid: Amount(paid),
            ack_seq: Seq(ack.0),
            ack_paid: Amount(ack.1),
            locks,
            history: Digest([9; 32]),
        }
    }

    fn signer(payer: Side) -> SignerKey {
        key(match payer {
            Side::Client => CLIENT_SIGNER,
            Side::Hub => HUB_SIGNER,
        })
    }

    pub(crate) fn direct(&self, payer: Side, voucher: Voucher) -> SignedVoucher {
        let signature = Self::signer(payer).sign(&voucher.digest(&self.domain));
        SignedVoucher {
            voucher,
            signature: VoucherSignature::Direct(signature),
        }
    }

    /// (seq, paid) and the ack in it, lock-free, signed directly.
    pub(crate) fn paid(&self, payer: Side, own: (u64, u128), ack: (u64, u128)) -> DirectionEvidence {
        DirectionEvidence {
            voucher: Some(self.direct(payer, self.voucher(own, ack, Digest::ZERO))),
            ..DirectionEvidence::default()
        }
    }

    /// One signature of the hub over the leaves, and the proof of the one at `index`.
    pub(crate) fn batch(&self, leaves: Vec<Digest>, index: usize) -> VoucherSignature {
        let tree = batch::Tree::new(leaves);
        VoucherSignature::Batch {
            root_signature: key(HUB_SIGNER).sign(&batch::batch_digest(&self.domain, &tree.root())),
            proof: tree.proof(index),
        }
    }

    pub(crate) fn evidence(
        &self,
        side: Side,
        received: DirectionEvidence,
        sent: DirectionEvidence,
    ) -> Evidence {
        Evidence {
            never_locked: sent.locks.is_empty(),
            format: Evidence::FORMAT.to_owned(),
            chain_id: self.domain.chain_id,
            adjudicator: self.domain.adjudicator,
            config: self.config.clone(),
            side,
            received,
            sent,
            deposits: (Amount(1000), Amount(500)),
        }
    }

    pub(crate) fn receipt(&self, seq: u64) -> Receipt {
        Receipt {
            payment_id: PaymentId([3; 16]),
            invoice: Digest::ZERO,
            payer: Digest([4; 32]),
            payee_channel: self.id(),
            payee_seq: Seq(seq),
            amount: Amount(25),
            at: UnixSeconds(1_800_000_000),
        }
    }
}

pub(crate) fn preimage(id: u64) -> Preimage {
    Preimage(id.to_be_bytes().repeat(4).try_into().unwrap())
}

pub(crate) fn lock(id: u64, amount: u128, expiry: u64) -> Lock {
    Lock {
        id,
        amount: Amount(amount),
        expiry: UnixSeconds(expiry),
        hash: Digest(Sha256::digest(preimage(id).0).into()),
        resolver: Address::ZERO,
    }
}

pub(crate) fn opening(locks: &[Lock]) -> LocksOpening {
    LocksOpening {
        root: batch::Tree::new(locks.iter().map(Lock::leaf).collect()).root(),
        total: Amount::sum(locks.iter().map(|lock| lock.amount)).unwrap(),
        max_expiry: locks.iter().map(|lock| lock.expiry).max().unwrap(),
    }
}
