// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import "../IAdjudicator.sol";
import {Settlement} from "./Settlement.sol";
import {Hashing} from "../lib/Hashing.sol";
import {Payout} from "../lib/Payout.sol";
import {Words} from "../lib/Words.sol";

/// The locks of stored vouchers: opened, resolved in time, counted (R17).
abstract contract Locks is Settlement {
    using Words for uint256;

    /// Takes a commitment's opening, whose expiry is bounded: locks may not keep a dispute open for ever.
    function _opened(
        bytes32 id,
        uint256 challengePeriodS,
        uint256 money,
        uint8 payer,
        bytes32 commitment,
        uint256 word,
        LocksOpening calldata opening
    ) internal returns (uint256) {
        bytes32 got = Hashing.locks(opening);
        if (got != commitment) revert WrongOpening(commitment, got);
        // slither-disable-next-line incorrect-equality -- an enumeration, not a balance
        bool disputed = money.status() == Words.DISPUTED;
        uint256 start = disputed ? money.windowEnd() - challengePeriodS : block.timestamp;
        if (opening.maxExpiry > start + LOCK_S_MAX) revert ExpiryTooFar(opening.maxExpiry, start + LOCK_S_MAX);
        emit LocksOpened(id, payer, opening.maxExpiry);
        return word.withOpening(opening.maxExpiry);
    }

    function _resolve(
        bytes32 id,
        Config calldata config,
        Channel storage ch,
        uint256 money,
        uint256 floors,
        Resolution calldata r
    ) internal {
        uint8 payer = r.payer;
        _requireSide(payer);
        // with locks as one commitment, anybody else could resolve first and invalidate the payee's transaction
        if (!_isParty(config, HUB - payer)) revert NotThePayee(msg.sender);
        if (!floors.live(payer)) revert NoLiveLocks(id, payer);
        LocksRecord storage record = ch.locks[payer];
        uint256 word = record.word;
        if (word.isOpened()) {
            bytes32 got = Hashing.locks(r.opening);
            if (got != record.commitment) revert WrongOpening(record.commitment, got);
        } else {
            if (block.timestamp >= money.windowEnd()) revert WindowOver(money.windowEnd(), block.timestamp);
            word = _opened(id, config.challengePeriodS, money, payer, record.commitment, word, r.opening);
        }
        uint256 counted = word.counted();
        for (uint256 i = 0; i < r.unlocks.length; ++i) {
            counted = _count(id, floors, r, r.unlocks[i], counted);
        }
        record.word = word.withCounted(counted);
    }

    /// R17: once per stored voucher; the first time only in time and with a witness, and marked for good.
    function _count(bytes32 id, uint256 floors, Resolution calldata r, Unlock calldata u, uint256 counted)
        internal
        returns (uint256)
    {
        bytes32 leaf = Hashing.lockLeaf(u.lock);
        if (!MerkleProof.verifyCalldata(u.proof, r.opening.root, leaf)) revert LockNotProven(leaf);
        bytes32 key = _markKey(id, r.payer, leaf);
        uint256 previous = _marks[key];
        uint256 current = floors.seq(r.payer) + 1;
        if (previous == current) return counted;
        if (previous == 0) _requireWitness(u);
        _marks[key] = current;
        // never above the committed total, and never above what fits
        uint256 limit = r.opening.total < Words.PAID_MAX ? r.opening.total : Words.PAID_MAX;
        counted += u.lock.amount;
        if (counted > limit) counted = limit;
        emit Resolved(id, u.lock.hash, r.payer, u.lock.id, counted, previous == 0 ? u.witness : msg.data[:0]);
        return counted;
    }

    function _requireWitness(Unlock calldata u) internal view {
        if (block.timestamp >= u.lock.expiry) revert LockExpired(u.lock.expiry, block.timestamp);
        address resolver = u.lock.resolver;
        if (resolver == address(0)) {
            if (u.witness.length != 32 || sha256(u.witness) != u.lock.hash) revert WrongPreimage(u.lock.hash);
            return;
        }
        // what is too long to be told off chain must not count on chain: whoever forwarded the lock could not use it
        if (u.witness.length > WITNESS_BYTES_MAX) revert WitnessTooLong(WITNESS_BYTES_MAX, u.witness.length);
        Payout.requireGas(RESOLVER_GAS);
        bytes memory query = abi.encodeCall(IResolver.check, (u.lock.hash, u.witness));
        bool yes;
        assembly ("memory-safe") {
            mstore(0, 0)
            yes := staticcall(RESOLVER_GAS, resolver, add(query, 0x20), mload(query), 0, 0x20)
            yes := and(yes, and(eq(returndatasize(), 0x20), eq(mload(0), 1)))
        }
        if (!yes) revert ResolverRefused(resolver, u.lock.hash);
    }
}
