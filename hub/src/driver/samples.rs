//! What several tests of the driver begin with.

use protocol_spec::abi;

/// An open channel on chain in which nothing has happened but a dispute that was cancelled.
pub(super) fn quiet_channel() -> abi::ChannelState {
    let locks = || abi::LocksState {
        live: false,
        opened: false,
        commitment: [0; 32].into(),
        base: 0,
        counted: 0,
        maxExpiry: 0,
    };
    abi::ChannelState {
        status: abi::Status::Open,
        total: 0,
        clientNet: 0,
        clientWithdrawn: 0,
        hubWithdrawn: 0,
        clientSeq: 0,
        clientPaid: 0,
        hubSeq: 0,
        hubPaid: 0,
        windowEnd: 0,
        disputeNo: 1,
        clientLocks: locks(),
        hubLocks: locks(),
    }
}
