// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

// ---------------------------------------------------------------------------------------------
// Signed types (EIP-712). Domain { name "Channel Hub", version "1", chainId, verifyingContract = adjudicator }.
// Side: 0 = client, 1 = hub. Amounts in token base units. Times in unix seconds.
// ---------------------------------------------------------------------------------------------

/// The immutable facts of a channel; channelId is its EIP-712 digest. token = 0 is the native coin.
struct Config {
    address client;
    address clientSigner;
    address hub;
    address hubSigner;
    address token;
    uint64 challengePeriodS;
    bytes32 salt;
}

/// One direction's half of the channel state, signed by its payer's signer.
/// seq < 2^36 and paid < 2^88, or the adjudicator refuses it.
struct Voucher {
    bytes32 channelId;
    uint64 seq;
    uint128 paid;
    uint64 ackSeq;
    uint128 ackPaid;
    bytes32 locks;
    bytes32 history;
}

/// An amount promised on a condition until expiry. resolver = 0: SHA-256 preimage of 32 bytes.
/// Leaf = keccak256(bytes.concat(keccak256(abi.encode(lock)))).
struct Lock {
    uint64 id;
    uint128 amount;
    uint64 expiry;
    bytes32 hash;
    address resolver;
}

/// What Voucher.locks commits to: locks = keccak256(abi.encode(root, total, maxExpiry)); 0 when there are none.
struct LocksOpening {
    bytes32 root;
    uint128 total;
    uint64 maxExpiry;
}

/// The payee's countersignature: lets `submitter` show the voucher with this digest.
struct Accept {
    bytes32 voucher;
    address submitter;
    bool mayDispute;
    uint64 deadline;
}

/// Co-operative close, signed by both sides.
struct Close {
    bytes32 channelId;
    uint128 clientDeposit;
    uint128 hubDeposit;
    uint128 clientBalance;
    uint128 hubBalance;
    uint64 deadline;
}

/// Co-operative withdrawal, signed by both sides. `total` is cumulative for `side`.
struct Withdraw {
    bytes32 channelId;
    uint8 side;
    uint128 total;
    uint64 clientSeq;
    uint128 clientPaid;
    uint64 hubSeq;
    uint128 hubPaid;
    uint64 deadline;
}

/// Reopens a disputed channel, signed by both sides over this dispute's number.
struct CancelDispute {
    bytes32 channelId;
    uint64 disputeNo;
    uint64 deadline;
}

/// One hub signature over the Merkle root of many Voucher and Receipt digests.
struct Batch {
    bytes32 root;
}

/// Proof for anybody that the hub credited a payment. Never read by the adjudicator.
struct Receipt {
    bytes16 paymentId;
    bytes32 invoice;
    bytes32 payer;
    bytes32 payeeChannel;
    uint64 payeeSeq;
    uint128 amount;
    uint64 at;
}

/// A session login, signed by a client's signer. Never read by the adjudicator.
struct Login {
    string server;
    bytes32 nonce;
    address signer;
    string protocol;
}

/// The owner's consent that the hub routes payments for `client` to this channel. Never read by the adjudicator.
struct Register {
    bytes32 channelId;
    string server;
}
