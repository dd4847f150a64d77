// SPDX-License-Identifier: MIT
pragma solidity 0.8.36;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import "./IAdjudicator.sol";
import {Hashing} from "./lib/Hashing.sol";
import {IPermit2} from "./lib/IPermit2.sol";
import {Payout} from "./lib/Payout.sol";
import {Signatures} from "./lib/Signatures.sol";
import {Words} from "./lib/Words.sol";

/// The adjudicator of Channel Hub. The interface says what each verb does; comments here say why.
///
/// Faults: what a batch may skip is checked by functions that return a fault (selector of an error with two words, and the
/// two words) instead of reverting. A single verb raises the fault, a batch emits Skipped with its selector.
contract Adjudicator is IAdjudicator, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Words for uint256;

    /// A stored voucher with locks: its commitment, and base, counted, maxExpiry packed (Words). Its seq is the seq floor of
    /// its direction for as long as it is live, so it is not stored again.
    struct LocksRecord {
        bytes32 commitment;
        uint256 word;
    }

    struct Channel {
        uint256 money;
        uint256 floors;
        /// clientWithdrawn u128 | hubWithdrawn u128; read only if money says that there is something.
        uint256 withdrawn;
        LocksRecord[2] locks;
    }

    /// Sides, and directions by their payer.
    uint256 private constant CLIENT = 0;
    uint256 private constant HUB = 1;

    uint256 private constant CHALLENGE_PERIOD_S_MIN = 1 hours;
    uint256 private constant CHALLENGE_PERIOD_S_MAX = 30 days;
    uint256 private constant LOCK_S_MAX = 60 days;
    uint256 private constant DEADLINE_S_MAX = 1 days;
    uint256 private constant RESOLVER_GAS = 200_000;

    /// At the same address on every chain.
    IPermit2 private constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);
    bytes32 private constant CHANNEL_DEPOSIT_TYPEHASH = keccak256("ChannelDeposit(bytes32 channelId)");
    string private constant CHANNEL_DEPOSIT_WITNESS =
        "ChannelDeposit witness)ChannelDeposit(bytes32 channelId)TokenPermissions(address token,uint256 amount)";

    uint256 private immutable _chainId = block.chainid;
    // slither-disable-next-line function-init-state -- reads only block.chainid and this address
    bytes32 private immutable _domain = _buildDomain();

    mapping(bytes32 channelId => Channel) private _channels;
    /// 1 + seq of the voucher that a lock was last counted in, by hash of channel, payer and leaf.
    mapping(bytes32 key => uint256) private _marks;
    /// @inheritdoc IAdjudicator
    mapping(address token => mapping(address hub => uint256)) public vault;
    /// @inheritdoc IAdjudicator
    mapping(address token => mapping(address account => uint256)) public claimable;

    // ------------------------------------------------------------------ money in

    /// @inheritdoc IAdjudicator
    function open(Config calldata config, uint256 amount) external payable nonReentrant returns (bytes32 channelId) {
        return _openWith(config, _receive(config.token, amount));
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
        return _openWith(config, _receive(config.token, amount));
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
        bytes32 nonce = keccak256(abi.encode(channelIdOf(config), salt));
        uint256 before = IERC20(config.token).balanceOf(address(this));
        IERC3009(config.token).receiveWithAuthorization(
            from, address(this), amount, validAfter, validBefore, nonce, v, r, s
        );
        return _openWith(config, IERC20(config.token).balanceOf(address(this)) - before);
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
        bytes32 witness = keccak256(abi.encode(CHANNEL_DEPOSIT_TYPEHASH, channelIdOf(config)));
        uint256 before = IERC20(config.token).balanceOf(address(this));
        PERMIT2.permitWitnessTransferFrom(
            IPermit2.PermitTransferFrom(IPermit2.TokenPermissions(config.token, amount), nonce, deadline),
            IPermit2.SignatureTransferDetails(address(this), amount),
            from,
            witness,
            CHANNEL_DEPOSIT_WITNESS,
            signature
        );
        return _openWith(config, IERC20(config.token).balanceOf(address(this)) - before);
    }

    /// @inheritdoc IAdjudicator
    function fundVault(address hub, address token, uint256 amount) external payable nonReentrant {
        if (hub == address(0)) revert ZeroAddress();
        uint256 received = _receive(token, amount);
        vault[token][hub] += received;
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
        _requireHub(side);
        bytes32 domain = domainSeparator();
        uint256 held = vault[side.token][side.hub];
        for (uint256 i = 0; i < items.length; ++i) {
            uint256 amount = items[i].amount;
            bytes32 id = _idInBatch(domain, side, _at(items[i]));
            Channel storage ch = _channels[id];
            uint256 money = ch.money;
            if (money.status() != Words.OPEN) {
                emit Skipped(id, WrongStatus.selector);
                continue;
            }
            if (amount > held) revert InsufficientVault(amount, held);
            held -= amount;
            uint256 total = money.total() + amount;
            if (total > Words.PAID_MAX) revert TotalTooLarge(total, Words.PAID_MAX);
            ch.money = money + amount; // the total is the lowest field and has just been seen to fit
            emit Reserved(id, amount, total);
        }
        vault[side.token][side.hub] = held;
    }

    // ------------------------------------------------------------------ evidence

    /// @inheritdoc IAdjudicator
    function submit(Config calldata config, Submission[] calldata submissions, Resolution[] calldata resolutions)
        external
        nonReentrant
    {
        bytes32 domain = domainSeparator();
        bytes32 id = MessageHashUtils.toTypedDataHash(domain, Hashing.config(config));
        Channel storage ch = _channels[id];
        _evidence(domain, id, config, ch, ch.money, submissions, resolutions);
    }

    /// @inheritdoc IAdjudicator
    function submitMany(HubSide calldata side, ClientVoucher[] calldata items) external nonReentrant {
        _requireHub(side);
        bytes32 domain = domainSeparator();
        for (uint256 i = 0; i < items.length; ++i) {
            (bytes32 id, bytes4 fault) = _submitInBatch(domain, side, items[i]);
            if (fault != 0) emit Skipped(id, fault);
        }
    }

    /// @inheritdoc IAdjudicator
    function dispute(Config calldata config, Submission[] calldata submissions, Resolution[] calldata resolutions)
        external
        nonReentrant
    {
        bytes32 domain = domainSeparator();
        bytes32 id = MessageHashUtils.toTypedDataHash(domain, Hashing.config(config));
        Channel storage ch = _channels[id];
        uint256 money = ch.money;
        _requireStatus(Words.OPEN, money);
        uint256 windowEnd = block.timestamp + config.challengePeriodS;
        money = money.disputed(windowEnd);
        ch.money = money;
        emit Disputed(id, uint64(money.disputeNo()), uint64(windowEnd));
        bool mayDispute = _evidence(domain, id, config, ch, money, submissions, resolutions);
        if (!mayDispute && !_isParty(config, CLIENT) && !_isParty(config, HUB)) revert NotThePayee(msg.sender);
    }

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
        (uint256 clientBalance, uint256 hubBalance, bytes4 fault, uint256 a, uint256 b) = _division(
            ch, message.clientDeposit, message.hubDeposit, message.clientBalance, message.hubBalance
        );
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

    // ------------------------------------------------------------------ reading

    /// @inheritdoc IAdjudicator
    function channel(bytes32 channelId) external view returns (ChannelState memory state) {
        Channel storage ch = _channels[channelId];
        (uint256 money, uint256 floors, uint256 withdrawn) = (ch.money, ch.floors, ch.withdrawn);
        state.status = Status(money.status());
        state.total = uint128(money.total());
        state.clientNet = int128(money.clientNet());
        state.clientWithdrawn = uint128(withdrawn);
        state.hubWithdrawn = uint128(withdrawn >> 128);
        state.clientSeq = uint64(floors.seq(CLIENT));
        state.clientPaid = uint128(floors.paid(CLIENT));
        state.hubSeq = uint64(floors.seq(HUB));
        state.hubPaid = uint128(floors.paid(HUB));
        state.windowEnd = uint64(money.windowEnd());
        state.disputeNo = uint64(money.disputeNo());
        state.clientLocks = _locksState(ch, floors, CLIENT);
        state.hubLocks = _locksState(ch, floors, HUB);
    }

    /// @inheritdoc IAdjudicator
    function balances(bytes32 channelId) external view returns (uint256 clientBalance, uint256 hubBalance) {
        Channel storage ch = _channels[channelId];
        return _balances(ch, ch.money, ch.floors);
    }

    /// @inheritdoc IAdjudicator
    function finalAt(Config calldata config) external view returns (uint256) {
        Channel storage ch = _channels[channelIdOf(config)];
        uint256 money = ch.money;
        if (money.status() != Words.DISPUTED) return 0;
        return _finalAt(ch, money, ch.floors, config.challengePeriodS);
    }

    /// @inheritdoc IAdjudicator
    function mark(bytes32 channelId, uint8 payer, bytes32 leaf) external view returns (uint256) {
        return _marks[_markKey(channelId, payer, leaf)];
    }

    // ------------------------------------------------------------------ hashing

    /// @inheritdoc IAdjudicator
    function domainSeparator() public view returns (bytes32) {
        return block.chainid == _chainId ? _domain : _buildDomain();
    }

    /// @inheritdoc IAdjudicator
    function channelIdOf(Config calldata config) public view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domainSeparator(), Hashing.config(config));
    }

    /// @inheritdoc IAdjudicator
    function voucherDigest(Voucher calldata voucher) external view returns (bytes32) {
        return _digest(keccak256(abi.encode(Hashing.VOUCHER_TYPEHASH, voucher)));
    }

    /// @inheritdoc IAdjudicator
    function acceptDigest(Accept calldata message) external view returns (bytes32) {
        return _digest(keccak256(abi.encode(Hashing.ACCEPT_TYPEHASH, message)));
    }

    /// @inheritdoc IAdjudicator
    function closeDigest(Close calldata message) external view returns (bytes32) {
        return _digest(keccak256(abi.encode(Hashing.CLOSE_TYPEHASH, message)));
    }

    /// @inheritdoc IAdjudicator
    function withdrawDigest(Withdraw calldata message) external view returns (bytes32) {
        return _digest(keccak256(abi.encode(Hashing.WITHDRAW_TYPEHASH, message)));
    }

    /// @inheritdoc IAdjudicator
    function cancelDisputeDigest(CancelDispute calldata message) external view returns (bytes32) {
        return _digest(keccak256(abi.encode(Hashing.CANCEL_DISPUTE_TYPEHASH, message)));
    }

    /// @inheritdoc IAdjudicator
    function batchDigest(bytes32 root) external view returns (bytes32) {
        return _digest(keccak256(abi.encode(Hashing.BATCH_TYPEHASH, root)));
    }

    // ------------------------------------------------------------------ money in, parts

    /// What arrived: a token may take a fee on the way. Called first, since a token may call back.
    function _receive(address token, uint256 amount) private returns (uint256) {
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

    function _openWith(Config calldata config, uint256 received) private returns (bytes32 id) {
        id = channelIdOf(config);
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

    function _deposit(bytes32 id, Channel storage ch, uint256 money, uint256 received) private {
        if (received > Words.PAID_MAX) revert TotalTooLarge(received, Words.PAID_MAX);
        uint256 total = money.total() + received;
        int256 net = money.clientNet() + int256(received);
        ch.money = _withSums(money, total, net);
        emit Deposited(id, received, total, net);
    }

    function _requireValid(Config calldata config) private pure {
        if (
            config.client == address(0) || config.clientSigner == address(0) || config.hub == address(0)
                || config.hubSigner == address(0)
        ) revert ZeroAddress();
        // the signer alone names a voucher's direction
        if (config.clientSigner == config.hubSigner) revert SignersEqual(config.clientSigner);
        uint256 period = config.challengePeriodS;
        if (period < CHALLENGE_PERIOD_S_MIN) revert ChallengePeriodOutOfRange(period, CHALLENGE_PERIOD_S_MIN);
        if (period > CHALLENGE_PERIOD_S_MAX) revert ChallengePeriodOutOfRange(period, CHALLENGE_PERIOD_S_MAX);
    }

    /// The limits that keep every later sum inside its field.
    function _withSums(uint256 money, uint256 total, int256 net) private pure returns (uint256) {
        if (total > Words.PAID_MAX) revert TotalTooLarge(total, Words.PAID_MAX);
        if (net > Words.NET_MAX || net < -Words.NET_MAX) revert TotalTooLarge(total, Words.PAID_MAX);
        return money.withSums(total, net);
    }

    // ------------------------------------------------------------------ evidence, parts

    /// R16, R17. Returns whether a countersignature allowed the sender to dispute.
    function _evidence(
        bytes32 domain,
        bytes32 id,
        Config calldata config,
        Channel storage ch,
        uint256 money,
        Submission[] calldata submissions,
        Resolution[] calldata resolutions
    ) private returns (bool mayDispute) {
        uint256 floors = ch.floors;
        if (submissions.length != 0) {
            (bytes4 fault, uint256 a, uint256 b) = _submittable(money);
            _raise(fault, a, b);
            uint256 before = floors;
            for (uint256 i = 0; i < submissions.length; ++i) {
                bool allowed;
                (floors, allowed) = _submitOne(domain, id, config, ch, money, floors, submissions[i]);
                mayDispute = mayDispute || allowed;
            }
            if (floors != before) ch.floors = floors;
            emit Submitted(id, floors);
        }
        if (resolutions.length != 0) {
            _requireStatus(Words.DISPUTED, money);
            _requireNotFinal(ch, money, floors, config.challengePeriodS);
            for (uint256 i = 0; i < resolutions.length; ++i) {
                _resolve(id, config, ch, money, floors, resolutions[i]);
            }
        }
    }

    /// Vouchers are taken while the channel is open, and in a dispute until its window ends.
    function _submittable(uint256 money) private view returns (bytes4, uint256, uint256) {
        uint256 status = money.status();
        // slither-disable-next-line incorrect-equality -- an enumeration, not a balance
        if (status == Words.OPEN) return (0, 0, 0);
        if (status != Words.DISPUTED) return (WrongStatus.selector, Words.DISPUTED, status);
        uint256 windowEnd = money.windowEnd();
        if (block.timestamp >= windowEnd) return (WindowOver.selector, windowEnd, block.timestamp);
        return (0, 0, 0);
    }

    function _submitOne(
        bytes32 domain,
        bytes32 id,
        Config calldata config,
        Channel storage ch,
        uint256 money,
        uint256 floors,
        Submission calldata s
    ) private returns (uint256, bool mayDispute) {
        _requireSide(s.payer);
        (bytes4 fault, uint256 a, uint256 b) = _inRange(s.seq, s.paid, s.ackSeq, s.ackPaid);
        _raise(fault, a, b);
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, Hashing.voucher(id, s));
        bool signed = s.payer == CLIENT
            ? Signatures.isDirect(config.clientSigner, digest, s.signature)
            : Signatures.isDirectOrBatch(domain, config.hubSigner, digest, s.signature);
        if (!signed) revert BadSignature(s.payer == CLIENT ? config.clientSigner : config.hubSigner, digest);
        if (!_isParty(config, HUB - s.payer)) mayDispute = _countersigned(domain, config, digest, s);
        return (_merge(id, config.challengePeriodS, ch, money, floors, s), mayDispute);
    }

    /// Widths of the packed words are limits of the protocol.
    function _inRange(uint256 seq, uint256 paid, uint256 ackSeq, uint256 ackPaid)
        private
        pure
        returns (bytes4, uint256, uint256)
    {
        // both limits are 2^n - 1
        if ((seq | ackSeq) <= Words.SEQ_MAX && (paid | ackPaid) <= Words.PAID_MAX) return (0, 0, 0);
        if (seq > Words.SEQ_MAX) return (SeqTooLarge.selector, seq, Words.SEQ_MAX);
        if (ackSeq > Words.SEQ_MAX) return (SeqTooLarge.selector, ackSeq, Words.SEQ_MAX);
        if (paid > Words.PAID_MAX) return (PaidTooLarge.selector, paid, Words.PAID_MAX);
        return (PaidTooLarge.selector, ackPaid, Words.PAID_MAX);
    }

    /// Without it a payer could submit its own stale voucher and so forge what the payee had accepted.
    function _countersigned(bytes32 domain, Config calldata config, bytes32 voucher, Submission calldata s)
        private
        view
        returns (bool mayDispute)
    {
        if (s.countersignature.length == 0) revert NotThePayee(msg.sender);
        Countersignature calldata c = s.countersignature[0];
        if (c.deadline < block.timestamp) revert DeadlinePassed(c.deadline, block.timestamp);
        bytes32 digest = MessageHashUtils.toTypedDataHash(
            domain, keccak256(abi.encode(Hashing.ACCEPT_TYPEHASH, voucher, msg.sender, c.mayDispute, c.deadline))
        );
        address payeeSigner = s.payer == CLIENT ? config.hubSigner : config.clientSigner;
        if (!Signatures.isDirect(payeeSigner, digest, c.signature)) revert BadCountersignature(payeeSigner, digest);
        return c.mayDispute;
    }

    /// Raises both floors; stores the locks of a voucher that is the newest of its direction. A voucher with the seq of the
    /// floor is the newest unless a voucher with locks is stored at that seq: then it is that voucher.
    function _merge(
        bytes32 id,
        uint256 challengePeriodS,
        Channel storage ch,
        uint256 money,
        uint256 floors,
        Submission calldata s
    ) private returns (uint256) {
        uint256 floorSeq = floors.seq(s.payer);
        bool newest = s.seq > floorSeq || (s.seq == floorSeq && !floors.live(s.payer));
        floors = floors.raise(s.payer, s.seq, s.paid).raise(HUB - s.payer, s.ackSeq, s.ackPaid);
        if (s.locks == 0) return floors;
        LocksRecord storage record = ch.locks[s.payer];
        if (newest) {
            floors = floors.withLive(s.payer);
            record.commitment = s.locks;
            uint256 word = uint256(s.paid);
            if (s.opening.length != 0) word = _opened(id, challengePeriodS, money, s.payer, s.locks, word, s.opening[0]);
            record.word = word;
            emit LocksStored(id, s.payer, s.seq, s.locks);
        } else if (s.opening.length != 0 && floors.live(s.payer) && record.commitment == s.locks) {
            uint256 word = record.word;
            if (!word.isOpened()) {
                record.word = _opened(id, challengePeriodS, money, s.payer, s.locks, word, s.opening[0]);
            }
        }
        return floors;
    }

    /// Takes a commitment's opening, whose expiry is bounded: locks may not keep a dispute open for ever.
    function _opened(
        bytes32 id,
        uint256 challengePeriodS,
        uint256 money,
        uint8 payer,
        bytes32 commitment,
        uint256 word,
        LocksOpening calldata opening
    ) private returns (uint256) {
        bytes32 got = Hashing.locks(opening);
        if (got != commitment) revert WrongOpening(commitment, got);
        // slither-disable-next-line incorrect-equality -- an enumeration, not a balance
        bool disputed = money.status() == Words.DISPUTED;
        uint256 start = disputed ? money.windowEnd() - challengePeriodS : block.timestamp;
        if (opening.maxExpiry > start + LOCK_S_MAX) revert ExpiryTooFar(opening.maxExpiry, start + LOCK_S_MAX);
        emit LocksOpened(id, payer, opening.maxExpiry);
        return word.withOpening(opening.maxExpiry);
    }

    function _resolve(
        bytes32 id,
        Config calldata config,
        Channel storage ch,
        uint256 money,
        uint256 floors,
        Resolution calldata r
    ) private {
        uint8 payer = r.payer;
        _requireSide(payer);
        // with locks as one commitment, anybody else could resolve first and invalidate the payee's transaction
        if (!_isParty(config, HUB - payer)) revert NotThePayee(msg.sender);
        if (!floors.live(payer)) revert NoLiveLocks(id, payer);
        LocksRecord storage record = ch.locks[payer];
        uint256 word = record.word;
        if (word.isOpened()) {
            bytes32 got = Hashing.locks(r.opening);
            if (got != record.commitment) revert WrongOpening(record.commitment, got);
        } else {
            if (block.timestamp >= money.windowEnd()) revert WindowOver(money.windowEnd(), block.timestamp);
            word = _opened(id, config.challengePeriodS, money, payer, record.commitment, word, r.opening);
        }
        uint256 counted = word.counted();
        for (uint256 i = 0; i < r.unlocks.length; ++i) {
            counted = _count(id, floors, r, r.unlocks[i], counted);
        }
        record.word = word.withCounted(counted);
    }

    /// R17: once per stored voucher; the first time only in time and with a witness, and marked for good.
    function _count(bytes32 id, uint256 floors, Resolution calldata r, Unlock calldata u, uint256 counted)
        private
        returns (uint256)
    {
        bytes32 leaf = Hashing.lockLeaf(u.lock);
        if (!MerkleProof.verifyCalldata(u.proof, r.opening.root, leaf)) revert LockNotProven(leaf);
        bytes32 key = _markKey(id, r.payer, leaf);
        uint256 previous = _marks[key];
        uint256 current = floors.seq(r.payer) + 1;
        if (previous == current) return counted;
        if (previous == 0) _requireWitness(u);
        _marks[key] = current;
        // never above the committed total, and never above what fits
        uint256 limit = r.opening.total < Words.PAID_MAX ? r.opening.total : Words.PAID_MAX;
        counted += u.lock.amount;
        if (counted > limit) counted = limit;
        emit Resolved(id, u.lock.hash, r.payer, u.lock.id, counted, previous == 0 ? u.witness : msg.data[:0]);
        return counted;
    }

    function _requireWitness(Unlock calldata u) private view {
        if (block.timestamp >= u.lock.expiry) revert LockExpired(u.lock.expiry, block.timestamp);
        address resolver = u.lock.resolver;
        if (resolver == address(0)) {
            if (u.witness.length != 32 || sha256(u.witness) != u.lock.hash) revert WrongPreimage(u.lock.hash);
            return;
        }
        Payout.requireGas(RESOLVER_GAS);
        bytes memory query = abi.encodeCall(IResolver.check, (u.lock.hash, u.witness));
        bool yes;
        assembly ("memory-safe") {
            mstore(0, 0)
            yes := staticcall(RESOLVER_GAS, resolver, add(query, 0x20), mload(query), 0, 0x20)
            yes := and(yes, and(eq(returndatasize(), 0x20), eq(mload(0), 1)))
        }
        if (!yes) revert ResolverRefused(resolver, u.lock.hash);
    }

    function _submitInBatch(bytes32 domain, HubSide calldata side, ClientVoucher calldata v)
        private
        returns (bytes32 id, bytes4 fault)
    {
        id = _idInBatch(domain, side, _at(v));
        Channel storage ch = _channels[id];
        (fault,,) = _submittable(ch.money);
        if (fault != 0) return (id, fault);
        (fault,,) = _inRange(v.seq, v.paid, v.ackSeq, v.ackPaid);
        if (fault != 0) return (id, fault);
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, Hashing.voucher(id, v));
        if (!Signatures.isDirect(v.clientSigner, digest, v.signature)) return (id, BadSignature.selector);
        uint256 before = ch.floors;
        uint256 floors = before.raise(CLIENT, v.seq, v.paid).raise(HUB, v.ackSeq, v.ackPaid);
        if (floors != before) ch.floors = floors;
        emit Submitted(id, floors);
    }

    // ------------------------------------------------------------------ settlement, parts

    /// R19: each direction by maximum, never by sum.
    function _effective(Channel storage ch, uint256 floors, uint256 payer) private view returns (uint256) {
        uint256 floor = floors.paid(payer);
        if (!floors.live(payer)) return floor;
        uint256 word = ch.locks[payer].word;
        uint256 resolved = word.base() + word.counted();
        return resolved > floor ? resolved : floor;
    }

    function _balances(Channel storage ch, uint256 money, uint256 floors)
        private
        view
        returns (uint256 clientBalance, uint256 hubBalance)
    {
        clientBalance = money.clientShare(_effective(ch, floors, CLIENT), _effective(ch, floors, HUB));
        hubBalance = money.total() - clientBalance;
    }

    /// R18: live locks keep the dispute open until they expire, and leave time to count them again after the window.
    function _finalAt(Channel storage ch, uint256 money, uint256 floors, uint256 challengePeriodS)
        private
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

    function _requireNotFinal(Channel storage ch, uint256 money, uint256 floors, uint256 challengePeriodS) private view {
        uint256 end = _finalAt(ch, money, floors, challengePeriodS);
        if (block.timestamp >= end) revert AlreadyFinal(end, block.timestamp);
    }

    function _finalize(bytes32 domain, Config calldata config)
        private
        returns (bytes32 id, bytes4 fault, uint256 a, uint256 b)
    {
        id = MessageHashUtils.toTypedDataHash(domain, Hashing.config(config));
        Channel storage ch = _channels[id];
        (uint256 money, uint256 floors) = (ch.money, ch.floors);
        if (money.status() != Words.DISPUTED) return (id, WrongStatus.selector, Words.DISPUTED, money.status());
        uint256 end = _finalAt(ch, money, floors, config.challengePeriodS);
        if (block.timestamp < end) return (id, NotFinal.selector, end, block.timestamp);
        (uint256 clientBalance, uint256 hubBalance) = _balances(ch, money, floors);
        _settle(id, ch, config.token, config.client, config.hub, clientBalance, hubBalance);
    }

    /// R15: the named deposits are divided; what came later goes to its own side.
    function _division(
        Channel storage ch,
        uint256 clientDeposit,
        uint256 hubDeposit,
        uint256 clientBalance,
        uint256 hubBalance
    ) private view returns (uint256, uint256, bytes4, uint256, uint256) {
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
        private
        returns (bytes32 id, bytes4 fault)
    {
        id = _idInBatch(domain, side, _at(c));
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, Hashing.close(id, _at(c) + 0x80));
        if (
            !(byHub || Signatures.isOfParty(side.hubSigner, side.hub, digest, c.hubSignature))
                || !(
                    msg.sender == c.client || msg.sender == c.clientSigner
                        || Signatures.isOfParty(c.clientSigner, c.client, digest, c.clientSignature)
                )
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

    /// The one way out of open and disputed. State first, then the push.
    function _settle(
        bytes32 id,
        Channel storage ch,
        address token,
        address client,
        address hub,
        uint256 clientBalance,
        uint256 hubBalance
    ) private {
        ch.money = ch.money.closed();
        if (hubBalance != 0) vault[token][hub] += hubBalance;
        emit Closed(id, clientBalance, hubBalance);
        _pay(token, client, clientBalance);
    }

    // ------------------------------------------------------------------ withdraw, parts

    function _raiseFloors(bytes32 id, Channel storage ch, Withdraw calldata w) private {
        (bytes4 fault, uint256 a, uint256 b) = _inRange(w.clientSeq, w.clientPaid, w.hubSeq, w.hubPaid);
        _raise(fault, a, b);
        uint256 before = ch.floors;
        uint256 floors = before.raise(CLIENT, w.clientSeq, w.clientPaid).raise(HUB, w.hubSeq, w.hubPaid);
        if (floors == before) return;
        ch.floors = floors;
        emit Submitted(id, floors);
    }

    function _takeOut(Channel storage ch, uint8 side, uint256 total) private returns (uint256 amount) {
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

    // ------------------------------------------------------------------ money out

    /// Pushes; what does not arrive is left to claim, so that nobody's refusal blocks anybody else.
    function _pay(address token, address account, uint256 amount) private {
        if (amount == 0 || Payout.push(token, account, amount)) return;
        claimable[token][account] += amount;
        emit Claimable(account, token, amount);
    }

    /// To an address of the sender's choice: reverts if it does not arrive.
    function _send(address token, address to, uint256 amount) private {
        if (to == address(0)) revert ZeroAddress();
        if (token != address(0)) return IERC20(token).safeTransfer(to, amount);
        // slither-disable-next-line arbitrary-send-eth -- the sender's own money, already debited, to where it says
        (bool done,) = to.call{value: amount}("");
        if (!done) revert TransferFailed(to, amount);
    }

    // ------------------------------------------------------------------ who, when

    function _isParty(Config calldata config, uint256 side) private view returns (bool) {
        return side == CLIENT
            ? msg.sender == config.client || msg.sender == config.clientSigner
            : msg.sender == config.hub || msg.sender == config.hubSigner;
    }

    function _requireHub(HubSide calldata side) private view {
        if (msg.sender != side.hub && msg.sender != side.hubSigner) revert NotAParty(msg.sender);
    }

    function _requireBoth(
        Config calldata config,
        bytes32 digest,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) private view {
        if (!_isParty(config, CLIENT)) _requireSigned(config.clientSigner, config.client, digest, clientSignature);
        if (!_isParty(config, HUB)) _requireSigned(config.hubSigner, config.hub, digest, hubSignature);
    }

    function _requireSigned(address signer, address account, bytes32 digest, bytes calldata signature) private view {
        if (
            !Signatures.isOfParty(signer, account, digest, signature)
                && !Signatures.isOfWallet(account, digest, signature)
        ) revert BadSignature(signer, digest);
    }

    function _requireDeadline(uint256 deadline) private view {
        (bytes4 fault, uint256 a) = _deadlineFault(deadline);
        _raise(fault, deadline, a);
    }

    function _deadlineFault(uint256 deadline) private view returns (bytes4, uint256) {
        if (deadline < block.timestamp) return (DeadlinePassed.selector, block.timestamp);
        uint256 limit = block.timestamp + DEADLINE_S_MAX;
        if (deadline > limit) return (DeadlineTooFar.selector, limit);
        return (0, 0);
    }

    function _requireStatus(uint256 expected, uint256 money) private pure {
        if (money.status() != expected) revert WrongStatus(expected, money.status());
    }

    function _requireSide(uint256 side) private pure {
        if (side > HUB) revert WrongSide(side);
    }

    function _requireChannel(bytes32 expected, bytes32 got) private pure {
        if (got != expected) revert WrongChannel(expected, got);
    }

    /// Reverts with the error that a fault stands for.
    function _raise(bytes4 fault, uint256 a, uint256 b) private pure {
        // slither-disable-next-line incorrect-equality -- a selector, not a balance
        if (fault == 0) return;
        assembly ("memory-safe") {
            mstore(0, fault)
            mstore(4, a)
            mstore(0x24, b)
            revert(0, 0x44)
        }
    }

    // ------------------------------------------------------------------ ids

    function _buildDomain() private view returns (bytes32) {
        return keccak256(
            abi.encode(
                Hashing.DOMAIN_TYPEHASH, keccak256("Channel Hub"), keccak256("1"), block.chainid, address(this)
            )
        );
    }

    function _digest(bytes32 structHash) private view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domainSeparator(), structHash);
    }

    /// `item` starts with client, clientSigner, challengePeriodS, salt.
    function _idInBatch(bytes32 domain, HubSide calldata side, uint256 item) private pure returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domain, Hashing.config(side, item));
    }

    function _markKey(bytes32 id, uint256 payer, bytes32 leaf) private pure returns (bytes32) {
        return keccak256(abi.encode(id, payer, leaf));
    }

    function _locksState(Channel storage ch, uint256 floors, uint256 payer)
        private
        view
        returns (LocksState memory state)
    {
        LocksRecord storage record = ch.locks[payer];
        uint256 word = record.word;
        state.live = floors.live(payer);
        state.opened = word.isOpened();
        state.commitment = record.commitment;
        state.base = uint128(word.base());
        state.counted = uint128(word.counted());
        state.maxExpiry = uint64(word.maxExpiry());
    }

    // Where a calldata struct starts.

    function _at(ClientReserve calldata item) private pure returns (uint256 ptr) {
        assembly ("memory-safe") {
            ptr := item
        }
    }

    function _at(ClientVoucher calldata item) private pure returns (uint256 ptr) {
        assembly ("memory-safe") {
            ptr := item
        }
    }

    function _at(ClientClose calldata item) private pure returns (uint256 ptr) {
        assembly ("memory-safe") {
            ptr := item
        }
    }

    function _at(Close calldata message) private pure returns (uint256 ptr) {
        assembly ("memory-safe") {
            ptr := add(message, 0x20)
        }
    }
}
