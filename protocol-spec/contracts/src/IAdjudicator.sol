// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

// ---------------------------------------------------------------------------------------------
// Signed types (EIP-712). Domain { name "Channel Hub", version "1", chainId, verifyingContract = adjudicator }.
// Side: 0 = client, 1 = hub. Amounts in token base units. Times in unix seconds.
// ---------------------------------------------------------------------------------------------

/// The immutable facts of a channel; channelId is its EIP-712 digest. token = 0 is the native coin.
struct Config {
    address client;
    address clientSigner;
    address hub;
    address hubSigner;
    address token;
    uint64 challengePeriodS;
    bytes32 salt;
}

/// One direction's half of the channel state, signed by its payer's signer.
/// seq < 2^36 and paid < 2^88, or the adjudicator refuses it.
struct Voucher {
    bytes32 channelId;
    uint64 seq;
    uint128 paid;
    uint64 ackSeq;
    uint128 ackPaid;
    bytes32 locks;
    bytes32 history;
}

/// An amount promised on a condition until expiry. resolver = 0: SHA-256 preimage of 32 bytes.
/// Leaf = keccak256(bytes.concat(keccak256(abi.encode(lock)))).
struct Lock {
    uint64 id;
    uint128 amount;
    uint64 expiry;
    bytes32 hash;
    address resolver;
}

/// What Voucher.locks commits to: locks = keccak256(abi.encode(root, total, maxExpiry)); 0 when there are none.
struct LocksOpening {
    bytes32 root;
    uint128 total;
    uint64 maxExpiry;
}

/// The payee's countersignature: lets `submitter` show the voucher with this digest.
struct Accept {
    bytes32 voucher;
    address submitter;
    bool mayDispute;
    uint64 deadline;
}

/// Co-operative close, signed by both sides.
struct Close {
    bytes32 channelId;
    uint128 clientDeposit;
    uint128 hubDeposit;
    uint128 clientBalance;
    uint128 hubBalance;
    uint64 deadline;
}

/// Co-operative withdrawal, signed by both sides. `total` is cumulative for `side`.
struct Withdraw {
    bytes32 channelId;
    uint8 side;
    uint128 total;
    uint64 clientSeq;
    uint128 clientPaid;
    uint64 hubSeq;
    uint128 hubPaid;
    uint64 deadline;
}

/// Reopens a disputed channel, signed by both sides over this dispute's number.
struct CancelDispute {
    bytes32 channelId;
    uint64 disputeNo;
    uint64 deadline;
}

/// One hub signature over the Merkle root of many Voucher and Receipt digests.
struct Batch {
    bytes32 root;
}

/// Proof for anybody that the hub credited a payment. Never read by the adjudicator.
struct Receipt {
    bytes16 paymentId;
    bytes32 invoice;
    bytes32 payer;
    bytes32 payeeChannel;
    uint64 payeeSeq;
    uint128 amount;
    uint64 at;
}

/// A session login, signed by a client's signer. Never read by the adjudicator.
struct Login {
    string server;
    bytes32 nonce;
    address signer;
    string protocol;
}

/// The owner's consent that the hub routes payments for `client` to this channel. Never read by the adjudicator.
struct Register {
    bytes32 channelId;
    string server;
}

/// What a payee asks for. Never read by the adjudicator.
struct Invoice {
    bytes32 channelId;
    uint128 amount;
    bytes32 hash;
    address resolver;
    uint64 expiresAt;
    bytes32 memo;
}

/// A hub's offer of more reserve in a payee's channel. Never read by the adjudicator.
struct CapacityQuote {
    bytes32 channelId;
    uint128 amount;
    uint128 fee;
    uint64 expiresAt;
    uint64 readyInS;
    uint64 holdS;
}

// ---------------------------------------------------------------------------------------------
// Arguments. Wherever a field is called `payer` it is a side and names a direction by who pays in it.
// A signature is 65 bytes r||s||v (low s, v 27 or 28). A hub's signature under a voucher may instead be a batch
// signature: the 65 bytes sign Batch(root), and 1 to 16 words follow, the Merkle proof of the voucher's digest.
// ---------------------------------------------------------------------------------------------

/// The middle of a Config: what the channels of one batch have in common.
struct HubSide {
    address hub;
    address hubSigner;
    address token;
    uint64 challengePeriodS;
}

/// A 65-byte signature in two words (EIP-2098): vs is s with the parity of v (27 or 28) in its highest bit.
struct CompactSignature {
    bytes32 r;
    bytes32 vs;
}

/// The payee's countersignature of a voucher, with the sender as `submitter`: an Accept by the payee's signer, directly.
struct Countersignature {
    bool mayDispute;
    uint64 deadline;
    bytes signature;
}

