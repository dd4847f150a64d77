// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./util/Base.sol";
import {ArbiterEscrow} from "../src/examples/ArbiterEscrow.sol";

/// The example resolver, by itself and under a lock.
contract ArbiterEscrowTest is Base {
    ArbiterEscrow internal escrow;
    address internal arbiter;
    uint256 internal arbiterKey;

    bytes32 internal constant DEAL = keccak256("one bicycle, order 17");
    uint256 internal constant RESOLVER_GAS = 200_000;

    function setUp() public override {
        super.setUp();
        escrow = ArbiterEscrow(deployCode("artifacts/ArbiterEscrow.json"));
        (arbiter, arbiterKey) = makeAddrAndKey("arbiter");
    }

    function _data() internal view returns (bytes memory) {
        return abi.encode(arbiter, DEAL);
    }

    function _signed(uint256 key, bytes32 deal) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, escrow.releaseDigest(deal));
        return abi.encodePacked(r, s, v);
    }

    function _witness() internal view returns (bytes memory) {
        return bytes.concat(_data(), _signed(arbiterKey, DEAL));
    }

    function test_check_acceptsTheArbitersRelease() public {
        bytes memory witness = _witness();
        assertEq(witness.length, 129);
        uint256 before = gasleft();
        assertTrue(escrow.check(sha256(_data()), witness));
        assertLt(before - gasleft(), RESOLVER_GAS / 10);
        // monotone: neither time nor the caller matters
        vm.warp(_now() + 365 days);
        vm.prank(stranger);
        assertTrue(escrow.check(sha256(_data()), witness));
    }

    function test_check_refusesIfSomethingElseIsSigned() public view {
        bytes32 hash = sha256(_data());
        assertFalse(escrow.check(hash, bytes.concat(_data(), _signed(aliceKey, DEAL))));
        assertFalse(escrow.check(hash, bytes.concat(_data(), _signed(arbiterKey, keccak256("order 18")))));
        bytes memory other = abi.encode(arbiter, keccak256("order 18"));
        assertFalse(escrow.check(hash, bytes.concat(other, _signed(arbiterKey, keccak256("order 18")))));
        // an arbiter of the payee's own choice
        bytes memory mine = abi.encode(alice, DEAL);
        assertFalse(escrow.check(hash, bytes.concat(mine, _signed(aliceKey, DEAL))));
    }

    function test_check_refusesIfLengthOrSignatureIsMalformed() public view {
        bytes32 hash = sha256(_data());
        assertFalse(escrow.check(hash, ""));
        assertFalse(escrow.check(hash, _data()));
        assertFalse(escrow.check(hash, bytes.concat(_witness(), hex"00")));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(arbiterKey, escrow.releaseDigest(DEAL));
        bytes32 n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        bytes memory high = abi.encodePacked(r, bytes32(uint256(n) - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        assertFalse(escrow.check(hash, bytes.concat(_data(), high)));
        assertFalse(escrow.check(sha256(abi.encode(address(0), DEAL)), bytes.concat(abi.encode(address(0), DEAL), new bytes(65))));
    }

    function test_check_refusesIfSignedForAnotherChainOrContract() public {
        bytes32 hash = sha256(_data());
        bytes memory witness = _witness();
        vm.chainId(block.chainid + 1);
        assertFalse(escrow.check(hash, witness));
        vm.chainId(block.chainid - 1);
        ArbiterEscrow other = new ArbiterEscrow();
        assertFalse(other.check(hash, witness));
        assertTrue(escrow.check(hash, witness));
    }

    function testFuzz_check_refusesIfAnyByteDiffers(uint256 at, uint8 flip) public view {
        bytes memory witness = _witness();
        vm.assume(flip != 0);
        at = bound(at, 0, witness.length - 1);
        witness[at] ^= bytes1(flip);
        assertFalse(escrow.check(sha256(_data()), witness));
    }

    function test_resolve_paysTheLockIfTheArbiterReleased() public {
        _open();
        Lock[] memory locks = _one(Lock(1, 100, _now() + 2 days, sha256(_data()), address(escrow)));
        _dispute();
        _submit(_withLocks(_voucher(HUB, 1, 10, 0, 0), locks));
        Resolution memory r = _resolveFirst(HUB, locks);
        r.unlocks[0].witness = bytes.concat(_data(), _signed(aliceKey, DEAL));
        vm.expectPartialRevert(IAdjudicator.ResolverRefused.selector);
        _resolve(r);
        r.unlocks[0].witness = _witness();
        _resolve(r);
        assertEq(_state().hubLocks.counted, 100);
    }
}
