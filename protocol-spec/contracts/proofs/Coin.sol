// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

/// A token that may take a fee on the way in, and refuse on the way out, as whoever proves wishes.
contract Coin {
    uint256 public received;
    uint256 public sent;
    uint256 private _arrives;
    bool private _refuses;

    function set(uint256 arrives, bool refuses) external {
        (_arrives, _refuses) = (arrives, refuses);
    }

    function balanceOf(address) external view returns (uint256) {
        return received;
    }

    function transferFrom(address, address, uint256) external returns (bool) {
        received += _arrives;
        return true;
    }

    function transfer(address, uint256 amount) external returns (bool) {
        if (_refuses) return false;
        sent += amount;
        return true;
    }
}
