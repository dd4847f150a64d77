// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import "../IAdjudicator.sol";
import {Locks} from "./Locks.sol";
import {BatchHashing} from "../lib/BatchHashing.sol";
import {Hashing} from "../lib/Hashing.sol";
import {Signatures} from "../lib/Signatures.sol";
import {Words} from "../lib/Words.sol";

/// Vouchers: submit and dispute (R16).
abstract contract Evidence is Locks {
    using BatchHashing for BatchHashing.Buffer;
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
        BatchHashing.Buffer buffer = BatchHashing.start(domainSeparator(), side, Hashing.VOUCHER_TYPEHASH);
        for (uint256 i = 0; i < items.length; ++i) {
            (bytes32 id, bytes4 fault) = _submitInBatch(buffer, items[i]);
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
        uint8 payer = s.payer;
        _requireSide(payer);
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, Hashing.voucher(id, s));
        address signer = payer == CLIENT ? config.clientSigner : config.hubSigner;
        bool signed = payer == CLIENT
            ? Signatures.isDirect(signer, digest, s.signature)
            : Signatures.isDirectOrBatch(domain, signer, digest, s.signature);
        if (!signed) revert BadSignature(signer, digest);
        if (!_isParty(config, HUB - payer)) mayDispute = _countersigned(domain, config, digest, s);
        return (_merge(id, config.challengePeriodS, ch, money, floors, payer, s), mayDispute);
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
        uint8 payer,
        Submission calldata s
    ) internal returns (uint256) {
        (uint256 seq, uint256 paid, uint256 ackSeq, uint256 ackPaid) = _numbers(s);
        _requireRange(seq, paid, ackSeq, ackPaid);
        uint256 floorSeq = floors.seq(payer);
        bool newest = seq > floorSeq || (seq == floorSeq && !floors.live(payer));
        floors = floors.raise(payer, seq, paid).raise(HUB - payer, ackSeq, ackPaid);
        bytes32 locks = s.locks;
        if (locks == 0) return floors;
        LocksRecord storage record = ch.locks[payer];
        if (newest) {
            floors = floors.withLive(payer);
            record.commitment = locks;
            uint256 word = paid;
            if (s.opening.length != 0) {
                word = _opened(id, challengePeriodS, money, payer, locks, word, s.opening[0]);
            }
            record.word = word;
            emit LocksStored(id, payer, uint64(seq), locks);
        } else if (s.opening.length != 0 && floors.live(payer) && record.commitment == locks) {
            uint256 word = record.word;
            if (!word.isOpened()) {
                record.word = _opened(id, challengePeriodS, money, payer, locks, word, s.opening[0]);
            }
        }
        return floors;
    }

    function _submitInBatch(BatchHashing.Buffer buffer, ClientVoucher calldata v)
        internal
        returns (bytes32 id, bytes4 fault)
    {
        id = buffer.channelId(v);
        Channel storage ch = _channels[id];
        uint256 money = ch.money;
        if (money.status() != Words.OPEN) {
            (fault,,) = _submittable(money);
            if (fault != 0) return (id, fault);
        }
        (uint256 seq, uint256 paid, uint256 ackSeq, uint256 ackPaid) = _numbers(v);
        if (!Words.fit(seq, paid, ackSeq, ackPaid)) {
            (fault,,) = _rangeFault(seq, paid, ackSeq, ackPaid);
            return (id, fault);
        }
        bytes32 digest = buffer.voucher(id, v);
        if (!Signatures.isDirect(v.clientSigner, digest, v.signature)) return (id, BadSignature.selector);
        uint256 before = ch.floors;
        uint256 floors = before.raise(CLIENT, seq, paid).raise(HUB, ackSeq, ackPaid);
        if (floors != before) ch.floors = floors;
        emit Submitted(id, floors);
    }

    // Whole words of calldata: the widths that the ABI checks are wider than those that Words.fit asks for.

    function _numbers(Submission calldata s)
        internal
        pure
        returns (uint256 seq, uint256 paid, uint256 ackSeq, uint256 ackPaid)
    {
        assembly ("memory-safe") {
            seq := calldataload(add(s, 0x20))
            paid := calldataload(add(s, 0x40))
            ackSeq := calldataload(add(s, 0x60))
            ackPaid := calldataload(add(s, 0x80))
        }
    }

    function _numbers(ClientVoucher calldata v)
        internal
        pure
        returns (uint256 seq, uint256 paid, uint256 ackSeq, uint256 ackPaid)
    {
        assembly ("memory-safe") {
            seq := calldataload(add(v, 0x60))
            paid := calldataload(add(v, 0x80))
            ackSeq := calldataload(add(v, 0xa0))
            ackPaid := calldataload(add(v, 0xc0))
        }
    }
}
