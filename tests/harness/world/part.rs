//! The parts a world is mixed from: what goes wrong and who behaves badly, each at a rate of its own.

use std::{fmt, str::FromStr};

/// One thing that can go wrong, or that somebody does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// A connection is cut before or after a message. Per 10,000 messages.
    Cut,
    /// A person reaches nobody for some seconds. Per 10,000 seconds and person.
    Partition,
    /// The hub's machine loses power before or after a message. Per 10,000 messages.
    HubPower,
    /// A person's machine loses power before or after a message. Per 10,000 messages.
    ClientPower,
    /// The hub's machine loses power at a disk operation, also while it boots. Per 10,000 operations.
    HubDiskPower,
    /// A write or a sync of the hub's disk fails with EIO. Per 10,000 operations.
    HubDiskError,
    /// The hub's disk is full a little above what is on it now. Per 10,000 boots; counted also if it is never filled.
    HubDiskFull,
    /// A write or a sync of a person's disk fails with EIO. Per 10,000 operations.
    ClientDiskError,
    /// A write of a store takes a second or two. Per 10,000 writes.
    SlowDisk,
    /// Each machine's clock is wrong by up to a minute. Any rate: all of them.
    Skew,
    /// All clocks jump ahead by up to two minutes, the chain's too. Per 10,000 seconds.
    Jump,
    /// A machine's node answers nothing but errors for some seconds. Per 10,000 calls.
    RpcDown,
    /// A node takes seconds for an answer. Per 10,000 calls.
    RpcSlow,
    /// A node does what it is asked, but its answer is lost. Per 10,000 calls.
    RpcLost,
    /// The hub and one person have three nodes each, and one of them lies: it hides logs, and calls return nonsense. Any rate: it
    /// does.
    RpcLies,
    /// Gas costs a hundred times as much, and falls from there. Per 10,000 seconds.
    GasSpike,
    /// The newest blocks are replaced by empty ones, no deeper than what nobody believed yet. Per 10,000 seconds.
    Reorg,
    /// An honest person withdraws some of its money. Per 10,000 seconds and person.
    Withdraw,
    /// One merchant closes its channel in the middle. Per 10,000 seconds.
    Leave,
    /// The first person's database is replaced by an older copy of it (A11). Per 10,000 seconds.
    ClientRestore,
    /// The hub's disk is lost, and an older copy of it restored as a backup is (A10). Per 10,000 seconds.
    HubRestore,
    /// Somebody takes some seconds before a payment. Per 10,000 payments.
    Linger,
    /// The hub has memory for a handful of payment ids, receipts and vouchers. Any rate: it has.
    Forgetful,
    /// Mallory sends a frame twice, or an old one again. Per 10,000 of its frames.
    Replay,
    /// Mallory signs a second voucher for a seq. Per 10,000 of its frames.
    Equivocate,
    /// Mallory acknowledges more than it was paid. Per 10,000 of its frames.
    InflateAck,
    /// Mallory leaves out seqs. Per 10,000 of its frames.
    Gap,
    /// Mallory's `paid` is less than its payments. Per 10,000 of its frames.
    Underpay,
    /// Mallory pays what it does not have. Per 10,000 of its frames.
    Overspend,
    /// Mallory pays again under an id that it used before. Per 10,000 of its frames.
    ReuseId,
    /// Mallory does not tell the hub a preimage. Per 10,000 times.
    Withhold,
    /// Mallory's vouchers stop. Per 10,000 of its frames; the rest of them is lost.
    Mute,
    /// Mallory starts a dispute with an old voucher of the hub, or with none. Per 10,000 seconds.
    Stale,
    /// Mallory asks more than it may, or just as much. Per 10,000 of its frames.
    Flood,
    /// Mallory goes on paying in a dispute. Per 10,000 seconds, and in court.
    Persist,
    /// The hub signs two vouchers for a seq. Per 10,000 of its vouchers.
    LieConflict,
    /// The hub's `paid` is less than its credits. Per 10,000 of its vouchers.
    LieUnderpay,
    /// The hub pays what it does not have. Per 10,000 of its vouchers.
    LieOverspend,
    /// The hub acknowledges what the client did not sign. Per 10,000 of its vouchers.
    LieAck,
    /// The hub leaves out seqs. Per 10,000 of its vouchers.
    LieJump,
    /// The hub sends an old voucher again. Per 10,000 of its vouchers.
    LieReplay,
    /// The hub tells what does not open a lock of the client. Per 10,000 of its vouchers.
    LieReveal,
    /// The hub gives up a lock of the client that it goes on with. Per 10,000 of its vouchers.
    LieConsent,
    /// The hub answers something else than what happened. Per 10,000 answers.
    LieAnswer,
    /// The hub shows an old voucher of the client as the newest. Per 10,000 times that a channel is resumed.
    LieForget,
    /// The hub's receipt says more than it credited. Per 10,000 receipts.
    LieReceipt,
    /// The hub wants more of its reserve back than is its own, and takes what the client signs. Per 10,000 of its vouchers.
    LieRelease,
    /// The hub's numbers about a channel are wrong. Per 10,000 times that it tells them.
    LieNumbers,
    /// A voucher of the hub never leaves it. Per 10,000 of its vouchers.
    LieSwallow,
    /// The hub says nothing to a client any more. Per 10,000 of its vouchers.
    LieMute,
    /// The hub starts a dispute with an old voucher of the client, or with none. Per 10,000 seconds; in the end of every channel.
    LieCourt,
    /// The hub is gone when everybody goes to court. Any rate: it is.
    Vanish,
    /// The hub takes what opens its lock, and says nothing any more. Per 10,000 of its vouchers that would pay a lock.
    LieUnpaid,
    /// A watchtower guards everybody, and somebody is away when all go to court. Per 10,000 half seconds its process ends.
    Watchtower,
    /// A machine's clock is set, forward or back, within a minute of the truth. Per 10,000 seconds and machine.
    ClockSet,
    /// A node knows no new block for some seconds, and answers as of then. Per 10,000 calls.
    RpcLags,
    /// A person's machine loses power at a disk operation, also while it boots. Per 10,000 operations.
    ClientDiskPower,
    /// A person's disk is full a little above what is on it now. Per 10,000 boots; counted also if it is never filled.
    ClientDiskFull,
    /// Somebody pays under an id that another payer uses, too, to the same payee and in the same way. Per 10,000 payments.
    SharedId,
    /// The close of the merchant that leaves does not arrive before its deadline is over, and people go on paying it. Per 10,000
    /// seconds, once.
    Lapse,
    /// Mallory says of one lock both what opens it and that it gives it up. Per 10,000 times that it could open one, and seconds
    /// of its dispute.
    Both,
    /// Mallory withdraws, and names none of the hub's vouchers or an old one. Per 10,000 seconds.
    WithdrawOld,
    /// Mallory asks the hub to end its dispute. Per 10,000 seconds.
    Cancel,
    /// Somebody opens a channel that is not registered, or that another signer than the hub's is to sign for, or on behalf of
    /// somebody else, or beside another of the same account; and what can be said of it is said. Per 10,000 seconds.
    Stranger,
}

