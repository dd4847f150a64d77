// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import "../IAdjudicator.sol";
import {Ledger} from "./Ledger.sol";
import {BatchHashing} from "../lib/BatchHashing.sol";
import {IPermit2} from "../lib/IPermit2.sol";
import {Words} from "../lib/Words.sol";

/// Money in: open, deposit, the vaults of hubs, reserves.
abstract contract Funding is Ledger {
    using BatchHashing for BatchHashing.Buffer;
    using SafeERC20 for IERC20;
    using Words for uint256;

    /// At the same address on every chain.
    IPermit2 internal constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);
    bytes32 internal constant CHANNEL_DEPOSIT_TYPEHASH = keccak256("ChannelDeposit(bytes32 channelId)");
    string internal constant CHANNEL_DEPOSIT_WITNESS =
        "ChannelDeposit witness)ChannelDeposit(bytes32 channelId)TokenPermissions(address token,uint256 amount)";

    // ------------------------------------------------------------------ money in

    /// @inheritdoc IAdjudicator
    function open(Config calldata config, uint256 amount) external payable nonReentrant returns (bytes32 channelId) {
        uint256 received = _receive(config.token, amount);
        channelId = channelIdOf(config);
        _openWith(channelId, config, received);
    }

    /// @inheritdoc IAdjudicator
    function deposit(Config calldata config, uint256 amount) external payable nonReentrant {
        uint256 received = _receive(config.token, amount);
        bytes32 id = channelIdOf(config);
        Channel storage ch = _channels[id];
        _requireStatus(Words.OPEN, ch.money);
        _deposit(id, ch, ch.money, received);
    }

    /// @inheritdoc IAdjudicator
    // slither-disable-next-line reentrancy-benign -- what arrived must be measured first; every writer is nonReentrant
    function openWithPermit(Config calldata config, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        nonReentrant
        returns (bytes32 channelId)
    {
        if (config.token == address(0)) revert NativeToken();
        // a permit that somebody used first has done its work; one that never worked fails at the transfer
        try IERC20Permit(config.token).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        uint256 received = _receive(config.token, amount);
        channelId = channelIdOf(config);
        _openWith(channelId, config, received);
    }

    /// @inheritdoc IAdjudicator
    // slither-disable-next-line reentrancy-benign -- what arrived must be measured first; every writer is nonReentrant
    function openWithAuthorization(
        Config calldata config,
        address from,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 salt,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant returns (bytes32 channelId) {
        if (config.token == address(0)) revert NativeToken();
        // the nonce binds the channel, so a relayer cannot send the money into another one
        channelId = channelIdOf(config);
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        uint256 before = IERC20(config.token).balanceOf(address(this));
        IERC3009(config.token)
            .receiveWithAuthorization(from, address(this), amount, validAfter, validBefore, nonce, v, r, s);
        _openWith(channelId, config, IERC20(config.token).balanceOf(address(this)) - before);
    }

    /// @inheritdoc IAdjudicator
    // slither-disable-next-line reentrancy-benign -- what arrived must be measured first; every writer is nonReentrant
    function openWithPermit2(
        Config calldata config,
        address from,
        uint256 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external nonReentrant returns (bytes32 channelId) {
        if (config.token == address(0)) revert NativeToken();
        channelId = channelIdOf(config);
        bytes32 witness = keccak256(abi.encode(CHANNEL_DEPOSIT_TYPEHASH, channelId));
        uint256 before = IERC20(config.token).balanceOf(address(this));
        PERMIT2.permitWitnessTransferFrom(
            IPermit2.PermitTransferFrom(IPermit2.TokenPermissions(config.token, amount), nonce, deadline),
            IPermit2.SignatureTransferDetails(address(this), amount),
            from,
            witness,
            CHANNEL_DEPOSIT_WITNESS,
            signature
        );
        _openWith(channelId, config, IERC20(config.token).balanceOf(address(this)) - before);
    }

    /// @inheritdoc IAdjudicator
    function fundVault(address hub, address token, uint256 amount) external payable nonReentrant {
        if (hub == address(0)) revert ZeroAddress();
        uint256 received = _receive(token, amount);
        uint256 held = vault[token][hub] + received;
        // a token may lie: what settles into the vault later must not overflow it, nor take the rest of a batch with it
        if (held > type(uint128).max) revert TotalTooLarge(held, type(uint128).max);
        vault[token][hub] = held;
        emit VaultFunded(hub, token, received);
    }

    /// @inheritdoc IAdjudicator
    function withdrawVault(address token, uint256 amount, address to) external nonReentrant {
        uint256 held = vault[token][msg.sender];
        if (amount > held) revert InsufficientVault(amount, held);
        vault[token][msg.sender] = held - amount;
        emit VaultWithdrawn(msg.sender, token, to, amount);
        _send(token, to, amount);
    }

    /// @inheritdoc IAdjudicator
    function reserve(HubSide calldata side, ClientReserve[] calldata items) external nonReentrant {
        // the hub itself: anybody can open channels of this hub with a signer of his own, and all of them share its vault
        if (msg.sender != side.hub) revert NotAParty(msg.sender);
        // no message is signed here, so that part of the buffer stays unused
        BatchHashing.Buffer buffer = BatchHashing.start(domainSeparator(), side, 0);
        uint256 held = vault[side.token][side.hub];
        for (uint256 i = 0; i < items.length; ++i) {
            ClientReserve calldata item = items[i];
            bytes32 id = buffer.channelId(item);
            Channel storage ch = _channels[id];
            uint256 money = ch.money;
            if (money.status() != Words.OPEN) {
                emit Skipped(id, WrongStatus.selector);
                continue;
            }
            uint256 amount = _amount(item);
            if (amount > held) revert InsufficientVault(amount, held);
            // anybody can deposit into one of the channels while this waits: that must not take the others' reserves away;
            // checked: a token that lies about its balances can fill a vault up to 2^128
            if (money.total() + amount > Words.PAID_MAX) {
                emit Skipped(id, TotalTooLarge.selector);
                continue;
            }
            // unchecked: held covers amount; the total is the lowest field of money, and has just been seen to fit
            unchecked {
                held -= amount;
                ch.money = money + amount;
            }
            emit Reserved(id, amount);
        }
        vault[side.token][side.hub] = held;
    }

    // ------------------------------------------------------------------ money in, parts

    /// The whole word: what the vault holds is a narrower limit than the width that the ABI checks.
    function _amount(ClientReserve calldata item) internal pure returns (uint256 amount) {
        assembly ("memory-safe") {
            amount := calldataload(add(item, 0x60))
        }
    }

    /// What arrived: a token may take a fee on the way. Called first, since a token may call back.
    function _receive(address token, uint256 amount) internal returns (uint256) {
        if (token == address(0)) {
            if (msg.value != amount) revert ValueNotAmount(msg.value, amount);
            return amount;
        }
        if (msg.value != 0) revert ValueNotAmount(msg.value, 0);
        if (amount == 0) return 0;
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        return IERC20(token).balanceOf(address(this)) - before;
    }

    function _openWith(bytes32 id, Config calldata config, uint256 received) internal {
        Channel storage ch = _channels[id];
        uint256 money = ch.money;
        if (money.status() == Words.NONE) {
            _requireValid(config);
            money = Words.opened();
            emit Opened(id, config.client, config.hub, config);
        } else {
            _requireStatus(Words.OPEN, money);
        }
        _deposit(id, ch, money, received);
    }

    function _deposit(bytes32 id, Channel storage ch, uint256 money, uint256 received) internal {
        if (received > Words.PAID_MAX) revert TotalTooLarge(received, Words.PAID_MAX);
        // unchecked: both fields and what arrived are narrower than 2^96
        uint256 total;
        int256 net;
        unchecked {
            total = money.total() + received;
            net = money.clientNet() + int256(received);
        }
        ch.money = _withSums(money, total, net);
        emit Deposited(id, received, total, net);
    }

    function _requireValid(Config calldata config) internal pure {
        (address clientSigner, address hubSigner) = (config.clientSigner, config.hubSigner);
        if (config.client == address(0)) revert ZeroAddress();
        if (clientSigner == address(0)) revert ZeroAddress();
        if (config.hub == address(0)) revert ZeroAddress();
        if (hubSigner == address(0)) revert ZeroAddress();
        // the signer alone names a voucher's direction
        if (clientSigner == hubSigner) revert SignersEqual(clientSigner);
        uint256 period = config.challengePeriodS;
        if (period < CHALLENGE_PERIOD_S_MIN) revert ChallengePeriodOutOfRange(period, CHALLENGE_PERIOD_S_MIN);
        if (period > CHALLENGE_PERIOD_S_MAX) revert ChallengePeriodOutOfRange(period, CHALLENGE_PERIOD_S_MAX);
    }
}
