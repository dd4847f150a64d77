//! The other signed messages: close, withdraw, cancel, accept, receipt, login, register, invoice, capacity quote.

use crate::{
    Address, Amount, ChannelId, Digest, Domain, PaymentId, Seq, Side, UnixSeconds, abi,
    domain::{EncodedStruct, Field, encode, type_hash},
};
use alloy_primitives::{B128, B256};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

macro_rules! signed {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? } |$this:ident| $abi:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),* }

        impl $name {
            /// EIP-712 digest.
            #[must_use]
            pub fn digest(&self, domain: &Domain) -> Digest {
                domain.digest(&self.to_abi())
            }

            /// The Solidity struct.
            #[must_use]
            pub fn to_abi(&self) -> abi::$name {
                let $this = self;
                $abi
            }
        }
    };
}

signed!(
    /// Co-operative close (R15), signed by both sides. Later deposits go to their own side.
    Close {
        /// The channel.
        channel_id: ChannelId,
        /// Gross deposit of the client that this close divides.
        client_deposit: Amount,
        /// Gross deposit of the hub that this close divides.
        hub_deposit: Amount,
        /// What the client gets.
        client_balance: Amount,
        /// What the hub's vault gets.
        hub_balance: Amount,
        /// Not mined after this chain time.
        deadline: UnixSeconds,
    } |m| abi::Close {
        channelId: B256::from(m.channel_id.0),
        clientDeposit: m.client_deposit.0,
        hubDeposit: m.hub_deposit.0,
        clientBalance: m.client_balance.0,
        hubBalance: m.hub_balance.0,
        deadline: m.deadline.0,
    }
);

signed!(
    /// Co-operative withdrawal while the channel stays open (R12-R14), signed by both sides.
    Withdraw {
        /// The channel.
        channel_id: ChannelId,
        /// Who withdraws. The hub's part goes to its vault.
        side: Side,
        /// Total ever withdrawn by `side`, this one included.
        total: Amount,
        /// A voucher of the client's direction and its `paid`.
        client_seq: Seq,
        /// See `client_seq`.
        client_paid: Amount,
        /// A voucher of the hub's direction and its `paid`.
        hub_seq: Seq,
        /// See `hub_seq`.
        hub_paid: Amount,
        /// Not mined after this chain time.
        deadline: UnixSeconds,
    } |m| abi::Withdraw {
        channelId: B256::from(m.channel_id.0),
        side: m.side.index(),
        total: m.total.0,
        clientSeq: m.client_seq.0,
        clientPaid: m.client_paid.0,
        hubSeq: m.hub_seq.0,
        hubPaid: m.hub_paid.0,
        deadline: m.deadline.0,
    }
);

signed!(
    /// Reopens a disputed channel (R27), signed by both sides.
    CancelDispute {
        /// The channel.
        channel_id: ChannelId,
        /// The number of the dispute it cancels, and no other.
        dispute_no: Seq,
        /// Not mined after this chain time.
        deadline: UnixSeconds,
    } |m| abi::CancelDispute {
        channelId: B256::from(m.channel_id.0),
        disputeNo: m.dispute_no.0,
        deadline: m.deadline.0,
    }
);

signed!(
    /// The payee's countersignature (R28): lets `submitter` show a voucher the payee accepted.
    Accept {
        /// Digest of the voucher.
        voucher: Digest,
        /// The only sender for whom it counts.
        submitter: Address,
        /// True when the submitter may also start a dispute with it.
        may_dispute: bool,
        /// Not used after this chain time.
        deadline: UnixSeconds,
    } |m| abi::Accept {
        voucher: B256::from(m.voucher.0),
        submitter: m.submitter,
        mayDispute: m.may_dispute,
        deadline: m.deadline.0,
    }
);