impl Part {
    /// All of them, with the highest rate that is drawn.
    pub const ALL: [(Self, u32); 64] = [
        (Self::Cut, 200),
        (Self::Partition, 400),
        (Self::HubPower, 80),
        (Self::ClientPower, 80),
        (Self::HubDiskPower, 200),
        (Self::HubDiskError, 60),
        (Self::HubDiskFull, 3_000),
        (Self::ClientDiskError, 60),
        (Self::SlowDisk, 100),
        (Self::Skew, 1),
        (Self::Jump, 500),
        (Self::RpcDown, 60),
        (Self::RpcSlow, 100),
        (Self::RpcLost, 100),
        (Self::RpcLies, 1),
        (Self::GasSpike, 500),
        (Self::Reorg, 1_000),
        (Self::Withdraw, 400),
        (Self::Leave, 1_000),
        (Self::Replay, 2_000),
        (Self::Equivocate, 2_000),
        (Self::InflateAck, 2_000),
        (Self::Gap, 1_000),
        (Self::Underpay, 2_000),
        (Self::Overspend, 1_000),
        (Self::ReuseId, 2_000),
        (Self::Withhold, 5_000),
        (Self::Mute, 300),
        (Self::Stale, 300),
        (Self::Flood, 200),
        (Self::Persist, 5_000),
        (Self::ClientRestore, 2_000),
        (Self::HubRestore, 2_000),
        (Self::Linger, 5_000),
        (Self::Forgetful, 1),
        (Self::LieConflict, 300),
        (Self::LieUnderpay, 300),
        (Self::LieOverspend, 300),
        (Self::LieAck, 300),
        (Self::LieJump, 300),
        (Self::LieReplay, 2_000),
        (Self::LieReveal, 1_000),
        (Self::LieConsent, 500),
        (Self::LieAnswer, 1_000),
        (Self::LieForget, 1_000),
        (Self::LieReceipt, 300),
        (Self::LieRelease, 1_000),
        (Self::LieNumbers, 2_000),
        (Self::LieSwallow, 200),
        (Self::LieMute, 200),
        (Self::LieCourt, 200),
        (Self::Vanish, 1),
        (Self::LieUnpaid, 3_000),
        (Self::Watchtower, 500),
        (Self::ClockSet, 500),
        (Self::RpcLags, 60),
        (Self::ClientDiskPower, 60),
        (Self::ClientDiskFull, 3_000),
        (Self::SharedId, 4_000),
        (Self::Lapse, 2_000),
        (Self::Both, 2_000),
        (Self::WithdrawOld, 1_000),
        (Self::Cancel, 1_000),
        (Self::Stranger, 1_000),
    ];

