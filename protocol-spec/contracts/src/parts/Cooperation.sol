// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import "../IAdjudicator.sol";
import {Settlement} from "./Settlement.sol";
import {Hashing} from "../lib/Hashing.sol";
import {Signatures} from "../lib/Signatures.sol";
import {Words} from "../lib/Words.sol";

/// What both sides sign: close, withdraw, cancelDispute; and claim.
abstract contract Cooperation is Settlement {
    using Words for uint256;

    // ------------------------------------------------------------------ both sides together

    /// @inheritdoc IAdjudicator
    function close(
        Config calldata config,
        Close calldata message,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) external nonReentrant {
        bytes32 domain = domainSeparator();
        bytes32 id = MessageHashUtils.toTypedDataHash(domain, Hashing.config(config));
        _requireChannel(id, message.channelId);
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, Hashing.close(id, _at(message)));
        _requireBoth(config, digest, clientSignature, hubSignature);
        _requireDeadline(message.deadline);
        Channel storage ch = _channels[id];
        (uint256 clientBalance, uint256 hubBalance, bytes4 fault, uint256 a, uint256 b) =
            _division(ch, message.clientDeposit, message.hubDeposit, message.clientBalance, message.hubBalance);
        _raise(fault, a, b);
        _settle(id, ch, config.token, config.client, config.hub, clientBalance, hubBalance);
    }

    /// @inheritdoc IAdjudicator
    function closeMany(HubSide calldata side, ClientClose[] calldata items) external nonReentrant {
        bytes32 domain = domainSeparator();
        bool byHub = msg.sender == side.hub || msg.sender == side.hubSigner;
        for (uint256 i = 0; i < items.length; ++i) {
            (bytes32 id, bytes4 fault) = _closeInBatch(domain, side, items[i], byHub);
            if (fault != 0) emit Skipped(id, fault);
        }
    }

    /// @inheritdoc IAdjudicator
    function withdraw(
        Config calldata config,
        Withdraw calldata message,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) external nonReentrant {
        bytes32 domain = domainSeparator();
        bytes32 id = MessageHashUtils.toTypedDataHash(domain, Hashing.config(config));
        _requireChannel(id, message.channelId);
        bytes32 digest =
            MessageHashUtils.toTypedDataHash(domain, keccak256(abi.encode(Hashing.WITHDRAW_TYPEHASH, message)));
        _requireBoth(config, digest, clientSignature, hubSignature);
        _requireDeadline(message.deadline);
        Channel storage ch = _channels[id];
        _requireStatus(Words.OPEN, ch.money);
        _raiseFloors(id, ch, message);
        uint256 amount = _takeOut(ch, message.side, message.total);
        emit Withdrawn(id, message.side, message.total, amount);
        if (message.side == CLIENT) _pay(config.token, config.client, amount);
        else vault[config.token][config.hub] += amount;
    }

    /// @inheritdoc IAdjudicator
    function cancelDispute(
        Config calldata config,
        CancelDispute calldata message,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) external nonReentrant {
        bytes32 domain = domainSeparator();
        bytes32 id = MessageHashUtils.toTypedDataHash(domain, Hashing.config(config));
        _requireChannel(id, message.channelId);
        bytes32 digest =
            MessageHashUtils.toTypedDataHash(domain, keccak256(abi.encode(Hashing.CANCEL_DISPUTE_TYPEHASH, message)));
        _requireBoth(config, digest, clientSignature, hubSignature);
        _requireDeadline(message.deadline);
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
        uint256 clientDeposit,
        uint256 hubDeposit,
        uint256 clientBalance,
        uint256 hubBalance
    ) internal view returns (uint256, uint256, bytes4, uint256, uint256) {
        uint256 money = ch.money;
        uint256 status = money.status();
        if (status != Words.OPEN && status != Words.DISPUTED) {
            return (0, 0, WrongStatus.selector, Words.OPEN, status);
        }
        uint256 withdrawn = money.hasWithdrawn() ? ch.withdrawn : 0;
        (uint256 clientWithdrawn, uint256 hubWithdrawn) = (uint128(withdrawn), withdrawn >> 128);
        int256 net = money.clientNet();
        uint256 clientActual = uint256(net + int256(clientWithdrawn));
        uint256 hubActual = uint256(int256(money.total() + hubWithdrawn) - net);
        if (clientDeposit > clientActual) return (0, 0, DepositMissing.selector, clientDeposit, clientActual);
        if (hubDeposit > hubActual) return (0, 0, DepositMissing.selector, hubDeposit, hubActual);
        uint256 sum = clientBalance + hubBalance + clientWithdrawn + hubWithdrawn;
        if (sum != clientDeposit + hubDeposit) return (0, 0, SumMismatch.selector, clientDeposit + hubDeposit, sum);
        return (clientBalance + clientActual - clientDeposit, hubBalance + hubActual - hubDeposit, 0, 0, 0);
    }

    function _closeInBatch(bytes32 domain, HubSide calldata side, ClientClose calldata c, bool byHub)
        internal
        returns (bytes32 id, bytes4 fault)
    {
        id = _idInBatch(domain, side, _at(c));
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, Hashing.close(id, _at(c) + 0x80));
        if (
            !(byHub || Signatures.isOfParty(side.hubSigner, side.hub, digest, c.hubSignature))
                || !(msg.sender == c.client
                    || msg.sender == c.clientSigner
                    || Signatures.isOfParty(c.clientSigner, c.client, digest, c.clientSignature))
        ) return (id, BadSignature.selector);
        (fault,) = _deadlineFault(c.deadline);
        if (fault != 0) return (id, fault);
        Channel storage ch = _channels[id];
        uint256 clientBalance;
        uint256 hubBalance;
        (clientBalance, hubBalance, fault,,) =
            _division(ch, c.clientDeposit, c.hubDeposit, c.clientBalance, c.hubBalance);
        if (fault == 0) _settle(id, ch, side.token, c.client, side.hub, clientBalance, hubBalance);
    }

    // ------------------------------------------------------------------ withdraw, parts

    function _raiseFloors(bytes32 id, Channel storage ch, Withdraw calldata w) internal {
        (bytes4 fault, uint256 a, uint256 b) = _inRange(w.clientSeq, w.clientPaid, w.hubSeq, w.hubPaid);
        _raise(fault, a, b);
        uint256 before = ch.floors;
        uint256 floors = before.raise(CLIENT, w.clientSeq, w.clientPaid).raise(HUB, w.hubSeq, w.hubPaid);
        if (floors == before) return;
        ch.floors = floors;
        emit Submitted(id, floors);
    }

    function _takeOut(Channel storage ch, uint8 side, uint256 total) internal returns (uint256 amount) {
        _requireSide(side);
        uint256 money = ch.money;
        uint256 withdrawn = money.hasWithdrawn() ? ch.withdrawn : 0;
        uint256 before = side == CLIENT ? uint128(withdrawn) : withdrawn >> 128;
        if (total <= before) revert WithdrawalNotNewer(total, before);
        amount = total - before;
        uint256 all = money.total();
        if (amount > all) revert InsufficientTotal(amount, all);
        int256 net = side == CLIENT ? money.clientNet() - int256(amount) : money.clientNet();
        ch.money = _withSums(money, all - amount, net).withWithdrawn();
        ch.withdrawn = side == CLIENT ? withdrawn + amount : withdrawn + (amount << 128);
    }
}
