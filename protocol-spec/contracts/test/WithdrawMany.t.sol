// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";
import {Vm} from "forge-std/Vm.sol";
import {HostileToken, Receiver, Wallet} from "./hostile/Hostile.sol";

/// withdrawMany (R14): what one withdrawal does, for many, and no bad one hurts the others.
contract WithdrawManyTest is Base {
    HostileToken internal bad;

    function setUp() public override {
        super.setUp();
        _open();
    }

    // ------------------------------------------------------------------ items

    /// Of the channel that `config` names, signed by both signers.
    function _item(Withdraw memory m) internal view returns (ClientWithdraw memory c) {
        (c.client, c.clientSigner, c.salt) = (config.client, config.clientSigner, config.salt);
        (c.side, c.total, c.deadline) = (m.side, m.total, m.deadline);
        (c.clientSeq, c.clientPaid, c.hubSeq, c.hubPaid) = (m.clientSeq, m.clientPaid, m.hubSeq, m.hubPaid);
        (bytes memory client, bytes memory hub_) = _bothSign(adj.withdrawDigest(m));
        (c.clientSignature, c.hubSignature) = (_compact(client), _compact(hub_));
    }

    function _item(uint8 side, uint128 total) internal view returns (ClientWithdraw memory) {
        return _item(_withdrawMessage(side, total));
    }

    function _items(ClientWithdraw memory a) internal pure returns (ClientWithdraw[] memory items) {
        items = new ClientWithdraw[](1);
        items[0] = a;
    }

    function _send(ClientWithdraw[] memory items) internal {
        HubSide memory side = _side();
        vm.prank(stranger);
        adj.withdrawMany(side, items);
    }

    /// Another channel of the same hub, of 1000 + 1000.
    function _another(uint256 salt) internal {
        config.salt = bytes32(salt);
        id = adj.channelIdOf(config);
        vm.prank(alice);
        adj.open(config, EACH);
        vm.prank(hub);
        adj.fundVault(hub, config.token, EACH);
        _reserve(EACH);
    }

    function _expectSkipped(bytes4 reason) internal {
        vm.expectEmit(address(adj));
        emit IAdjudicator.Skipped(id, reason);
    }

    // ------------------------------------------------------------------ what it does

    function test_withdrawMany_doesWhatWithdrawDoes_R14() public {
        Withdraw memory m = _withdrawMessage(HUB, 400);
        (m.clientSeq, m.clientPaid, m.hubSeq, m.hubPaid) = (5, 12, 7, 30);
        uint256 snapshot = vm.snapshotState();
        vm.recordLogs();
        _withdraw(m);
        Vm.Log[] memory expected = vm.getRecordedLogs();
        bytes memory state = abi.encode(_state());
        vm.revertToState(snapshot);
        ClientWithdraw[] memory items = _items(_item(m));
        vm.recordLogs();
        _send(items);
        assertEq(abi.encode(vm.getRecordedLogs()), abi.encode(expected), "the same events");
        assertEq(abi.encode(_state()), state);
        assertEq(adj.vault(address(token), hub), 400);
        assertEq(_state().hubWithdrawn, 400);
        assertEq(_state().clientSeq, 5);
        assertEq(_state().hubPaid, 30);
    }

    /// The vault is credited once for all, clients are paid one by one.
    function test_withdrawMany_paysBothSides_R14() public {
        ClientWithdraw[] memory items = new ClientWithdraw[](5);
        items[0] = _item(HUB, 100);
        items[1] = _item(CLIENT, 30);
        items[2] = _item(HUB, 150);
        _another(1);
        items[3] = _item(HUB, 1000);
        items[4] = _item(CLIENT, 1000);
        uint256 purse = token.balanceOf(alice);
        uint256 vault = adj.vault(address(token), hub);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Withdrawn(id, HUB, 1000, 1000);
        _send(items);
        assertEq(adj.vault(address(token), hub), vault + 150 + 1000);
        assertEq(token.balanceOf(alice), purse + 30 + 1000);
        assertEq(_state().total, 0);
        config.salt = keccak256("salt");
        id = adj.channelIdOf(config);
        assertEq(_state().total, 2000 - 150 - 30);
        assertEq(_state().hubWithdrawn, 150);
        assertEq(_state().clientWithdrawn, 30);
        assertEq(_state().clientNet, 970);
    }

    function test_withdrawMany_takesAnEmptyBatch() public {
        ClientWithdraw[] memory none;
        _send(none);
        assertEq(_state().total, 2000);
    }

    /// Any batch leaves what its items leave alone, where those that revert are left out.
    function testFuzz_withdrawMany_equalsSingles_R14(uint256 seed) public {
        ClientWithdraw[] memory items = new ClientWithdraw[](6);
        Withdraw[] memory messages = new Withdraw[](6);
        bytes32[2] memory salts = [config.salt, bytes32(uint256(1))];
        _another(1);
        for (uint256 i = 0; i < 6; ++i) {
            config.salt = salts[(seed >> i) & 1];
            id = adj.channelIdOf(config);
            uint256 r = uint256(keccak256(abi.encode(seed, i)));
            Withdraw memory m = _withdrawMessage(uint8(r % 2), uint128(1 + (r >> 8) % 1500));
            (m.clientSeq, m.clientPaid) = (uint64((r >> 24) % 4), uint128((r >> 32) % 4));
            (m.hubSeq, m.hubPaid) = (uint64((r >> 40) % 4), uint128((r >> 48) % 4));
            if ((r >> 56) % 8 == 0) m.deadline = _now() - 1;
            (items[i], messages[i]) = (_item(m), m);
        }
        uint256 snapshot = vm.snapshotState();
        uint256 done;
        for (uint256 i = 0; i < 6; ++i) {
            config.salt = items[i].salt;
            (bytes memory c, bytes memory h) = _bothSign(adj.withdrawDigest(messages[i]));
            try adj.withdraw(config, messages[i], c, h) {
                ++done;
            } catch {}
        }
        bytes32 expected = _all(salts);
        vm.revertToState(snapshot);
        vm.recordLogs();
        _send(items);
        uint256 seen;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == IAdjudicator.Withdrawn.selector) ++seen;
        }
        assertEq(seen, done);
        assertEq(_all(salts), expected);
    }

    function _all(bytes32[2] memory salts) internal returns (bytes32) {
        ChannelState[2] memory states;
        for (uint256 i = 0; i < 2; ++i) {
            config.salt = salts[i];
            states[i] = adj.channel(adj.channelIdOf(config));
        }
        uint256 held = token.balanceOf(address(adj));
        assertEq(held, adj.vault(address(token), hub) + states[0].total + states[1].total, "conservation");
        return keccak256(abi.encode(states, adj.vault(address(token), hub), token.balanceOf(alice)));
    }

    // ------------------------------------------------------------------ bad items

    /// Every fault of an item, each leaving its channel as it was; the good one behind them goes through.
    function test_withdrawMany_skipsBadItems() public {
        Withdraw memory m = _withdrawMessage(HUB, 400);
        m.clientSeq = 9;
        ClientWithdraw[] memory items = new ClientWithdraw[](12);
        for (uint256 i = 0; i < 12; ++i) {
            items[i] = _item(m);
        }
        items[0].hubSignature = items[0].clientSignature;
        items[1].clientSignature = items[1].hubSignature;
        items[2].total = 401;
        m.deadline = _now() - 1;
        items[3] = _item(m);
        m.deadline = _now() + 1 days + 1;
        items[4] = _item(m);
        m.deadline = _now() + 1 days;
        m.side = 2;
        items[5] = _item(m);
        m.side = HUB;
        m.clientSeq = 2 ** 36;
        items[6] = _item(m);
        m.clientSeq = 9;
        m.hubPaid = 2 ** 88;
        items[7] = _item(m);
        m.hubPaid = 0;
        m.total = 0;
        items[8] = _item(m);
        m.total = 2001;
        items[9] = _item(m);
        m.total = 400;
        items[10] = _item(m);
        bytes4[10] memory reasons = [
            IAdjudicator.BadSignature.selector,
            IAdjudicator.BadSignature.selector,
            IAdjudicator.BadSignature.selector,
            IAdjudicator.DeadlinePassed.selector,
            IAdjudicator.DeadlineTooFar.selector,
            IAdjudicator.WrongSide.selector,
            IAdjudicator.SeqTooLarge.selector,
            IAdjudicator.PaidTooLarge.selector,
            IAdjudicator.WithdrawalNotNewer.selector,
            IAdjudicator.InsufficientTotal.selector
        ];
        bytes memory before = abi.encode(_state());
        for (uint256 i = 0; i < 10; ++i) {
            uint256 snapshot = vm.snapshotState();
            _expectSkipped(reasons[i]);
            _send(_items(items[i]));
            assertEq(abi.encode(_state()), before, "nothing of it was done");
            vm.revertToState(snapshot);
        }
        for (uint256 i = 0; i < 10; ++i) {
            _expectSkipped(reasons[i]);
        }
        vm.expectEmit(address(adj));
        emit IAdjudicator.Withdrawn(id, HUB, 400, 400);
        // the same withdrawal again
        _expectSkipped(IAdjudicator.WithdrawalNotNewer.selector);
        _send(items);
        assertEq(adj.vault(address(token), hub), 400);
        assertEq(_state().clientSeq, 9);
    }

    /// R14: only open channels, of this hub, token and period.
    function test_withdrawMany_skipsWhatIsNotOpen_R14() public {
        ClientWithdraw[] memory items = _items(_item(HUB, 100));
        _dispute();
        _expectSkipped(IAdjudicator.WrongStatus.selector);
        _send(items);
        _close(_closeMessage(1000, 1000));
        _expectSkipped(IAdjudicator.WrongStatus.selector);
        _send(items);
        config.salt = 0;
        id = adj.channelIdOf(config);
        items = _items(_item(HUB, 100));
        _expectSkipped(IAdjudicator.WrongStatus.selector);
        _send(items);
        assertEq(adj.vault(address(token), hub), 1000);
    }

    /// What was signed for one channel moves nothing in another.
    function test_withdrawMany_skipsAnotherChannelsMessage() public {
        ClientWithdraw memory item = _item(HUB, 100);
        _another(1);
        item.salt = config.salt;
        _expectSkipped(IAdjudicator.BadSignature.selector);
        _send(_items(item));
        assertEq(_state().total, 2000);
        config.token = address(1);
        _send(_items(item));
        assertEq(adj.vault(address(1), hub), 0);
    }

    /// A channel's client net ends at a limit, which stops nobody else.
    function test_withdrawMany_skipsWhatLeavesItsField() public {
        uint128 most = type(uint88).max - 2000;
        uint128 total = 0;
        for (uint256 i = 0; i < 128; ++i) {
            token.mint(hub, most);
            _fundVault(most);
            _reserve(most);
            total += most;
            _send(_items(_item(CLIENT, total)));
        }
        token.mint(hub, most);
        _fundVault(most);
        _reserve(most);
        ClientWithdraw[] memory items = new ClientWithdraw[](2);
        items[0] = _item(CLIENT, total + most);
        items[1] = _item(HUB, 1);
        _expectSkipped(IAdjudicator.TotalTooLarge.selector);
        _send(items);
        assertEq(_state().hubWithdrawn, 1);
        assertEq(_state().clientWithdrawn, total);
    }

    /// A word wider than its field is nothing that anybody signed.
    function test_withdrawMany_skipsWideWords() public {
        ClientWithdraw[] memory items = new ClientWithdraw[](2);
        items[0] = _item(HUB, 100);
        items[1] = _item(HUB, 101);
        bytes memory data = abi.encodeCall(adj.withdrawMany, (_side(), items));
        // selector, side, offset, length, and three words of the item before `side`
        uint256 word = 0x20 + 4 + 4 * 32 + 32 + 32 + 3 * 32;
        for (uint256 i = 0; i < 7; ++i) {
            uint256 snapshot = vm.snapshotState();
            bytes memory wide = abi.encodePacked(data);
            assembly {
                let at := add(add(wide, word), mul(i, 32))
                mstore(at, or(mload(at), shl(255, 1)))
            }
            _expectSkipped(IAdjudicator.BadSignature.selector);
            (bool done,) = address(adj).call(wide);
            assertTrue(done);
            assertEq(_state().hubWithdrawn, 101);
            vm.revertToState(snapshot);
        }
    }

    // ------------------------------------------------------------------ who

    function test_withdrawMany_needsNoSignatureOfTheSender() public {
        HubSide memory side = _side();
        ClientWithdraw[] memory items = _items(_item(HUB, 100));
        delete items[0].hubSignature;
        adj.withdrawMany(side, items);
        assertEq(_state().total, 2000);
        address[2] memory hubs = [config.hub, config.hubSigner];
        address[2] memory clients = [config.client, config.clientSigner];
        for (uint256 i = 0; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            vm.prank(hubs[i]);
            adj.withdrawMany(side, items);
            assertEq(_state().total, 1900);
            vm.revertToState(snapshot);
            vm.prank(clients[i]);
            adj.withdrawMany(side, items);
            assertEq(_state().total, 2000, "the hub did not agree");
            ClientWithdraw[] memory mine = _items(_item(CLIENT, 100));
            delete mine[0].clientSignature;
            vm.prank(hubs[i]);
            adj.withdrawMany(side, mine);
            assertEq(_state().total, 2000, "the client did not agree");
            vm.prank(clients[i]);
            adj.withdrawMany(side, mine);
            assertEq(_state().total, 1900);
            vm.revertToState(snapshot);
        }
    }

    /// Each side's account or signer; no wallet, whose code could burn the batch's gas.
    function test_withdrawMany_takesAnyKeyOfBothSides() public {
        bytes32 digest = adj.withdrawDigest(_withdrawMessage(HUB, 100));
        uint256[2] memory clientKeys = [aliceKey, aliceSignerKey];
        uint256[2] memory hubKeys = [hubKey, hubSignerKey];
        for (uint256 i = 0; i < 4; ++i) {
            uint256 snapshot = vm.snapshotState();
            ClientWithdraw memory item = _item(HUB, 100);
            item.clientSignature = _compact(_sign(clientKeys[i / 2], digest));
            item.hubSignature = _compact(_sign(hubKeys[i % 2], digest));
            _send(_items(item));
            assertEq(_state().total, 1900);
            vm.revertToState(snapshot);
        }
        config.client = address(new Wallet(aliceKey));
        _another(1);
        ClientWithdraw memory wallet = _item(_withdrawMessage(HUB, 100));
        wallet.clientSignature = _compact(_sign(aliceKey, adj.withdrawDigest(_withdrawMessage(HUB, 100))));
        _expectSkipped(IAdjudicator.BadSignature.selector);
        _send(_items(wallet));
    }

    // ------------------------------------------------------------------ tokens and receivers

    function _badToken() internal {
        bad = new HostileToken();
        config.token = address(bad);
        for (uint256 i = 0; i < 2; ++i) {
            address who = i == 0 ? alice : hub;
            bad.mint(who, 1e30);
            vm.prank(who);
            bad.approve(address(adj), type(uint256).max);
        }
        _another(2);
    }

    /// One payout and one release.
    function _both() internal view returns (ClientWithdraw[] memory items) {
        items = new ClientWithdraw[](2);
        items[0] = _item(CLIENT, 100);
        items[1] = _item(HUB, 10);
    }

    function test_withdrawMany_blocksReentryOfToken_F7() public {
        _badToken();
        ClientWithdraw[] memory items = _both();
        bad.callBack(address(adj), abi.encodeCall(IAdjudicator.withdrawMany, (_side(), items)));
        _send(items);
        assertFalse(bad.calledBack());
        assertEq(bytes4(bad.answer()), bytes4(keccak256("ReentrancyGuardReentrantCall()")));
        assertEq(_state().total, 1890);
        assertEq(bad.balanceOf(address(adj)), 1890 + 10);
    }

    /// Whoever is called while the clients are paid sees the vault and every channel as they stay.
    function test_withdrawMany_writesBeforeItPays_F7() public {
        _badToken();
        ClientWithdraw[] memory items = _both();
        bad.callBack(address(adj), abi.encodeCall(IAdjudicator.vault, (address(bad), hub)));
        _send(items);
        assertTrue(bad.calledBack());
        assertEq(bad.answer(), abi.encode(10));
        items[0] = _item(CLIENT, 200);
        items[1] = _item(HUB, 20);
        bad.callBack(address(adj), abi.encodeCall(IAdjudicator.channel, (id)));
        _send(items);
        assertEq(bad.answer(), abi.encode(_state()));
    }

    function test_withdrawMany_leavesToClaimIfTokenMisbehaves_F5() public {
        _badToken();
        HostileToken.Mode[4] memory modes = [
            HostileToken.Mode.ReturnFalse, HostileToken.Mode.Revert, HostileToken.Mode.Bomb, HostileToken.Mode.EatGas
        ];
        for (uint256 i = 0; i < 4; ++i) {
            uint256 snapshot = vm.snapshotState();
            bad.set(modes[i]);
            vm.expectEmit(address(adj));
            emit IAdjudicator.Claimable(alice, address(bad), 100);
            _send(_both());
            assertEq(adj.claimable(address(bad), alice), 100);
            assertEq(adj.vault(address(bad), hub), 10);
            assertEq(bad.balanceOf(address(adj)), 2000);
            vm.revertToState(snapshot);
        }
    }

    /// F4: the fee is the receiver's loss; what the adjudicator holds stays what it owes.
    function test_withdrawMany_conservesIfFeeOnTransfer_F4() public {
        _badToken();
        bad.set(HostileToken.Mode.Fee);
        uint256 purse = bad.balanceOf(alice);
        _send(_both());
        assertEq(bad.balanceOf(alice), purse + 90);
        assertEq(bad.balanceOf(address(adj)), _state().total + adj.vault(address(bad), hub));
    }

    /// One hostile receiver stops neither the releases nor the other payouts.
    function test_withdrawMany_passesByHostileReceiver_F6() public {
        Receiver receiver = new Receiver();
        receiver.set(Receiver.Mode.EatGas);
        config.token = address(0);
        vm.deal(address(this), 1e6);
        ClientWithdraw[] memory items = new ClientWithdraw[](3);
        address[2] memory clients = [address(receiver), alice];
        for (uint256 i = 0; i < 2; ++i) {
            (config.client, config.salt) = (clients[i], bytes32(i));
            id = adj.channelIdOf(config);
            adj.open{value: EACH}(config, EACH);
            items[i] = _item(CLIENT, 300);
        }
        items[2] = _item(HUB, 5);
        _send(items);
        assertEq(adj.claimable(address(0), address(receiver)), 300);
        assertEq(alice.balance, 300);
        assertEq(adj.vault(address(0), hub), 5);
    }

    /// A relayer cannot starve a push of gas: it reverts, and nothing is taken out.
    function test_withdrawMany_neverLeavesToClaimForLackOfGas_F6() public {
        _badToken();
        bad.set(HostileToken.Mode.NeedGas);
        HubSide memory side = _side();
        ClientWithdraw[] memory items = _both();
        uint256 purse = bad.balanceOf(alice);
        uint256 refused;
        uint256 paid;
        for (uint256 allowance = 60_000; allowance < 520_000; allowance += 9_000) {
            uint256 snapshot = vm.snapshotState();
            try adj.withdrawMany{gas: allowance}(side, items) {
                ++paid;
                assertEq(bad.balanceOf(alice), purse + 100);
            } catch {
                ++refused;
            }
            assertEq(adj.claimable(address(bad), alice), 0);
            vm.revertToState(snapshot);
        }
        assertGt(refused, 0);
        assertGt(paid, 0);
    }
}
