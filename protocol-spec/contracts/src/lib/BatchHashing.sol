// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {ClientVoucher, ClientClose, ClientReserve, ClientWithdraw, HubSide} from "../IAdjudicator.sol";
import {Hashing} from "./Hashing.sol";

/// The digests of a batch. What its items have in common is written once into a buffer, which every item then completes:
///
/// 0x000 Config type hash, client, clientSigner, hub, hubSigner, token, challengePeriodS, salt
/// 0x100 0x1901, domain, struct hash
/// 0x160 type hash of the signed message, channelId, and up to seven words of it
///
/// The assembly writes inside the buffer only. Copied words that are wider than their field make a digest that nobody signed.
library BatchHashing {
    /// Where a buffer starts.
    type Buffer is uint256;

    uint256 private constant BUFFER_BYTES = 0x280;

    function start(bytes32 domain, HubSide calldata side, bytes32 messageTypehash)
        internal
        pure
        returns (Buffer buffer)
    {
        uint256 size = BUFFER_BYTES;
        bytes32 configTypehash = Hashing.CONFIG_TYPEHASH;
        assembly ("memory-safe") {
            buffer := mload(0x40)
            mstore(0x40, add(buffer, size))
            mstore(buffer, configTypehash)
            calldatacopy(add(buffer, 0x60), side, 0x80)
            mstore(add(buffer, 0x100), 0x1901)
            mstore(add(buffer, 0x120), domain)
            mstore(add(buffer, 0x160), messageTypehash)
        }
    }

    function channelId(Buffer buffer, ClientVoucher calldata item) internal pure returns (bytes32) {
        uint256 at;
        assembly ("memory-safe") {
            at := item
        }
        return _channelId(buffer, at);
    }

    function channelId(Buffer buffer, ClientClose calldata item) internal pure returns (bytes32) {
        uint256 at;
        assembly ("memory-safe") {
            at := item
        }
        return _channelId(buffer, at);
    }

    function channelId(Buffer buffer, ClientWithdraw calldata item) internal pure returns (bytes32) {
        uint256 at;
        assembly ("memory-safe") {
            at := item
        }
        return _channelId(buffer, at);
    }

    function channelId(Buffer buffer, ClientReserve calldata item) internal pure returns (bytes32) {
        uint256 at;
        assembly ("memory-safe") {
            at := item
        }
        return _channelId(buffer, at);
    }

    /// Digest of a lock-free voucher; the buffer was started for vouchers.
    function voucher(Buffer buffer, bytes32 id, ClientVoucher calldata item) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            mstore(add(buffer, 0x180), id)
            calldatacopy(add(buffer, 0x1a0), add(item, 0x60), 0x80)
            mstore(add(buffer, 0x220), 0)
            mstore(add(buffer, 0x240), calldataload(add(item, 0xe0)))
            mstore(add(buffer, 0x140), keccak256(add(buffer, 0x160), 0x100))
            digest := keccak256(add(buffer, 0x11e), 0x42)
        }
    }

    /// Digest of a close; the buffer was started for closes.
    function close(Buffer buffer, bytes32 id, ClientClose calldata item) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            mstore(add(buffer, 0x180), id)
            calldatacopy(add(buffer, 0x1a0), add(item, 0x60), 0xa0)
            mstore(add(buffer, 0x140), keccak256(add(buffer, 0x160), 0xe0))
            digest := keccak256(add(buffer, 0x11e), 0x42)
        }
    }

    /// Digest of a withdrawal; the buffer was started for withdrawals.
    function withdraw(Buffer buffer, bytes32 id, ClientWithdraw calldata item) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            mstore(add(buffer, 0x180), id)
            calldatacopy(add(buffer, 0x1a0), add(item, 0x60), 0xe0)
            mstore(add(buffer, 0x140), keccak256(add(buffer, 0x160), 0x120))
            digest := keccak256(add(buffer, 0x11e), 0x42)
        }
    }

    /// Every item starts with client, clientSigner, salt.
    function _channelId(Buffer buffer, uint256 item) private pure returns (bytes32 id) {
        assembly ("memory-safe") {
            calldatacopy(add(buffer, 0x20), item, 0x40)
            mstore(add(buffer, 0xe0), calldataload(add(item, 0x40)))
            mstore(add(buffer, 0x140), keccak256(buffer, 0x100))
            id := keccak256(add(buffer, 0x11e), 0x42)
        }
    }
}
