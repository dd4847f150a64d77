// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./Proof.sol";

/// R18-R20 for every value of every word of storage, whether it can come about or not.
contract WorthProof is Proof {
    /// R19, R20: each direction is worth its maximum; the client's share is clamped to 0 and the total, without wrapping.
    function check_R19_R20_share(State calldata s) public {
        (uint256 client,) = _balancesOf(s);
        int256 share = _net(s.money) + int256(_worth(s.floors, s.hubLocks, HUB))
            - int256(_worth(s.floors, s.clientLocks, CLIENT));
        uint256 total = _total(s.money);
        if (share <= 0) assert(client == 0);
        else if (uint256(share) >= total) assert(client == total);
        else assert(client == uint256(share));
    }

    /// R20: the client never gets more than the total, and both sides together get just that.
    function check_R20_sum(State calldata s) public {
        (uint256 client, uint256 hub) = _balancesOf(s);
        assert(client <= _total(s.money));
        assert(client + hub == _total(s.money));
    }

    /// R19: superseded locks are worth nothing.
    function check_R19_superseded(State memory s, uint256 clientLocks, uint256 hubLocks) public {
        vm.assume(_bits(s.floors, 248, 2) == 0);
        (uint256 client, uint256 hub) = _balancesOf(s);
        (s.clientLocks, s.hubLocks) = (clientLocks, hubLocks);
        (uint256 clientNow, uint256 hubNow) = _balancesOf(s);
        assert(client == clientNow && hub == hubNow);
    }

    /// R18: the end of the window; with live locks a period later, and not before the last of them expires.
    function check_R18_finalAt(State calldata s) public {
        vm.assume(s.floors >> 250 == 0);
        _put(0, s);
        uint256 end = adj.finalAt(_config(0));
        if (_status(s.money) != DISPUTED) return assert(end == 0);
        uint256 last = _bits(s.money, 184, 40);
        if (s.floors >> 248 == 0) return assert(end == last);
        last += PERIOD;
        (uint256 a, uint256 b) = (_expiry(s.floors, s.clientLocks, CLIENT), _expiry(s.floors, s.hubLocks, HUB));
        if (a > last) last = a;
        if (b > last) last = b;
        assert(end == last);
    }

    function _balancesOf(State memory s) private returns (uint256, uint256) {
        _put(0, s);
        return adj.balances(ids[0]);
    }

    /// The larger one of the floor and what live locks prove, which is their base and what was counted.
    function _worth(uint256 floors, uint256 locks, uint256 payer) private pure returns (uint256) {
        uint256 floor = _paid(floors, payer);
        if (!_live(floors, payer)) return floor;
        uint256 resolved = _bits(locks, 0, 88) + _bits(locks, 88, 88);
        return resolved > floor ? resolved : floor;
    }

    function _expiry(uint256 floors, uint256 locks, uint256 payer) private pure returns (uint256) {
        return _live(floors, payer) ? _bits(locks, 176, 64) : 0;
    }
}
