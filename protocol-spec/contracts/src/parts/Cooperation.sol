// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import "../IAdjudicator.sol";
import {Settlement} from "./Settlement.sol";
import {BatchHashing} from "../lib/BatchHashing.sol";
import {Hashing} from "../lib/Hashing.sol";
import {Signatures} from "../lib/Signatures.sol";
import {Words} from "../lib/Words.sol";

/// What both sides sign: close, withdraw, cancelDispute; and claim.
abstract contract Cooperation is Settlement {
    using BatchHashing for BatchHashing.Buffer;
    using Words for uint256;

    // ------------------------------------------------------------------ both sides together

    /// @inheritdoc IAdjudicator
    function close(
        Config calldata config,
        Close calldata message,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) external nonReentrant {
        bytes32 id = _authorized(
            config, message.channelId, Hashing.close(message), message.deadline, clientSignature, hubSignature
        );
        Channel storage ch = _channels[id];
        uint256 money = ch.money;
        (uint256 clientBalance, uint256 hubBalance, bytes4 fault, uint256 a, uint256 b) =
            _division(ch, money, message.clientDeposit, message.hubDeposit, message.clientBalance, message.hubBalance);
        _raise(fault, a, b);
        _settle(id, ch, money, config, clientBalance, hubBalance);
    }

    /// @inheritdoc IAdjudicator
    function closeMany(HubSide calldata side, ClientClose[] calldata items) external nonReentrant {
        BatchHashing.Buffer buffer = BatchHashing.start(domainSeparator(), side, Hashing.CLOSE_TYPEHASH);
        bool byHub = msg.sender == side.hub || msg.sender == side.hubSigner;
        uint256[] memory clientBalances = new uint256[](items.length);
        uint256 hubBalances = 0;
        for (uint256 i = 0; i < items.length; ++i) {
            (bytes32 id, bytes4 fault, uint256 clientBalance, uint256 hubBalance) =
                _closeInBatch(buffer, side, items[i], byHub);
            if (fault != 0) {
                emit Skipped(id, fault);
                continue;
            }
            clientBalances[i] = clientBalance;
            hubBalances += hubBalance;
        }
        // state first: the vault is written once, and nobody is paid before
        if (hubBalances != 0) vault[side.token][side.hub] += hubBalances;
        for (uint256 i = 0; i < items.length; ++i) {
            _pay(side.token, items[i].client, clientBalances[i]);
        }
    }

    /// @inheritdoc IAdjudicator
    function withdraw(
        Config calldata config,
        Withdraw calldata message,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) external nonReentrant {
        bytes32 id = _authorized(
            config, message.channelId, Hashing.withdraw(message), message.deadline, clientSignature, hubSignature
        );
        _requireSide(message.side);
        (uint256 amount, bytes4 fault, uint256 a, uint256 b) = _takeOut(id, message);
        _raise(fault, a, b);
        if (message.side == CLIENT) _pay(config.token, config.client, amount);
        else vault[config.token][config.hub] += amount;
    }

    /// @inheritdoc IAdjudicator
    function withdrawMany(HubSide calldata side, ClientWithdraw[] calldata items) external nonReentrant {
        BatchHashing.Buffer buffer = BatchHashing.start(domainSeparator(), side, Hashing.WITHDRAW_TYPEHASH);
        bool byHub = msg.sender == side.hub || msg.sender == side.hubSigner;
        uint256[] memory clientAmounts = new uint256[](items.length);
        uint256 hubAmounts = 0;
        for (uint256 i = 0; i < items.length; ++i) {
            (bytes32 id, bytes4 fault, uint256 amount) = _withdrawInBatch(buffer, side, items[i], byHub);
            if (fault != 0) {
                emit Skipped(id, fault);
                continue;
            }
            if (items[i].side == HUB) hubAmounts += amount;
            else clientAmounts[i] = amount;
        }
        // state first, as in closeMany
        if (hubAmounts != 0) vault[side.token][side.hub] += hubAmounts;
        for (uint256 i = 0; i < items.length; ++i) {
            if (clientAmounts[i] != 0) _pay(side.token, items[i].client, clientAmounts[i]);
        }
    }

    /// @inheritdoc IAdjudicator
    function cancelDispute(
        Config calldata config,
        CancelDispute calldata message,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) external nonReentrant {
        bytes32 id = _authorized(
            config, message.channelId, Hashing.cancelDispute(message), message.deadline, clientSignature, hubSignature
        );
        Channel storage ch = _channels[id];
        uint256 money = ch.money;
        _requireStatus(Words.DISPUTED, money);
        if (message.disputeNo != money.disputeNo()) revert WrongDisputeNo(money.disputeNo(), message.disputeNo);
        _requireNotFinal(ch, money, ch.floors, config.challengePeriodS);
        ch.money = money.reopened();
        emit DisputeCancelled(id, message.disputeNo);
    }

    /// @inheritdoc IAdjudicator
    function claim(address token, address to) external nonReentrant {
        uint256 amount = claimable[token][msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender, token);
        claimable[token][msg.sender] = 0;
        emit Claimed(msg.sender, token, to, amount);
        _send(token, to, amount);
    }

    /// R15: the named deposits are divided; what came later goes to its own side.
    function _division(
        Channel storage ch,
        uint256 money,
        uint256 clientDeposit,
        uint256 hubDeposit,
        uint256 clientBalance,
        uint256 hubBalance
    ) internal view returns (uint256, uint256, bytes4, uint256, uint256) {
        uint256 status = money.status();
        if (status != Words.OPEN && status != Words.DISPUTED) {
            return (0, 0, WrongStatus.selector, Words.OPEN, status);
        }
        // unchecked: no argument exceeds 2^128, no field of money 2^96, and either side's deposits are never negative
        unchecked {
            uint256 withdrawn = money.hasWithdrawn() ? ch.withdrawn : 0;
            (uint256 clientWithdrawn, uint256 hubWithdrawn) = (uint128(withdrawn), withdrawn >> 128);
            uint256 clientActual = uint256(money.clientNet()) + clientWithdrawn;
            uint256 hubActual = money.total() + clientWithdrawn + hubWithdrawn - clientActual;
            if (clientDeposit > clientActual) return (0, 0, DepositMissing.selector, clientDeposit, clientActual);
            if (hubDeposit > hubActual) return (0, 0, DepositMissing.selector, hubDeposit, hubActual);
            uint256 expected = clientDeposit + hubDeposit;
            uint256 sum = clientBalance + hubBalance + clientWithdrawn + hubWithdrawn;
            if (sum != expected) return (0, 0, SumMismatch.selector, expected, sum);
            return (clientBalance + clientActual - clientDeposit, hubBalance + hubActual - hubDeposit, 0, 0, 0);
        }
    }

    /// Closes the channel without paying. A skipped item has no balances.
    function _closeInBatch(BatchHashing.Buffer buffer, HubSide calldata side, ClientClose calldata c, bool byHub)
        internal
        returns (bytes32 id, bytes4 fault, uint256 clientBalance, uint256 hubBalance)
    {
        id = buffer.channelId(c);
        bytes32 digest = buffer.close(id, c);
        if (!byHub && !Signatures.isOfParty(side.hubSigner, side.hub, digest, c.hubSignature)) {
            return (id, BadSignature.selector, 0, 0);
        }
        (address client, address signer) = (c.client, c.clientSigner);
        if (
            msg.sender != client && msg.sender != signer
                && !Signatures.isOfParty(signer, client, digest, c.clientSignature)
        ) return (id, BadSignature.selector, 0, 0);
        (fault,) = _deadlineFault(c.deadline);
        if (fault != 0) return (id, fault, 0, 0);
        Channel storage ch = _channels[id];
        uint256 money = ch.money;
        (clientBalance, hubBalance, fault,,) =
            _division(ch, money, c.clientDeposit, c.hubDeposit, c.clientBalance, c.hubBalance);
        if (fault != 0) return (id, fault, 0, 0);
        ch.money = money.closed();
        emit Closed(id, clientBalance, hubBalance);
    }

    /// What every message signed by both sides needs. Returns the channel's id.
    function _authorized(
        Config calldata config,
        bytes32 channelId,
        bytes32 structHash,
        uint256 deadline,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) internal view returns (bytes32 id) {
        bytes32 domain = domainSeparator();
        id = MessageHashUtils.toTypedDataHash(domain, Hashing.config(config));
        _requireChannel(id, channelId);
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, structHash);
        _requireSignedBy(CLIENT, config, digest, clientSignature);
        _requireSignedBy(HUB, config, digest, hubSignature);
        _requireDeadline(deadline);
    }

    // ------------------------------------------------------------------ withdraw, parts

    /// Takes a withdrawal out of the channel without paying. A skipped item takes nothing.
    function _withdrawInBatch(
        BatchHashing.Buffer buffer,
        HubSide calldata side,
        ClientWithdraw calldata item,
        bool byHub
    ) internal returns (bytes32 id, bytes4 fault, uint256 amount) {
        id = buffer.channelId(item);
        bytes32 digest = buffer.withdraw(id, item);
        if (!byHub && !Signatures.isOfParty(side.hubSigner, side.hub, digest, item.hubSignature)) {
            return (id, BadSignature.selector, 0);
        }
        (address client, address signer) = (item.client, item.clientSigner);
        if (
            msg.sender != client && msg.sender != signer
                && !Signatures.isOfParty(signer, client, digest, item.clientSignature)
        ) return (id, BadSignature.selector, 0);
        (fault,) = _deadlineFault(item.deadline);
        if (fault != 0) return (id, fault, 0);
        if (item.side > HUB) return (id, WrongSide.selector, 0);
        (amount, fault,,) = _takeOut(id, _message(item));
    }

    /// The message inside an item. Its channelId must not be read: in an item the salt is in its place.
    function _message(ClientWithdraw calldata item) internal pure returns (Withdraw calldata message) {
        assembly ("memory-safe") {
            message := add(item, 0x40)
        }
    }

    /// R14 for a known side. Everything is checked before anything is written, because a batch goes on after a fault.
    /// Reads all of the message but its channelId and deadline.
    function _takeOut(bytes32 id, Withdraw calldata w)
        internal
        returns (uint256 amount, bytes4 fault, uint256 a, uint256 b)
    {
        Channel storage ch = _channels[id];
        uint256 money = ch.money;
        if (money.status() != Words.OPEN) return (0, WrongStatus.selector, Words.OPEN, money.status());
        if (!Words.fit(w.clientSeq, w.clientPaid, w.hubSeq, w.hubPaid)) {
            (fault, a, b) = _rangeFault(w.clientSeq, w.clientPaid, w.hubSeq, w.hubPaid);
            return (0, fault, a, b);
        }
        (uint8 side, uint256 total) = (w.side, w.total);
        uint256 withdrawn = money.hasWithdrawn() ? ch.withdrawn : 0;
        uint256 before = side == CLIENT ? uint128(withdrawn) : withdrawn >> 128;
        if (total <= before) return (0, WithdrawalNotNewer.selector, total, before);
        amount = total - before;
        uint256 all = money.total();
        if (amount > all) return (0, InsufficientTotal.selector, amount, all);
        int256 net = side == CLIENT ? money.clientNet() - int256(amount) : money.clientNet();
        // the total falls, and so may the net
        if (net < -Words.NET_MAX) return (0, TotalTooLarge.selector, all - amount, Words.PAID_MAX);
        ch.money = money.withSums(all - amount, net).withWithdrawn();
        ch.withdrawn = side == CLIENT ? withdrawn + amount : withdrawn + (amount << 128);
        _raiseFloors(id, ch, w);
        emit Withdrawn(id, side, total, amount);
    }

    /// Requires that its numbers fit.
    function _raiseFloors(bytes32 id, Channel storage ch, Withdraw calldata w) internal {
        uint256 before = ch.floors;
        uint256 floors = before.raise(CLIENT, w.clientSeq, w.clientPaid).raise(HUB, w.hubSeq, w.hubPaid);
        if (floors == before) return;
        ch.floors = floors;
        emit Submitted(id, floors);
    }
}
