//! What the clients wrote down, added up: nothing of it comes from the hub's counters.

use hdrhistogram::Histogram;
use protocol_spec::PaymentId;

/// Longest latency told apart: a minute.
const LATENCY_MAX_US: u64 = 60_000_000;

/// A set of payments, told from every other one by three sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Heap {
    pub(super) count: u64,
    pub(super) amount: u128,
    /// Of scrambled ids: a payment that came twice instead of another one does not go unseen.
    ids: u64,
}

impl Heap {
    pub(super) fn put(&mut self, id: &PaymentId, amount: u128) {
        self.count = self.count.saturating_add(1);
        self.amount = self.amount.saturating_add(amount);
        let (low, high) = id.0.split_at(8);
        let word = |half: &[u8]| half.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        self.ids = self
            .ids
            .wrapping_add(scrambled(word(low) ^ scrambled(word(high))));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.amount = self.amount.saturating_add(other.amount);
        self.ids = self.ids.wrapping_add(other.ids);
    }
}

/// Splitmix: every bit of the result depends on every bit of `word`.
pub(super) fn scrambled(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What one connection, or all of them, wrote down.
pub(super) struct Tally {
    /// Signed and sent.
    pub(super) sent: Heap,
    /// Credited to own channels.
    pub(super) credited: Heap,
    /// Given back.
    pub(super) bounced: u64,
    /// Acknowledged while it counted.
    pub(super) counted: u64,
    /// Own signatures sent, acknowledgements included.
    pub(super) signatures: u64,
    /// Those of them that were made while the load ran.
    pub(super) signed_live: u64,
    /// Times the hub asked to send later.
    pub(super) busy: u64,
    /// Vouchers of the hub whose signature and proof were checked.
    pub(super) checked: u64,
    /// Microseconds from when a payment was to be sent to its acknowledgement, while it counted.
    pub(super) latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            sent: Heap::default(),
            credited: Heap::default(),
            bounced: 0,
            counted: 0,
            signatures: 0,
            signed_live: 0,
            busy: 0,
            checked: 0,
            latency: Histogram::new_with_max(LATENCY_MAX_US, 3)?,
        })
    }

    pub(super) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.sent.add(&other.sent);
        self.credited.add(&other.credited);
        self.bounced = self.bounced.saturating_add(other.bounced);
        self.counted = self.counted.saturating_add(other.counted);
        self.signatures = self.signatures.saturating_add(other.signatures);
        self.signed_live = self.signed_live.saturating_add(other.signed_live);
        self.busy = self.busy.saturating_add(other.busy);
        self.checked = self.checked.saturating_add(other.checked);
        Ok(self.latency.add(&other.latency)?)
    }
}
