// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";

/// R16-R20 word by word, beside the contract: random monotone histories of both directions, their vouchers shown and
/// their locks resolved in random order.
contract ModelTest is Base {
    uint64 internal constant VOUCHERS = 8;
    uint64 internal constant LOCK_IDS = 5;

    struct Best {
        uint64 seq;
        uint128 paid;
        uint256 resolved;
        uint64 maxExpiry;
        bool locked;
    }

    struct Direction {
        Best best;
        uint64 floorSeq;
        uint128 floorPaid;
    }

    uint256 internal seed;
    Submission[VOUCHERS + 1][2] internal history;
    Lock[][VOUCHERS + 1][2] internal locksOf;
    Lock[LOCK_IDS][2] internal pool;
    Direction[2] internal model;
    mapping(uint8 => mapping(uint64 => bool)) internal marked;
    mapping(uint8 => mapping(uint64 => mapping(uint64 => bool))) internal countedIn;
    uint64 internal t0;

    function _random(uint256 below) internal returns (uint256) {
        seed = uint256(keccak256(abi.encode(seed)));
        return seed % below;
    }

    function _makeHistory(uint8 payer) internal {
        for (uint64 i = 0; i < LOCK_IDS; ++i) {
            pool[payer][i] = _lock(i, uint128(1 + _random(400)), t0 + 1 + uint64(_random(3 days)));
        }
        uint128 paid;
        for (uint64 i = 1; i <= VOUCHERS; ++i) {
            paid += uint128(_random(300));
            history[payer][i].payer = payer;
            history[payer][i].seq = i;
            history[payer][i].paid = paid;
            if (_random(3) == 0) continue;
            uint256 subset = _random(2 ** LOCK_IDS);
            for (uint64 l = 0; l < LOCK_IDS; ++l) {
                if ((subset >> l) & 1 != 0) locksOf[payer][i].push(pool[payer][l]);
            }
        }
    }

    function _makeAcks(uint8 payer) internal {
        uint64 ack;
        for (uint64 i = 1; i <= VOUCHERS; ++i) {
            ack += uint64(_random(3));
            if (ack > VOUCHERS) ack = VOUCHERS;
            history[payer][i].ackSeq = ack;
            history[payer][i].ackPaid = history[1 - payer][ack].paid;
        }
    }

    function _show(uint8 payer, uint64 seq) internal {
        Submission memory s = history[payer][seq];
        Lock[] memory locks = locksOf[payer][seq];
        s = locks.length == 0 ? _resign(s) : _withLocks(s, locks);
        if (_random(4) == 0) s = _withoutOpening(s);
        _submit(s);
        Direction storage d = model[payer];
        if (seq > d.best.seq) {
            uint64 expiry = s.opening.length == 0 ? 0 : s.opening[0].maxExpiry;
            d.best = Best(seq, s.paid, 0, expiry, locks.length != 0);
        } else if (seq == d.best.seq && s.opening.length != 0) {
            d.best.maxExpiry = s.opening[0].maxExpiry;
        }
        Direction storage r = model[1 - payer];
        if (s.ackSeq > r.floorSeq) r.floorSeq = s.ackSeq;
        if (s.ackPaid > r.floorPaid) r.floorPaid = s.ackPaid;
    }

    function _live(Direction storage d) internal view returns (bool) {
        return d.best.locked && d.best.seq >= d.floorSeq;
    }

    function _tryResolve(uint8 payer) internal {
        Direction storage d = model[payer];
        uint64 seq = d.best.seq;
        if (!_live(d)) return;
        Lock[] memory locks = locksOf[payer][seq];
        uint256[] memory which = new uint256[](1);
        which[0] = _random(locks.length);
        Lock memory lock = locks[which[0]];
        Resolution memory r = _resolution(payer, locks, which);
        if (!marked[payer][lock.id] && block.timestamp >= lock.expiry) {
            vm.expectPartialRevert(IAdjudicator.LockExpired.selector);
            _resolve(r);
            return;
        }
        _resolve(r);
        d.best.maxExpiry = r.opening.maxExpiry;
        marked[payer][lock.id] = true;
        if (countedIn[payer][seq][lock.id]) return;
        countedIn[payer][seq][lock.id] = true;
        d.best.resolved += lock.amount;
    }

    function _effective(Direction storage d) internal view returns (uint256) {
        uint256 worth = d.best.seq < d.floorSeq ? d.best.paid : d.best.paid + d.best.resolved;
        return worth > d.floorPaid ? worth : d.floorPaid;
    }

    function _check() internal view {
        int256 share = int256(uint256(EACH)) + int256(_effective(model[HUB])) - int256(_effective(model[CLIENT]));
        if (share < 0) share = 0;
        if (share > 2000) share = 2000;
        (uint256 c, uint256 h) = adj.balances(id);
        assertEq(c, uint256(share), "R20");
        assertEq(c + h, 2000, "conservation");
        ChannelState memory s = _state();
        assertEq(s.clientLocks.live, _live(model[CLIENT]));
        assertEq(s.hubLocks.live, _live(model[HUB]));
        if (s.windowEnd == 0) return;
        uint256 end = s.windowEnd;
        for (uint8 d = 0; d < 2; ++d) {
            if (!_live(model[d])) continue;
            if (s.windowEnd + PERIOD > end) end = s.windowEnd + PERIOD;
            if (model[d].best.maxExpiry > end) end = model[d].best.maxExpiry;
        }
        assertEq(adj.finalAt(config), end, "R18");
    }

    function testFuzz_settlement_equalsTheRules_R16_R17_R18_R19_R20(uint256 seed_) public {
        seed = seed_;
        _open();
        t0 = _now();
        _makeHistory(CLIENT);
        _makeHistory(HUB);
        _makeAcks(CLIENT);
        _makeAcks(HUB);
        for (uint256 i = 0; i < 3; ++i) {
            _show(uint8(_random(2)), 1 + uint64(_random(VOUCHERS)));
            _check();
        }
        _dispute();
        for (uint256 i = 0; i < 16; ++i) {
            if (_random(2) == 0) _show(uint8(_random(2)), 1 + uint64(_random(VOUCHERS)));
            else _tryResolve(uint8(_random(2)));
            if (_random(4) == 0 && block.timestamp < t0 + PERIOD - 3 hours) vm.warp(block.timestamp + 2 hours);
            _check();
        }
        (uint256 c, uint256 h) = adj.balances(id);
        uint256 before = token.balanceOf(alice);
        vm.warp(adj.finalAt(config));
        adj.finalize(config);
        assertEq(token.balanceOf(alice) - before, c);
        assertEq(adj.vault(address(token), hub), h);
    }

    /// The order in which evidence arrives does not matter.
    function testFuzz_submit_orderIsIrrelevant_R16(uint256 seed_) public {
        seed = seed_;
        _open();
        t0 = _now();
        _makeHistory(CLIENT);
        _makeHistory(HUB);
        _makeAcks(CLIENT);
        _makeAcks(HUB);
        uint64[4] memory seqs;
        for (uint256 i = 0; i < 4; ++i) {
            seqs[i] = 1 + uint64(_random(VOUCHERS));
        }
        uint256 snapshot = vm.snapshotState();
        for (uint256 i = 0; i < 4; ++i) {
            _show(uint8(i % 2), seqs[i]);
        }
        bytes32 forward = keccak256(abi.encode(_core()));
        vm.revertToState(snapshot);
        for (uint256 i = 4; i > 0; --i) {
            _show(uint8((i - 1) % 2), seqs[i - 1]);
        }
        assertEq(keccak256(abi.encode(_core())), forward);
    }

    /// Without what only depends on whether an opening was shown, and on locks that are dead.
    function _core() internal view returns (ChannelState memory s) {
        s = _state();
        if (!s.clientLocks.live) delete s.clientLocks;
        if (!s.hubLocks.live) delete s.hubLocks;
        (s.clientLocks.opened, s.clientLocks.maxExpiry, s.hubLocks.opened, s.hubLocks.maxExpiry) = (false, 0, false, 0);
    }

    // ------------------------------------------------------------------ money

    function testFuzz_close_conserves_R15(uint88 c, uint88 h, uint88 later, uint88 wc, uint256 split) public {
        uint256 limit = uint256(type(uint88).max) / 4;
        (c, h, later) = (uint88(c % limit), uint88(h % limit), uint88(later % limit));
        wc = uint88(uint256(wc) % (uint256(c) + h + 1));
        token.mint(alice, type(uint88).max);
        token.mint(hub, type(uint88).max);
        vm.prank(alice);
        adj.open(config, c);
        _fundVault(h);
        _reserve(h);
        if (wc != 0) _withdraw(_withdrawMessage(CLIENT, wc));
        uint256 all = uint256(c) + h - wc;
        uint128 mine = uint128(split % (all + 1));
        Close memory m = Close(id, c, h, mine, uint128(all) - mine, _now());
        vm.prank(alice);
        adj.deposit(config, later);
        uint256 before = token.balanceOf(alice);
        _close(m);
        assertEq(token.balanceOf(alice) - before, uint256(mine) + later);
        assertEq(adj.vault(address(token), hub), all - mine);
        assertEq(token.balanceOf(address(adj)), all - mine);
    }

    function testFuzz_submit_mergesByMaximum(uint64[4] memory seq, uint88[4] memory paid) public {
        _open();
        for (uint256 i = 0; i < 4; ++i) {
            seq[i] %= 2 ** 36;
        }
        _submit(_voucher(CLIENT, seq[0], paid[0], seq[1], paid[1]));
        _submit(_voucher(HUB, seq[2], paid[2], seq[3], paid[3]));
        ChannelState memory s = _state();
        assertEq(s.clientSeq, seq[0] > seq[3] ? seq[0] : seq[3]);
        assertEq(s.hubSeq, seq[1] > seq[2] ? seq[1] : seq[2]);
        assertEq(s.clientPaid, paid[0] > paid[3] ? paid[0] : paid[3]);
        assertEq(s.hubPaid, paid[1] > paid[2] ? paid[1] : paid[2]);
    }
}