/// A voucher as evidence. Its channelId is that of the Config it is handed in with.
struct Submission {
    uint8 payer;
    uint64 seq;
    uint128 paid;
    uint64 ackSeq;
    uint128 ackPaid;
    bytes32 locks;
    bytes32 history;
    bytes signature;
    /// Empty or one: what `locks` commits to. It may follow later, until the window ends.
    LocksOpening[] opening;
    /// Empty when the sender is the payee; else one.
    Countersignature[] countersignature;
}

/// A lock of the stored voucher, proven in the opening's root. `witness`: the 32-byte preimage, or what the resolver takes;
/// not read for a lock that was marked before.
struct Unlock {
    Lock lock;
    bytes witness;
    bytes32[] proof;
}

/// Locks that `payer` must honour, all in the voucher stored for its direction. Without `unlocks` it only supplies the opening.
struct Resolution {
    uint8 payer;
    LocksOpening opening;
    Unlock[] unlocks;
}

/// One client's lock-free voucher in a batch of its hub.
struct ClientVoucher {
    address client;
    address clientSigner;
    bytes32 salt;
    uint64 seq;
    uint128 paid;
    uint64 ackSeq;
    uint128 ackPaid;
    bytes32 history;
    CompactSignature signature;
}

/// One channel's close in a batch of its hub. The signature of a side that is the sender may be zero.
struct ClientClose {
    address client;
    address clientSigner;
    bytes32 salt;
    uint128 clientDeposit;
    uint128 hubDeposit;
    uint128 clientBalance;
    uint128 hubBalance;
    uint64 deadline;
    CompactSignature clientSignature;
    CompactSignature hubSignature;
}

/// One channel's withdrawal in a batch of its hub. The signature of a side that is the sender may be zero.
/// The words from `side` to `deadline` are those of Withdraw.
struct ClientWithdraw {
    address client;
    address clientSigner;
    bytes32 salt;
    uint8 side;
    uint128 total;
    uint64 clientSeq;
    uint128 clientPaid;
    uint64 hubSeq;
    uint128 hubPaid;
    uint64 deadline;
    CompactSignature clientSignature;
    CompactSignature hubSignature;
}

/// One channel's reserve in a batch of its hub: `amount` goes from the hub's vault into the channel.
struct ClientReserve {
    address client;
    address clientSigner;
    bytes32 salt;
    uint128 amount;
}

/// Values of ChannelState.status.
enum Status {
    None,
    Open,
    Disputed,
    Closed
}

/// The stored voucher with locks of one direction. Meaningful only while `live`, that is while nothing stored is newer.
struct LocksState {
    bool live;
    /// Whether the opening is known, and with it maxExpiry.
    bool opened;
    bytes32 commitment;
    /// `paid` of the voucher with these locks.
    uint128 base;
    /// Sum of the locks resolved in it.
    uint128 counted;
    uint64 maxExpiry;
}

/// Everything the adjudicator stores about a channel.
struct ChannelState {
    Status status;
    /// Deposits less withdrawals, both sides.
    uint128 total;
    /// The client's deposits less its withdrawals; negative after it withdrew what it had earned. The hub's is total minus this.
    int128 clientNet;
    uint128 clientWithdrawn;
    uint128 hubWithdrawn;
    /// Floors of the direction in which the client pays.
    uint64 clientSeq;
    uint128 clientPaid;
    /// Floors of the direction in which the hub pays.
    uint64 hubSeq;
    uint128 hubPaid;
    /// 0 unless disputed.
    uint64 windowEnd;
    /// Number of the newest dispute, 0 before the first.
    uint64 disputeNo;
    LocksState clientLocks;
    LocksState hubLocks;
}

/// A condition that is no preimage. Called with a cap of 200,000 gas and a witness of at most 1,024 bytes; true is exactly
/// the 32-byte word 1.
/// Must be pure and monotone: once true for a hash and witness, true for ever.
interface IResolver {
    function check(bytes32 hash, bytes calldata witness) external view returns (bool);
}

/// Holds the deposits of channels, takes evidence, pays out. One per chain; no owner, no proxy, no pause.
/// Rule numbers (R1...) are those of SPEC.md.
interface IAdjudicator {
    // ------------------------------------------------------------------ events

