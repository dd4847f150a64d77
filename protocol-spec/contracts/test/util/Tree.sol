// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

/// A commutative Merkle tree as OpenZeppelin's MerkleProof reads it; an odd node moves up.
library Tree {
    function pair(bytes32 a, bytes32 b) internal pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }

    function root(bytes32[] memory level) internal pure returns (bytes32) {
        while (level.length > 1) {
            level = _up(level);
        }
        return level[0];
    }

    function proof(bytes32[] memory level, uint256 index) internal pure returns (bytes32[] memory) {
        uint256[] memory which = new uint256[](1);
        which[0] = index;
        return proofs(level, which)[0];
    }

    /// The same for many leaves: each pair is hashed once.
    function proofs(bytes32[] memory level, uint256[] memory which) internal pure returns (bytes32[][] memory paths) {
        paths = new bytes32[][](which.length);
        for (uint256 depth = 0; level.length > 1; ++depth) {
            for (uint256 i = 0; i < which.length; ++i) {
                uint256 sibling = (which[i] >> depth) ^ 1;
                if (sibling < level.length) paths[i] = _append(paths[i], level[sibling]);
            }
            level = _up(level);
        }
    }

    function _up(bytes32[] memory level) private pure returns (bytes32[] memory next) {
        next = new bytes32[]((level.length + 1) / 2);
        for (uint256 i = 0; i < next.length; ++i) {
            next[i] = 2 * i + 1 < level.length ? pair(level[2 * i], level[2 * i + 1]) : level[2 * i];
        }
    }

    function _append(bytes32[] memory list, bytes32 last) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = last;
    }
}
