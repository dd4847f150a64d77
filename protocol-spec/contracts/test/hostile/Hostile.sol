// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {Vm} from "forge-std/Vm.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// An ERC-1271 wallet of one key.
contract Wallet {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    address private immutable _owner;
    bytes4 private _answer = 0x1626ba7e;

    constructor(uint256 key) {
        _owner = vm.addr(key);
    }

    function setAnswer(bytes4 answer) external {
        _answer = answer;
    }

    function isValidSignature(bytes32 digest, bytes calldata s) external view returns (bytes4) {
        return ecrecover(digest, uint8(s[64]), bytes32(s[:32]), bytes32(s[32:64])) == _owner ? _answer : bytes4(0);
    }
}

/// A token whose `transfer` and `transferFrom` misbehave on command.
contract HostileToken is ERC20 {
    enum Mode {
        Honest,
        Fee,
        ReturnFalse,
        ReturnNothing,
        Revert,
        Bomb,
        EatGas,
        Call,
        ReturnTwo,
        FakeSuccess,
        NeedGas
    }

    Mode public mode;
    address public blacklisted;
    address public target;
    bytes public data;
    bool public calledBack;
    bytes public answer;

    constructor() ERC20("Hostile", "HOS") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function set(Mode mode_) external {
        mode = mode_;
    }

    function blacklist(address who) external {
        blacklisted = who;
    }

    function callBack(address target_, bytes calldata data_) external {
        (mode, target, data) = (Mode.Call, target_, data_);
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        require(to != blacklisted, "blacklisted");
        if (mode == Mode.Revert) revert("no");
        if (mode == Mode.ReturnFalse) return false;
        if (mode == Mode.FakeSuccess) return true;
        // nearly all of what a push gives a token; what is left after a refusal is enough to go on with
        if (mode == Mode.NeedGas) require(gasleft() > 190_000, "gas");
        if (mode == Mode.Bomb) {
            assembly {
                revert(0, 1000000)
            }
        }
        if (mode == Mode.EatGas) {
            while (true) {}
        }
        if (mode == Mode.Call) (calledBack, answer) = target.call(data);
        if (mode == Mode.Fee) {
            _burn(from, amount / 10);
            amount -= amount / 10;
        }
        _transfer(from, to, amount);
        if (mode == Mode.ReturnNothing) {
            assembly {
                return(0, 0)
            }
        }
        if (mode == Mode.ReturnTwo) {
            assembly {
                mstore(0, 2)
                return(0, 32)
            }
        }
        return true;
    }
}

/// Receives native coin, or refuses, eats gas, calls back.
contract Receiver {
    enum Mode {
        Take,
        Refuse,
        EatGas,
        Bomb,
        Call,
        NeedGas
    }

    Mode public mode;
    address public target;
    bytes public data;
    bool public called;
    bool public calledBack;

    function set(Mode mode_) external {
        mode = mode_;
    }

    function callBack(address target_, bytes calldata data_) external {
        (mode, target, data) = (Mode.Call, target_, data_);
    }

    function run(address to, bytes calldata what) external payable returns (bytes memory) {
        (bool done, bytes memory result) = to.call{value: msg.value}(what);
        require(done, "run failed");
        return result;
    }

    receive() external payable {
        if (mode == Mode.Refuse) revert("no");
        if (mode == Mode.NeedGas) require(gasleft() > 95_000, "gas");
        if (mode == Mode.EatGas) while (true) {}
        if (mode == Mode.Bomb) {
            assembly {
                revert(0, 1000000)
            }
        }
        if (mode == Mode.Call) {
            called = true;
            (calledBack,) = target.call(data);
        }
    }
}

/// Answers a lock's condition in many wrong ways.
contract Resolver {
    enum Mode {
        Yes,
        No,
        Two,
        Long,
        Short,
        Revert,
        EatGas,
        Write
    }

    Mode public mode;
    uint256 public written;

    function set(Mode mode_) external {
        mode = mode_;
    }

    function check(bytes32 hash, bytes calldata witness) external returns (bool) {
        Mode m = mode;
        if (m == Mode.Revert) revert("no");
        if (m == Mode.EatGas) while (true) {}
        if (m == Mode.Write) written = 1;
        bool right = keccak256(witness) == hash;
        assembly {
            mstore(0, right)
            mstore(0x20, right)
            if eq(m, 1) { mstore(0, 0) }
            if eq(m, 2) { mstore(0, 2) }
            if eq(m, 3) { return(0, 64) }
            if eq(m, 4) { return(31, 1) }
            return(0, 32)
        }
    }
}
