//! Disputes whose windows run out without the hub's newest voucher on chain: the operator hears of them at half time.
//!
//! Apart from the answers themselves: one that is on its way is not looked at again, and this is about those that stay there.

use super::{Driver, defence::all_of, standing::Newest};
use futures::FutureExt;
use protocol_spec::{ChannelId, abi};
use std::collections::{BTreeSet, HashMap};

/// The hub's newest voucher is not on chain yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    /// Chain time from which on it is late.
    half: u64,
    /// Chain time at which it is too late.
    end: u64,
    newest: Newest,
}

impl Window {
    /// `None`: the chain knows the voucher, or there is no dispute.
    pub(super) fn of(newest: Newest, challenge_period_s: u64, state: &abi::ChannelState) -> Option<Self> {
        let end = state.windowEnd;
        let window = Self {
            half: end.saturating_sub(challenge_period_s.div_euclid(2)),
            end,
            newest,
        };
        window.is_unanswered(state).then_some(window)
    }

    fn is_unanswered(&self, state: &abi::ChannelState) -> bool {
        matches!(state.status, abi::Status::Disputed) && self.newest.standing(state).is_due()
    }
}

/// Windows that wait for the hub's answer.
#[derive(Debug, Default)]
pub(super) struct Windows {
    open: HashMap<ChannelId, Window>,
    /// Those of which the operator was told.
    late: BTreeSet<ChannelId>,
}

impl Windows {
    /// What a look at the channel has shown.
    pub(super) fn looked(&mut self, channel: ChannelId, window: Option<Window>) {
        match window {
            Some(window) => drop(self.open.insert(channel, window)),
            None => drop(self.open.remove(&channel)),
        }
    }

    /// Only these are disputed.
    pub(super) fn retain(&mut self, disputed: &BTreeSet<ChannelId>) {
        self.open.retain(|channel, _| disputed.contains(channel));
    }
}

impl Driver {
    /// Looks at the windows that are half over at chain time `now`.
    pub(super) async fn watch_windows(&mut self, now: u64) {
        let open = self.windows.open.iter().filter(|(_, window)| now >= window.half);
        let open: Vec<(ChannelId, Window)> = open.map(|(channel, window)| (*channel, *window)).collect();
        let this = &*self;
        let states = all_of(
            open.iter()
                .map(|(channel, _)| this.state(*channel).boxed())
                .collect(),
        )
        .await;
        for ((channel, window), state) in open.into_iter().zip(states) {
            // What cannot be read now is read at the next look.
            let Ok(state) = state else { continue };
            if !window.is_unanswered(&state) {
                self.windows.open.remove(&channel);
            } else if now >= window.end {
                tracing::error!(%channel, seq = window.newest.seq, "a dispute's window is over, and the hub's newest voucher is not on chain");
                metrics::counter!("hub_disputes_unanswered_total").increment(1);
                self.windows.open.remove(&channel);
            } else if self.windows.late.insert(channel) {
                tracing::error!(
                    %channel, seq = window.newest.seq, left_s = window.end.saturating_sub(now),
                    "half of a dispute's window has passed, and the hub's newest voucher is not on chain: look at its transactions, the owner's coins and the nodes"
                );
            }
        }
        let open = &self.windows.open;
        self.windows.late.retain(|channel| open.contains_key(channel));
        let late = self.windows.late.len();
        metrics::gauge!("hub_disputes_late").set(u32::try_from(late).unwrap_or(u32::MAX));
        self.status.answers_late(late);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::quiet_channel, *};
    use protocol_spec::{Amount, Digest, Seq, SignedVoucher, SignerKey, Voucher, VoucherSignature};

    #[test]
    fn a_window_is_late_from_its_half_on_and_only_without_the_newest_voucher() {
        let voucher = Voucher {
            channel_id: ChannelId([1; 32]),
            seq: Seq(5),
            paid: Amount(1),
            ack_seq: Seq::NONE,
            ack_paid: Amount::ZERO,
            locks: Digest::ZERO,
            history: Digest::ZERO,
        };
        let key = SignerKey::from_bytes(&[3; 32]).unwrap();
        let signature = VoucherSignature::Direct(key.sign(&Digest::ZERO));
        let newest = Newest::of(&SignedVoucher { voucher, signature });
        let at = |status, client_seq, client_paid| {
            let state = abi::ChannelState {
                status,
                clientSeq: client_seq,
                clientPaid: client_paid,
                windowEnd: 100_000,
                ..quiet_channel()
            };
            Window::of(newest, 86_401, &state)
        };
        let window = Window {
            half: 100_000 - 43_200,
            end: 100_000,
            newest,
        };
        assert_eq!(at(abi::Status::Disputed, 4, 1), Some(window));
        assert_eq!(at(abi::Status::Disputed, 5, 1), None);
        assert_eq!(at(abi::Status::Disputed, 5, 0), Some(window), "its paid is news");
        assert_eq!(at(abi::Status::Disputed, 6, 1), None);
        assert_eq!(at(abi::Status::Open, 4, 1), None);
    }
}
