// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IResolver} from "../IAdjudicator.sol";

/// An example of a resolver: an escrow that an arbiter releases by its signature. A lock on it is paid to its payee when
/// the arbiter has signed Release(deal); otherwise it runs out, and the money is the payer's again.
///
/// hash = SHA-256(abi.encode(arbiter, deal)); witness = that data (64 bytes) and the arbiter's signature (65 bytes r||s||v).
/// `deal` is whatever names what the parties agreed on: one release opens every lock on the same deal, so it must hold
/// something that is used once.
///
/// Pure and monotone, as a resolver must be: it reads no storage, no time and no caller, and takes plain signatures only,
/// since what a contract wallet says can change. The signature counts for this contract on this chain only.
contract ArbiterEscrow is IResolver, EIP712 {
    bytes32 private constant RELEASE = keccak256("Release(bytes32 deal)");

    constructor() EIP712("ArbiterEscrow", "1") {}

    /// What the arbiter signs to release `deal`.
    function releaseDigest(bytes32 deal) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RELEASE, deal)));
    }

    /// @inheritdoc IResolver
    function check(bytes32 hash, bytes calldata witness) external view returns (bool) {
        if (witness.length != 129 || sha256(witness[:64]) != hash) return false;
        address arbiter = address(uint160(uint256(bytes32(witness[:32]))));
        // slither-disable-next-line unused-return -- the third only explains the error
        (address signer, ECDSA.RecoverError error,) =
            ECDSA.tryRecover(releaseDigest(bytes32(witness[32:64])), witness[64:]);
        return error == ECDSA.RecoverError.NoError && signer == arbiter;
    }
}
