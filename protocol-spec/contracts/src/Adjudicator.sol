// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./IAdjudicator.sol";
import {Cooperation} from "./parts/Cooperation.sol";
import {Evidence} from "./parts/Evidence.sol";
import {Funding} from "./parts/Funding.sol";
import {Words} from "./lib/Words.sol";

/// The adjudicator of Channel Hub. The interface says what each verb does, the parts say why.
contract Adjudicator is Funding, Evidence, Cooperation {
    using Words for uint256;

    // ------------------------------------------------------------------ reading

    /// @inheritdoc IAdjudicator
    function channel(bytes32 channelId) external view returns (ChannelState memory state) {
        Channel storage ch = _channels[channelId];
        (uint256 money, uint256 floors, uint256 withdrawn) = (ch.money, ch.floors, ch.withdrawn);
        state.status = Status(money.status());
        state.total = uint128(money.total());
        state.clientNet = int128(money.clientNet());
        state.clientWithdrawn = uint128(withdrawn);
        state.hubWithdrawn = uint128(withdrawn >> 128);
        state.clientSeq = uint64(floors.seq(CLIENT));
        state.clientPaid = uint128(floors.paid(CLIENT));
        state.hubSeq = uint64(floors.seq(HUB));
        state.hubPaid = uint128(floors.paid(HUB));
        state.windowEnd = uint64(money.windowEnd());
        state.disputeNo = uint64(money.disputeNo());
        state.clientLocks = _locksState(ch, floors, CLIENT);
        state.hubLocks = _locksState(ch, floors, HUB);
    }

    /// @inheritdoc IAdjudicator
    function balances(bytes32 channelId) external view returns (uint256 clientBalance, uint256 hubBalance) {
        Channel storage ch = _channels[channelId];
        return _balances(ch, ch.money, ch.floors);
    }

    /// @inheritdoc IAdjudicator
    function finalAt(Config calldata config) external view returns (uint256) {
        Channel storage ch = _channels[channelIdOf(config)];
        uint256 money = ch.money;
        if (money.status() != Words.DISPUTED) return 0;
        return _finalAt(ch, money, ch.floors, config.challengePeriodS);
    }

    /// @inheritdoc IAdjudicator
    function mark(bytes32 channelId, uint8 payer, bytes32 leaf) external view returns (uint256) {
        return _marks[_markKey(channelId, payer, leaf)];
    }

    function _locksState(Channel storage ch, uint256 floors, uint256 payer)
        internal
        view
        returns (LocksState memory state)
    {
        LocksRecord storage record = ch.locks[payer];
        uint256 word = record.word;
        state.live = floors.live(payer);
        state.opened = word.isOpened();
        state.commitment = record.commitment;
        state.base = uint128(word.base());
        state.counted = uint128(word.counted());
        state.maxExpiry = uint64(word.maxExpiry());
    }
}
