//! One channel of the load: what its client signed last, and what it heard.

use super::keys::{LoadKey, Nonces};
use anyhow::Context;
use protocol_spec::{
    Amount, ChannelId, Config, Digest, Domain, History, Op, Seq, Side, SignedVoucher, Voucher,
    VoucherSignature, message::Frame,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Bytes;

/// What is under way in a channel: one voucher at a time.
pub(super) struct Pending {
    /// The message, to be sent again if the hub is busy.
    pub(super) bytes: Bytes,
    /// When it was to be sent.
    pub(super) since: Instant,
    pub(super) payments: u32,
}

/// A client's half of one channel.
pub(super) struct Lane {
    pub(super) id: ChannelId,
    pub(super) config: Config,
    pub(super) key: LoadKey,
    pub(super) seq: Seq,
    paid: Amount,
    history: History,
    /// Newest voucher of the hub: its seq and `paid`.
    pub(super) heard: (Seq, Amount),
    /// Frames with operations since the last own voucher.
    pub(super) unanswered: u32,
    pub(super) pending: Option<Pending>,
    /// Own newest voucher, for resuming.
    pub(super) newest: Option<SignedVoucher>,
    /// The hub's newest voucher.
    pub(super) theirs: Option<SignedVoucher>,
}

impl Lane {
    pub(super) fn new(config: Config, key: LoadKey, domain: &Domain) -> Self {
        let id = config.id(domain);
        Self {
            id,
            config,
            key,
            seq: Seq::NONE,
            paid: Amount::ZERO,
            history: History::initial(&id, Side::Client),
            heard: (Seq::NONE, Amount::ZERO),
            unanswered: 0,
            pending: None,
            newest: None,
            theirs: None,
        }
    }

    /// The next voucher, with these operations, which cost `cost` together.
    pub(super) fn issue(
        &mut self,
        ops: Vec<Op>,
        cost: Amount,
        domain: &Domain,
        nonces: &Nonces,
    ) -> anyhow::Result<Frame> {
        self.seq = self.seq.next();
        self.paid = self.paid.plus(cost)?;
        for op in &ops {
            self.history = self.history.extended(op);
        }
        let voucher = Voucher {
            channel_id: self.id,
            seq: self.seq,
            paid: self.paid,
            ack_seq: self.heard.0,
            ack_paid: self.heard.1,
            locks: Digest::ZERO,
            history: self.history.0,
        };
        let digest = voucher.digest(domain);
        let turn = self.seq.0.wrapping_add(u64::from_le_bytes(first_eight(&self.id)));
        let signature = self.key.sign(&digest, nonces, turn).context("no nonces")?;
        let signature = VoucherSignature::Direct(signature);
        let voucher = SignedVoucher { voucher, signature };
        self.newest = Some(voucher.clone());
        self.unanswered = 0;
        Ok(Frame { voucher, ops })
    }

    /// Takes a voucher of the hub. Errors: it is not the next one.
    pub(super) fn hear(&mut self, frame: &Frame) -> anyhow::Result<()> {
        let voucher = &frame.voucher.voucher;
        let credited = frame.ops.iter().try_fold(self.heard.1, |sum, op| match op {
            Op::Credit(credit) => sum.plus(credit.amount),
            Op::Return(back) => sum.plus(back.amount),
            _ => Ok(sum),
        })?;
        anyhow::ensure!(
            voucher.seq > self.heard.0,
            "voucher {} of the hub came after {}",
            voucher.seq,
            self.heard.0
        );
        anyhow::ensure!(
            voucher.paid == credited,
            "the hub's sum is {}, its operations make {credited}",
            voucher.paid
        );
        self.heard = (voucher.seq, voucher.paid);
        self.unanswered = self.unanswered.saturating_add(u32::from(!frame.ops.is_empty()));
        self.theirs = Some(frame.voucher.clone());
        Ok(())
    }
}

fn first_eight(id: &ChannelId) -> [u8; 8] {
    id.0.first_chunk().copied().unwrap_or_default()
}
