// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {Test} from "forge-std/Test.sol";
import "../../src/IAdjudicator.sol";
import {TestToken} from "../tokens/TestToken.sol";
import {Tree} from "./Tree.sol";

/// One adjudicator, one token, a client (alice) and a hub with a channel of 1000 + 1000, and signed messages for it.
abstract contract Base is Test {
    uint8 internal constant CLIENT = 0;
    uint8 internal constant HUB = 1;
    uint64 internal constant PERIOD = 1 days;
    uint128 internal constant EACH = 1000;

    IAdjudicator internal adj;
    TestToken internal token;

    uint256 internal aliceKey;
    uint256 internal aliceSignerKey;
    uint256 internal hubKey;
    uint256 internal hubSignerKey;
    address internal alice;
    address internal hub;
    address internal stranger;
    address internal watchtower;

    Config internal config;
    bytes32 internal id;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        adj = _deployed();
        token = TestToken(deployCode("artifacts/TestToken.json", abi.encode("Test", "TST", 6)));
        (alice, aliceKey) = makeAddrAndKey("alice");
        address aliceSigner;
        (aliceSigner, aliceSignerKey) = makeAddrAndKey("alice signer");
        (hub, hubKey) = makeAddrAndKey("hub");
        address hubSigner;
        (hubSigner, hubSignerKey) = makeAddrAndKey("hub signer");
        stranger = makeAddr("stranger");
        watchtower = makeAddr("watchtower");
        config = Config(alice, aliceSigner, hub, hubSigner, address(token), PERIOD, keccak256("salt"));
        id = adj.channelIdOf(config);
        _mint(alice);
        _mint(hub);
        _mint(stranger);
    }

    /// The committed bytes themselves: what the Rust side deploys is what is tested here.
    function _deployed() internal returns (IAdjudicator) {
        return IAdjudicator(deployCode("artifacts/Adjudicator.json"));
    }

    function _mint(address who) internal {
        token.mint(who, 1e30);
        vm.prank(who);
        token.approve(address(adj), type(uint256).max);
    }

    // ------------------------------------------------------------------ channels

    function _open() internal {
        vm.prank(alice);
        adj.open(config, EACH);
        _fundVault(EACH);
        _reserve(EACH);
    }

    function _fundVault(uint256 amount) internal {
        vm.prank(hub);
        adj.fundVault(hub, address(token), amount);
    }

    function _reserve(uint128 amount) internal {
        ClientReserve[] memory items = new ClientReserve[](1);
        items[0] = ClientReserve(config.client, config.clientSigner, config.salt, amount);
        vm.prank(hub);
        adj.reserve(_side(), items);
    }

    function _side() internal view returns (HubSide memory) {
        return HubSide(config.hub, config.hubSigner, config.token, config.challengePeriodS);
    }

    function _state() internal view returns (ChannelState memory) {
        return adj.channel(id);
    }

    function _status() internal view returns (Status) {
        return adj.channel(id).status;
    }

    // ------------------------------------------------------------------ signatures

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// As EIP-2098 has it.
    function _compact(bytes memory signature) internal pure returns (CompactSignature memory) {
        (bytes32 r, bytes32 s) = abi.decode(signature, (bytes32, bytes32));
        return CompactSignature(r, signature[64] == 0x1c ? s | bytes32(uint256(1) << 255) : s);
    }

    function _signerKey(uint8 side) internal view returns (uint256) {
        return side == CLIENT ? aliceSignerKey : hubSignerKey;
    }

    function _voucherDigest(Submission memory s) internal view returns (bytes32) {
        return adj.voucherDigest(Voucher(id, s.seq, s.paid, s.ackSeq, s.ackPaid, s.locks, s.history));
    }

    function _resign(Submission memory s) internal view returns (Submission memory) {
        s.signature = _sign(_signerKey(s.payer), _voucherDigest(s));
        return s;
    }

    function _voucher(uint8 payer, uint64 seq, uint128 paid, uint64 ackSeq, uint128 ackPaid)
        internal
        view
        returns (Submission memory s)
    {
        (s.payer, s.seq, s.paid, s.ackSeq, s.ackPaid) = (payer, seq, paid, ackSeq, ackPaid);
        s.history = keccak256(abi.encode("history", payer, seq));
        return _resign(s);
    }

    function _withLocks(Submission memory s, Lock[] memory locks) internal view returns (Submission memory) {
        LocksOpening memory opening = _opening(locks);
        s.locks = keccak256(abi.encode(opening));
        s.opening = new LocksOpening[](1);
        s.opening[0] = opening;
        return _resign(s);
    }

    function _withoutOpening(Submission memory s) internal pure returns (Submission memory) {
        s.opening = new LocksOpening[](0);
        return s;
    }

    function _accepted(Submission memory s, address submitter, bool mayDispute, uint64 deadline)
        internal
        view
        returns (Submission memory)
    {
        bytes32 digest = adj.acceptDigest(Accept(_voucherDigest(s), submitter, mayDispute, deadline));
        s.countersignature = new Countersignature[](1);
        s.countersignature[0] = Countersignature(mayDispute, deadline, _sign(_signerKey(1 - s.payer), digest));
        return s;
    }

    /// A batch signature of the hub over vouchers of which this one is leaf number `index` of 2^depth.
    function _batchSigned(Submission memory s, uint256 depth, uint256 index) internal view returns (Submission memory) {
        bytes32 node = _voucherDigest(s);
        bytes memory proof;
        for (uint256 i = 0; i < depth; ++i) {
            bytes32 sibling = keccak256(abi.encode("sibling", i, index));
            proof = abi.encodePacked(proof, sibling);
            node = Tree.pair(node, sibling);
        }
        s.signature = abi.encodePacked(_sign(hubSignerKey, adj.batchDigest(node)), proof);
        return s;
    }

    // ------------------------------------------------------------------ locks

    function _preimage(uint64 lockId) internal pure returns (bytes32) {
        return keccak256(abi.encode("preimage", lockId));
    }

    function _lock(uint64 lockId, uint128 amount, uint64 expiry) internal pure returns (Lock memory) {
        return Lock(lockId, amount, expiry, sha256(abi.encode(_preimage(lockId))), address(0));
    }

    function _two(Lock memory a, Lock memory b) internal pure returns (Lock[] memory locks) {
        locks = new Lock[](2);
        (locks[0], locks[1]) = (a, b);
    }

    function _one(Lock memory a) internal pure returns (Lock[] memory locks) {
        locks = new Lock[](1);
        locks[0] = a;
    }

    function _leaves(Lock[] memory locks) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](locks.length);
        for (uint256 i = 0; i < locks.length; ++i) {
            leaves[i] = _leaf(locks[i]);
        }
    }

    function _leaf(Lock memory lock) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(lock))));
    }

    function _opening(Lock[] memory locks) internal pure returns (LocksOpening memory o) {
        o.root = Tree.root(_leaves(locks));
        for (uint256 i = 0; i < locks.length; ++i) {
            o.total += locks[i].amount;
            if (locks[i].expiry > o.maxExpiry) o.maxExpiry = locks[i].expiry;
        }
    }

    /// Resolves locks number `which` of `locks` by their preimages.
    function _resolution(uint8 payer, Lock[] memory locks, uint256[] memory which)
        internal
        pure
        returns (Resolution memory r)
    {
        r.payer = payer;
        r.opening = _opening(locks);
        r.unlocks = new Unlock[](which.length);
        bytes32[][] memory proofs = Tree.proofs(_leaves(locks), which);
        for (uint256 i = 0; i < which.length; ++i) {
            Lock memory lock = locks[which[i]];
            r.unlocks[i] = Unlock(lock, abi.encode(_preimage(lock.id)), proofs[i]);
        }
    }

    function _resolveFirst(uint8 payer, Lock[] memory locks) internal pure returns (Resolution memory) {
        return _resolution(payer, locks, new uint256[](1));
    }

    function _resolveAll(uint8 payer, Lock[] memory locks) internal pure returns (Resolution memory) {
        uint256[] memory which = new uint256[](locks.length);
        for (uint256 i = 0; i < which.length; ++i) {
            which[i] = i;
        }
        return _resolution(payer, locks, which);
    }

    // ------------------------------------------------------------------ calls

    function _list(Submission memory s) internal pure returns (Submission[] memory list) {
        list = new Submission[](1);
        list[0] = s;
    }

    function _list(Submission memory s, Submission memory t) internal pure returns (Submission[] memory list) {
        list = new Submission[](2);
        (list[0], list[1]) = (s, t);
    }

    function _list(Resolution memory r) internal pure returns (Resolution[] memory list) {
        list = new Resolution[](1);
        list[0] = r;
    }

    function _noVouchers() internal pure returns (Submission[] memory) {
        return new Submission[](0);
    }

    function _noLocks() internal pure returns (Resolution[] memory) {
        return new Resolution[](0);
    }

    function _submitAs(address who, Submission memory s) internal {
        vm.prank(who);
        adj.submit(config, _list(s), _noLocks());
    }

    /// By the voucher's payee.
    function _submit(Submission memory s) internal {
        _submitAs(s.payer == CLIENT ? hub : alice, s);
    }

    function _resolve(Resolution memory r) internal {
        vm.prank(r.payer == CLIENT ? hub : alice);
        adj.submit(config, _noVouchers(), _list(r));
    }

    function _dispute() internal {
        vm.prank(alice);
        adj.dispute(config, _noVouchers(), _noLocks());
    }

    function _fails(bytes4 selector, uint256 a, uint256 b) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, a, b));
    }

    // ------------------------------------------------------------------ both sides together

    function _now() internal view returns (uint64) {
        return uint64(block.timestamp);
    }

    function _closeMessage(uint128 clientBalance, uint128 hubBalance) internal view returns (Close memory) {
        return Close(id, EACH, EACH, clientBalance, hubBalance, _now() + 1 hours);
    }

    function _close(Close memory m) internal {
        (bytes memory c, bytes memory h) = _bothSign(adj.closeDigest(m));
        vm.prank(stranger);
        adj.close(config, m, c, h);
    }

    function _withdrawMessage(uint8 side, uint128 total) internal view returns (Withdraw memory) {
        return Withdraw(id, side, total, 0, 0, 0, 0, _now() + 1 hours);
    }

    function _withdraw(Withdraw memory m) internal {
        (bytes memory c, bytes memory h) = _bothSign(adj.withdrawDigest(m));
        vm.prank(stranger);
        adj.withdraw(config, m, c, h);
    }

    function _cancel(CancelDispute memory m) internal {
        (bytes memory c, bytes memory h) = _bothSign(adj.cancelDisputeDigest(m));
        vm.prank(stranger);
        adj.cancelDispute(config, m, c, h);
    }

    function _bothSign(bytes32 digest) internal view returns (bytes memory, bytes memory) {
        return (_sign(aliceSignerKey, digest), _sign(hubSignerKey, digest));
    }
}
