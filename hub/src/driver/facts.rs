//! From the adjudicator's events to the ledger's facts.

use crate::{chain::ChainLog, ledger::ChainFact};
use alloy::sol_types::SolEventInterface;
use protocol_spec::{Amount, ChannelId, Config, Seq, Side, abi::IAdjudicator::IAdjudicatorEvents as Events};

/// The fact a log tells, if the ledger needs it. Amounts are below 2^88, so narrowing never loses anything;
/// a log that does not fit is not the adjudicator's and is ignored.
#[must_use]
pub fn facts_of(log: &ChainLog) -> Option<ChainFact> {
    let event = Events::decode_raw_log(&log.topics, &log.data).ok()?;
    Some(match event {
        Events::Opened(event) => ChainFact::Opened(Config::from_abi(&event.config)),
        Events::Deposited(event) => {
            let size = Amount(u128::try_from(event.clientNet.unsigned_abs()).ok()?);
            let zero = Amount::ZERO;
            ChainFact::Deposited {
                channel: ChannelId(event.channelId.0),
                total: Amount(u128::try_from(event.total).ok()?),
                client_net: if event.clientNet.is_negative() {
                    (zero, size)
                } else {
                    (size, zero)
                },
            }
        }
        Events::Reserved(event) => ChainFact::Reserved {
            channel: ChannelId(event.channelId.0),
            amount: Amount(u128::try_from(event.amount).ok()?),
        },
        Events::Withdrawn(event) => ChainFact::Withdrawn {
            channel: ChannelId(event.channelId.0),
            side: if event.side == 0 { Side::Client } else { Side::Hub },
            total: Amount(u128::try_from(event.total).ok()?),
        },
        Events::Disputed(event) => ChainFact::Disputed {
            channel: ChannelId(event.channelId.0),
            dispute_no: Seq(event.disputeNo),
        },
        Events::Resolved(event) => ChainFact::Resolved {
            channel: ChannelId(event.channelId.0),
            payer: if event.payer == 0 { Side::Client } else { Side::Hub },
            lock_id: event.lockId,
            witness: event.witness.to_vec(),
        },
        Events::DisputeCancelled(event) => ChainFact::DisputeCancelled {
            channel: ChannelId(event.channelId.0),
            dispute_no: Seq(event.disputeNo),
        },
        Events::Closed(event) => ChainFact::Closed {
            channel: ChannelId(event.channelId.0),
        },
        _ => return None,
    })
}
