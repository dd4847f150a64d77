// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import "../IAdjudicator.sol";
import {Ledger} from "./Ledger.sol";
import {Hashing} from "../lib/Hashing.sol";
import {Words} from "../lib/Words.sol";

/// What a channel is worth, when a dispute is final, and the one way out (R18-R20).
abstract contract Settlement is Ledger {
    using Words for uint256;

    /// @inheritdoc IAdjudicator
    function finalize(Config calldata config) external nonReentrant {
        (, bytes4 fault, uint256 a, uint256 b) = _finalize(domainSeparator(), config);
        _raise(fault, a, b);
    }

    /// @inheritdoc IAdjudicator
    function finalizeMany(Config[] calldata configs) external nonReentrant {
        bytes32 domain = domainSeparator();
        for (uint256 i = 0; i < configs.length; ++i) {
            (bytes32 id, bytes4 fault,,) = _finalize(domain, configs[i]);
            if (fault != 0) emit Skipped(id, fault);
        }
    }

    // ------------------------------------------------------------------ settlement, parts

    /// R19: each direction by maximum, never by sum.
    function _effective(Channel storage ch, uint256 floors, uint256 payer) internal view returns (uint256) {
        uint256 floor = floors.paid(payer);
        if (!floors.live(payer)) return floor;
        uint256 word = ch.locks[payer].word;
        uint256 resolved = word.base() + word.counted();
        return resolved > floor ? resolved : floor;
    }

    function _balances(Channel storage ch, uint256 money, uint256 floors)
        internal
        view
        returns (uint256 clientBalance, uint256 hubBalance)
    {
        clientBalance = money.clientShare(_effective(ch, floors, CLIENT), _effective(ch, floors, HUB));
        hubBalance = money.total() - clientBalance;
    }

    /// R18: live locks keep the dispute open until they expire, and leave time to count them again after the window.
    function _finalAt(Channel storage ch, uint256 money, uint256 floors, uint256 challengePeriodS)
        internal
        view
        returns (uint256 end)
    {
        end = money.windowEnd();
        if (!floors.anyLive()) return end;
        end += challengePeriodS;
        for (uint256 payer = CLIENT; payer <= HUB; ++payer) {
            if (!floors.live(payer)) continue;
            uint256 expiry = ch.locks[payer].word.maxExpiry();
            if (expiry > end) end = expiry;
        }
    }

    function _requireNotFinal(Channel storage ch, uint256 money, uint256 floors, uint256 challengePeriodS)
        internal
        view
    {
        uint256 end = _finalAt(ch, money, floors, challengePeriodS);
        if (block.timestamp >= end) revert AlreadyFinal(end, block.timestamp);
    }

    function _finalize(bytes32 domain, Config calldata config)
        internal
        returns (bytes32 id, bytes4 fault, uint256 a, uint256 b)
    {
        id = MessageHashUtils.toTypedDataHash(domain, Hashing.config(config));
        Channel storage ch = _channels[id];
        (uint256 money, uint256 floors) = (ch.money, ch.floors);
        if (money.status() != Words.DISPUTED) return (id, WrongStatus.selector, Words.DISPUTED, money.status());
        uint256 end = _finalAt(ch, money, floors, config.challengePeriodS);
        if (block.timestamp < end) return (id, NotFinal.selector, end, block.timestamp);
        (uint256 clientBalance, uint256 hubBalance) = _balances(ch, money, floors);
        _settle(id, ch, money, config, clientBalance, hubBalance);
    }

    /// The one way out of open and disputed (closeMany does the same for many). State first, then the push.
    function _settle(
        bytes32 id,
        Channel storage ch,
        uint256 money,
        Config calldata config,
        uint256 clientBalance,
        uint256 hubBalance
    ) internal {
        ch.money = money.closed();
        emit Closed(id, clientBalance, hubBalance);
        if (hubBalance != 0) vault[config.token][config.hub] += hubBalance;
        _pay(config.token, config.client, clientBalance);
    }
}
