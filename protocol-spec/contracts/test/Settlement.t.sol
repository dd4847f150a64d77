// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";
import {Words} from "../src/lib/Words.sol";

/// Disputes: R16 (start), R17 (locks), R18 (final), R19 and R20 (worth), R27 (cancel).
contract SettlementTest is Base {
    uint64 internal t0;

    function setUp() public override {
        super.setUp();
        _open();
        t0 = _now();
    }

    function _locks() internal view returns (Lock[] memory) {
        return _two(_lock(1, 100, t0 + 2 days), _lock(2, 40, t0 + 3 hours));
    }

    function _balances(uint256 c, uint256 h) internal view {
        (uint256 a, uint256 b) = adj.balances(id);
        assertEq(a, c, "client");
        assertEq(b, h, "hub");
    }

    function _finalizeAt(uint256 end) internal {
        assertEq(adj.finalAt(config), end, "finalAt");
        vm.warp(end - 1);
        _fails(IAdjudicator.NotFinal.selector, end, end - 1);
        adj.finalize(config);
        (uint256 c, uint256 h) = adj.balances(id);
        (uint256 before, uint256 vault) = (token.balanceOf(alice), adj.vault(address(token), hub));
        vm.warp(end);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Closed(id, c, h);
        vm.prank(stranger);
        adj.finalize(config);
        assertEq(token.balanceOf(alice), before + c);
        assertEq(adj.vault(address(token), hub), vault + h);
        assertTrue(_status() == Status.Closed);
        assertEq(_state().total, 0);
        assertEq(_state().disputeNo, 1);
    }

    // ------------------------------------------------------------------ start

    function test_dispute_fixesTheWindow_R16_F2() public {
        vm.expectEmit(address(adj));
        emit IAdjudicator.Disputed(id, 1, t0 + PERIOD);
        _dispute();
        assertTrue(_status() == Status.Disputed);
        vm.warp(t0 + 1000);
        _submit(_voucher(CLIENT, 1, 10, 0, 0));
        vm.prank(hub);
        _fails(IAdjudicator.WrongStatus.selector, 1, 2);
        adj.dispute(config, _noVouchers(), _noLocks());
        assertEq(_state().windowEnd, t0 + PERIOD);
        _finalizeAt(t0 + PERIOD);
    }

    function test_dispute_takesAnyPartyKey_R16() public {
        address[4] memory who = [alice, config.clientSigner, hub, config.hubSigner];
        for (uint256 i = 0; i < 4; ++i) {
            uint256 snapshot = vm.snapshotState();
            vm.prank(who[i]);
            adj.dispute(config, _noVouchers(), _noLocks());
            assertTrue(_status() == Status.Disputed);
            vm.revertToState(snapshot);
        }
    }

    function test_dispute_revertsIfStranger() public {
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.NotThePayee.selector, stranger));
        adj.dispute(config, _noVouchers(), _noLocks());
    }

    function test_dispute_takesSubmitterThatMay_R28() public {
        Submission memory s = _accepted(_voucher(HUB, 1, 10, 0, 0), watchtower, true, _now());
        vm.prank(watchtower);
        adj.dispute(config, _list(s), _noLocks());
        assertTrue(_status() == Status.Disputed);
        _balances(1010, 990);
    }

    function test_dispute_takesSubmitterThatMayByOneOfThem_R28() public {
        Submission memory may = _accepted(_voucher(HUB, 1, 10, 0, 0), watchtower, true, _now());
        Submission memory mayNot = _accepted(_voucher(CLIENT, 1, 10, 0, 0), watchtower, false, _now());
        vm.prank(watchtower);
        adj.dispute(config, _list(may, mayNot), _noLocks());
        assertTrue(_status() == Status.Disputed);
    }

    function test_dispute_revertsIfSubmitterMayNot_R28() public {
        Submission memory s = _accepted(_voucher(HUB, 1, 10, 0, 0), watchtower, false, _now());
        vm.prank(watchtower);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.NotThePayee.selector, watchtower));
        adj.dispute(config, _list(s), _noLocks());
    }

    function test_dispute_revertsIfNeverOpened() public {
        config.salt = 0;
        vm.prank(alice);
        _fails(IAdjudicator.WrongStatus.selector, 1, 0);
        adj.dispute(config, _noVouchers(), _noLocks());
    }

    /// The window's end and the dispute's number have 40 and 24 bits of the channel's first word.
    function test_dispute_revertsIfItsFieldsAreFull() public {
        vm.warp(2 ** 40 - PERIOD);
        vm.expectRevert();
        vm.prank(alice);
        adj.dispute(config, _noVouchers(), _noLocks());
        vm.warp(2 ** 40 - 1 - PERIOD);
        bytes32 slot = keccak256(abi.encode(id, 0));
        uint256 money = uint256(vm.load(address(adj), slot));
        assertEq(money >> 224, 1 << 24, "open, no dispute yet");
        uint256 numbers = 2 ** 24 - 1;
        vm.store(address(adj), slot, bytes32(money | numbers << 224));
        vm.expectRevert();
        vm.prank(alice);
        adj.dispute(config, _noVouchers(), _noLocks());
        vm.store(address(adj), slot, bytes32(money | (numbers - 1) << 224));
        _dispute();
        assertEq(_state().disputeNo, numbers);
        assertEq(_state().windowEnd, 2 ** 40 - 1);
        assertEq(_state().total, 2000);
    }

    function test_dispute_submitsAndResolvesInOneCall() public {
        Lock[] memory locks = _locks();
        Submission memory s = _withLocks(_voucher(HUB, 1, 10, 0, 0), locks);
        vm.prank(alice);
        adj.dispute(config, _list(s), _list(_resolveAll(HUB, locks)));
        _balances(1150, 850);
    }

    // ------------------------------------------------------------------ worth

    function test_finalize_paysByPaid_R20() public {
        _dispute();
        _submit(_voucher(CLIENT, 3, 250, 2, 70));
        _balances(820, 1180);
        _submit(_voucher(HUB, 4, 90, 3, 250));
        _balances(840, 1160);
        _finalizeAt(t0 + PERIOD);
    }

    function test_finalize_clampsToTotal_R20() public {
        _dispute();
        _submit(_voucher(CLIENT, 1, 5000, 0, 0));
        _balances(0, 2000);
        _submit(_voucher(HUB, 1, 9000, 1, 5000));
        _balances(2000, 0);
        _finalizeAt(t0 + PERIOD);
    }

    function test_finalize_revertsIfNotDisputedOrTwice_F1() public {
        _fails(IAdjudicator.WrongStatus.selector, 2, 1);
        adj.finalize(config);
        _dispute();
        _finalizeAt(t0 + PERIOD);
        _fails(IAdjudicator.WrongStatus.selector, 2, 3);
        adj.finalize(config);
    }

    function test_finalizeMany_skipsIfNotFinal() public {
        Config[] memory both = new Config[](3);
        (both[0], both[1], both[2]) = (config, config, config);
        both[1].salt = 0;
        vm.prank(alice);
        adj.open(both[1], 10);
        _dispute();
        vm.warp(t0 + PERIOD);
        vm.prank(hub);
        adj.dispute(both[1], _noVouchers(), _noLocks());
        both[2].salt = bytes32(uint256(1));
        bytes32 other = adj.channelIdOf(both[1]);
        bytes32 none = adj.channelIdOf(both[2]);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Closed(id, 1000, 1000);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Skipped(other, IAdjudicator.NotFinal.selector);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Skipped(none, IAdjudicator.WrongStatus.selector);
        adj.finalizeMany(both);
        assertTrue(_status() == Status.Closed);
    }

    // ------------------------------------------------------------------ locks

    /// R19: the better of the two, not both: paid 10 + 140 against a floor of 120.
    function test_resolve_countsByMaximum_R19() public {
        Lock[] memory locks = _locks();
        _submit(_voucher(HUB, 1, 120, 0, 0));
        _dispute();
        _submit(_withLocks(_voucher(HUB, 2, 10, 0, 0), locks));
        _balances(1120, 880);
        _resolve(_resolveFirst(HUB, locks));
        _balances(1120, 880); // 110 < 120
        _resolve(_resolveAll(HUB, locks));
        _balances(1150, 850);
    }

    /// The same lock in another channel needs its witness there.
    function test_resolve_marksInOneChannelOnly_R17() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        _resolve(_resolveAll(CLIENT, locks));
        config.salt = 0;
        id = adj.channelIdOf(config);
        _open();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        Resolution memory r = _resolveFirst(CLIENT, locks);
        r.unlocks[0].witness = "";
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.WrongPreimage.selector, locks[0].hash));
        _resolve(r);
    }

    function test_resolve_countsOnce_R17() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        _resolve(_resolveFirst(CLIENT, locks));
        _balances(890, 1110);
        _resolve(_resolveFirst(CLIENT, locks));
        _balances(890, 1110);
        assertEq(adj.mark(id, CLIENT, _leaf(locks[0])), 2);
        assertEq(adj.mark(id, HUB, _leaf(locks[0])), 0);
    }

    function test_resolve_showsThePreimage() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        Resolution memory r = _resolveFirst(CLIENT, locks);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Resolved(id, locks[0].hash, CLIENT, 1, 100, abi.encode(_preimage(1)));
        _resolve(r);
    }

    /// R17: a higher seq drops what was counted; the mark lets it be counted again, even after the lock expired.
    function test_resolve_recountsMarkedLockAfterExpiry_R17() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        _resolve(_resolveAll(CLIENT, locks));
        _balances(850, 1150);
        vm.warp(t0 + 4 hours);
        _submit(_withLocks(_voucher(CLIENT, 2, 12, 0, 0), locks));
        _balances(988, 1012);
        Resolution memory r = _resolveAll(CLIENT, locks);
        r.unlocks[1].witness = "";
        _resolve(r);
        _balances(848, 1152);
        assertEq(_state().clientLocks.counted, 140);
    }

    function test_resolve_revertsIfExpired_R17() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        uint256[] memory second = new uint256[](1);
        second[0] = 1;
        Resolution memory r = _resolution(CLIENT, locks, second);
        vm.warp(t0 + 3 hours);
        _fails(IAdjudicator.LockExpired.selector, t0 + 3 hours, t0 + 3 hours);
        _resolve(r);
        vm.warp(t0 + 3 hours - 1);
        _resolve(r);
        _balances(950, 1050);
    }

    function test_resolve_revertsIfPreimageWrong() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        Resolution memory r = _resolveFirst(CLIENT, locks);
        r.unlocks[0].witness = abi.encode(_preimage(2));
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.WrongPreimage.selector, locks[0].hash));
        _resolve(r);
    }

    /// A preimage is 32 bytes, or it would not fit elsewhere on its route.
    function test_resolve_revertsIfPreimageIsNot32Bytes() public {
        bytes memory longer = abi.encodePacked(_preimage(1), hex"00");
        Lock[] memory locks = _one(Lock(1, 100, t0 + 1 days, sha256(longer), address(0)));
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        Resolution memory r = _resolveFirst(CLIENT, locks);
        r.unlocks[0].witness = longer;
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.WrongPreimage.selector, locks[0].hash));
        _resolve(r);
    }

    function test_resolve_revertsIfNotProven() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        Resolution memory r = _resolveFirst(CLIENT, locks);
        r.unlocks[0].lock.amount = 101;
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.LockNotProven.selector, _leaf(r.unlocks[0].lock)));
        _resolve(r);
        r.unlocks[0].lock.amount = 100;
        r.unlocks[0].proof[0] = 0;
        vm.expectPartialRevert(IAdjudicator.LockNotProven.selector);
        _resolve(r);
    }

    function test_resolve_revertsIfOpeningDiffers() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        Resolution memory r = _resolveFirst(CLIENT, locks);
        r.opening.total += 1;
        vm.expectPartialRevert(IAdjudicator.WrongOpening.selector);
        _resolve(r);
    }

    function test_resolve_revertsIfNotThePayee() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        Resolution[] memory r = _list(_resolveFirst(CLIENT, locks));
        address[3] memory others = [alice, config.clientSigner, stranger];
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(abi.encodeWithSelector(IAdjudicator.NotThePayee.selector, others[i]));
            adj.submit(config, _noVouchers(), r);
        }
        vm.prank(config.hubSigner);
        adj.submit(config, _noVouchers(), r);
        _balances(890, 1110);
    }

    function test_resolve_revertsIfSideUnknown() public {
        Lock[] memory locks = _locks();
        _dispute();
        Resolution memory r = _resolveFirst(2, locks);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.WrongSide.selector, 2));
        _resolve(r);
    }

    function test_resolve_revertsIfNotDisputed() public {
        Lock[] memory locks = _locks();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        _fails(IAdjudicator.WrongStatus.selector, 2, 1);
        _resolve(_resolveFirst(CLIENT, locks));
    }

    function test_resolve_revertsIfNoLocksStored() public {
        _dispute();
        Resolution memory r = _resolveFirst(CLIENT, _locks());
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.NoLiveLocks.selector, id, 0));
        _resolve(r);
        r.payer = 2;
        vm.prank(hub);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.WrongSide.selector, 2));
        adj.submit(config, _noVouchers(), _list(r));
    }

    /// R19: best.seq < floor_seq: an ack of a newer voucher says that the locks are gone.
    function test_submit_ackSupersedesLocks_R19() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 5, 10, 0, 0), locks));
        _resolve(_resolveAll(CLIENT, locks));
        _balances(850, 1150);
        _submit(_voucher(HUB, 1, 0, 5, 10)); // acks the voucher with the locks itself: they live
        _balances(850, 1150);
        _submit(_voucher(HUB, 2, 0, 6, 12));
        _balances(988, 1012);
        assertFalse(_state().clientLocks.live);
        vm.expectPartialRevert(IAdjudicator.NoLiveLocks.selector);
        _resolve(_resolveAll(CLIENT, locks));
        _finalizeAt(t0 + PERIOD);
    }

    /// A stale voucher with locks adds its paid and nothing else.
    function test_submit_staleLocksStayDead_R19() public {
        Lock[] memory locks = _locks();
        _submit(_voucher(HUB, 1, 0, 6, 5));
        _submit(_withLocks(_voucher(CLIENT, 5, 10, 0, 0), locks));
        assertFalse(_state().clientLocks.live);
        assertEq(_state().clientPaid, 10);
        _submit(_withLocks(_voucher(CLIENT, 6, 10, 0, 0), locks));
        assertTrue(_state().clientLocks.live, "the acked seq itself");
    }

    /// The same voucher again, or another at the same seq, does not reset what was counted.
    function test_submit_keepsCountIfSameSeq_R17() public {
        Lock[] memory locks = _locks();
        _dispute();
        Submission memory s = _withLocks(_voucher(CLIENT, 5, 10, 0, 0), locks);
        _submit(s);
        _resolve(_resolveAll(CLIENT, locks));
        _submit(s);
        _submit(_withLocks(_voucher(CLIENT, 5, 10, 0, 0), _one(_lock(9, 1, t0 + 1 days))));
        _balances(850, 1150);
        assertEq(_state().clientLocks.counted, 140);
    }

    function test_submit_lockFreeVoucherSupersedesOwnLocks_R17() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 5, 10, 0, 0), locks));
        _resolve(_resolveAll(CLIENT, locks));
        _submit(_voucher(CLIENT, 6, 110, 0, 0));
        _balances(890, 1110);
        assertFalse(_state().clientLocks.live);
    }

    function test_resolve_neverExceedsCommittedTotal() public {
        Lock[] memory locks = _locks();
        LocksOpening memory o = _opening(locks);
        o.total = 110;
        Submission memory s = _voucher(CLIENT, 1, 10, 0, 0);
        s.locks = keccak256(abi.encode(o));
        _dispute();
        _submit(_resign(s));
        Resolution memory r = _resolveAll(CLIENT, locks);
        r.opening = o;
        _resolve(r);
        _balances(880, 1120);
    }

    function test_resolve_fitsItsFieldIfTotalIsHuge() public {
        Lock[] memory locks = _two(_lock(1, type(uint128).max, t0 + 1 days), _lock(2, 7, t0 + 1 days));
        LocksOpening memory o = _opening(_one(_lock(1, 1, t0 + 1 days)));
        o.root = Tree.root(_leaves(locks));
        o.total = type(uint128).max;
        Submission memory s = _voucher(CLIENT, 1, 10, 0, 0);
        s.locks = keccak256(abi.encode(o));
        _dispute();
        _submit(_resign(s));
        Resolution memory r;
        r.payer = CLIENT;
        r.opening = o;
        r.unlocks = new Unlock[](2);
        for (uint256 i = 0; i < 2; ++i) {
            r.unlocks[i] = Unlock(locks[i], abi.encode(_preimage(locks[i].id)), Tree.proof(_leaves(locks), i));
        }
        _resolve(r);
        assertEq(_state().clientLocks.counted, Words.PAID_MAX);
        assertEq(_state().clientLocks.base, 10);
        assertEq(_state().clientLocks.maxExpiry, t0 + 1 days);
        _balances(0, 2000);
    }

    // ------------------------------------------------------------------ openings

    function test_submit_takesTheOpeningLater() public {
        Lock[] memory locks = _locks();
        Submission memory s = _withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks);
        _submit(_withoutOpening(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks)));
        assertTrue(_state().clientLocks.live);
        assertFalse(_state().clientLocks.opened);
        _submit(s);
        assertTrue(_state().clientLocks.opened);
        assertEq(_state().clientLocks.maxExpiry, t0 + 2 days);
        vm.recordLogs();
        _submit(s);
        assertEq(vm.getRecordedLogs().length, 1, "no second LocksOpened");
    }

    /// An older voucher opens its own locks, not those of the one that is stored.
    function test_submit_takesNoOpeningOfOtherLocks() public {
        Lock[] memory locks = _locks();
        _submit(_withoutOpening(_withLocks(_voucher(CLIENT, 2, 10, 0, 0), locks)));
        _submit(_withLocks(_voucher(CLIENT, 1, 5, 0, 0), _one(locks[0])));
        assertFalse(_state().clientLocks.opened);
        assertEq(_state().clientLocks.maxExpiry, 0);
    }

    function test_resolve_takesTheOpeningUntilTheWindowEnds() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withoutOpening(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks)));
        Resolution memory r = _resolution(CLIENT, locks, new uint256[](0));
        assertEq(adj.finalAt(config), t0 + 2 * PERIOD);
        vm.warp(t0 + PERIOD);
        _fails(IAdjudicator.WindowOver.selector, t0 + PERIOD, t0 + PERIOD);
        _resolve(r);
        vm.warp(t0 + PERIOD - 1);
        _resolve(r);
        assertTrue(_state().clientLocks.opened);
        vm.warp(t0 + PERIOD + 10);
        _resolve(_resolveFirst(CLIENT, locks));
        _balances(890, 1110);
    }

    function test_submit_revertsIfOpeningWrong() public {
        Submission memory s = _withLocks(_voucher(CLIENT, 1, 10, 0, 0), _locks());
        s.opening[0].total += 1;
        vm.expectPartialRevert(IAdjudicator.WrongOpening.selector);
        _submit(s);
    }

    function test_submit_revertsIfExpiryTooFar_R18() public {
        Lock[] memory near = _one(_lock(1, 100, t0 + 60 days));
        Lock[] memory far = _one(_lock(1, 100, t0 + 60 days + 1));
        Submission memory tooFar = _withLocks(_voucher(CLIENT, 1, 10, 0, 0), far);
        _fails(IAdjudicator.ExpiryTooFar.selector, t0 + 60 days + 1, t0 + 60 days);
        _submit(tooFar);
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), near));
        _dispute();
        vm.warp(t0 + 1000); // counts from the dispute's start, not from now
        tooFar = _withLocks(_voucher(CLIENT, 2, 10, 0, 0), far);
        _fails(IAdjudicator.ExpiryTooFar.selector, t0 + 60 days + 1, t0 + 60 days);
        _submit(tooFar);
        _submit(_withLocks(_voucher(CLIENT, 2, 10, 0, 0), near));
        _finalizeAt(t0 + 60 days);
    }

    // ------------------------------------------------------------------ final

    function test_finalize_waitsForLiveLocks_R18() public {
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), _one(_lock(1, 100, t0 + 5 days))));
        _finalizeAt(t0 + 5 days);
    }

    function test_finalize_leavesTimeToRecount_R18() public {
        _dispute();
        _submit(_withLocks(_voucher(HUB, 1, 10, 0, 0), _one(_lock(1, 100, t0 + 1 hours))));
        _finalizeAt(t0 + 2 * PERIOD);
    }

    function test_finalize_takesTheLaterOfBothDirections_R18() public {
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), _one(_lock(1, 100, t0 + 5 days))));
        _submit(_withLocks(_voucher(HUB, 1, 10, 1, 10), _one(_lock(1, 100, t0 + 6 days))));
        _finalizeAt(t0 + 6 days);
    }

    function test_resolve_revertsIfFinal_R18() public {
        Lock[] memory locks = _two(_lock(1, 100, t0 + 3 days), _lock(2, 10, t0 + 5 days));
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        Resolution memory r = _resolveAll(CLIENT, locks);
        vm.warp(t0 + 5 days);
        _fails(IAdjudicator.AlreadyFinal.selector, t0 + 5 days, t0 + 5 days);
        _resolve(r);
        vm.warp(t0 + 3 days - 1);
        _resolve(r);
        vm.warp(t0 + 5 days - 1);
        _resolve(r);
        _balances(880, 1120);
    }

    // ------------------------------------------------------------------ cancel

    function _cancelMessage(uint64 number) internal view returns (CancelDispute memory) {
        return CancelDispute(id, number, _now() + 1 hours);
    }

    function test_cancelDispute_keepsWithdrawals_R27() public {
        Withdraw memory m = _withdrawMessage(CLIENT, 200);
        (bytes memory c, bytes memory h) = _bothSign(adj.withdrawDigest(m));
        adj.withdraw(config, m, c, h);
        _dispute();
        Close memory whole = _closeMessage(1300, 700);
        (bytes memory wc, bytes memory wh) = _bothSign(adj.closeDigest(whole));
        _fails(IAdjudicator.SumMismatch.selector, 2000, 2200);
        adj.close(config, whole, wc, wh);
        _cancel(_cancelMessage(1));
        _fails(IAdjudicator.WithdrawalNotNewer.selector, 200, 200);
        adj.withdraw(config, m, c, h);
    }

    function test_cancelDispute_reopensAndKeepsEvidence_R27() public {
        Lock[] memory locks = _locks();
        _dispute();
        _submit(_withLocks(_voucher(CLIENT, 1, 10, 0, 0), locks));
        _resolve(_resolveAll(CLIENT, locks));
        vm.expectEmit(address(adj));
        emit IAdjudicator.DisputeCancelled(id, 1);
        _cancel(_cancelMessage(1));
        assertTrue(_status() == Status.Open);
        _balances(850, 1150);
        assertEq(_state().windowEnd, 0);
        assertEq(_state().disputeNo, 1);
        vm.prank(alice);
        adj.deposit(config, 1);
        _dispute();
        assertEq(_state().disputeNo, 2);
        _balances(851, 1150);
    }

    function test_cancelDispute_revertsIfOtherNumber_R27() public {
        _dispute();
        _cancel(_cancelMessage(1));
        _dispute();
        CancelDispute memory old = _cancelMessage(1);
        _fails(IAdjudicator.WrongDisputeNo.selector, 2, 1);
        this.cancelOuter(old);
        _cancel(_cancelMessage(2));
    }

    function cancelOuter(CancelDispute calldata m) external {
        _cancel(m);
    }

    function test_cancelDispute_revertsIfOpen() public {
        CancelDispute memory m = _cancelMessage(0);
        _fails(IAdjudicator.WrongStatus.selector, 2, 1);
        this.cancelOuter(m);
    }

    function test_cancelDispute_revertsIfFinal_R27() public {
        _dispute();
        vm.warp(t0 + PERIOD);
        CancelDispute memory m = _cancelMessage(1);
        _fails(IAdjudicator.AlreadyFinal.selector, t0 + PERIOD, t0 + PERIOD);
        this.cancelOuter(m);
        vm.warp(t0 + PERIOD - 1);
        this.cancelOuter(_cancelMessage(1));
    }

    function test_cancelDispute_revertsIfOneSideDidNotSign() public {
        _dispute();
        CancelDispute memory m = _cancelMessage(1);
        (bytes memory c, bytes memory h) = _bothSign(adj.cancelDisputeDigest(m));
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        adj.cancelDispute(config, m, c, c);
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        adj.cancelDispute(config, m, h, h);
        m.channelId = 0;
        vm.expectPartialRevert(IAdjudicator.WrongChannel.selector);
        adj.cancelDispute(config, m, c, h);
    }

    function test_cancelDispute_revertsIfDeadlineOut() public {
        _dispute();
        CancelDispute memory m = _cancelMessage(1);
        m.deadline = t0 + 1 days + 1;
        _fails(IAdjudicator.DeadlineTooFar.selector, m.deadline, t0 + 1 days);
        this.cancelOuter(m);
        m.deadline = t0 - 1;
        _fails(IAdjudicator.DeadlinePassed.selector, m.deadline, t0);
        this.cancelOuter(m);
    }
}