    event Opened(bytes32 indexed channelId, address indexed client, address indexed hub, Config config);
    /// amount as it arrived; total and clientNet as in ChannelState, after it.
    event Deposited(bytes32 indexed channelId, uint256 amount, uint256 total, int256 clientNet);
    event Reserved(bytes32 indexed channelId, uint256 amount);
    /// The floors after a submission. floors = hubSeq << 212 | clientSeq << 176 | hubPaid << 88 | clientPaid,
    /// with bit 248 (client) and 249 (hub) set while the payer's stored locks are live.
    event Submitted(bytes32 indexed channelId, uint256 floors);
    /// A voucher with locks became the stored one of its direction.
    event LocksStored(bytes32 indexed channelId, uint8 payer, uint64 seq, bytes32 locks);
    event LocksOpened(bytes32 indexed channelId, uint8 payer, uint64 maxExpiry);
    event Disputed(bytes32 indexed channelId, uint64 disputeNo, uint64 windowEnd);
    /// A lock was counted. `hash` is indexed so that whoever holds a lock on the same hash finds its witness.
    /// The witness is empty when the lock had been marked before.
    event Resolved(
        bytes32 indexed channelId, bytes32 indexed hash, uint8 payer, uint64 lockId, uint256 counted, bytes witness
    );
    event DisputeCancelled(bytes32 indexed channelId, uint64 disputeNo);
    /// total is cumulative for the side; amount is what this withdrawal paid.
    event Withdrawn(bytes32 indexed channelId, uint8 side, uint256 total, uint256 amount);
    /// Both balances as paid out, whether by close or by finalize.
    event Closed(bytes32 indexed channelId, uint256 clientBalance, uint256 hubBalance);
    /// An item of a batch was left out; reason is the selector of the error it would have raised alone.
    event Skipped(bytes32 indexed channelId, bytes4 reason);
    event VaultFunded(address indexed hub, address indexed token, uint256 amount);
    event VaultWithdrawn(address indexed hub, address indexed token, address to, uint256 amount);
    /// A payout could not be pushed; the account may claim it.
    event Claimable(address indexed account, address indexed token, uint256 amount);
    event Claimed(address indexed account, address indexed token, address to, uint256 amount);

    // ------------------------------------------------------------------ errors

    error ZeroAddress();
    error SignersEqual(address signer);
    error ChallengePeriodOutOfRange(uint256 challengePeriodS, uint256 nearest);
    error ValueNotAmount(uint256 value, uint256 amount);
    /// Signed transfers exist for tokens only.
    error NativeToken();
    error TotalTooLarge(uint256 total, uint256 limit);
    /// The channel's status is not the one this verb needs.
    error WrongStatus(uint256 expected, uint256 got);
    error WindowOver(uint256 windowEnd, uint256 nowS);
    error NotFinal(uint256 finalAt, uint256 nowS);
    error AlreadyFinal(uint256 finalAt, uint256 nowS);
    error WrongSide(uint256 side);
    error WrongChannel(bytes32 expected, bytes32 got);
    error NotAParty(address sender);
    /// Neither the payee, nor a submitter with the payee's countersignature (that permits a dispute, if it starts one).
    error NotThePayee(address sender);
    error SeqTooLarge(uint256 seq, uint256 limit);
    error PaidTooLarge(uint256 paid, uint256 limit);
    error BadSignature(address signer, bytes32 digest);
    error BadCountersignature(address signer, bytes32 digest);
    error DeadlinePassed(uint256 deadline, uint256 nowS);
    error DeadlineTooFar(uint256 deadline, uint256 limit);
    error WrongOpening(bytes32 expected, bytes32 got);
    error ExpiryTooFar(uint256 maxExpiry, uint256 limit);
    error NoLiveLocks(bytes32 channelId, uint256 payer);
    error LockNotProven(bytes32 leaf);
    error LockExpired(uint256 expiry, uint256 nowS);
    error WrongPreimage(bytes32 hash);
    error WitnessTooLong(uint256 max, uint256 got);
    error ResolverRefused(address resolver, bytes32 hash);
    error NotEnoughGas(uint256 needed, uint256 left);
    error DepositMissing(uint256 named, uint256 actual);
    error SumMismatch(uint256 expected, uint256 got);
    error WithdrawalNotNewer(uint256 total, uint256 withdrawn);
    error InsufficientTotal(uint256 amount, uint256 total);
    error InsufficientVault(uint256 amount, uint256 vault);
    error WrongDisputeNo(uint256 expected, uint256 got);
    error NothingToClaim(address account, address token);
    error TransferFailed(address to, uint256 amount);

    // ------------------------------------------------------------------ money in

    /// Opens the channel, or deposits into it when it is open, for its client. A native amount comes as value; a token
    /// amount is taken from the sender by its allowance, and what arrives counts. The amount may be 0.
    function open(Config calldata config, uint256 amount) external payable returns (bytes32 channelId);

    /// Deposits for the client; the channel must be open.
    function deposit(Config calldata config, uint256 amount) external payable;

