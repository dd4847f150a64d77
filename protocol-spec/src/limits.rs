//! Every limit of the protocol in one place, with the relations between them checked at compile time.

use crate::Side;

/// Largest seq plus one: the adjudicator keeps seqs in 36 bits.
pub const SEQ_MAX: u64 = (1 << 36) - 1;
/// Largest `paid`, deposit and lock total: the adjudicator keeps amounts in 88 bits.
pub const AMOUNT_MAX: u128 = (1 << 88) - 1;
/// R1: how far a voucher may jump ahead of the last one.
pub const SEQ_JUMP_MAX: u64 = 1024;
/// Operations in one frame.
pub const OPS_PER_FRAME_MAX: usize = 256;
/// Longest JSON of an operation that takes one place of a frame, bytes; a conversion with a long witness takes more.
pub const OP_BYTES_MAX: usize = 480;
/// Own vouchers that the other side has not acknowledged yet; beyond that nothing new is issued.
pub const UNACKED_MAX: usize = 16_384;
/// Locks of a client live in its channel at once. Who takes a voucher hashes the whole list, so what a stranger can have the
/// hub hash is small.
pub const LOCKS_FROM_CLIENT_MAX: usize = 480;
/// Locks of the hub live in a channel at once: a merchant's whole trade waits in one.
pub const LOCKS_FROM_HUB_MAX: usize = 4_096;
/// R5 MAX_LOCK: longest life of a lock, seconds from chain time.
pub const LOCK_LIFE_MAX_S: u64 = 30 * 24 * 3600;
/// Default `lag`: worst delay of a party's view of the chain, reorg margin included, seconds.
pub const LAG_DEFAULT_S: u64 = 10 * 60;
/// Default `act`: worst time to get a transaction mined, seconds.
pub const ACT_DEFAULT_S: u64 = 30 * 60;
/// Default `delta`: how much earlier a forwarded lock expires than the one it rests on (R22), seconds.
pub const DELTA_DEFAULT_S: u64 = 60 * 60;
/// Default number of confirmations after which a block counts.
pub const CONFIRMATIONS_DEFAULT: u64 = 12;
/// Shortest challenge period the adjudicator opens a channel with, seconds.
pub const CHALLENGE_PERIOD_MIN_S: u64 = 3600;
/// Longest challenge period, seconds.
pub const CHALLENGE_PERIOD_MAX_S: u64 = 30 * 24 * 3600;
/// Deadlines of co-operative messages lie at most this far ahead, seconds.
pub const DEADLINE_AHEAD_MAX_S: u64 = 24 * 3600;
/// Merkle proofs are at most this deep; longer ones are refused before any hashing.
pub const PROOF_DEPTH_MAX: usize = 16;
/// A WebSocket message, either encoding, bytes.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Locks that one `resume`, or its answer, shows in both lists together. More are shown on chain only.
pub const SHOWN_LOCKS_MAX: usize = LOCKS_FROM_CLIENT_MAX;
/// Longest JSON of a lock in a list, bytes.
const LOCK_JSON_BYTES_MAX: usize = 232;
/// Longest witness of a lock, bytes. As calldata it costs at most 41,000 gas (40 a byte, EIP-7623): far less than the
/// resolver may use, so that a lock stays worth resolving. Enough for a deal and fifteen signatures.
pub const WITNESS_BYTES_MAX: usize = 1024;
/// Gas a resolver may use to check a witness; the adjudicator's `RESOLVER_GAS`.
pub const RESOLVER_GAS: u64 = 200_000;
/// Resolving a lock on a preimage takes less gas than this (GAS.md: 73,796; its voucher 95,023).
pub const LOCK_GAS_MAX: u64 = 100_000;
/// How many locks on preimages cost as much gas to resolve as one with a resolver, at most: below [`LOCK_GAS_MAX`] the one,
/// `RESOLVER_GAS` and the calldata of the longest witness more the other.
pub const RESOLVER_LOCK_WEIGHT: u64 = 4;
/// Longest payment life: `expires_at` at most this far ahead of the hub's clock, seconds.
pub const PAYMENT_LIFE_MAX_S: u64 = 24 * 3600;

const _: () = assert!(LAG_DEFAULT_S + ACT_DEFAULT_S < CHALLENGE_PERIOD_MIN_S, "R6");
const _: () = assert!(DELTA_DEFAULT_S >= LAG_DEFAULT_S + ACT_DEFAULT_S, "R22");
const _: () = assert!(
    LOCKS_FROM_HUB_MAX <= 1 << PROOF_DEPTH_MAX && LOCKS_FROM_CLIENT_MAX <= 1 << PROOF_DEPTH_MAX,
    "every lock can be proven"
);
const _: () = assert!(
    LOCK_LIFE_MAX_S <= 60 * 24 * 3600,
    "the adjudicator refuses max_expiry beyond 60 days"
);
const _: () = assert!(
    LOCK_GAS_MAX + RESOLVER_GAS + 40 * WITNESS_BYTES_MAX as u64 <= LOCK_GAS_MAX * RESOLVER_LOCK_WEIGHT,
    "the weight of a resolver lock covers its gas"
);
const _: () = assert!(
    SHOWN_LOCKS_MAX * LOCK_JSON_BYTES_MAX + (16 << 10) <= MESSAGE_BYTES_MAX,
    "with two vouchers and their proofs"
);
const _: () = assert!(
    OPS_PER_FRAME_MAX * OP_BYTES_MAX <= MESSAGE_BYTES_MAX,
    "a full frame of payments fits, in JSON too"
);

/// Locks of `payer` live in one channel at once.
#[must_use]
pub const fn locks_max(payer: Side) -> usize {
    match payer {
        Side::Client => LOCKS_FROM_CLIENT_MAX,
        Side::Hub => LOCKS_FROM_HUB_MAX,
    }
}
