// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {CompactSignature} from "../IAdjudicator.sol";
import {Hashing} from "./Hashing.sol";

/// Who may have signed what. Direct signatures are 65 bytes; batch signatures carry a Merkle proof behind them.
library Signatures {
    uint256 private constant DIRECT_BYTES = 65;
    uint256 private constant PROOF_DEPTH_MAX = 16;

    /// ECDSA by exactly this key.
    function isDirect(address signer, bytes32 digest, bytes calldata signature) internal pure returns (bool) {
        return signer == _recover(digest, signature) && signer != address(0);
    }

    function isDirect(address signer, bytes32 digest, CompactSignature calldata signature)
        internal
        pure
        returns (bool)
    {
        return signer == _recover(digest, signature) && signer != address(0);
    }

    /// A direct signature, or one over a Batch whose tree holds the digest. Only for a hub's signature under a voucher.
    function isDirectOrBatch(bytes32 domain, address signer, bytes32 digest, bytes calldata signature)
        internal
        pure
        returns (bool)
    {
        if (signature.length == DIRECT_BYTES) return isDirect(signer, digest, signature);
        if (signature.length < DIRECT_BYTES || (signature.length - DIRECT_BYTES) % 32 != 0) return false;
        uint256 depth = (signature.length - DIRECT_BYTES) / 32;
        if (depth > PROOF_DEPTH_MAX) return false;
        bytes32[] calldata proof;
        assembly ("memory-safe") {
            proof.offset := add(signature.offset, DIRECT_BYTES)
            proof.length := depth
        }
        bytes32 root = MerkleProof.processProofCalldata(proof, digest);
        bytes32 batch = MessageHashUtils.toTypedDataHash(domain, keccak256(abi.encode(Hashing.BATCH_TYPEHASH, root)));
        return isDirect(signer, batch, signature[:DIRECT_BYTES]);
    }

    /// ECDSA by a party's signer or account. An account under EIP-7702 has code but may lack ERC-1271, so ECDSA comes first.
    function isOfParty(address signer, address account, bytes32 digest, bytes calldata signature)
        internal
        pure
        returns (bool)
    {
        address recovered = _recover(digest, signature);
        return (recovered == signer || recovered == account) && recovered != address(0);
    }

    function isOfParty(address signer, address account, bytes32 digest, CompactSignature calldata signature)
        internal
        pure
        returns (bool)
    {
        address recovered = _recover(digest, signature);
        return (recovered == signer || recovered == account) && recovered != address(0);
    }

    /// ERC-1271 by a party's account.
    function isOfWallet(address account, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        return
            account.code.length != 0 && SignatureChecker.isValidERC1271SignatureNowCalldata(account, digest, signature);
    }

    /// The key behind a signature, or 0.
    function _recover(bytes32 digest, bytes calldata signature) private pure returns (address recovered) {
        if (signature.length != DIRECT_BYTES) return address(0);
        bytes32 r;
        bytes32 s;
        uint8 v;
        // three plain loads: slices of calldata would be checked one by one
        assembly ("memory-safe") {
            r := calldataload(signature.offset)
            s := calldataload(add(signature.offset, 0x20))
            v := byte(0, calldataload(add(signature.offset, 0x40)))
        }
        // slither-disable-next-line unused-return -- the others only explain why it is 0
        (recovered,,) = ECDSA.tryRecover(digest, v, r, s);
    }

    function _recover(bytes32 digest, CompactSignature calldata signature) private pure returns (address recovered) {
        // slither-disable-next-line unused-return -- the others only explain why it is 0
        (recovered,,) = ECDSA.tryRecover(digest, signature.r, signature.vs);
    }
}