    /// `open` after an ERC-2612 permit of the sender's; a permit that fails (because somebody used it first) is no failure.
    function openWithPermit(Config calldata config, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        returns (bytes32 channelId);

    /// `open` with an ERC-3009 authorization of `from` whose nonce is keccak256(abi.encode(channelId, salt)).
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
    ) external returns (bytes32 channelId);

    /// `open` with a Permit2 signature of `from` over PermitWitnessTransferFrom with witness ChannelDeposit(bytes32 channelId).
    function openWithPermit2(
        Config calldata config,
        address from,
        uint256 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external returns (bytes32 channelId);

    /// Pays into the hub's vault; anybody may. It never holds 2^128 or more.
    function fundVault(address hub, address token, uint256 amount) external payable;

    /// Takes from the sender's own vault.
    function withdrawVault(address token, uint256 amount, address to) external;

    /// Moves amounts from the hub's vault into open channels. Sender: the hub, no signer of it: the vault is all channels', and a
    /// channel's signer is whoever opened it says. A channel that is not open is skipped, and so is one whose total would become
    /// too large: anybody can deposit into it.
    function reserve(HubSide calldata side, ClientReserve[] calldata items) external;

    // ------------------------------------------------------------------ evidence

    /// Stores evidence (R16), then counts locks (R17). While the channel is open this is a checkpoint and there must be no
    /// resolutions; in a dispute vouchers must come before the window ends and resolutions before it is final.
    function submit(Config calldata config, Submission[] calldata submissions, Resolution[] calldata resolutions) external;

    /// `submit` for a hub with many channels: vouchers of its clients. Sender: hub or hubSigner. A bad item is skipped.
    function submitMany(HubSide calldata side, ClientVoucher[] calldata items) external;

    /// Starts a dispute and submits in one call. Sender: a party, or a submitter that may dispute.
    function dispute(Config calldata config, Submission[] calldata submissions, Resolution[] calldata resolutions) external;

    /// Ends a dispute that is final (R18) and pays out (R20). Anybody may.
    function finalize(Config calldata config) external;

    /// `finalize` for many; a bad item is skipped.
    function finalizeMany(Config[] calldata configs) external;

    // ------------------------------------------------------------------ both sides together
    // Authorisation of a side: it is the sender, by account or signer; or a signature of its signer; or one of its account,
    // ECDSA or ERC-1271. Deadlines are at most one day ahead.

    /// Pays out at once (R15). Open or disputed.
    function close(
        Config calldata config,
        Close calldata message,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) external;

    /// `close` for many; a bad item is skipped. No ERC-1271 here: a foreign contract could burn the batch's gas.
    function closeMany(HubSide calldata side, ClientClose[] calldata items) external;

    /// Pays a side while the channel stays open, and raises the floors (R14).
    function withdraw(
        Config calldata config,
        Withdraw calldata message,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) external;

    /// `withdraw` for many; a bad item is skipped. The hub's sides are credited to its vault together. No ERC-1271 here, as in
    /// closeMany.
    function withdrawMany(HubSide calldata side, ClientWithdraw[] calldata items) external;

    /// Reopens a disputed channel that is not final yet, keeping all evidence (R27).
    function cancelDispute(
        Config calldata config,
        CancelDispute calldata message,
        bytes calldata clientSignature,
        bytes calldata hubSignature
    ) external;

    /// Pays the sender what could not be pushed to it, to an address of its choice.
    function claim(address token, address to) external;

    // ------------------------------------------------------------------ reading

    /// Everything stored about a channel.
    function channel(bytes32 channelId) external view returns (ChannelState memory);

    /// What finalize would pay if nothing more were submitted (R19, R20).
    function balances(bytes32 channelId) external view returns (uint256 clientBalance, uint256 hubBalance);

    /// When the running dispute becomes final (R18); 0 when there is none.
    function finalAt(Config calldata config) external view returns (uint256);

    /// Of a lock of `payer`'s: 0 when never resolved in time, else 1 + the seq of the voucher it was last counted in.
    function mark(bytes32 channelId, uint8 payer, bytes32 leaf) external view returns (uint256);

    function vault(address token, address hub) external view returns (uint256);
    function claimable(address token, address account) external view returns (uint256);

    // ------------------------------------------------------------------ hashing

    function domainSeparator() external view returns (bytes32);
    function channelIdOf(Config calldata config) external view returns (bytes32);
    function voucherDigest(Voucher calldata voucher) external view returns (bytes32);
    function acceptDigest(Accept calldata message) external view returns (bytes32);
    function closeDigest(Close calldata message) external view returns (bytes32);
    function withdrawDigest(Withdraw calldata message) external view returns (bytes32);
    function cancelDisputeDigest(CancelDispute calldata message) external view returns (bytes32);
    function batchDigest(bytes32 root) external view returns (bytes32);
}
