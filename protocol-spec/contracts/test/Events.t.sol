// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";
import {Vm} from "forge-std/Vm.sol";

/// What whoever watches a channel reads: every change of evidence and of vaults is told, in its order, and nothing else is.
contract EventsTest is Base {
    function setUp() public override {
        super.setUp();
        _open();
        vm.recordLogs();
    }

    /// Fails unless the adjudicator has told just so many things since it was last asked.
    function _told(uint256 expected) internal {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint256 count;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter == address(adj)) ++count;
        }
        assertEq(count, expected, "events");
    }

    /// The word of floors, of which IAdjudicator says where its fields are.
    function _floors(uint256 clientSeq, uint256 clientPaid, uint256 hubSeq, uint256 hubPaid, uint256 live)
        internal
        pure
        returns (uint256)
    {
        return clientPaid | hubPaid << 88 | clientSeq << 176 | hubSeq << 212 | live << 248;
    }

    function test_submit_tellsTheFloors_R16() public {
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectEmit(address(adj));
            emit IAdjudicator.Submitted(id, _floors(7, 300, 4, 120, 0));
            _submit(_voucher(CLIENT, 7, 300, 4, 120));
            _told(1);
        }
        vm.expectEmit(address(adj));
        emit IAdjudicator.Submitted(id, _floors(8, 310, 5, 130, 0));
        _submit(_voucher(HUB, 5, 130, 8, 310));
        _told(1);
    }

    function test_submit_tellsOfLocks_R16() public {
        Lock[] memory locks = _one(_lock(1, 100, _now() + 2 days));
        bytes32 commitment = keccak256(abi.encode(_opening(locks)));
        vm.expectEmit(address(adj));
        emit IAdjudicator.LocksOpened(id, CLIENT, _now() + 2 days);
        vm.expectEmit(address(adj));
        emit IAdjudicator.LocksStored(id, CLIENT, 3, commitment);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Submitted(id, _floors(3, 10, 0, 0, 1));
        _submit(_withLocks(_voucher(CLIENT, 3, 10, 0, 0), locks));
        _told(3);
        vm.expectEmit(address(adj));
        emit IAdjudicator.LocksStored(id, HUB, 2, commitment);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Submitted(id, _floors(3, 10, 2, 20, 3));
        _submit(_withoutOpening(_withLocks(_voucher(HUB, 2, 20, 3, 10), locks)));
        _told(2);
    }

    function test_resolve_tellsOfTheOpening_R17() public {
        Lock[] memory locks = _one(_lock(1, 100, _now() + 2 days));
        _dispute();
        _submit(_withoutOpening(_withLocks(_voucher(HUB, 1, 10, 0, 0), locks)));
        _told(3);
        vm.expectEmit(address(adj));
        emit IAdjudicator.LocksOpened(id, HUB, _now() + 2 days);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Resolved(id, locks[0].hash, HUB, 1, 100, abi.encode(_preimage(1)));
        _resolve(_resolveFirst(HUB, locks));
        _told(2);
    }

    function test_submitMany_tellsTheFloors_R16() public {
        Submission memory s = _voucher(CLIENT, 5, 50, 2, 20);
        ClientVoucher[] memory items = new ClientVoucher[](1);
        items[0] = ClientVoucher(alice, config.clientSigner, config.salt, 5, 50, 2, 20, s.history, _compact(s.signature));
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectEmit(address(adj));
            emit IAdjudicator.Submitted(id, _floors(5, 50, 2, 20, 0));
            vm.prank(hub);
            adj.submitMany(_side(), items);
            _told(1);
        }
    }

    /// The floors only if they rise.
    function test_withdraw_tellsTheFloors_R14() public {
        Withdraw memory m = _withdrawMessage(CLIENT, 1);
        (m.clientSeq, m.clientPaid, m.hubSeq, m.hubPaid) = (5, 12, 7, 30);
        vm.expectEmit(address(adj));
        emit IAdjudicator.Submitted(id, _floors(5, 12, 7, 30, 0));
        vm.expectEmit(address(adj));
        emit IAdjudicator.Withdrawn(id, CLIENT, 1, 1);
        _withdraw(m);
        _told(2);
        m.total = 3;
        vm.expectEmit(address(adj));
        emit IAdjudicator.Withdrawn(id, CLIENT, 3, 2);
        _withdraw(m);
        _told(1);
    }

    function test_vault_tellsWhatComesAndGoes() public {
        vm.expectEmit(address(adj));
        emit IAdjudicator.VaultFunded(hub, address(token), 9);
        vm.prank(stranger);
        adj.fundVault(hub, address(token), 9);
        _told(1);
        vm.expectEmit(address(adj));
        emit IAdjudicator.VaultWithdrawn(hub, address(token), stranger, 4);
        vm.prank(hub);
        adj.withdrawVault(address(token), 4, stranger);
        _told(1);
    }
}
