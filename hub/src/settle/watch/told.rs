//! What was said about a guarded side of a channel, so that it is said once.

use super::{
    event::{Event, Voice},
    folder::{Ward, ward},
    late::Missed,
};
use crate::settle::{SettleError, evidence::CheckedEvidence, text::moment};
use protocol_spec::{
    UnixSeconds,
    abi::{ChannelState, Status},
};
use serde_json::json;

/// What was told of one guarded side of a channel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Told {
    /// Status and number of the dispute.
    phase: Option<(u8, u64)>,
    alarmed: bool,
    late: bool,
    fault: String,
}

impl Told {
    /// Where the channel is in its life.
    pub(super) fn phase(&mut self, ward: Ward, state: &ChannelState, voice: &Voice) {
        let status = match state.status {
            Status::Open => 1,
            Status::Disputed => 2,
            Status::Closed => 3,
            _ => 0,
        };
        let phase = Some((status, state.disputeNo));
        if self.phase == phase {
            return;
        }
        let before = std::mem::take(self).phase;
        self.phase = phase;
        let (name, text) = match state.status {
            Status::Disputed => (
                "disputed",
                format!(
                    "dispute {}; vouchers are taken until {}",
                    state.disputeNo, state.windowEnd
                ),
            ),
            Status::Closed => ("closed", "paid out".to_owned()),
            Status::Open if before.is_some() => ("cancelled", "open again".to_owned()),
            Status::Open => ("open", "open".to_owned()),
            _ => ("cannot", "never opened at this adjudicator".to_owned()),
        };
        Event::new(name, text)
            .ward(ward)
            .with("dispute_no", json!(state.disputeNo.to_string()))
            .with("window_end", json!(state.windowEnd.to_string()))
            .emit(voice);
    }

    /// Half of the window is over and the voucher is not on chain.
    pub(super) fn alarm(
        &mut self,
        evidence: &CheckedEvidence,
        now: UnixSeconds,
        window_end: UnixSeconds,
        voice: &Voice,
    ) {
        let half = evidence.raw().config.challenge_period_s.div_ceil(2);
        if now.after(half) < window_end || self.alarmed {
            return;
        }
        self.alarmed = true;
        let text = format!(
            "half of the window is over and the evidence is not on chain; it ends at {}",
            moment(window_end, now)
        );
        Event::new("alarm", text).ward(ward(evidence)).emit(voice);
    }

    /// What was shown is mined and due again.
    pub(super) fn in_vain(&self, evidence: &CheckedEvidence, news: bool, voice: &Voice) {
        if news {
            let text = "what was shown is in a block and changed nothing: a reorg took it away, or the node or the \
                        contract contradicts itself; it is shown again after a pause";
            Event::new("alarm", text).ward(ward(evidence)).emit(voice);
        }
    }

    /// The window is over, and the chain does not know all of the voucher held.
    pub(super) fn late(&mut self, ward: Ward, missed: Missed, voice: &Voice) {
        if !std::mem::replace(&mut self.late, true) {
            Event::new("too_late", missed.to_string()).ward(ward).emit(voice);
        }
    }

    /// Something could not be done.
    pub(super) fn fault(&mut self, ward: Ward, error: &SettleError, voice: &Voice) {
        let text = error.to_string();
        if self.fault == text {
            return;
        }
        self.fault.clone_from(&text);
        Event::new("cannot", text)
            .ward(ward)
            .with("kind", json!(error.exit().word()))
            .emit(voice);
    }
}