    /// True for what only Mallory does.
    #[must_use]
    pub fn is_foul(self) -> bool {
        (Self::Replay..=Self::Persist).contains(&self) || (Self::Both..=Self::Stranger).contains(&self)
    }

    /// True for what only a hub does that lies.
    #[must_use]
    pub fn is_lie(self) -> bool {
        (Self::LieConflict..=Self::LieUnpaid).contains(&self)
    }

    /// True for what happens only where the hub lies.
    pub(super) fn needs_lies(self) -> bool {
        self.is_lie() || self == Self::Watchtower
    }

    /// True for an old copy of somebody's database.
    pub(super) fn is_restore(self) -> bool {
        matches!(self, Self::ClientRestore | Self::HubRestore)
    }

    /// True for parts that cannot be together. A client and a hub that are both restored may have nobody left who knows what
    /// they signed; nor has a restored client whose hub lies. Beside a hub that lies Mallory would be nobody's concern,
    /// nobody leaves it by its leave, and what it says of an id is said of one payment.
    pub(super) fn excludes(self, other: Self) -> bool {
        let excludes = |one: Self, other: Self| match one {
            Self::ClientRestore => other == Self::HubRestore,
            one => {
                let needs_truth = matches!(other, Self::Lapse | Self::SharedId);
                one.is_lie() && (other.is_restore() || other.is_foul() || needs_truth)
            }
        };
        excludes(self, other) || excludes(other, self)
    }

    /// True for what needs a running chain, so that it waits until everybody has a channel: an opening that is lost is
    /// its owner's to repeat.
    pub(super) fn waits(self) -> bool {
        matches!(
            self,
            Self::Jump
                | Self::RpcDown
                | Self::RpcSlow
                | Self::RpcLost
                | Self::RpcLags
                | Self::GasSpike
                | Self::Reorg
                | Self::Withdraw
                | Self::Leave
                | Self::Stale
                | Self::ClientRestore
                | Self::HubRestore
                | Self::Partition
                | Self::Lapse
                | Self::WithdrawOld
                | Self::Cancel
                | Self::Stranger
        ) || self.is_lie()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().map(|(part, _)| part);
        let found = known
            .into_iter()
            .find(|part| part.to_string().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("{text}: no such part of a world"))
    }
}
