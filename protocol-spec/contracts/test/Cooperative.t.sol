// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";
import {Wallet} from "./hostile/Hostile.sol";

/// close (R15), withdraw (R13, R14), claim; signed by both sides.
contract CooperativeTest is Base {
    function setUp() public override {
        super.setUp();
        _open();
    }

    function closeOuter(Close calldata m) external {
        _close(m);
    }

    function withdrawOuter(Withdraw calldata m) external {
        _withdraw(m);
    }

    // ------------------------------------------------------------------ close

    function test_close_paysBoth_R15() public {
        vm.expectEmit(address(adj));
        emit IAdjudicator.Closed(id, 1300, 700);
        _close(_closeMessage(1300, 700));
        assertEq(token.balanceOf(alice), 1e30 + 300);
        assertEq(adj.vault(address(token), hub), 700);
        assertEq(token.balanceOf(address(adj)), 700);
        assertTrue(_status() == Status.Closed);
    }

    function test_close_worksInADispute_R15() public {
        _dispute();
        _close(_closeMessage(0, 2000));
        assertEq(adj.vault(address(token), hub), 2000);
    }

    function test_close_givesLaterDepositsToTheirSide_R15() public {
        Close memory m = _closeMessage(1300, 700);
        vm.prank(stranger);
        adj.deposit(config, 1);
        _fundVault(50);
        _reserve(50);
        _close(m);
        assertEq(token.balanceOf(alice), 1e30 + 301);
        assertEq(adj.vault(address(token), hub), 750);
    }

    function test_close_subtractsWithdrawals_R15() public {
        _withdraw(_withdrawMessage(CLIENT, 200));
        _withdraw(_withdrawMessage(HUB, 100));
        Close memory m = _closeMessage(1300, 700);
        _fails(IAdjudicator.SumMismatch.selector, 2000, 2300);
        this.closeOuter(m);
        _close(_closeMessage(1100, 600));
        assertEq(token.balanceOf(alice), 1e30 + 300);
        assertEq(adj.vault(address(token), hub), 700);
        assertEq(_state().clientWithdrawn, 200);
    }

    /// A client may withdraw more than it deposited, out of what it earned.
    function test_close_worksIfClientNetIsNegative() public {
        _withdraw(_withdrawMessage(CLIENT, 1900));
        assertEq(_state().clientNet, -900);
        _close(_closeMessage(60, 40));
        assertEq(token.balanceOf(alice), 1e30 + 960);
        assertEq(adj.vault(address(token), hub), 40);
    }

    function test_close_revertsIfSumDiffers() public {
        Close memory m = _closeMessage(1300, 701);
        _fails(IAdjudicator.SumMismatch.selector, 2000, 2001);
        this.closeOuter(m);
        m = _closeMessage(1300, 699);
        _fails(IAdjudicator.SumMismatch.selector, 2000, 1999);
        this.closeOuter(m);
    }

    function test_close_revertsIfNamedDepositIsMissing_R15() public {
        Close memory m = _closeMessage(1001, 1000);
        m.clientDeposit = 1001;
        _fails(IAdjudicator.DepositMissing.selector, 1001, 1000);
        this.closeOuter(m);
        m.clientDeposit = 1000;
        m.hubDeposit = 1001;
        _fails(IAdjudicator.DepositMissing.selector, 1001, 1000);
        this.closeOuter(m);
    }

    function test_close_revertsIfTwiceOrNeverOpened_F1() public {
        Close memory m = _closeMessage(1300, 700);
        _close(m);
        _fails(IAdjudicator.WrongStatus.selector, 1, 3);
        this.closeOuter(m);
        config.salt = 0;
        m.channelId = id = adj.channelIdOf(config);
        _fails(IAdjudicator.WrongStatus.selector, 1, 0);
        this.closeOuter(m);
    }

    function test_close_revertsIfDeadlineOut() public {
        Close memory m = _closeMessage(1300, 700);
        uint64 t = m.deadline;
        vm.warp(t + 1);
        _fails(IAdjudicator.DeadlinePassed.selector, t, t + 1);
        this.closeOuter(m);
        vm.warp(t - 1 days - 1);
        _fails(IAdjudicator.DeadlineTooFar.selector, t, t - 1);
        this.closeOuter(m);
        uint256 snapshot = vm.snapshotState();
        vm.warp(t - 1 days);
        this.closeOuter(m);
        vm.revertToState(snapshot);
        vm.warp(t);
        this.closeOuter(m);
    }

    function test_close_revertsIfChannelDiffers() public {
        Close memory m = _closeMessage(1300, 700);
        m.channelId = keccak256("other");
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.WrongChannel.selector, id, m.channelId));
        this.closeOuter(m);
    }

    /// Each side's account or signer counts, whether it signs or sends; nobody else's.
    function test_close_takesAnyKeyOfBothSides() public {
        Close memory m = _closeMessage(1300, 700);
        bytes32 digest = adj.closeDigest(m);
        uint256[2] memory clientKeys = [aliceKey, aliceSignerKey];
        uint256[2] memory hubKeys = [hubKey, hubSignerKey];
        for (uint256 i = 0; i < 4; ++i) {
            bytes memory c = _sign(clientKeys[i / 2], digest);
            bytes memory h = _sign(hubKeys[i % 2], digest);
            uint256 snapshot = vm.snapshotState();
            vm.prank(stranger);
            adj.close(config, m, c, h);
            vm.revertToState(snapshot);
            vm.prank(vm.addr(clientKeys[i / 2]));
            adj.close(config, m, "", h);
            vm.revertToState(snapshot);
            vm.prank(vm.addr(hubKeys[i % 2]));
            adj.close(config, m, c, "");
            vm.revertToState(snapshot);
            _closeFails(stranger, m, c, c);
            _closeFails(stranger, m, h, h);
            _closeFails(stranger, m, "", h);
            _closeFails(vm.addr(clientKeys[i / 2]), m, c, "");
            _closeFails(vm.addr(hubKeys[i % 2]), m, "", h);
        }
    }

    function _closeFails(address sender, Close memory m, bytes memory c, bytes memory h) internal {
        vm.prank(sender);
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        adj.close(config, m, c, h);
    }

    /// A batch signature counts under vouchers only.
    /// What is no signature recovers to nobody, who is no party.
    function test_close_revertsIfNobodyIsTheClient() public {
        (config.client, config.clientSigner) = (address(0), address(0));
        id = adj.channelIdOf(config);
        Close memory m = _closeMessage(0, 0);
        bytes32 digest = adj.closeDigest(m);
        (, bytes memory h) = _bothSign(digest);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.BadSignature.selector, address(0), digest));
        adj.close(config, m, new bytes(65), h);
    }

    function test_close_revertsIfBatchSigned() public {
        Close memory m = _closeMessage(1300, 700);
        bytes32 digest = adj.closeDigest(m);
        bytes32 sibling = keccak256("sibling");
        bytes memory batch =
            abi.encodePacked(_sign(hubSignerKey, adj.batchDigest(Tree.pair(digest, sibling))), sibling);
        _closeFails(stranger, m, _sign(aliceSignerKey, digest), batch);
    }

    function test_close_takesWallet_ERC1271() public {
        Wallet wallet = new Wallet(aliceKey);
        config.client = address(wallet);
        id = adj.channelIdOf(config);
        vm.prank(alice);
        adj.open(config, EACH);
        _fundVault(EACH);
        _reserve(EACH);
        Close memory m = _closeMessage(1300, 700);
        bytes32 digest = adj.closeDigest(m);
        bytes memory h = _sign(hubSignerKey, digest);
        // the owner's plain ECDSA is the wallet's ERC-1271 signature; it recovers to an address that is no party
        bytes memory c = _sign(aliceKey, digest);
        wallet.setAnswer(0xffffffff);
        _closeFails(stranger, m, c, h);
        wallet.setAnswer(0x1626ba7e);
        _closeFails(stranger, m, _sign(hubKey, digest), h);
        vm.prank(stranger);
        adj.close(config, m, c, h);
        assertEq(token.balanceOf(address(wallet)), 1300);
    }

    // ------------------------------------------------------------------ closeMany

    function _closeItem(Close memory m) internal view returns (ClientClose memory c) {
        c.client = config.client;
        c.clientSigner = config.clientSigner;
        c.salt = config.salt;
        (c.clientDeposit, c.hubDeposit) = (m.clientDeposit, m.hubDeposit);
        (c.clientBalance, c.hubBalance, c.deadline) = (m.clientBalance, m.hubBalance, m.deadline);
        (bytes memory client, bytes memory hub_) = _bothSign(adj.closeDigest(m));
        (c.clientSignature, c.hubSignature) = (_compact(client), _compact(hub_));
    }

    function test_closeMany_skipsBadItems() public {
        ClientClose[] memory items = new ClientClose[](7);
        Close memory m = _closeMessage(1300, 700);
        items[0] = _closeItem(m);
        items[0].hubSignature = items[0].clientSignature;
        items[1] = _closeItem(m);
        items[1].clientSignature = items[1].hubSignature;
        m.deadline = _now() - 1;
        items[2] = _closeItem(m);
        m.deadline = _now() + 1 days + 1;
        items[3] = _closeItem(m);
        m.deadline = _now() + 1 days;
        m.clientDeposit = 1001;
        items[4] = _closeItem(m);
        m.clientDeposit = 999;
        items[5] = _closeItem(m);
        m.clientDeposit = 1000;
        items[6] = _closeItem(m);
        bytes4[6] memory reasons = [
            IAdjudicator.BadSignature.selector,
            IAdjudicator.BadSignature.selector,
            IAdjudicator.DeadlinePassed.selector,
            IAdjudicator.DeadlineTooFar.selector,
            IAdjudicator.DepositMissing.selector,
            IAdjudicator.SumMismatch.selector
        ];
        for (uint256 i = 0; i < 6; ++i) {
            vm.expectEmit(address(adj));
            emit IAdjudicator.Skipped(id, reasons[i]);
        }
        vm.expectEmit(address(adj));
        emit IAdjudicator.Closed(id, 1300, 700);
        vm.prank(stranger);
        adj.closeMany(_side(), items);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Skipped(id, IAdjudicator.WrongStatus.selector);
        adj.closeMany(_side(), items);
    }

    function test_closeMany_paysBothSides() public {
        ClientClose[] memory items = new ClientClose[](1);
        items[0] = _closeItem(_closeMessage(1300, 700));
        uint256 vaultBefore = adj.vault(address(token), hub);
        uint256 purseBefore = token.balanceOf(config.client);
        adj.closeMany(_side(), items);
        assertEq(adj.vault(address(token), hub), vaultBefore + 700);
        assertEq(token.balanceOf(config.client), purseBefore + 1300);
    }

    /// The hub's sides are added to each other and to what its vault holds.
    function test_closeMany_paysManyChannels() public {
        ClientClose[] memory items = new ClientClose[](2);
        items[0] = _closeItem(_closeMessage(1300, 700));
        config.salt = 0;
        id = adj.channelIdOf(config);
        _open();
        items[1] = _closeItem(_closeMessage(1990, 10));
        _fundVault(5);
        adj.closeMany(_side(), items);
        assertEq(adj.vault(address(token), hub), 5 + 700 + 10);
        assertEq(token.balanceOf(alice), 1e30 - 2000 + 1300 + 1990);
    }

    function test_closeMany_needsNoSignatureOfTheSender() public {
        ClientClose[] memory items = new ClientClose[](1);
        items[0] = _closeItem(_closeMessage(1300, 700));
        delete items[0].hubSignature;
        uint256 snapshot = vm.snapshotState();
        adj.closeMany(_side(), items);
        assertTrue(_status() == Status.Open);
        vm.prank(config.hubSigner);
        adj.closeMany(_side(), items);
        assertTrue(_status() == Status.Closed);
        vm.revertToState(snapshot);
        items[0] = _closeItem(_closeMessage(1300, 700));
        delete items[0].clientSignature;
        vm.prank(alice);
        adj.closeMany(_side(), items);
        assertTrue(_status() == Status.Closed);
    }

    // ------------------------------------------------------------------ withdraw

    function test_withdraw_paysTheClient_R14() public {
        vm.expectEmit(address(adj));
        emit IAdjudicator.Withdrawn(id, CLIENT, 300, 300);
        _withdraw(_withdrawMessage(CLIENT, 300));
        _withdraw(_withdrawMessage(CLIENT, 350));
        assertEq(token.balanceOf(alice), 1e30 - 1000 + 350);
        assertEq(_state().clientWithdrawn, 350);
        assertEq(_state().clientNet, 650);
        assertEq(_state().total, 1650);
    }

    function test_withdraw_releasesAReserveToTheVault() public {
        _withdraw(_withdrawMessage(HUB, 400));
        assertEq(adj.vault(address(token), hub), 400);
        assertEq(_state().hubWithdrawn, 400);
        assertEq(_state().clientWithdrawn, 0);
        assertEq(_state().clientNet, 1000);
        assertEq(_state().total, 1600);
        _withdraw(_withdrawMessage(HUB, 430));
        assertEq(adj.vault(address(token), hub), 430);
    }

    function test_withdraw_raisesSeqAndPaidFloors_R14() public {
        Lock[] memory locks = _one(_lock(1, 100, _now() + 2 days));
        _submit(_withLocks(_voucher(CLIENT, 5, 10, 0, 0), locks));
        Withdraw memory m = _withdrawMessage(CLIENT, 1);
        (m.clientSeq, m.clientPaid, m.hubSeq, m.hubPaid) = (5, 12, 7, 30);
        _withdraw(m);
        assertTrue(_state().clientLocks.live);
        m.total = 2;
        (m.clientSeq, m.clientPaid, m.hubSeq, m.hubPaid) = (6, 11, 6, 20);
        _withdraw(m);
        ChannelState memory s = _state();
        assertFalse(s.clientLocks.live, "superseded");
        assertEq(s.clientSeq, 6);
        assertEq(s.clientPaid, 12);
        assertEq(s.hubSeq, 7);
        assertEq(s.hubPaid, 30);
    }

    function test_withdraw_revertsIfNotNewer_R14() public {
        Withdraw memory m = _withdrawMessage(CLIENT, 300);
        _withdraw(m);
        _fails(IAdjudicator.WithdrawalNotNewer.selector, 300, 300);
        this.withdrawOuter(m);
        _withdraw(_withdrawMessage(HUB, 10));
        m = _withdrawMessage(HUB, 9);
        _fails(IAdjudicator.WithdrawalNotNewer.selector, 9, 10);
        this.withdrawOuter(m);
    }

    function test_withdraw_revertsIfMoreThanTotal_R14() public {
        Withdraw memory m = _withdrawMessage(CLIENT, 2001);
        _fails(IAdjudicator.InsufficientTotal.selector, 2001, 2000);
        this.withdrawOuter(m);
        m = _withdrawMessage(CLIENT, 2000);
        _withdraw(m);
        assertEq(_state().total, 0);
    }

    /// Money that moves around through one channel again and again ends at a limit, not in a wrapped field.
    function test_withdraw_revertsIfNetLeavesItsField() public {
        uint128 most = type(uint88).max - 2000;
        uint128 total = 0;
        for (uint256 i = 0; i < 128; ++i) {
            token.mint(hub, most);
            _fundVault(most);
            _reserve(most);
            total += most;
            _withdraw(_withdrawMessage(CLIENT, total));
        }
        token.mint(hub, most);
        _fundVault(most);
        _reserve(most);
        Withdraw memory m = _withdrawMessage(CLIENT, total + most);
        _fails(IAdjudicator.TotalTooLarge.selector, 2000, type(uint88).max);
        this.withdrawOuter(m);
        assertEq(_state().clientNet, 1000 - int128(total));
        uint128 last = 2 ** 95 - 1 + 1000 - total;
        _withdraw(_withdrawMessage(CLIENT, total + last));
        assertEq(_state().clientNet, -(2 ** 95 - 1));
        adj.deposit(config, 0);
        m = _withdrawMessage(CLIENT, total + last + 1);
        _fails(IAdjudicator.TotalTooLarge.selector, 2000 + most - last - 1, type(uint88).max);
        this.withdrawOuter(m);
    }

    function test_withdraw_revertsIfNotOpen_R14() public {
        _dispute();
        Withdraw memory m = _withdrawMessage(CLIENT, 1);
        _fails(IAdjudicator.WrongStatus.selector, 1, 2);
        this.withdrawOuter(m);
    }

    function test_withdraw_revertsIfDeadlineOut_R14() public {
        Withdraw memory m = _withdrawMessage(CLIENT, 1);
        uint64 t = m.deadline;
        vm.warp(t + 1);
        _fails(IAdjudicator.DeadlinePassed.selector, t, t + 1);
        this.withdrawOuter(m);
        vm.warp(t - 1 days - 1);
        _fails(IAdjudicator.DeadlineTooFar.selector, t, t - 1);
        this.withdrawOuter(m);
        vm.warp(t);
        this.withdrawOuter(m);
    }

    function test_withdraw_revertsIfSideUnknown() public {
        Withdraw memory m = _withdrawMessage(2, 1);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.WrongSide.selector, 2));
        this.withdrawOuter(m);
    }

    function test_withdraw_revertsIfTooLarge() public {
        Withdraw memory m = _withdrawMessage(CLIENT, 1);
        m.hubSeq = 2 ** 36;
        _fails(IAdjudicator.SeqTooLarge.selector, 2 ** 36, 2 ** 36 - 1);
        this.withdrawOuter(m);
        m.hubSeq = 0;
        m.clientPaid = 2 ** 88;
        _fails(IAdjudicator.PaidTooLarge.selector, 2 ** 88, 2 ** 88 - 1);
        this.withdrawOuter(m);
    }

    function test_withdraw_revertsIfOneSideDidNotSign() public {
        Withdraw memory m = _withdrawMessage(CLIENT, 1);
        (bytes memory c, bytes memory h) = _bothSign(adj.withdrawDigest(m));
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        adj.withdraw(config, m, c, c);
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        adj.withdraw(config, m, h, h);
        m.total = 2;
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        adj.withdraw(config, m, c, h);
        m.channelId = 0;
        vm.expectPartialRevert(IAdjudicator.WrongChannel.selector);
        adj.withdraw(config, m, c, h);
    }

    function test_claim_revertsIfNothing() public {
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.NothingToClaim.selector, alice, address(token)));
        adj.claim(address(token), alice);
    }
}
