// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "../src/IAdjudicator.sol";
import {Coin} from "./Coin.sol";

interface Cheats {
    function prank(address sender) external;
    function assume(bool condition) external pure;
    function load(address account, bytes32 slot) external view returns (bytes32);
    function store(address account, bytes32 slot, bytes32 value) external;
    function getCode(string calldata artifact) external view returns (bytes memory);
    function warp(uint256 time) external;
}

/// The committed bytecode with any words in its storage. Whoever proves is the client and the hub's signer, so that it
/// may do what both must sign; the hub's account is another. Fields are read here anew, not by the contract's library.
/// What is expected is computed along the contract's own branches: the solver then compares like with like.
abstract contract Proof {
    Cheats internal constant vm = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 internal constant CLIENT = 0;
    uint256 internal constant HUB = 1;
    uint256 internal constant OPEN = 1;
    uint256 internal constant DISPUTED = 2;
    uint256 internal constant CLOSED = 3;
    uint64 internal constant PERIOD = 1 days;
    uint256 internal constant PAID_MAX = 2 ** 88 - 1;
    address internal constant HUB_ACCOUNT = address(0xb0b);
    address internal constant CLIENT_SIGNER = address(0xa11ce);

    IAdjudicator internal adj;
    Coin internal coin;
    /// Ids of two channels, which differ in their salts, 0 and 1.
    bytes32[2] internal ids;

    /// The words of a channel, in the order of their slots.
    struct State {
        uint256 money;
        uint256 floors;
        uint256 withdrawn;
        bytes32 clientCommitment;
        uint256 clientLocks;
        bytes32 hubCommitment;
        uint256 hubLocks;
    }

    function setUp() public {
        bytes memory code = vm.getCode("out/proofs/committed.json");
        address at;
        assembly {
            at := create(0, add(code, 0x20), mload(code))
        }
        assert(at != address(0));
        adj = IAdjudicator(at);
        coin = new Coin();
        for (uint256 salt = 0; salt < 2; ++salt) {
            ids[salt] = adj.channelIdOf(_config(salt));
        }
    }

    function _config(uint256 salt) internal view returns (Config memory) {
        return Config(address(this), CLIENT_SIGNER, HUB_ACCOUNT, address(this), address(coin), PERIOD, bytes32(salt));
    }

    function _side() internal view returns (HubSide memory) {
        return HubSide(HUB_ACCOUNT, address(this), address(coin), PERIOD);
    }

    // ------------------------------------------------------------------ storage

    function _word(uint256 salt, uint256 n) private view returns (bytes32) {
        return bytes32(uint256(keccak256(abi.encode(ids[salt], 0))) + n);
    }

    function _get(uint256 salt, uint256 n) internal view returns (uint256) {
        return uint256(vm.load(address(adj), _word(salt, n)));
    }

    function _set(uint256 salt, uint256 n, uint256 value) internal {
        vm.store(address(adj), _word(salt, n), bytes32(value));
    }

    function _put(uint256 salt, State memory s) internal {
        _set(salt, 0, s.money);
        _set(salt, 1, s.floors);
        _set(salt, 2, s.withdrawn);
        _set(salt, 3, uint256(s.clientCommitment));
        _set(salt, 4, s.clientLocks);
        _set(salt, 5, uint256(s.hubCommitment));
        _set(salt, 6, s.hubLocks);
    }

    function _state(uint256 salt) internal view returns (State memory s) {
        s.money = _get(salt, 0);
        s.floors = _get(salt, 1);
        s.withdrawn = _get(salt, 2);
        s.clientCommitment = bytes32(_get(salt, 3));
        s.clientLocks = _get(salt, 4);
        s.hubCommitment = bytes32(_get(salt, 5));
        s.hubLocks = _get(salt, 6);
    }

    function _entry(uint256 mapping_, address account) private view returns (bytes32) {
        return keccak256(abi.encode(account, keccak256(abi.encode(address(coin), mapping_))));
    }

    function _putPurse(uint256 vault, uint256 claimable) internal {
        vm.store(address(adj), _entry(2, HUB_ACCOUNT), bytes32(vault));
        vm.store(address(adj), _entry(3, address(this)), bytes32(claimable));
    }

    // ------------------------------------------------------------------ fields

    function _bits(uint256 word, uint256 at, uint256 width) internal pure returns (uint256) {
        return (word >> at) & ((1 << width) - 1);
    }

    function _total(uint256 money) internal pure returns (uint256) {
        return _bits(money, 0, 88);
    }

    function _net(uint256 money) internal pure returns (int256) {
        return int96(uint96(_bits(money, 88, 96)));
    }

    function _status(uint256 money) internal pure returns (uint256) {
        return _bits(money, 248, 2);
    }

    function _paid(uint256 floors, uint256 payer) internal pure returns (uint256) {
        return _bits(floors, payer == CLIENT ? 0 : 88, 88);
    }

    function _seq(uint256 floors, uint256 payer) internal pure returns (uint256) {
        return _bits(floors, payer == CLIENT ? 176 : 212, 36);
    }

    function _live(uint256 floors, uint256 payer) internal pure returns (bool) {
        return _bits(floors, payer == CLIENT ? 248 : 249, 1) == 1;
    }

    /// What a side took out before; the word counts only when money says so.
    function _withdrawn(State memory s, uint256 side) internal pure returns (uint256) {
        if (_bits(s.money, 250, 1) == 0) return 0;
        return _bits(s.withdrawn, side == CLIENT ? 0 : 128, 128);
    }

    function _keepsLocks(State memory a, State memory b) internal pure {
        assert(a.clientCommitment == b.clientCommitment);
        assert(a.clientLocks == b.clientLocks);
        assert(a.hubCommitment == b.hubCommitment);
        assert(a.hubLocks == b.hubLocks);
    }

    function _keepsEvidence(State memory a, State memory b) internal pure {
        assert(a.floors == b.floors);
        _keepsLocks(a, b);
    }
}
