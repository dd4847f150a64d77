// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import "./Proof.sol";

/// What each verb does to the words of a channel and to the other places of money, when it succeeds: by how much, and
/// nothing else. Every sum is computed here in 256 bits from fields of at most 128, so an overflow would be a difference.
contract MoneyProof is Proof {
    /// R20: finalize pays the balances, all of the total: to the vault, and to the client or to what it may claim. Without
    /// locks, of which the balances know.
    function check_R20_finalize_pays(State calldata s, uint128 vault, uint128 claimable, bool refuses) public {
        vm.assume(s.floors >> 248 == 0);
        _put(0, s);
        _putPurse(vault, claimable);
        coin.set(0, refuses);
        vm.warp(2 ** 65);
        (uint256 client, uint256 hub) = adj.balances(ids[0]);
        adj.finalize(_config(0));
        assert(_status(s.money) == DISPUTED);
        assert(adj.vault(address(coin), HUB_ACCOUNT) == vault + hub);
        assert(adj.claimable(address(coin), address(this)) == claimable + (refuses ? client : 0));
        assert(coin.sent() == (refuses ? 0 : client));
        uint256 money = _get(0, 0);
        assert(_status(money) == CLOSED && _total(money) == 0);
    }

    /// R14: a withdrawal takes what is new of its cumulative total, never more than there is, and only from its own side.
    function check_R14_withdraw_takes(State calldata s, uint8 side, uint128 total, uint128 vault) public {
        _put(0, s);
        _putPurse(vault, 0);
        vm.warp(1 days);
        adj.withdraw(_config(0), Withdraw(ids[0], side, total, 0, 0, 0, 0, 1 days), "", "");
        bool client = side == CLIENT;
        uint256 amount = total - _withdrawn(s, side);
        assert(amount <= _total(s.money));
        State memory now_ = _state(0);
        assert(_status(s.money) == OPEN && _total(now_.money) == _total(s.money) - amount);
        assert(_withdrawn(now_, side) == total);
        assert(_withdrawn(now_, 1 - side) == _withdrawn(s, 1 - side));
        assert(adj.vault(address(coin), HUB_ACCOUNT) == vault + (client ? 0 : amount));
        assert(coin.sent() == (client ? amount : 0));
        assert(now_.money >> 184 == s.money >> 184 | 1 << 66);
        _keepsEvidence(now_, s);
    }

    /// R14: a withdrawal raises all four floors by maximum; a higher seq, and nothing else, ends the life of its locks.
    function check_R14_withdraw_raises(State calldata s, uint64[2] calldata seq, uint128[2] calldata paid) public {
        vm.assume(s.floors >> 250 == 0);
        _put(0, s);
        vm.warp(1 days);
        adj.withdraw(_config(0), Withdraw(ids[0], 1, 2 ** 127, seq[0], paid[0], seq[1], paid[1], 1 days), "", "");
        uint256 floors = _get(0, 1);
        for (uint256 payer = 0; payer < 2; ++payer) {
            uint256 old = _seq(s.floors, payer);
            assert(_seq(floors, payer) == (seq[payer] > old ? seq[payer] : old));
            assert(_live(floors, payer) == (seq[payer] > old ? false : _live(s.floors, payer)));
            old = _paid(s.floors, payer);
            assert(_paid(floors, payer) == (paid[payer] > old ? paid[payer] : old));
        }
        assert(floors >> 250 == 0);
    }

    /// A deposit adds what arrived, whatever was sent, to the total and to the client's net.
    function check_R26_deposit_adds(State calldata s, uint256 amount, uint256 arrives) public {
        vm.assume(amount != 0);
        _put(0, s);
        coin.set(arrives, false);
        adj.deposit(_config(0), amount);
        State memory now_ = _state(0);
        assert(_status(s.money) == OPEN && arrives <= PAID_MAX);
        assert(_total(now_.money) == _total(s.money) + arrives);
        assert(now_.money >> 184 == s.money >> 184);
        assert(now_.withdrawn == s.withdrawn);
        _keepsEvidence(now_, s);
    }

    /// A reserve, of the hub's account alone, moves its amount from the vault to the total, once, and nothing of the net.
    function check_reserve_moves(State calldata s, uint256 vault, uint128 amount) public {
        _put(0, s);
        _putPurse(vault, 0);
        vm.assume(_status(s.money) == OPEN);
        ClientReserve[] memory items = new ClientReserve[](1);
        items[0] = ClientReserve(address(this), CLIENT_SIGNER, 0, amount);
        // this contract is both signers and the client
        try adj.reserve(_side(), items) {
            assert(false);
        } catch {}
        vm.prank(HUB_ACCOUNT);
        adj.reserve(_side(), items);
        uint256 money = _get(0, 0);
        assert(amount <= vault);
        // what would not fit the channel stays in the vault
        uint256 moved = _total(s.money) + amount <= PAID_MAX ? amount : 0;
        assert(adj.vault(address(coin), HUB_ACCOUNT) == vault - moved);
        assert(_total(money) == _total(s.money) + moved);
        assert(money >> 88 == s.money >> 88);
    }
}