signed!(
    /// Proof for anybody who knows the hub's signer that a payment was credited.
    Receipt {
        /// The payer's id of the payment.
        payment_id: PaymentId,
        /// Digest of the invoice paid, or zero.
        invoice: Digest,
        /// `keccak(payer_channel || payment_id)`.
        payer: Digest,
        /// The channel that was credited.
        payee_channel: ChannelId,
        /// The hub's voucher that carries the credit.
        payee_seq: Seq,
        /// Token base units.
        amount: Amount,
        /// When the hub committed it, by the journal record.
        at: UnixSeconds,
    } |m| abi::Receipt {
        paymentId: B128::from(m.payment_id.0),
        invoice: B256::from(m.invoice.0),
        payer: B256::from(m.payer.0),
        payeeChannel: B256::from(m.payee_channel.0),
        payeeSeq: m.payee_seq.0,
        amount: m.amount.0,
        at: m.at.0,
    }
);

impl Receipt {
    /// What the struct hash is over: for whoever hashes many at once.
    #[must_use]
    pub fn encoded(&self) -> EncodedStruct {
        static TYPE_HASH: LazyLock<[u8; 32]> = LazyLock::new(type_hash::<abi::Receipt>);
        encode(
            &TYPE_HASH,
            [
                Field::Left(&self.payment_id.0),
                Field::Left(&self.invoice.0),
                Field::Left(&self.payer.0),
                Field::Left(&self.payee_channel.0),
                Field::Number(self.payee_seq.0.into()),
                Field::Number(self.amount.0),
                Field::Number(self.at.0.into()),
            ],
        )
    }
}

signed!(
    /// A session login, signed by a client's signer.
    Login {
        /// Name of the server the client believes it talks to.
        server: String,
        /// The server's single-use challenge.
        nonce: Digest,
        /// The signer that logs in.
        signer: Address,
        /// The subprotocol negotiated, so that a downgrade shows.
        protocol: String,
    } |m| abi::Login {
        server: m.server.clone(),
        nonce: B256::from(m.nonce.0),
        signer: m.signer,
        protocol: m.protocol.clone(),
    }
);

signed!(
    /// The owner's consent that the hub routes payments to `client` through this channel.
    Register {
        /// The channel.
        channel_id: ChannelId,
        /// Name of the hub.
        server: String,
    } |m| abi::Register {
        channelId: B256::from(m.channel_id.0),
        server: m.server.clone(),
    }
);

signed!(
    /// What a payee asks for, signed by the payee's signer. Payers learn that signer from outside the hub.
    Invoice {
        /// The channel to be paid.
        channel_id: ChannelId,
        /// Token base units.
        amount: Amount,
        /// SHA-256 of the preimage that the payee reveals when it is paid, or of the condition's data for a resolver.
        hash: Digest,
        /// Zero: the payee has the preimage. Otherwise the contract that says whether a witness opens the lock.
        resolver: crate::Address,
        /// Not to be paid at or after this time.
        expires_at: UnixSeconds,
        /// Whatever the payee wants to find again, an order's hash for instance.
        memo: Digest,
    } |m| abi::Invoice {
        channelId: B256::from(m.channel_id.0),
        amount: m.amount.0,
        hash: B256::from(m.hash.0),
        resolver: m.resolver,
        expiresAt: m.expires_at.0,
        memo: B256::from(m.memo.0),
    }
);

signed!(
    /// What more reserve costs, signed by the hub's signer. Accepted by a payment of `fee` to the hub's account whose
    /// `invoice` is this quote's digest, committed before `expires_at`.
    CapacityQuote {
        /// The payee's channel.
        channel_id: ChannelId,
        /// What the hub pays into the channel after the acceptance, at least.
        amount: Amount,
        /// What the payee pays for it; not zero.
        fee: Amount,
        /// Not accepted at or after this time of the hub.
        expires_at: UnixSeconds,
        /// Seconds from the acceptance until it is confirmed, as the hub expects.
        #[serde(with = "crate::message::decimal_u64")]
        ready_in_s: u64,
        /// Seconds from the acceptance in which the hub does not ask for it back.
        #[serde(with = "crate::message::decimal_u64")]
        hold_s: u64,
    } |m| abi::CapacityQuote {
        channelId: B256::from(m.channel_id.0),
        amount: m.amount.0,
        fee: m.fee.0,
        expiresAt: m.expires_at.0,
        readyInS: m.ready_in_s,
        holdS: m.hold_s,
    }
);
