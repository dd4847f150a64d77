// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

/// The three packed words of a channel. Narrow fields save 6-23k gas per channel; their widths are protocol limits.
///
/// money   total u88 | clientNet i96 | windowEnd u40 | disputeNo u24 | status u2 | hasWithdrawn u1
/// floors  paid u88 (client, hub) | seq u36 (client, hub) | live u1 (client, hub)
/// locks   base u88 | counted u88 | maxExpiry u64 | opened u1
library Words {
    uint256 private constant PAID_BITS = 88;
    uint256 private constant SEQ_BITS = 36;
    uint256 internal constant PAID_MAX = (1 << PAID_BITS) - 1;
    uint256 internal constant SEQ_MAX = (1 << SEQ_BITS) - 1;
    int256 internal constant NET_MAX = (1 << 95) - 1;

    uint256 internal constant NONE = 0;
    uint256 internal constant OPEN = 1;
    uint256 internal constant DISPUTED = 2;
    uint256 internal constant CLOSED = 3;

    uint256 private constant NET_AT = 88;
    uint256 private constant WINDOW_AT = 184;
    uint256 private constant DISPUTE_NO_AT = 224;
    uint256 private constant STATUS_AT = 248;
    uint256 private constant WITHDRAWN_AT = 250;
    uint256 private constant NET_MASK = (1 << 96) - 1;
    uint256 private constant WINDOW_MASK = (1 << 40) - 1;
    uint256 private constant DISPUTE_NO_MASK = (1 << 24) - 1;

    uint256 private constant SEQ_AT = 176;
    uint256 private constant LIVE_AT = 248;

    uint256 private constant COUNTED_AT = 88;
    uint256 private constant EXPIRY_AT = 176;
    uint256 private constant OPENED_AT = 240;
    uint256 private constant EXPIRY_MASK = (1 << 64) - 1;

    // ------------------------------------------------------------------ money

    function total(uint256 money) internal pure returns (uint256) {
        return money & PAID_MAX;
    }

    function clientNet(uint256 money) internal pure returns (int256) {
        return int256(int96(uint96(money >> NET_AT)));
    }

    function windowEnd(uint256 money) internal pure returns (uint256) {
        return (money >> WINDOW_AT) & WINDOW_MASK;
    }

    function disputeNo(uint256 money) internal pure returns (uint256) {
        return (money >> DISPUTE_NO_AT) & DISPUTE_NO_MASK;
    }

    function status(uint256 money) internal pure returns (uint256) {
        return (money >> STATUS_AT) & 3;
    }

    function hasWithdrawn(uint256 money) internal pure returns (bool) {
        return (money >> WITHDRAWN_AT) & 1 != 0;
    }

    function withWithdrawn(uint256 money) internal pure returns (uint256) {
        return money | (1 << WITHDRAWN_AT);
    }

    function opened() internal pure returns (uint256) {
        return OPEN << STATUS_AT;
    }

    /// What stays of a closed channel: its status, and the number of its last dispute.
    function closed(uint256 money) internal pure returns (uint256) {
        return (money & ((DISPUTE_NO_MASK << DISPUTE_NO_AT) | (1 << WITHDRAWN_AT))) | (CLOSED << STATUS_AT);
    }

    /// Requires total_ <= PAID_MAX and |net| <= NET_MAX.
    function withSums(uint256 money, uint256 total_, int256 net) internal pure returns (uint256) {
        return ((money >> WINDOW_AT) << WINDOW_AT) | ((uint256(net) & NET_MASK) << NET_AT) | total_;
    }

    /// The next dispute's word. Overflow of the number would need 2^24 cancels by both sides and reverts.
    function disputed(uint256 money, uint256 windowEnd_) internal pure returns (uint256) {
        uint256 number = disputeNo(money) + 1;
        require(number <= DISPUTE_NO_MASK && windowEnd_ <= WINDOW_MASK);
        uint256 kept = money & ((1 << WINDOW_AT) - 1) | (money & (1 << WITHDRAWN_AT));
        return kept | (windowEnd_ << WINDOW_AT) | (number << DISPUTE_NO_AT) | (DISPUTED << STATUS_AT);
    }

    function reopened(uint256 money) internal pure returns (uint256) {
        uint256 cleared = money & ~((WINDOW_MASK << WINDOW_AT) | (3 << STATUS_AT));
        return cleared | (OPEN << STATUS_AT);
    }

    // ------------------------------------------------------------------ floors

    /// Whether both halves of a voucher fit their fields, which are limits of the protocol.
    function fit(uint256 seq_, uint256 paid_, uint256 ackSeq, uint256 ackPaid) internal pure returns (bool) {
        return ((seq_ | ackSeq) >> SEQ_BITS) | ((paid_ | ackPaid) >> PAID_BITS) == 0;
    }

    function paid(uint256 floors, uint256 side) internal pure returns (uint256) {
        // unchecked, here and below: a side is 0 or 1
        unchecked {
            return (floors >> (PAID_BITS * side)) & PAID_MAX;
        }
    }

    function seq(uint256 floors, uint256 side) internal pure returns (uint256) {
        unchecked {
            return (floors >> (SEQ_AT + SEQ_BITS * side)) & SEQ_MAX;
        }
    }

    function live(uint256 floors, uint256 side) internal pure returns (bool) {
        unchecked {
            return (floors >> (LIVE_AT + side)) & 1 != 0;
        }
    }

    function anyLive(uint256 floors) internal pure returns (bool) {
        return floors >> LIVE_AT != 0;
    }

    function withLive(uint256 floors, uint256 side) internal pure returns (uint256) {
        return floors | (1 << (LIVE_AT + side));
    }

    /// Raises a direction's floors by maximum; a higher seq supersedes the stored locks (R16, R18, R19).
    /// Requires seq_ <= SEQ_MAX and paid_ <= PAID_MAX.
    function raise(uint256 floors, uint256 side, uint256 seq_, uint256 paid_) internal pure returns (uint256) {
        // unchecked: every shift is of a value that fits, and no difference is below zero
        unchecked {
            uint256 bit = SEQ_AT + SEQ_BITS * side;
            uint256 old = (floors >> bit) & SEQ_MAX;
            if (seq_ > old) floors = (floors & ~(1 << (LIVE_AT + side))) + ((seq_ - old) << bit);
            bit = PAID_BITS * side;
            old = (floors >> bit) & PAID_MAX;
            if (paid_ > old) floors += (paid_ - old) << bit;
        }
        return floors;
    }

    // ------------------------------------------------------------------ locks

    function base(uint256 locks) internal pure returns (uint256) {
        return locks & PAID_MAX;
    }

    function counted(uint256 locks) internal pure returns (uint256) {
        return (locks >> COUNTED_AT) & PAID_MAX;
    }

    function maxExpiry(uint256 locks) internal pure returns (uint256) {
        return (locks >> EXPIRY_AT) & EXPIRY_MASK;
    }

    function isOpened(uint256 locks) internal pure returns (bool) {
        return (locks >> OPENED_AT) & 1 != 0;
    }

    /// Requires maxExpiry_ < 2^64.
    function withOpening(uint256 locks, uint256 maxExpiry_) internal pure returns (uint256) {
        return locks | (maxExpiry_ << EXPIRY_AT) | (1 << OPENED_AT);
    }

    /// Requires counted_ <= PAID_MAX.
    function withCounted(uint256 locks, uint256 counted_) internal pure returns (uint256) {
        return locks & ~(PAID_MAX << COUNTED_AT) | (counted_ << COUNTED_AT);
    }

    // ------------------------------------------------------------------ settlement

    /// R20: the client's share of total, given what each direction is worth (R19).
    function clientShare(uint256 money, uint256 clientPays, uint256 hubPays) internal pure returns (uint256) {
        int256 share = clientNet(money) + int256(hubPays) - int256(clientPays);
        if (share <= 0) return 0;
        uint256 all = total(money);
        return uint256(share) < all ? uint256(share) : all;
    }
}
