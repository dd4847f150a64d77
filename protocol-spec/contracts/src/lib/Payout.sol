// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {IAdjudicator} from "../IAdjudicator.sol";

/// A push that blocks nobody: capped gas, bounded return data, and an answer instead of a revert.
library Payout {
    /// Enough for every token and wallet we know; more is claimed.
    uint256 internal constant TOKEN_GAS = 200_000;
    uint256 internal constant NATIVE_GAS = 100_000;
    /// Above the call's own costs (cold account, value, new account) and what is left to do after it.
    uint256 private constant SPARE_GAS = 60_000;

    function push(address token, address to, uint256 amount) internal returns (bool done) {
        if (token == address(0)) {
            requireGas(NATIVE_GAS);
            uint256 cap = NATIVE_GAS;
            assembly ("memory-safe") {
                done := call(cap, to, amount, 0, 0, 0, 0)
            }
        } else {
            requireGas(TOKEN_GAS);
            done = pushToken(token, to, amount);
        }
    }

    /// Or a relayer could leave too little gas, and so force every receiver to claim.
    function requireGas(uint256 cap) internal view {
        uint256 needed = cap + cap / 63 + SPARE_GAS;
        uint256 left = gasleft();
        if (left < needed) revert IAdjudicator.NotEnoughGas(needed, left);
    }

    /// True when the call succeeds and returns either nothing, from an account with code, or the word 1.
    function pushToken(address token, address to, uint256 amount) private returns (bool done) {
        bytes4 transfer = 0xa9059cbb;
        uint256 cap = TOKEN_GAS;
        assembly ("memory-safe") {
            let ptr := mload(0x40)
            mstore(ptr, transfer)
            mstore(add(ptr, 0x04), to)
            mstore(add(ptr, 0x24), amount)
            mstore(0, 0)
            done := call(cap, token, 0, ptr, 0x44, 0, 0x20)
            switch returndatasize()
            case 0 { done := and(done, gt(extcodesize(token), 0)) }
            default { done := and(done, and(gt(returndatasize(), 31), eq(mload(0), 1))) }
        }
    }
}
