// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import "../IAdjudicator.sol";
import {Settlement} from "./Settlement.sol";
import {Hashing} from "../lib/Hashing.sol";
import {Payout} from "../lib/Payout.sol";
import {Signatures} from "../lib/Signatures.sol";
import {Words} from "../lib/Words.sol";

/// Vouchers and locks: submit, dispute, resolve (R16, R17).
abstract contract Evidence is Settlement {
    using Words for uint256;

    // ------------------------------------------------------------------ evidence

    /// @inheritdoc IAdjudicator
    function submit(Config calldata config, Submission[] calldata submissions, Resolution[] calldata resolutions)
        external
        nonReentrant
    {
        bytes32 domain = domainSeparator();
        bytes32 id = MessageHashUtils.toTypedDataHash(domain, Hashing.config(config));
        Channel storage ch = _channels[id];
        _evidence(domain, id, config, ch, ch.money, submissions, resolutions);
    }

    /// @inheritdoc IAdjudicator
    function submitMany(HubSide calldata side, ClientVoucher[] calldata items) external nonReentrant {
        _requireHub(side);
        bytes32 domain = domainSeparator();
        for (uint256 i = 0; i < items.length; ++i) {
            (bytes32 id, bytes4 fault) = _submitInBatch(domain, side, items[i]);
            if (fault != 0) emit Skipped(id, fault);
        }
    }

    /// @inheritdoc IAdjudicator
    function dispute(Config calldata config, Submission[] calldata submissions, Resolution[] calldata resolutions)
        external
        nonReentrant
    {
        bytes32 domain = domainSeparator();
        bytes32 id = MessageHashUtils.toTypedDataHash(domain, Hashing.config(config));
        Channel storage ch = _channels[id];
        uint256 money = ch.money;
        _requireStatus(Words.OPEN, money);
        uint256 windowEnd = block.timestamp + config.challengePeriodS;
        money = money.disputed(windowEnd);
        ch.money = money;
        emit Disputed(id, uint64(money.disputeNo()), uint64(windowEnd));
        bool mayDispute = _evidence(domain, id, config, ch, money, submissions, resolutions);
        if (!mayDispute && !_isParty(config, CLIENT) && !_isParty(config, HUB)) revert NotThePayee(msg.sender);
    }

    // ------------------------------------------------------------------ evidence, parts

    /// R16, R17. Returns whether a countersignature allowed the sender to dispute.
    function _evidence(
        bytes32 domain,
        bytes32 id,
        Config calldata config,
        Channel storage ch,
        uint256 money,
        Submission[] calldata submissions,
        Resolution[] calldata resolutions
    ) internal returns (bool mayDispute) {
        uint256 floors = ch.floors;
        if (submissions.length != 0) {
            (bytes4 fault, uint256 a, uint256 b) = _submittable(money);
            _raise(fault, a, b);
            uint256 before = floors;
            for (uint256 i = 0; i < submissions.length; ++i) {
                bool allowed;
                (floors, allowed) = _submitOne(domain, id, config, ch, money, floors, submissions[i]);
                mayDispute = mayDispute || allowed;
            }
            if (floors != before) ch.floors = floors;
            emit Submitted(id, floors);
        }
        if (resolutions.length != 0) {
            _requireStatus(Words.DISPUTED, money);
            _requireNotFinal(ch, money, floors, config.challengePeriodS);
            for (uint256 i = 0; i < resolutions.length; ++i) {
                _resolve(id, config, ch, money, floors, resolutions[i]);
            }
        }
    }

    /// Vouchers are taken while the channel is open, and in a dispute until its window ends.
    function _submittable(uint256 money) internal view returns (bytes4, uint256, uint256) {
        uint256 status = money.status();
        // slither-disable-next-line incorrect-equality -- an enumeration, not a balance
        if (status == Words.OPEN) return (0, 0, 0);
        if (status != Words.DISPUTED) return (WrongStatus.selector, Words.DISPUTED, status);
        uint256 windowEnd = money.windowEnd();
        if (block.timestamp >= windowEnd) return (WindowOver.selector, windowEnd, block.timestamp);
        return (0, 0, 0);
    }

    function _submitOne(
        bytes32 domain,
        bytes32 id,
        Config calldata config,
        Channel storage ch,
        uint256 money,
        uint256 floors,
        Submission calldata s
    ) internal returns (uint256, bool mayDispute) {
        _requireSide(s.payer);
        (bytes4 fault, uint256 a, uint256 b) = _inRange(s.seq, s.paid, s.ackSeq, s.ackPaid);
        _raise(fault, a, b);
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, Hashing.voucher(id, s));
        bool signed = s.payer == CLIENT
            ? Signatures.isDirect(config.clientSigner, digest, s.signature)
            : Signatures.isDirectOrBatch(domain, config.hubSigner, digest, s.signature);
        if (!signed) revert BadSignature(s.payer == CLIENT ? config.clientSigner : config.hubSigner, digest);
        if (!_isParty(config, HUB - s.payer)) mayDispute = _countersigned(domain, config, digest, s);
        return (_merge(id, config.challengePeriodS, ch, money, floors, s), mayDispute);
    }

    /// Without it a payer could submit its own stale voucher and so forge what the payee had accepted.
    function _countersigned(bytes32 domain, Config calldata config, bytes32 voucher, Submission calldata s)
        internal
        view
        returns (bool mayDispute)
    {
        if (s.countersignature.length == 0) revert NotThePayee(msg.sender);
        Countersignature calldata c = s.countersignature[0];
        if (c.deadline < block.timestamp) revert DeadlinePassed(c.deadline, block.timestamp);
        bytes32 digest = MessageHashUtils.toTypedDataHash(
            domain, keccak256(abi.encode(Hashing.ACCEPT_TYPEHASH, voucher, msg.sender, c.mayDispute, c.deadline))
        );
        address payeeSigner = s.payer == CLIENT ? config.hubSigner : config.clientSigner;
        if (!Signatures.isDirect(payeeSigner, digest, c.signature)) revert BadCountersignature(payeeSigner, digest);
        return c.mayDispute;
    }

    /// Raises both floors; stores the locks of a voucher that is the newest of its direction. A voucher with the seq of the
    /// floor is the newest unless a voucher with locks is stored at that seq: then it is that voucher.
    function _merge(
        bytes32 id,
        uint256 challengePeriodS,
        Channel storage ch,
        uint256 money,
        uint256 floors,
        Submission calldata s
    ) internal returns (uint256) {
        uint256 floorSeq = floors.seq(s.payer);
        bool newest = s.seq > floorSeq || (s.seq == floorSeq && !floors.live(s.payer));
        floors = floors.raise(s.payer, s.seq, s.paid).raise(HUB - s.payer, s.ackSeq, s.ackPaid);
        if (s.locks == 0) return floors;
        LocksRecord storage record = ch.locks[s.payer];
        if (newest) {
            floors = floors.withLive(s.payer);
            record.commitment = s.locks;
            uint256 word = uint256(s.paid);
            if (s.opening.length != 0) {
                word = _opened(id, challengePeriodS, money, s.payer, s.locks, word, s.opening[0]);
            }
            record.word = word;
            emit LocksStored(id, s.payer, s.seq, s.locks);
        } else if (s.opening.length != 0 && floors.live(s.payer) && record.commitment == s.locks) {
            uint256 word = record.word;
            if (!word.isOpened()) {
                record.word = _opened(id, challengePeriodS, money, s.payer, s.locks, word, s.opening[0]);
            }
        }
        return floors;
    }

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

    function _submitInBatch(bytes32 domain, HubSide calldata side, ClientVoucher calldata v)
        internal
        returns (bytes32 id, bytes4 fault)
    {
        id = _idInBatch(domain, side, _at(v));
        Channel storage ch = _channels[id];
        (fault,,) = _submittable(ch.money);
        if (fault != 0) return (id, fault);
        (fault,,) = _inRange(v.seq, v.paid, v.ackSeq, v.ackPaid);
        if (fault != 0) return (id, fault);
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, Hashing.voucher(id, v));
        if (!Signatures.isDirect(v.clientSigner, digest, v.signature)) return (id, BadSignature.selector);
        uint256 before = ch.floors;
        uint256 floors = before.raise(CLIENT, v.seq, v.paid).raise(HUB, v.ackSeq, v.ackPaid);
        if (floors != before) ch.floors = floors;
        emit Submitted(id, floors);
    }
}
