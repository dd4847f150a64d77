// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import "../IAdjudicator.sol";
import {Hashing} from "../lib/Hashing.sol";
import {Payout} from "../lib/Payout.sol";
import {Signatures} from "../lib/Signatures.sol";
import {Words} from "../lib/Words.sol";

/// What all verbs share: the storage of channels, who may act and when, ids, and money out.
///
/// Faults: what a batch may skip is checked by functions that return a fault (selector of an error with two words, and the
/// two words) instead of reverting. A single verb raises the fault, a batch emits Skipped with its selector.
abstract contract Ledger is IAdjudicator, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Words for uint256;

    /// A stored voucher with locks: its commitment, and base, counted, maxExpiry packed (Words). Its seq is the seq floor of
    /// its direction for as long as it is live, so it is not stored again.
    struct LocksRecord {
        bytes32 commitment;
        uint256 word;
    }

    struct Channel {
        uint256 money;
        uint256 floors;
        /// clientWithdrawn u128 | hubWithdrawn u128; read only if money says that there is something.
        uint256 withdrawn;
        LocksRecord[2] locks;
    }

    /// Sides, and directions by their payer.
    uint256 internal constant CLIENT = 0;
    uint256 internal constant HUB = 1;

    uint256 internal constant CHALLENGE_PERIOD_S_MIN = 1 hours;
    uint256 internal constant CHALLENGE_PERIOD_S_MAX = 30 days;
    uint256 internal constant LOCK_S_MAX = 60 days;
    uint256 internal constant DEADLINE_S_MAX = 1 days;
    uint256 internal constant RESOLVER_GAS = 200_000;
    uint256 internal constant WITNESS_BYTES_MAX = 1024;

    uint256 internal immutable _chainId = block.chainid;
    // slither-disable-next-line function-init-state -- reads only block.chainid and this address
    bytes32 internal immutable _domain = _buildDomain();

    mapping(bytes32 channelId => Channel) internal _channels;
    /// 1 + seq of the voucher that a lock was last counted in, by hash of channel, payer and leaf.
    mapping(bytes32 key => uint256) internal _marks;
    /// @inheritdoc IAdjudicator
    mapping(address token => mapping(address hub => uint256)) public vault;
    /// @inheritdoc IAdjudicator
    mapping(address token => mapping(address account => uint256)) public claimable;

    // ------------------------------------------------------------------ hashing

    /// @inheritdoc IAdjudicator
    function domainSeparator() public view returns (bytes32) {
        return block.chainid == _chainId ? _domain : _buildDomain();
    }

    /// @inheritdoc IAdjudicator
    function channelIdOf(Config calldata config) public view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domainSeparator(), Hashing.config(config));
    }

    /// @inheritdoc IAdjudicator
    function voucherDigest(Voucher calldata voucher) external view returns (bytes32) {
        return _digest(keccak256(abi.encode(Hashing.VOUCHER_TYPEHASH, voucher)));
    }

    /// @inheritdoc IAdjudicator
    function acceptDigest(Accept calldata message) external view returns (bytes32) {
        return _digest(keccak256(abi.encode(Hashing.ACCEPT_TYPEHASH, message)));
    }

    /// @inheritdoc IAdjudicator
    function closeDigest(Close calldata message) external view returns (bytes32) {
        return _digest(Hashing.close(message));
    }

    /// @inheritdoc IAdjudicator
    function withdrawDigest(Withdraw calldata message) external view returns (bytes32) {
        return _digest(Hashing.withdraw(message));
    }

    /// @inheritdoc IAdjudicator
    function cancelDisputeDigest(CancelDispute calldata message) external view returns (bytes32) {
        return _digest(Hashing.cancelDispute(message));
    }

    /// @inheritdoc IAdjudicator
    function batchDigest(bytes32 root) external view returns (bytes32) {
        return _digest(keccak256(abi.encode(Hashing.BATCH_TYPEHASH, root)));
    }

    /// The limits that keep every later sum inside its field.
    function _withSums(uint256 money, uint256 total, int256 net) internal pure returns (uint256) {
        if (total > Words.PAID_MAX) revert TotalTooLarge(total, Words.PAID_MAX);
        if (net > Words.NET_MAX || net < -Words.NET_MAX) revert TotalTooLarge(total, Words.PAID_MAX);
        return money.withSums(total, net);
    }

    // ------------------------------------------------------------------ money out

    /// Pushes; what does not arrive is left to claim, so that nobody's refusal blocks anybody else.
    function _pay(address token, address account, uint256 amount) internal {
        if (amount == 0 || Payout.push(token, account, amount)) return;
        claimable[token][account] += amount;
        emit Claimable(account, token, amount);
    }

    /// To an address of the sender's choice: reverts if it does not arrive.
    function _send(address token, address to, uint256 amount) internal {
        if (to == address(0)) revert ZeroAddress();
        if (token != address(0)) return IERC20(token).safeTransfer(to, amount);
        // slither-disable-next-line arbitrary-send-eth -- the sender's own money, already debited, to where it says
        (bool done,) = to.call{value: amount}("");
        if (!done) revert TransferFailed(to, amount);
    }

    // ------------------------------------------------------------------ who, when

    function _isParty(Config calldata config, uint256 side) internal view returns (bool) {
        return side == CLIENT
            ? msg.sender == config.client || msg.sender == config.clientSigner
            : msg.sender == config.hub || msg.sender == config.hubSigner;
    }

    function _requireHub(HubSide calldata side) internal view {
        if (msg.sender != side.hub && msg.sender != side.hubSigner) revert NotAParty(msg.sender);
    }

    /// A side's consent: it is the sender, or its signer or account has signed.
    function _requireSignedBy(uint256 side, Config calldata config, bytes32 digest, bytes calldata signature)
        internal
        view
    {
        if (_isParty(config, side)) return;
        (address signer, address account) =
            side == CLIENT ? (config.clientSigner, config.client) : (config.hubSigner, config.hub);
        if (
            !Signatures.isOfParty(signer, account, digest, signature)
                && !Signatures.isOfWallet(account, digest, signature)
        ) revert BadSignature(signer, digest);
    }

    function _requireDeadline(uint256 deadline) internal view {
        (bytes4 fault, uint256 a) = _deadlineFault(deadline);
        _raise(fault, deadline, a);
    }

    function _deadlineFault(uint256 deadline) internal view returns (bytes4, uint256) {
        if (deadline < block.timestamp) return (DeadlinePassed.selector, block.timestamp);
        uint256 limit = block.timestamp + DEADLINE_S_MAX;
        if (deadline > limit) return (DeadlineTooFar.selector, limit);
        return (0, 0);
    }

    function _requireStatus(uint256 expected, uint256 money) internal pure {
        if (money.status() != expected) revert WrongStatus(expected, money.status());
    }

    function _requireSide(uint256 side) internal pure {
        if (side > HUB) revert WrongSide(side);
    }

    function _requireChannel(bytes32 expected, bytes32 got) internal pure {
        if (got != expected) revert WrongChannel(expected, got);
    }

    /// Reverts with the error that a fault stands for.
    function _raise(bytes4 fault, uint256 a, uint256 b) internal pure {
        // slither-disable-next-line incorrect-equality -- a selector, not a balance
        if (fault == 0) return;
        assembly ("memory-safe") {
            mstore(0, fault)
            mstore(4, a)
            mstore(0x24, b)
            revert(0, 0x44)
        }
    }

    function _requireRange(uint256 seq, uint256 paid, uint256 ackSeq, uint256 ackPaid) internal pure {
        if (Words.fit(seq, paid, ackSeq, ackPaid)) return;
        (bytes4 fault, uint256 a, uint256 b) = _rangeFault(seq, paid, ackSeq, ackPaid);
        _raise(fault, a, b);
    }

    /// Of numbers that do not all fit.
    function _rangeFault(uint256 seq, uint256 paid, uint256 ackSeq, uint256 ackPaid)
        internal
        pure
        returns (bytes4, uint256, uint256)
    {
        if (seq > Words.SEQ_MAX) return (SeqTooLarge.selector, seq, Words.SEQ_MAX);
        if (ackSeq > Words.SEQ_MAX) return (SeqTooLarge.selector, ackSeq, Words.SEQ_MAX);
        if (paid > Words.PAID_MAX) return (PaidTooLarge.selector, paid, Words.PAID_MAX);
        return (PaidTooLarge.selector, ackPaid, Words.PAID_MAX);
    }

    // ------------------------------------------------------------------ ids

    function _buildDomain() internal view returns (bytes32) {
        return keccak256(
            abi.encode(Hashing.DOMAIN_TYPEHASH, keccak256("Channel Hub"), keccak256("1"), block.chainid, address(this))
        );
    }

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domainSeparator(), structHash);
    }

    function _markKey(bytes32 id, uint256 payer, bytes32 leaf) internal pure returns (bytes32) {
        return keccak256(abi.encode(id, payer, leaf));
    }
}
