// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";
import {Words} from "../src/lib/Words.sol";

contract DepositsTest is Base {
    function _native() internal {
        config.token = address(0);
        id = adj.channelIdOf(config);
        vm.deal(alice, 100 ether);
    }

    function test_channelId_isTheEip712DigestOfTheConfig() public view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Channel Hub"),
                keccak256("1"),
                block.chainid,
                address(adj)
            )
        );
        assertEq(adj.domainSeparator(), domain);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Config(address client,address clientSigner,address hub,address hubSigner,address token,uint64 challengePeriodS,bytes32 salt)"
                ),
                config
            )
        );
        assertEq(id, keccak256(abi.encodePacked("\x19\x01", domain, structHash)));
        assertEq(id, vm.eip712HashTypedData(_json()));
    }

    function _json() internal view returns (string memory) {
        string memory types =
            '{"types":{"EIP712Domain":[{"name":"name","type":"string"},{"name":"version","type":"string"},{"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}],"Config":[{"name":"client","type":"address"},{"name":"clientSigner","type":"address"},{"name":"hub","type":"address"},{"name":"hubSigner","type":"address"},{"name":"token","type":"address"},{"name":"challengePeriodS","type":"uint64"},{"name":"salt","type":"bytes32"}]},"primaryType":"Config","domain":{"name":"Channel Hub","version":"1","chainId":';
        string memory domain =
            string.concat(vm.toString(block.chainid), ',"verifyingContract":"', vm.toString(address(adj)), '"},"message":{');
        string memory who = string.concat(
            '"client":"', vm.toString(config.client), '","clientSigner":"', vm.toString(config.clientSigner), '","hub":"', vm.toString(config.hub)
        );
        string memory rest = string.concat(
            '","hubSigner":"', vm.toString(config.hubSigner), '","token":"', vm.toString(config.token), '","challengePeriodS":', vm.toString(config.challengePeriodS), ',"salt":"', vm.toString(config.salt), '"}}'
        );
        return string.concat(types, domain, who, rest);
    }

    /// F3: another chain or another deployment makes another id.
    function test_channelId_differsIfChainOrDeploymentDiffers() public {
        assertTrue(_deployed().channelIdOf(config) != id);
        vm.chainId(4242);
        assertTrue(adj.channelIdOf(config) != id);
    }

    function test_open_createsAndDeposits() public {
        vm.expectEmit(address(adj));
        emit IAdjudicator.Opened(id, alice, hub, config);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Deposited(id, 5, 5, 5);
        vm.prank(alice);
        adj.open(config, 5);
        ChannelState memory s = _state();
        assertTrue(s.status == Status.Open);
        assertEq(s.total, 5);
        assertEq(s.clientNet, 5);
        assertEq(token.balanceOf(address(adj)), 5);
    }

    function test_open_depositsIfOpen() public {
        _open();
        vm.prank(stranger);
        adj.open(config, 7);
        assertEq(_state().clientNet, 1007);
        assertEq(_state().total, 2007);
        assertEq(token.balanceOf(stranger), 1e30 - 7);
    }

    function test_open_takesNothingIfAmountZero() public {
        vm.prank(stranger);
        adj.open(config, 0);
        assertTrue(_status() == Status.Open);
    }

    function test_open_takesNative() public {
        _native();
        vm.prank(alice);
        adj.open{value: 3 ether}(config, 3 ether);
        assertEq(_state().total, 3 ether);
    }

    function test_open_revertsIfValueDiffers() public {
        _native();
        vm.startPrank(alice);
        _fails(IAdjudicator.ValueNotAmount.selector, 2, 3);
        adj.open{value: 2}(config, 3);
        _fails(IAdjudicator.ValueNotAmount.selector, 4, 3);
        adj.open{value: 4}(config, 3);
    }

    function test_open_revertsIfValueWithToken() public {
        vm.deal(alice, 1);
        vm.prank(alice);
        _fails(IAdjudicator.ValueNotAmount.selector, 1, 0);
        adj.open{value: 1}(config, 5);
    }

    function test_open_revertsIfAddressZero() public {
        Config memory c = config;
        c.client = address(0);
        _openFails(c, IAdjudicator.ZeroAddress.selector);
        c = config;
        c.clientSigner = address(0);
        _openFails(c, IAdjudicator.ZeroAddress.selector);
        c = config;
        c.hub = address(0);
        _openFails(c, IAdjudicator.ZeroAddress.selector);
        c = config;
        c.hubSigner = address(0);
        _openFails(c, IAdjudicator.ZeroAddress.selector);
    }

    function test_open_revertsIfSignersEqual() public {
        Config memory c = config;
        c.clientSigner = c.hubSigner;
        _openFails(c, IAdjudicator.SignersEqual.selector);
    }

    function _openFails(Config memory c, bytes4 selector) internal {
        vm.prank(alice);
        vm.expectPartialRevert(selector);
        adj.open(c, 1);
    }

    /// F10.
    function test_open_revertsIfChallengePeriodOutOfRange() public {
        _tryPeriod(0, false);
        _tryPeriod(1 hours - 1, false);
        _tryPeriod(1 hours, true);
        _tryPeriod(30 days, true);
        _tryPeriod(30 days + 1, false);
        _tryPeriod(type(uint64).max, false);
    }

    function _tryPeriod(uint64 period, bool good) internal {
        Config memory c = config;
        c.challengePeriodS = period;
        vm.prank(alice);
        if (!good) {
            _fails(IAdjudicator.ChallengePeriodOutOfRange.selector, period, period < 1 hours ? 1 hours : 30 days);
        }
        adj.open(c, 1);
    }

    function test_open_revertsIfDisputedOrClosed() public {
        _open();
        _dispute();
        vm.startPrank(alice);
        _fails(IAdjudicator.WrongStatus.selector, 1, 2);
        adj.open(config, 1);
        _fails(IAdjudicator.WrongStatus.selector, 1, 2);
        adj.deposit(config, 1);
        vm.warp(block.timestamp + PERIOD);
        adj.finalize(config);
        _fails(IAdjudicator.WrongStatus.selector, 1, 3);
        adj.open(config, 1);
        _fails(IAdjudicator.WrongStatus.selector, 1, 3);
        adj.deposit(config, 1);
    }

    function test_open_revertsIfTotalTooLarge() public {
        uint256 limit = Words.PAID_MAX;
        vm.startPrank(alice);
        token.mint(alice, limit);
        adj.open(config, limit);
        _fails(IAdjudicator.TotalTooLarge.selector, limit + 1, limit);
        adj.open(config, 1);
        vm.stopPrank();
        config.salt = 0;
        vm.prank(alice);
        _fails(IAdjudicator.TotalTooLarge.selector, limit + 1, limit);
        adj.open(config, limit + 1);
    }

    function test_deposit_revertsIfNeverOpened() public {
        vm.prank(alice);
        _fails(IAdjudicator.WrongStatus.selector, 1, 0);
        adj.deposit(config, 1);
    }

    function test_deposit_addsForTheClient() public {
        _open();
        vm.prank(stranger);
        adj.deposit(config, 11);
        assertEq(_state().clientNet, 1011);
    }

    /// The counterpart of a withdrawal that leaves the field below: the hub takes out what the client pays in.
    function test_deposit_revertsIfNetLeavesItsField() public {
        _open();
        uint128 most = type(uint88).max - 2000;
        uint128 total = 0;
        for (uint256 i = 0; i < 127; ++i) {
            token.mint(alice, most);
            vm.prank(alice);
            adj.deposit(config, most);
            total += most;
            _withdraw(_withdrawMessage(HUB, total));
        }
        token.mint(alice, most);
        vm.prank(alice);
        adj.deposit(config, most);
        _withdraw(_withdrawMessage(HUB, total + most));
        token.mint(alice, most);
        vm.prank(alice);
        _fails(IAdjudicator.TotalTooLarge.selector, type(uint88).max, type(uint88).max);
        adj.deposit(config, most);
        assertEq(_state().clientNet, 1000 + int128(total + most));
        uint128 last = 2 ** 95 - 1 - 1000 - total - most;
        vm.startPrank(alice);
        adj.deposit(config, last);
        assertEq(_state().clientNet, 2 ** 95 - 1);
        _fails(IAdjudicator.TotalTooLarge.selector, 2000 + last + 1, type(uint88).max);
        adj.deposit(config, 1);
    }

    function test_fundVault_credits() public {
        vm.prank(stranger);
        adj.fundVault(hub, address(token), 9);
        assertEq(adj.vault(address(token), hub), 9);
        _fundVault(2);
        assertEq(adj.vault(address(token), hub), 11);
    }

    function test_fundVault_revertsIfHubZero() public {
        vm.prank(stranger);
        vm.expectRevert(IAdjudicator.ZeroAddress.selector);
        adj.fundVault(address(0), address(token), 9);
    }

    function test_withdrawVault_pays() public {
        _fundVault(9);
        vm.prank(hub);
        adj.withdrawVault(address(token), 4, stranger);
        assertEq(adj.vault(address(token), hub), 5);
        assertEq(token.balanceOf(stranger), 1e30 + 4);
    }

    function test_withdrawVault_paysNative() public {
        vm.deal(hub, 9);
        vm.startPrank(hub);
        adj.fundVault{value: 9}(hub, address(0), 9);
        adj.withdrawVault(address(0), 4, stranger);
        assertEq(stranger.balance, 4);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.TransferFailed.selector, address(token), 5));
        adj.withdrawVault(address(0), 5, address(token));
        vm.expectRevert(IAdjudicator.ZeroAddress.selector);
        adj.withdrawVault(address(0), 5, address(0));
    }

    function test_withdrawVault_revertsIfNotHeld() public {
        _fundVault(9);
        vm.prank(hub);
        _fails(IAdjudicator.InsufficientVault.selector, 10, 9);
        adj.withdrawVault(address(token), 10, hub);
        vm.prank(config.hubSigner);
        _fails(IAdjudicator.InsufficientVault.selector, 1, 0);
        adj.withdrawVault(address(token), 1, stranger);
    }

    function test_reserve_movesFromTheVault() public {
        _open();
        _fundVault(50);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Reserved(id, 30);
        _reserve(30);
        assertEq(adj.vault(address(token), hub), 20);
        assertEq(_state().clientNet, 1000);
        assertEq(_state().total, 2030);
    }

    function test_reserve_revertsIfVaultTooSmall() public {
        _open();
        _fundVault(50);
        ClientReserve[] memory items = new ClientReserve[](2);
        items[0] = ClientReserve(config.client, config.clientSigner, config.salt, 26);
        items[1] = items[0];
        vm.prank(hub);
        _fails(IAdjudicator.InsufficientVault.selector, 26, 24);
        adj.reserve(_side(), items);
    }

    /// One more unit would run over into the next field. Whoever deposits into one channel takes no other's reserve away.
    function test_reserve_skipsIfTotalTooLarge() public {
        _open();
        uint128 limit = type(uint88).max;
        token.mint(hub, limit);
        _fundVault(limit);
        _reserve(limit - 2000);
        ChannelState memory before = _state();
        assertEq(before.total, limit);
        ClientReserve[] memory items = new ClientReserve[](2);
        items[0] = ClientReserve(config.client, config.clientSigner, config.salt, 1);
        config.salt = bytes32(uint256(77));
        bytes32 other = adj.channelIdOf(config);
        vm.prank(alice);
        adj.open(config, 5);
        items[1] = ClientReserve(config.client, config.clientSigner, config.salt, 9);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Skipped(id, IAdjudicator.TotalTooLarge.selector);
        vm.prank(hub);
        adj.reserve(_side(), items);
        assertEq(abi.encode(_state()), abi.encode(before), "nothing of the vault is lost in it");
        assertEq(adj.channel(other).total, 14);
        assertEq(adj.vault(address(token), hub), 2000 - 9);
    }

    function test_reserve_revertsIfNotTheHub() public {
        _open();
        ClientReserve[] memory items = new ClientReserve[](1);
        items[0] = ClientReserve(config.client, config.clientSigner, config.salt, 0);
        address[3] memory others = [alice, config.hubSigner, stranger];
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(abi.encodeWithSelector(IAdjudicator.NotAParty.selector, others[i]));
            adj.reserve(_side(), items);
        }
    }

    /// Who opens a channel says who the hub's signer in it is, and the vault is the same for all channels of a hub.
    function test_reserve_revertsIfSignerOfAnInventedChannel() public {
        _fundVault(50);
        uint256 had = token.balanceOf(stranger);
        config.client = stranger;
        config.hubSigner = stranger;
        id = adj.channelIdOf(config);
        vm.startPrank(stranger);
        adj.open(config, 0);
        ClientReserve[] memory items = new ClientReserve[](1);
        items[0] = ClientReserve(stranger, config.clientSigner, config.salt, 50);
        vm.expectRevert(abi.encodeWithSelector(IAdjudicator.NotAParty.selector, stranger));
        adj.reserve(_side(), items);
        vm.expectRevert();
        adj.close(config, Close(id, 0, 50, 50, 0, _now()), "", "");
        vm.stopPrank();
        assertEq(adj.vault(address(token), hub), 50);
        assertEq(token.balanceOf(stranger), had);
    }

    /// A wrong hub, signer or token makes another id, which is not open.
    function test_reserve_skipsIfHubOrTokenDiffers() public {
        _open();
        _fundVault(10);
        HubSide[] memory sides = new HubSide[](2);
        sides[0] = HubSide(hub, stranger, address(token), PERIOD);
        sides[1] = HubSide(hub, config.hubSigner, address(0), PERIOD);
        ClientReserve[] memory items = new ClientReserve[](1);
        items[0] = ClientReserve(config.client, config.clientSigner, config.salt, 10);
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(hub);
            adj.reserve(sides[i], items);
            assertEq(_state().total, 2000);
            assertEq(adj.vault(address(token), hub), 10);
        }
    }

    function test_reserve_skipsIfDisputed() public {
        _open();
        _fundVault(10);
        _dispute();
        vm.expectEmit(address(adj));
        emit IAdjudicator.Skipped(id, IAdjudicator.WrongStatus.selector);
        _reserve(10);
        assertEq(_state().total, 2000);
        assertEq(adj.vault(address(token), hub), 10);
    }

    function test_receive_revertsIfPlainTransfer() public {
        vm.deal(alice, 1);
        vm.prank(alice);
        (bool done,) = address(adj).call{value: 1}("");
        assertFalse(done);
    }
}
