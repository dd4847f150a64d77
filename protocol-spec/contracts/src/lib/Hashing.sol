// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {CancelDispute, Close, Config, Lock, LocksOpening, Submission, Withdraw} from "../IAdjudicator.sol";

/// EIP-712 struct hashes. The assembly copies calldata words into free memory without keeping it: a batch hashes
/// hundreds of structs. Copied words that are wider than their field make a digest that nobody signed.
library Hashing {
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant CONFIG_TYPEHASH = keccak256(
        "Config(address client,address clientSigner,address hub,address hubSigner,address token,uint64 challengePeriodS,bytes32 salt)"
    );
    bytes32 internal constant VOUCHER_TYPEHASH = keccak256(
        "Voucher(bytes32 channelId,uint64 seq,uint128 paid,uint64 ackSeq,uint128 ackPaid,bytes32 locks,bytes32 history)"
    );
    bytes32 internal constant ACCEPT_TYPEHASH =
        keccak256("Accept(bytes32 voucher,address submitter,bool mayDispute,uint64 deadline)");
    bytes32 internal constant CLOSE_TYPEHASH = keccak256(
        "Close(bytes32 channelId,uint128 clientDeposit,uint128 hubDeposit,uint128 clientBalance,uint128 hubBalance,uint64 deadline)"
    );
    bytes32 internal constant WITHDRAW_TYPEHASH = keccak256(
        "Withdraw(bytes32 channelId,uint8 side,uint128 total,uint64 clientSeq,uint128 clientPaid,uint64 hubSeq,uint128 hubPaid,uint64 deadline)"
    );
    bytes32 internal constant CANCEL_DISPUTE_TYPEHASH =
        keccak256("CancelDispute(bytes32 channelId,uint64 disputeNo,uint64 deadline)");
    bytes32 internal constant BATCH_TYPEHASH = keccak256("Batch(bytes32 root)");

    function config(Config calldata c) internal pure returns (bytes32 result) {
        bytes32 typehash = CONFIG_TYPEHASH;
        assembly ("memory-safe") {
            let ptr := mload(0x40)
            mstore(ptr, typehash)
            calldatacopy(add(ptr, 0x20), c, 0xe0)
            result := keccak256(ptr, 0x100)
        }
    }

    function voucher(bytes32 channelId, Submission calldata s) internal pure returns (bytes32 result) {
        bytes32 typehash = VOUCHER_TYPEHASH;
        assembly ("memory-safe") {
            let ptr := mload(0x40)
            mstore(ptr, typehash)
            mstore(add(ptr, 0x20), channelId)
            calldatacopy(add(ptr, 0x40), add(s, 0x20), 0xc0)
            result := keccak256(ptr, 0x100)
        }
    }

    function close(Close calldata message) internal pure returns (bytes32) {
        return keccak256(abi.encode(CLOSE_TYPEHASH, message));
    }

    function withdraw(Withdraw calldata message) internal pure returns (bytes32) {
        return keccak256(abi.encode(WITHDRAW_TYPEHASH, message));
    }

    function cancelDispute(CancelDispute calldata message) internal pure returns (bytes32) {
        return keccak256(abi.encode(CANCEL_DISPUTE_TYPEHASH, message));
    }

    function lockLeaf(Lock calldata lock) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(lock))));
    }

    function locks(LocksOpening calldata opening) internal pure returns (bytes32) {
        return keccak256(abi.encode(opening));
    }
}
