// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";

/// Gas of whole transactions (base and calldata included), written to snapshots/ by scripts/gas.
/// Under --isolate every call of a test is a transaction of its own: cold slots, cold accounts.
contract GasTest is Base {
    uint256 internal constant BATCH = 50;
    Config[] internal configs;
    uint256[] internal keys;

    function setUp() public override {
        super.setUp();
        _fundVault(1e12);
        // what a token in use looks like: the adjudicator and the vault hold some already
        vm.prank(stranger);
        adj.fundVault(hub, address(token), 1e6);
    }

    function _many() internal {
        for (uint256 i = 0; i < BATCH; ++i) {
            (address client, uint256 key) = makeAddrAndKey(string.concat("client", vm.toString(i)));
            config.client = client;
            config.clientSigner = client;
            config.salt = keccak256(abi.encode(i));
            configs.push(config);
            keys.push(key);
            vm.prank(alice);
            adj.open(config, EACH);
            _reserve(EACH);
        }
    }

    function _vouchers(uint64 seq) internal returns (ClientVoucher[] memory items) {
        items = new ClientVoucher[](BATCH);
        for (uint256 i = 0; i < BATCH; ++i) {
            (config, aliceSignerKey) = (configs[i], keys[i]);
            id = adj.channelIdOf(config);
            Submission memory s = _voucher(CLIENT, seq, 123_456_789 + seq, seq, 987_654 + seq);
            items[i] = ClientVoucher(
                config.client,
                config.clientSigner,
                config.salt,
                s.seq,
                s.paid,
                s.ackSeq,
                s.ackPaid,
                s.history,
                _compact(s.signature)
            );
        }
    }

    function _submitMany(ClientVoucher[] memory items) internal {
        vm.prank(config.hubSigner);
        adj.submitMany(_side(), items);
    }

    function _dispute(uint256 i) internal {
        vm.prank(configs[i].client);
        adj.dispute(configs[i], _noVouchers(), _noLocks());
    }

    function _closes(bool fresh) internal returns (ClientClose[] memory items) {
        items = new ClientClose[](BATCH);
        for (uint256 i = 0; i < BATCH; ++i) {
            (config, aliceSignerKey) = (configs[i], keys[i]);
            id = adj.channelIdOf(config);
            if (!fresh) token.mint(config.client, 1);
            Close memory m = _closeMessage(1300, 700);
            items[i].client = config.client;
            items[i].clientSigner = config.clientSigner;
            items[i].salt = config.salt;
            (items[i].clientDeposit, items[i].hubDeposit) = (m.clientDeposit, m.hubDeposit);
            (items[i].clientBalance, items[i].hubBalance) = (m.clientBalance, m.hubBalance);
            items[i].deadline = m.deadline;
            items[i].clientSignature = _compact(_sign(aliceSignerKey, adj.closeDigest(m)));
        }
    }

    /// The hub's own surplus of the first `count` channels back to its vault; the hub sends, so its signature is left out.
    /// Each is a newer checkpoint as well.
    function _releases(uint256 count, uint64 number) internal returns (ClientWithdraw[] memory items) {
        items = new ClientWithdraw[](count);
        for (uint256 i = 0; i < count; ++i) {
            Withdraw memory m = _release(i, number);
            (items[i].client, items[i].clientSigner, items[i].salt) =
                (config.client, config.clientSigner, config.salt);
            (items[i].side, items[i].total, items[i].deadline) = (m.side, m.total, m.deadline);
            (items[i].clientSeq, items[i].clientPaid) = (m.clientSeq, m.clientPaid);
            (items[i].hubSeq, items[i].hubPaid) = (m.hubSeq, m.hubPaid);
            items[i].clientSignature = _compact(_sign(aliceSignerKey, adj.withdrawDigest(m)));
        }
    }

    function _release(uint256 i, uint64 number) internal returns (Withdraw memory m) {
        (config, aliceSignerKey) = (configs[i], keys[i]);
        id = adj.channelIdOf(config);
        m = _withdrawMessage(HUB, 100 * number);
        (m.clientSeq, m.clientPaid) = (number, 123_456_789 + number);
        (m.hubSeq, m.hubPaid) = (number, 987_654 + number);
    }

    function _releaseAlone(uint256 i, uint64 number, string memory what) internal {
        Withdraw memory m = _release(i, number);
        bytes memory signature = _sign(aliceSignerKey, adj.withdrawDigest(m));
        vm.prank(config.hub);
        adj.withdraw(config, m, signature, "");
        vm.snapshotGasLastCall("adjudicator", what);
    }

    function _releaseMany(uint256 count, uint64 number, string memory what) internal {
        ClientWithdraw[] memory items = _releases(count, number);
        vm.prank(config.hub);
        adj.withdrawMany(_side(), items);
        vm.snapshotGasLastCall("adjudicator", what);
    }

    // ------------------------------------------------------------------ money in

    function test_gas_open() public {
        vm.prank(alice);
        token.approve(address(adj), EACH);
        vm.prank(alice);
        adj.open(config, EACH);
        vm.snapshotGasLastCall("adjudicator", "open + deposit, exact approve");
        config.salt = 0;
        vm.prank(stranger);
        adj.open(config, EACH);
        vm.snapshotGasLastCall("adjudicator", "open + deposit, unlimited approve");
        config.token = address(0);
        vm.deal(alice, 1 ether);
        vm.prank(alice);
        adj.open{value: 1 ether}(config, 1 ether);
        vm.snapshotGasLastCall("adjudicator", "open + deposit, native");
    }

    function test_gas_openWithAuthorization() public {
        bytes32 nonce = keccak256(abi.encode(id, bytes32(uint256(9))));
        bytes32 typehash = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        bytes32 structHash =
            keccak256(abi.encode(typehash, alice, address(adj), EACH, 0, uint256(_now() + 1), nonce));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(aliceKey, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), structHash)));
        vm.prank(stranger);
        adj.openWithAuthorization(config, alice, EACH, 0, _now() + 1, bytes32(uint256(9)), v, r, s);
        vm.snapshotGasLastCall("adjudicator", "open + deposit, ERC-3009 relayed");
    }

    function test_gas_reserve() public {
        _many();
        ClientReserve[] memory items = new ClientReserve[](BATCH);
        for (uint256 i = 0; i < BATCH; ++i) {
            Config memory c = configs[i];
            items[i] = ClientReserve(c.client, c.clientSigner, c.salt, 1_000_000);
        }
        vm.prank(hub);
        adj.reserve(_side(), items);
        vm.snapshotGasLastCall("adjudicator", "reserve, 50 channels");
    }

    // ------------------------------------------------------------------ evidence

    function test_gas_submit() public {
        _open();
        Submission memory s = _voucher(CLIENT, 5, 123_456_789, 4, 987_654);
        _submit(s);
        vm.snapshotGasLastCall("adjudicator", "submit, lock-free, fresh floors");
        s = _voucher(CLIENT, 6, 123_456_790, 5, 987_655);
        _submit(s);
        vm.snapshotGasLastCall("adjudicator", "submit, lock-free, warm floors");
        s = _batchSigned(_voucher(HUB, 7, 1_123_456_790, 6, 123_456_790), 10, 0);
        _submit(s);
        vm.snapshotGasLastCall("adjudicator", "submit, lock-free, 10-deep batch signature");
        Lock[] memory locks = _two(_lock(1, 100, _now() + 2 days), _lock(2, 40, _now() + 3 hours));
        s = _withLocks(_voucher(CLIENT, 8, 123_456_791, 8, 1_123_456_790), locks);
        _submit(s);
        vm.snapshotGasLastCall("adjudicator", "submit with locks, fresh words");
        _dispute();
        Resolution memory r = _resolveFirst(CLIENT, locks);
        _resolve(r);
        vm.snapshotGasLastCall("adjudicator", "resolve one lock");
    }

    /// What a hub with contested locks pays: the client's newest voucher and every lock in it, in one call.
    function test_gas_locks() public {
        uint64[3] memory counts = [uint64(1), 8, 64];
        for (uint256 i = 0; i < 3; ++i) {
            uint64 n = counts[i];
            string memory locks = string.concat(vm.toString(n), n == 1 ? " lock" : " locks");
            _contested(n, n, false, true);
            vm.snapshotGasLastCall("adjudicator", string.concat("dispute started with ", locks, ", fresh floors"));
            _contested(n, n, false, false);
            vm.snapshotGasLastCall("adjudicator", string.concat("dispute answered with ", locks, ", fresh floors"));
            _contested(n, n, true, false);
            vm.snapshotGasLastCall("adjudicator", string.concat("dispute answered with ", locks, ", warm floors"));
        }
        _contested(4096, 150, true, false);
        vm.snapshotGasLastCall("adjudicator", "dispute answered with 150 of 4096 locks, warm floors");
    }

    /// A channel of its own in which `count` locks are contested and the first `known` resolved.
    function _contested(uint64 count, uint256 known, bool warm, bool starts) internal {
        config.salt = keccak256(abi.encode(config.salt));
        id = adj.channelIdOf(config);
        _open();
        if (warm) _submit(_voucher(CLIENT, 5, 123_456_789, 4, 987_654));
        Lock[] memory locks = new Lock[](count);
        for (uint64 i = 0; i < count; ++i) {
            locks[i] = _lock(i + 1, 1_000, _now() + 2 days);
        }
        uint256[] memory which = new uint256[](known);
        for (uint256 i = 0; i < known; ++i) {
            which[i] = i;
        }
        Submission memory s = _withLocks(_voucher(CLIENT, 8, 123_456_791, 8, 1_123_456_790), locks);
        Resolution memory r = _resolution(CLIENT, locks, which);
        if (!starts) _dispute();
        vm.prank(hub);
        if (starts) adj.dispute(config, _list(s), _list(r));
        else adj.submit(config, _list(s), _list(r));
    }

    function test_gas_submitMany() public {
        _many();
        ClientVoucher[] memory first = _vouchers(1);
        _submitMany(first);
        vm.snapshotGasLastCall("adjudicator", "checkpoint, 50 channels, fresh floors");
        ClientVoucher[] memory second = _vouchers(2);
        _submitMany(second);
        vm.snapshotGasLastCall("adjudicator", "checkpoint, 50 channels, warm floors");
        for (uint256 i = 0; i < BATCH; ++i) {
            _dispute(i);
        }
        ClientVoucher[] memory third = _vouchers(3);
        _submitMany(third);
        vm.snapshotGasLastCall("adjudicator", "stale disputes answered, 50 channels");
    }

    function test_gas_submitMany_intoFreshFloors() public {
        _many();
        for (uint256 i = 0; i < BATCH; ++i) {
            _dispute(i);
        }
        ClientVoucher[] memory items = _vouchers(3);
        _submitMany(items);
        vm.snapshotGasLastCall("adjudicator", "stale disputes answered, 50 channels, fresh floors");
    }

    // ------------------------------------------------------------------ out

    function test_gas_disputeAndFinalize() public {
        _open();
        Submission memory s = _voucher(HUB, 5, 123, 4, 456);
        vm.prank(alice);
        adj.dispute(config, _list(s), _noLocks());
        vm.snapshotGasLastCall("adjudicator", "dispute, direct, fresh floors");
        vm.warp(block.timestamp + PERIOD);
        adj.finalize(config);
        vm.snapshotGasLastCall("adjudicator", "finalize");
    }

    function test_gas_disputeWithProof() public {
        address client = makeAddr("poor client");
        vm.prank(alice);
        config.client = client;
        id = adj.channelIdOf(config);
        vm.prank(alice);
        adj.open(config, EACH);
        _reserve(EACH);
        Submission memory s = _batchSigned(_voucher(HUB, 5, 123, 4, 456), 10, 0);
        vm.prank(client);
        adj.dispute(config, _list(s), _noLocks());
        vm.snapshotGasLastCall("adjudicator", "dispute, 10-deep proof, fresh floors");
        vm.warp(block.timestamp + PERIOD);
        adj.finalize(config);
        vm.snapshotGasLastCall("adjudicator", "finalize, recipient new to the token");
    }

    function test_gas_close() public {
        _open();
        Close memory m = _closeMessage(1300, 700);
        (bytes memory c, bytes memory h) = _bothSign(adj.closeDigest(m));
        vm.prank(stranger);
        adj.close(config, m, c, h);
        vm.snapshotGasLastCall("adjudicator", "close, relayed");
    }

    function test_gas_closeMany() public {
        _many();
        ClientClose[] memory items = _closes(false);
        vm.prank(config.hubSigner);
        adj.closeMany(_side(), items);
        vm.snapshotGasLastCall("adjudicator", "close, 50 channels");
    }

    function test_gas_closeManyFresh() public {
        _many();
        ClientClose[] memory items = _closes(true);
        vm.prank(config.hubSigner);
        adj.closeMany(_side(), items);
        vm.snapshotGasLastCall("adjudicator", "close, 50 channels, recipients new to the token");
    }

    function test_gas_withdraw() public {
        _open();
        _submit(_voucher(CLIENT, 5, 123_456_789, 4, 987_654));
        Withdraw memory m = _withdrawMessage(CLIENT, 300);
        (m.clientSeq, m.clientPaid) = (6, 123_456_790);
        (bytes memory c, bytes memory h) = _bothSign(adj.withdrawDigest(m));
        vm.prank(stranger);
        adj.withdraw(config, m, c, h);
        vm.snapshotGasLastCall("adjudicator", "withdraw, relayed, first");
    }

    function test_gas_release() public {
        _many();
        _releaseAlone(0, 1, "release alone, first of its channel");
        _releaseAlone(0, 2, "release alone");
    }

    function test_gas_releaseMany8() public {
        _many();
        _releaseMany(8, 1, "release, 8 channels, first of each");
        _releaseMany(8, 2, "release, 8 channels");
    }

    function test_gas_releaseMany50() public {
        _many();
        _releaseMany(BATCH, 1, "release, 50 channels, first of each");
        _releaseMany(BATCH, 2, "release, 50 channels");
    }
}
