// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";
import {HostileToken, Receiver, Resolver} from "./hostile/Hostile.sol";
import {Payout} from "../src/lib/Payout.sol";

/// F4-F7: tokens, receivers and resolvers that misbehave hurt nobody but their own users.
contract HostileTest is Base {
    HostileToken internal bad;

    function setUp() public override {
        super.setUp();
        bad = new HostileToken();
        config.token = address(bad);
        id = adj.channelIdOf(config);
        for (uint256 i = 0; i < 2; ++i) {
            address who = i == 0 ? alice : hub;
            bad.mint(who, 1e30);
            vm.prank(who);
            bad.approve(address(adj), type(uint256).max);
        }
    }

    function _openBad() internal {
        vm.prank(alice);
        adj.open(config, EACH);
        vm.prank(hub);
        adj.fundVault(hub, address(bad), EACH);
        _reserve(EACH);
    }

    /// The amount's word is read whole, so it must not wrap around whatever the vault seems to hold.
    function test_reserve_revertsIfLyingTokenFilledTheVault() public {
        _openBad();
        bytes[] memory balances = new bytes[](2);
        (balances[0], balances[1]) = (abi.encode(0), abi.encode(type(uint128).max));
        vm.mockCalls(address(bad), abi.encodeWithSignature("balanceOf(address)", adj), balances);
        vm.prank(hub);
        adj.fundVault(hub, address(bad), 1);
        assertEq(adj.vault(address(bad), hub), type(uint128).max);
        ClientReserve[] memory items = new ClientReserve[](1);
        items[0] = ClientReserve(config.client, config.clientSigner, config.salt, 0);
        bytes memory data = abi.encodeCall(adj.reserve, (_side(), items));
        uint256 amount = type(uint256).max - 2 * uint256(EACH) + 8;
        assembly {
            mstore(add(data, mload(data)), amount)
        }
        ChannelState memory before = _state();
        vm.prank(hub);
        (bool done,) = address(adj).call(data);
        assertFalse(done);
        assertEq(abi.encode(_state()), abi.encode(before));
    }

    /// Anybody may fund a vault. What settles into it later must not overflow, or every batch with that channel reverts.
    function test_fundVault_revertsIfLyingTokenOverfillsTheVault() public {
        uint256[2] memory arrives = [uint256(type(uint128).max) + 1, type(uint256).max];
        for (uint256 i = 0; i < 2; ++i) {
            bytes[] memory balances = new bytes[](2);
            (balances[0], balances[1]) = (abi.encode(0), abi.encode(arrives[i]));
            vm.mockCalls(address(bad), abi.encodeWithSignature("balanceOf(address)", adj), balances);
            vm.prank(hub);
            vm.expectRevert(
                abi.encodeWithSelector(IAdjudicator.TotalTooLarge.selector, arrives[i], type(uint128).max)
            );
            adj.fundVault(hub, address(bad), 1);
        }
        assertEq(adj.vault(address(bad), hub), 0);
    }

    /// The sums are not checked for wrapping around: less than nothing must not seem to arrive.
    function test_deposit_revertsIfLyingTokenPaysTooMuch() public {
        _openBad();
        bytes[] memory balances = new bytes[](2);
        uint256 received = type(uint256).max - EACH + 1;
        (balances[0], balances[1]) = (abi.encode(0), abi.encode(received));
        vm.mockCalls(address(bad), abi.encodeWithSignature("balanceOf(address)", adj), balances);
        vm.prank(alice);
        _fails(IAdjudicator.TotalTooLarge.selector, received, type(uint88).max);
        adj.deposit(config, 1);
    }

    function _openNative(address client) internal {
        config.token = address(0);
        config.client = client;
        id = adj.channelIdOf(config);
        vm.deal(alice, EACH);
        vm.deal(hub, EACH);
        vm.prank(alice);
        adj.open{value: EACH}(config, EACH);
        vm.prank(hub);
        adj.fundVault{value: EACH}(hub, address(0), EACH);
        _reserve(EACH);
    }

    // ------------------------------------------------------------------ in

    function test_open_creditsWhatArrivedIfFeeOnTransfer_F4() public {
        bad.set(HostileToken.Mode.Fee);
        _openBadWithFee();
        assertEq(_state().total, 900);
        assertEq(bad.balanceOf(address(adj)), 900);
    }

    function _openBadWithFee() internal {
        vm.prank(alice);
        adj.open(config, EACH);
    }

    function test_open_revertsIfTokenReturnsFalseOrReverts_F5() public {
        HostileToken.Mode[4] memory modes =
            [HostileToken.Mode.ReturnFalse, HostileToken.Mode.Revert, HostileToken.Mode.Bomb, HostileToken.Mode.ReturnTwo];
        for (uint256 i = 0; i < 4; ++i) {
            bad.set(modes[i]);
            vm.prank(alice);
            vm.expectRevert();
            adj.open(config, EACH);
        }
        assertTrue(_status() == Status.None);
    }

    function test_open_creditsNothingIfNothingArrived_F5() public {
        bad.set(HostileToken.Mode.FakeSuccess);
        vm.prank(alice);
        adj.open(config, EACH);
        assertEq(_state().total, 0);
    }

    /// For nothing the token is not asked.
    function test_open_takesNothingIfTokenReverts() public {
        bad.set(HostileToken.Mode.Revert);
        adj.open(config, 0);
        assertTrue(_status() == Status.Open);
    }

    function test_open_takesTokenThatReturnsNothing_F5() public {
        bad.set(HostileToken.Mode.ReturnNothing);
        _openBad();
        assertEq(_state().total, 2000);
        _close(_closeMessage(1300, 700));
        assertEq(bad.balanceOf(alice), 1e30 + 300);
    }

    function test_open_revertsIfTokenHasNoCode() public {
        config.token = stranger;
        vm.prank(alice);
        vm.expectRevert();
        adj.open(config, EACH);
    }

    /// F7: a token that calls back during the deposit gets nowhere.
    function test_open_blocksReentry_F7() public {
        bad.callBack(address(adj), abi.encodeCall(IAdjudicator.fundVault, (hub, address(bad), 0)));
        vm.prank(alice);
        adj.open(config, EACH);
        assertFalse(bad.calledBack());
        assertEq(bytes4(bad.answer()), bytes4(keccak256("ReentrancyGuardReentrantCall()")));
        assertEq(_state().total, 1000);
    }

    // ------------------------------------------------------------------ out

    function test_close_leavesToClaimIfTokenMisbehaves_F5() public {
        HostileToken.Mode[5] memory modes = [
            HostileToken.Mode.ReturnFalse,
            HostileToken.Mode.Revert,
            HostileToken.Mode.Bomb,
            HostileToken.Mode.EatGas,
            HostileToken.Mode.Revert
        ];
        _openBad();
        for (uint256 i = 0; i < 5; ++i) {
            uint256 snapshot = vm.snapshotState();
            bad.set(modes[i]);
            vm.expectEmit(address(adj));
            emit IAdjudicator.Claimable(alice, address(bad), 1300);
            uint256 gasBefore = gasleft();
            _close(_closeMessage(1300, 700));
            assertLt(gasBefore - gasleft(), 600_000, "bounded");
            assertEq(adj.claimable(address(bad), alice), 1300);
            assertEq(adj.vault(address(bad), hub), 700);
            bad.set(HostileToken.Mode.Honest);
            vm.expectEmit(address(adj));
            emit IAdjudicator.Claimed(alice, address(bad), stranger, 1300);
            vm.prank(alice);
            adj.claim(address(bad), stranger);
            assertEq(bad.balanceOf(stranger), 1300);
            assertEq(adj.claimable(address(bad), alice), 0);
            vm.revertToState(snapshot);
        }
    }

    function test_finalize_leavesToClaimIfBlacklisted_F6() public {
        _openBad();
        _dispute();
        vm.warp(block.timestamp + PERIOD);
        bad.blacklist(alice);
        adj.finalize(config);
        assertEq(adj.claimable(address(bad), alice), 1000);
        assertEq(adj.vault(address(bad), hub), 1000);
        vm.prank(hub);
        adj.withdrawVault(address(bad), 1000, hub);
        vm.startPrank(alice);
        vm.expectRevert();
        adj.claim(address(bad), alice);
        adj.claim(address(bad), stranger);
        vm.expectPartialRevert(IAdjudicator.NothingToClaim.selector);
        adj.claim(address(bad), stranger);
        assertEq(bad.balanceOf(address(adj)), 0);
    }

    function test_withdraw_leavesToClaimIfTokenReverts_F6() public {
        _openBad();
        bad.set(HostileToken.Mode.Revert);
        _withdraw(_withdrawMessage(CLIENT, 100));
        assertEq(adj.claimable(address(bad), alice), 100);
        assertEq(_state().total, 1900);
        _withdraw(_withdrawMessage(CLIENT, 130));
        assertEq(adj.claimable(address(bad), alice), 130);
    }

    function test_close_blocksReentry_F7() public {
        _openBad();
        Close memory m = _closeMessage(1300, 700);
        (bytes memory c, bytes memory h) = _bothSign(adj.closeDigest(m));
        bad.callBack(address(adj), abi.encodeCall(IAdjudicator.close, (config, m, c, h)));
        adj.close(config, m, c, h);
        assertFalse(bad.calledBack());
        assertEq(bytes4(bad.answer()), bytes4(keccak256("ReentrancyGuardReentrantCall()")));
        assertEq(bad.balanceOf(alice), 1e30 + 300);
    }

    function test_close_paysNativeReceiver() public {
        Receiver receiver = new Receiver();
        _openNative(address(receiver));
        _close(_closeMessage(1300, 700));
        assertEq(address(receiver).balance, 1300);
        assertEq(adj.vault(address(0), hub), 700);
    }

    function test_close_leavesToClaimIfReceiverMisbehaves_F6() public {
        Receiver receiver = new Receiver();
        _openNative(address(receiver));
        Receiver.Mode[3] memory modes = [Receiver.Mode.Refuse, Receiver.Mode.EatGas, Receiver.Mode.Bomb];
        for (uint256 i = 0; i < 3; ++i) {
            uint256 snapshot = vm.snapshotState();
            receiver.set(modes[i]);
            _close(_closeMessage(1300, 700));
            assertEq(adj.claimable(address(0), address(receiver)), 1300);
            receiver.run(address(adj), abi.encodeCall(IAdjudicator.claim, (address(0), stranger)));
            assertEq(stranger.balance, 1300);
            vm.revertToState(snapshot);
        }
    }

    function test_close_blocksReentryOfReceiver_F7() public {
        Receiver receiver = new Receiver();
        _openNative(address(receiver));
        receiver.callBack(address(adj), abi.encodeCall(IAdjudicator.claim, (address(0), address(receiver))));
        _close(_closeMessage(1300, 700));
        assertTrue(receiver.called());
        assertFalse(receiver.calledBack());
        assertEq(address(receiver).balance, 1300);
    }

    function test_close_neverLeavesToClaimForLackOfGas_F6() public {
        _openBad();
        bad.set(HostileToken.Mode.NeedGas);
        _closeWithAnyGas();
    }

    function test_close_neverLeavesNativeToClaimForLackOfGas_F6() public {
        Receiver receiver = new Receiver();
        _openNative(address(receiver));
        receiver.set(Receiver.Mode.NeedGas);
        _closeWithAnyGas();
    }

    function _purse() internal view returns (uint256) {
        return config.token == address(0) ? config.client.balance : bad.balanceOf(config.client);
    }

    /// A relayer cannot starve the push of gas, and so force the client to claim. One who refuses early for lack of gas
    /// leaves enough of it; whoever runs out leaves a 64th, with which nothing can be written down anyway.
    function _closeWithAnyGas() internal {
        Close memory m = _closeMessage(1300, 700);
        (bytes memory c, bytes memory h) = _bothSign(adj.closeDigest(m));
        uint256 purse = _purse();
        uint256 refused;
        uint256 paid;
        for (uint256 allowance = 60_000; allowance < 420_000; allowance += 7_000) {
            uint256 snapshot = vm.snapshotState();
            try adj.close{gas: allowance}(config, m, c, h) {
                ++paid;
                assertEq(adj.claimable(config.token, config.client), 0);
                assertEq(_purse(), purse + 1300);
            } catch {
                ++refused;
            }
            vm.revertToState(snapshot);
        }
        assertGt(refused, 0);
        assertGt(paid, 0);
    }

    /// One hostile receiver does not stop a batch.
    function test_finalizeMany_passesByHostileReceiver_F6() public {
        Receiver receiver = new Receiver();
        receiver.set(Receiver.Mode.EatGas);
        Config[] memory both = new Config[](2);
        _openNative(address(receiver));
        both[0] = config;
        vm.prank(hub);
        adj.dispute(config, _noVouchers(), _noLocks());
        _openNative(alice);
        both[1] = config;
        vm.prank(hub);
        adj.dispute(config, _noVouchers(), _noLocks());
        vm.warp(block.timestamp + PERIOD);
        adj.finalizeMany(both);
        assertEq(adj.claimable(address(0), address(receiver)), 1000);
        assertEq(alice.balance, 1000);
    }

    // ------------------------------------------------------------------ resolvers

    function test_resolve_asksTheResolver() public {
        Resolver resolver = new Resolver();
        _openBad();
        bytes memory witness = "the condition's witness";
        Lock[] memory locks = _one(Lock(1, 100, _now() + 2 days, keccak256(witness), address(resolver)));
        _dispute();
        _submit(_withLocks(_voucher(HUB, 1, 10, 0, 0), locks));
        Resolution memory r = _resolveFirst(HUB, locks);
        r.unlocks[0].witness = "wrong";
        vm.expectPartialRevert(IAdjudicator.ResolverRefused.selector);
        _resolve(r);
        r.unlocks[0].witness = witness;
        for (uint256 mode = 1; mode <= 7; ++mode) {
            resolver.set(Resolver.Mode(mode));
            vm.expectRevert(
                abi.encodeWithSelector(IAdjudicator.ResolverRefused.selector, address(resolver), keccak256(witness))
            );
            _resolve(r);
        }
        resolver.set(Resolver.Mode.Yes);
        _resolve(r);
        assertEq(_state().hubLocks.counted, 100);
    }

    function test_resolve_takesWitnessesUpToALength() public {
        Resolver resolver = new Resolver();
        _openBad();
        bytes memory longest = new bytes(1024);
        bytes memory longer = new bytes(1025);
        Lock[] memory locks = new Lock[](2);
        locks[0] = Lock(1, 100, _now() + 2 days, keccak256(longest), address(resolver));
        locks[1] = Lock(2, 100, _now() + 2 days, keccak256(longer), address(resolver));
        _dispute();
        _submit(_withLocks(_voucher(HUB, 1, 10, 0, 0), locks));
        uint256[] memory second = new uint256[](1);
        second[0] = 1;
        Resolution memory r = _resolution(HUB, locks, second);
        r.unlocks[0].witness = longer;
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.WitnessTooLong.selector, 1024, 1025));
        _resolve(r);
        r = _resolveFirst(HUB, locks);
        r.unlocks[0].witness = longest;
        _resolve(r);
        assertEq(_state().hubLocks.counted, 100);
    }

    function test_resolve_revertsIfResolverHasNoCode() public {
        _openBad();
        Lock[] memory locks = _one(Lock(1, 100, _now() + 2 days, keccak256("x"), stranger));
        _dispute();
        _submit(_withLocks(_voucher(HUB, 1, 10, 0, 0), locks));
        Resolution memory r = _resolveFirst(HUB, locks);
        vm.expectPartialRevert(IAdjudicator.ResolverRefused.selector);
        _resolve(r);
    }
}
