// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";
import {Words} from "../src/lib/Words.sol";

/// R16: who may submit what, and how it merges.
contract EvidenceTest is Base {
    function setUp() public override {
        super.setUp();
        _open();
    }

    function _floors(uint64 cs, uint128 cp, uint64 hs, uint128 hp) internal view {
        ChannelState memory s = _state();
        assertEq(s.clientSeq, cs, "client seq");
        assertEq(s.clientPaid, cp, "client paid");
        assertEq(s.hubSeq, hs, "hub seq");
        assertEq(s.hubPaid, hp, "hub paid");
    }

    function test_submit_raisesFloorsOfBothDirections_R16() public {
        _submit(_voucher(CLIENT, 7, 300, 4, 120));
        _floors(7, 300, 4, 120);
        _submit(_voucher(HUB, 5, 130, 8, 310));
        _floors(8, 310, 5, 130);
    }

    function test_submit_keepsHigherFloorsIfOlder_R16_F1() public {
        _submit(_voucher(CLIENT, 7, 300, 4, 120));
        _submit(_voucher(CLIENT, 6, 250, 3, 100));
        _floors(7, 300, 4, 120);
    }

    function test_submit_takesBothSenders() public {
        _submitAs(hub, _voucher(CLIENT, 1, 10, 0, 0));
        _submitAs(config.hubSigner, _voucher(CLIENT, 2, 20, 0, 0));
        _submitAs(alice, _voucher(HUB, 1, 10, 0, 0));
        _submitAs(config.clientSigner, _voucher(HUB, 2, 20, 0, 0));
        _floors(2, 20, 2, 20);
    }

    function test_submit_revertsIfSenderIsNotThePayee_R16() public {
        Submission memory s = _voucher(CLIENT, 1, 10, 0, 0);
        address[3] memory others = [alice, config.clientSigner, stranger];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IAdjudicator.NotThePayee.selector, others[i]));
            _submitAs(others[i], s);
        }
        s = _voucher(HUB, 1, 10, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.NotThePayee.selector, hub));
        _submitAs(hub, s);
    }

    function test_submit_revertsIfSignatureIsNotThePayersSigner() public {
        Submission memory s = _voucher(CLIENT, 1, 10, 0, 0);
        bytes32 digest = _voucherDigest(s);
        uint256[3] memory keys = [hubSignerKey, aliceKey, hubKey];
        for (uint256 i = 0; i < 3; ++i) {
            s.signature = _sign(keys[i], digest);
            vm.expectRevert(abi.encodeWithSelector(IAdjudicator.BadSignature.selector, config.clientSigner, digest));
            _submitAs(hub, s);
        }
        s = _voucher(HUB, 1, 10, 0, 0);
        digest = _voucherDigest(s);
        s.signature = _sign(aliceSignerKey, digest);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.BadSignature.selector, config.hubSigner, digest));
        _submitAs(alice, s);
    }

    function test_submit_revertsIfAnyFieldDiffers() public {
        for (uint256 i = 0; i < 7; ++i) {
            Submission memory s = _voucher(CLIENT, 5, 10, 3, 4);
            if (i == 0) s.seq = 6;
            if (i == 1) s.paid = 11;
            if (i == 2) s.ackSeq = 4;
            if (i == 3) s.ackPaid = 5;
            if (i == 4) s.locks = keccak256("x");
            if (i == 5) s.history = 0;
            if (i == 6) config.salt = 0;
            vm.prank(hub);
            vm.expectRevert();
            adj.submit(config, _list(s), _noLocks());
        }
    }

    function test_submit_revertsIfSignatureMalleated() public {
        Submission memory s = _voucher(CLIENT, 1, 10, 0, 0);
        (uint8 v, bytes32 r, bytes32 low) = vm.sign(aliceSignerKey, _voucherDigest(s));
        uint256 n = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        s.signature = abi.encodePacked(r, bytes32(n - uint256(low)), v == 27 ? 28 : 27);
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        _submitAs(hub, s);
        s.signature = abi.encodePacked(r, low, v - 27);
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        _submitAs(hub, s);
    }

    function test_submit_revertsIfTooLarge_R1_R2() public {
        uint64 seqMax = uint64(Words.SEQ_MAX);
        uint128 paidMax = uint128(Words.PAID_MAX);
        _submitFails(_voucher(CLIENT, seqMax + 1, 0, 0, 0), IAdjudicator.SeqTooLarge.selector, seqMax);
        _submitFails(_voucher(CLIENT, 1, 0, seqMax + 1, 0), IAdjudicator.SeqTooLarge.selector, seqMax);
        _submitFails(_voucher(CLIENT, 1, paidMax + 1, 0, 0), IAdjudicator.PaidTooLarge.selector, paidMax);
        _submitFails(_voucher(CLIENT, 1, 0, 0, paidMax + 1), IAdjudicator.PaidTooLarge.selector, paidMax);
        // the largest are not what is at fault
        _submitFails(_voucher(CLIENT, seqMax, paidMax, seqMax, paidMax + 1), IAdjudicator.PaidTooLarge.selector, paidMax);
        _submit(_voucher(CLIENT, seqMax, paidMax, seqMax, paidMax));
        _floors(seqMax, paidMax, seqMax, paidMax);
    }

    function _submitFails(Submission memory s, bytes4 selector, uint256 limit) internal {
        _fails(selector, limit + 1, limit);
        _submit(s);
    }

    function test_submit_revertsIfSideUnknown() public {
        Submission memory s = _voucher(CLIENT, 1, 10, 0, 0);
        s.payer = 2;
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.WrongSide.selector, 2));
        _submitAs(hub, s);
    }

    function test_submit_revertsIfNeverOpenedOrClosed() public {
        config.salt = 0;
        Submission memory s = _voucher(CLIENT, 1, 10, 0, 0);
        _fails(IAdjudicator.WrongStatus.selector, 2, 0);
        _submit(s);
        config.salt = keccak256("salt");
        _close(_closeMessage(1000, 1000));
        _fails(IAdjudicator.WrongStatus.selector, 2, 3);
        _submit(s);
    }

    function test_submit_revertsIfWindowOver_R18_F1() public {
        _dispute();
        uint256 end = block.timestamp + PERIOD;
        Submission memory s = _voucher(CLIENT, 1, 10, 0, 0);
        vm.warp(end - 1);
        _submit(s);
        vm.warp(end);
        _fails(IAdjudicator.WindowOver.selector, end, end);
        _submit(s);
    }

    // ------------------------------------------------------------------ batch signatures

    function test_submit_takesBatchSignatureOfTheHub() public {
        for (uint256 depth = 1; depth <= 16; ++depth) {
            _submit(_batchSigned(_voucher(HUB, uint64(depth), uint128(depth * 10), 0, 0), depth, depth));
            _floors(0, 0, uint64(depth), uint128(depth * 10));
        }
    }

    function test_submit_revertsIfBatchTooDeep() public {
        Submission memory s = _batchSigned(_voucher(HUB, 1, 10, 0, 0), 17, 0);
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        _submit(s);
    }

    function test_submit_revertsIfBatchProofWrong() public {
        Submission memory s = _batchSigned(_voucher(HUB, 1, 10, 0, 0), 3, 0);
        s.signature[100] ^= 0x01;
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        _submit(s);
        s.signature[100] ^= 0x01;
        bytes memory good = s.signature;
        s.signature = bytes.concat(good, hex"00");
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        _submit(s);
        s.signature = new bytes(64);
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        _submit(s);
        s.signature = "";
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        _submit(s);
        s.signature = good;
        _submit(s);
    }

    /// A client's key under a batch signs nothing.
    function test_submit_revertsIfBatchIsTheClients() public {
        Submission memory s = _voucher(CLIENT, 1, 10, 0, 0);
        bytes32 sibling = keccak256("sibling");
        bytes32 digest = adj.batchDigest(Tree.pair(_voucherDigest(s), sibling));
        s.signature = abi.encodePacked(_sign(aliceSignerKey, digest), sibling);
        vm.expectPartialRevert(IAdjudicator.BadSignature.selector);
        _submit(s);
    }

    // ------------------------------------------------------------------ countersignatures (R28)

    function test_submit_takesSubmitterWithAccept_R28() public {
        Submission memory s = _accepted(_voucher(HUB, 3, 30, 2, 20), watchtower, false, _now());
        _submitAs(watchtower, s);
        _floors(2, 20, 3, 30);
        s = _accepted(_voucher(CLIENT, 3, 30, 3, 30), watchtower, false, _now());
        _submitAs(watchtower, s);
        _floors(3, 30, 3, 30);
    }

    function test_submit_revertsIfAcceptIsForAnother() public {
        Submission memory s = _accepted(_voucher(HUB, 3, 30, 2, 20), watchtower, false, _now());
        vm.expectPartialRevert(IAdjudicator.BadCountersignature.selector);
        _submitAs(stranger, s);
        s.countersignature[0].mayDispute = true;
        vm.expectPartialRevert(IAdjudicator.BadCountersignature.selector);
        _submitAs(watchtower, s);
        s.countersignature[0].mayDispute = false;
        s.countersignature[0].deadline += 1;
        vm.expectPartialRevert(IAdjudicator.BadCountersignature.selector);
        _submitAs(watchtower, s);
        Submission memory other = _voucher(HUB, 4, 40, 2, 20);
        s.countersignature[0].deadline -= 1;
        other.countersignature = s.countersignature;
        vm.expectPartialRevert(IAdjudicator.BadCountersignature.selector);
        _submitAs(watchtower, other);
    }

    function test_submit_revertsIfAcceptIsThePayers() public {
        Submission memory s = _accepted(_voucher(HUB, 3, 30, 2, 20), watchtower, false, _now());
        bytes32 digest = adj.acceptDigest(Accept(_voucherDigest(s), watchtower, false, _now()));
        s.countersignature[0].signature = _sign(hubSignerKey, digest);
        vm.expectPartialRevert(IAdjudicator.BadCountersignature.selector);
        _submitAs(watchtower, s);
    }

    function test_submit_revertsIfAcceptExpired() public {
        uint64 deadline = _now() + 10;
        Submission memory s = _accepted(_voucher(HUB, 3, 30, 2, 20), watchtower, false, deadline);
        vm.warp(deadline + 1);
        _fails(IAdjudicator.DeadlinePassed.selector, deadline, deadline + 1);
        _submitAs(watchtower, s);
        vm.warp(deadline);
        _submitAs(watchtower, s);
    }

    /// A batch signature counts under vouchers only.
    function test_submit_revertsIfAcceptIsBatchSigned() public {
        Submission memory s = _accepted(_voucher(CLIENT, 3, 30, 2, 20), watchtower, false, _now());
        bytes32 digest = adj.acceptDigest(Accept(_voucherDigest(s), watchtower, false, _now()));
        bytes32 sibling = keccak256("sibling");
        s.countersignature[0].signature =
            abi.encodePacked(_sign(hubSignerKey, adj.batchDigest(Tree.pair(digest, sibling))), sibling);
        vm.expectPartialRevert(IAdjudicator.BadCountersignature.selector);
        _submitAs(watchtower, s);
    }

    // ------------------------------------------------------------------ submitMany

    function _item(uint64 seq, uint128 paid) internal view returns (ClientVoucher memory v) {
        Submission memory s = _voucher(CLIENT, seq, paid, 2, 20);
        v = ClientVoucher(
            config.client,
            config.clientSigner,
            config.salt,
            seq,
            paid,
            2,
            20,
            s.history,
            _compact(s.signature)
        );
    }

    function test_submitMany_mergesLikeSubmit() public {
        ClientVoucher[] memory items = new ClientVoucher[](1);
        items[0] = _item(5, 50);
        vm.prank(config.hubSigner);
        adj.submitMany(_side(), items);
        _floors(5, 50, 2, 20);
    }

    function test_submitMany_skipsBadItems() public {
        ClientVoucher[] memory items = new ClientVoucher[](5);
        items[0] = _item(5, 50);
        items[0].paid = 51;
        items[1] = _item(uint64(Words.SEQ_MAX) + 1, 50);
        items[2] = _item(6, uint128(Words.PAID_MAX) + 1);
        items[3] = _item(7, 70);
        items[3].salt = 0;
        items[4] = _item(5, 50);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Skipped(id, IAdjudicator.BadSignature.selector);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Skipped(id, IAdjudicator.SeqTooLarge.selector);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Skipped(id, IAdjudicator.PaidTooLarge.selector);
        vm.prank(hub);
        adj.submitMany(_side(), items);
        _floors(5, 50, 2, 20);
    }

    function test_submitMany_skipsIfWindowOver() public {
        _dispute();
        uint256 end = block.timestamp + PERIOD;
        ClientVoucher[] memory items = new ClientVoucher[](1);
        items[0] = _item(5, 50);
        vm.warp(end - 1);
        vm.prank(hub);
        adj.submitMany(_side(), items);
        _floors(5, 50, 2, 20);
        vm.warp(end);
        items[0] = _item(6, 60);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Skipped(id, IAdjudicator.WindowOver.selector);
        vm.prank(hub);
        adj.submitMany(_side(), items);
        _floors(5, 50, 2, 20);
    }

    function test_submitMany_revertsIfNotTheHub() public {
        ClientVoucher[] memory items = new ClientVoucher[](1);
        items[0] = _item(5, 50);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.NotAParty.selector, alice));
        adj.submitMany(_side(), items);
    }
}
