//! Whom a payment is for: any payee alike, or few of them most of the time.

use protocol_spec::ChannelId;

/// The payees with their shares.
pub(super) struct Payees {
    channels: Vec<ChannelId>,
    /// Upper ends of the payees' shares of 2^64; empty when all are alike.
    ends: Vec<u64>,
}

impl Payees {
    #[expect(
        clippy::float_arithmetic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "shares of a load, not money"
    )]
    pub(super) fn new(channels: Vec<ChannelId>, zipf: Option<f64>) -> anyhow::Result<Self> {
        anyhow::ensure!(!channels.is_empty(), "there are no payees");
        let weights: Vec<f64> = match zipf {
            None => Vec::new(),
            Some(exponent) => (1..=channels.len())
                .map(|rank| (rank as f64).powf(-exponent))
                .collect(),
        };
        let all: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let ends = weights.iter().map(|weight| {
            sum += weight;
            (sum / all * u64::MAX as f64) as u64
        });
        let ends = ends.collect();
        Ok(Self { channels, ends })
    }

    /// The payee that this random word falls on, but not `own`.
    pub(super) fn pick(&self, random: u64, own: &ChannelId) -> ChannelId {
        let count = self.channels.len() as u64;
        let at = if self.ends.is_empty() {
            random
                .checked_rem(count)
                .and_then(|at| usize::try_from(at).ok())
                .unwrap_or(0)
        } else {
            self.ends.partition_point(|end| *end < random)
        };
        let picked = self.channels.get(at).or(self.channels.last());
        match picked {
            Some(id) if id == own => self.after(at).unwrap_or(*own),
            Some(id) => *id,
            None => *own,
        }
    }

    fn after(&self, at: usize) -> Option<ChannelId> {
        let next = at.checked_add(1)?.checked_rem(self.channels.len())?;
        self.channels.get(next).copied()
    }
}
