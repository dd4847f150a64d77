//! Every limit of a session in one place, with the relations between them checked at compile time.
//!
//! Constants are not for tuning. [`SessionLimits`] holds what an operator may want to change (`[limits]` in hub.toml);
//! its defaults obey the same relations, and `ops::config` checks the ranges.

use super::read_ahead::PIECE_BYTES;
use protocol_spec::limits::MESSAGE_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The whole handshake, first byte to upgrade: TCP accepted to `101` written (attack B1).
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Longest HTTP head of a handshake, bytes.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Life of a challenge: so long it takes signers. An older one is refused and replaced.
pub const NONCE_LIFE: Duration = Duration::from_secs(30);
/// A connection that has not logged in by then is closed.
pub const LOGIN_DEADLINE: Duration = Duration::from_secs(60);
/// Failed logins after which a connection without a signer is closed. One with signers is not closed for it: it may have
/// this many logins that fail or repeat at once, and one more each second; beyond it `Busy`.
pub const LOGIN_FAILURES_MAX: u32 = 3;
/// Signers of one connection: a gateway with a key for each channel needs thousands; one costs about 250 bytes
/// here, so that a connection full of them holds 1 MB, less than an outbox that nobody reads.
pub const SIGNERS_MAX: usize = 4_096;
/// Channels of which a connection remembers the signer, about 80 bytes each: so many that it registered or resumed, and as
/// many that answers to logins listed. Only channels that the hub knows are.
pub const CHANNELS_KNOWN_MAX: usize = 4 * SIGNERS_MAX;
/// Failed logins per second over all connections; beyond it, addresses that failed lately are turned away unchecked.
pub const LOGIN_FAILURES_PER_S: u32 = 200;
/// Failed logins that may come at once.
pub const LOGIN_FAILURES_BURST: u32 = 400;
/// How long an address counts as one that failed lately.
pub const LOGIN_FAILURE_MEMORY: Duration = Duration::from_secs(60);
/// Addresses remembered for failed logins.
pub const LOGIN_FAILURE_ADDRESSES_MAX: usize = 16 * 1024;
/// Messages per second of a connection that has not logged in.
pub const STRANGER_MESSAGES_PER_S: u32 = 5;
/// Messages at once of a connection that has not logged in.
pub const STRANGER_MESSAGES_BURST: u32 = 32;
/// Pings, pongs and empty messages per second.
pub const CONTROL_FRAMES_PER_S: u32 = 10;
/// Pings, pongs and empty messages at once.
pub const CONTROL_FRAMES_BURST: u32 = 64;
/// Strikes, with one forgiven each second, after which the connection is closed. A message beyond the rate, or one that
/// cannot be read, is one.
pub const STRIKES_MAX: u32 = 128;
/// Strikes for a signature that is wrong: finding that out costs ten times as much as a right one.
pub const STRIKES_PER_SIGNATURE: u32 = 4;
/// How long the signers of a connection that was closed for its strikes may not log in.
pub const OFFENCE_PAUSE: Duration = Duration::from_secs(10);
/// Signers remembered for that.
pub const OFFENDERS_MAX: usize = 16 * 1024;
/// Read buffer of a socket, bytes: small, because there are many sockets and messages are small, and because it is cleared
/// each time that somebody looks whether something came.
pub const READ_BUFFER_BYTES: usize = 1024;
/// Bytes collected before they are written without waiting for a flush.
pub const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// Most bytes waiting for the socket: the buffer and one message with its frame header.
pub const WRITE_BUFFER_BYTES_MAX: usize =
    WRITE_BUFFER_BYTES + MESSAGE_BYTES_MAX + FRAME_HEADER_BYTES_MAX + CLOSE_BYTES_MAX;
/// Longest header of a frame.
pub const FRAME_HEADER_BYTES_MAX: usize = 14;
/// A close frame and a pong, header included.
pub const CLOSE_BYTES_MAX: usize = 2 * 139;
/// Bytes a socket may take without completing a message: endless tiny fragments end here (attack B2).
pub const BYTES_PER_MESSAGE_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// Messages handled before the replies are flushed and the outbox is served.
pub const MESSAGES_PER_TURN: u32 = 64;
/// Batches handled before the socket is flushed and the input is served.
pub const BATCHES_PER_TURN: u32 = 64;
/// Batches that may wait in one outbox. When it is full, the engine drops the connection (attack B3).
pub const OUTBOX_BATCHES: usize = 512;
/// A connection ends when something has waited in its outbox for so long: it reads, but too slowly.
pub const OUTBOX_AGE_MAX: Duration = Duration::from_secs(60);
/// Calls of one connection that may wait for an answer; beyond it: `Busy`.
pub const CALLS_IN_FLIGHT_MAX: u32 = 512;
/// What a `Busy` answer advises, milliseconds.
pub const BUSY_RETRY_AFTER_MS: u32 = 50;
/// How long a closed socket is read on, so that the close frame is not lost to a TCP reset.
pub const LINGER: Duration = Duration::from_millis(500);
/// Bytes read and thrown away while lingering.
pub const LINGER_BYTES_MAX: usize = 1 << 20;
/// How long a full inbound queue may delay the news that a connection is gone.
pub const GONE_DEADLINE: Duration = Duration::from_secs(10);
/// What the kernel keeps for a peer that does not read: left alone it takes 4 MiB of each, and a minute to be full of small
/// answers (attack B3). 5 MB/s at a round trip of 50 ms.
pub const SEND_BUFFER_BYTES: u32 = 256 * 1024;
/// Connections waiting in the kernel to be accepted.
pub const ACCEPT_BACKLOG: u32 = 4096;
/// Pause after `accept` failed, for want of file descriptors for instance (attack H1).
pub const ACCEPT_ERROR_PAUSE: Duration = Duration::from_millis(50);
/// On shutdown: how long calls may still be answered.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(3);
/// The process must be gone by then after SIGTERM (attack H5).
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// Limits an operator may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionLimits {
    /// Open connections; beyond it a handshake is answered with 503.
    pub connections_max: u32,
    /// Handshakes under way; beyond it the oldest is dropped.
    pub handshakes_max: u32,
    /// Handshakes under way of one address (IPv6: one /64); beyond it the oldest of that address is dropped.
    pub handshakes_per_address_max: u32,
    /// Accepted connections per second; the others wait in the kernel's queue.
    pub accepts_per_s: u32,
    /// Messages per second of one logged-in connection.
    pub messages_per_s: u32,
    /// Messages at once of one logged-in connection.
    pub messages_burst: u32,
    /// Bytes per second of one connection; beyond it the hub reads more slowly.
    pub bytes_per_s: u32,
    /// Seconds without a byte after which the hub pings.
    pub ping_after_s: u32,
    /// Seconds without a byte after which the hub hangs up.
    pub idle_timeout_s: u32,
    /// Seconds a write may wait for the peer to read before the connection is dropped.
    pub write_deadline_s: u32,
}

impl SessionLimits {
    /// The defaults, as hub.toml prints them.
    pub const DEFAULT: Self = Self {
        connections_max: 20_000,
        handshakes_max: 2_048,
        handshakes_per_address_max: 256,
        accepts_per_s: 2_000,
        messages_per_s: 5_000,
        messages_burst: 10_000,
        bytes_per_s: 8 << 20,
        ping_after_s: 20,
        idle_timeout_s: 60,
        write_deadline_s: 10,
    };
}

impl SessionLimits {
    /// Sockets at once, at most, with those that were refused or closed and linger.
    #[must_use]
    pub fn sockets(&self) -> u64 {
        let lingering = self.handshakes_max;
        let all = [self.connections_max, self.handshakes_max, lingering];
        all.into_iter().map(u64::from).sum()
    }

    /// The same with no more than so many sockets: an eighth of them shake hands, an eighth linger.
    #[must_use]
    pub fn within(self, sockets: u64) -> Self {
        if self.sockets() <= sockets {
            return self;
        }
        let eighth = u32::try_from(sockets >> 3).unwrap_or(u32::MAX).max(1);
        let handshakes_max = self.handshakes_max.min(eighth);
        let rest = sockets.saturating_sub(u64::from(handshakes_max) << 1);
        let rest = u32::try_from(rest).unwrap_or(u32::MAX).max(1);
        Self {
            connections_max: self.connections_max.min(rest),
            handshakes_max,
            handshakes_per_address_max: self.handshakes_per_address_max.min(handshakes_max),
            ..self
        }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const _: () = assert!(
    CALLS_IN_FLIGHT_MAX as usize <= OUTBOX_BATCHES,
    "answers alone never fill an outbox"
);
const _: () = assert!(BYTES_PER_MESSAGE_MAX >= 2 * MESSAGE_BYTES_MAX + PIECE_BYTES);
const _: () = assert!(
    WRITE_BUFFER_BYTES_MAX > WRITE_BUFFER_BYTES + MESSAGE_BYTES_MAX,
    "tungstenite panics on a write buffer without room for a message"
);
const _: () = assert!(NONCE_LIFE.as_secs() < LOGIN_DEADLINE.as_secs());
const _: () = assert!(HANDSHAKE_DEADLINE.as_secs() < LOGIN_DEADLINE.as_secs());
const _: () = assert!(
    DRAIN_DEADLINE.as_millis() + 2 * LINGER.as_millis() < SHUTDOWN_DEADLINE.as_millis(),
    "drain and close fit the deadline of the process"
);
const _: () = assert!(SessionLimits::DEFAULT.ping_after_s * 2 < SessionLimits::DEFAULT.idle_timeout_s);
const _: () =
    assert!(SessionLimits::DEFAULT.handshakes_per_address_max < SessionLimits::DEFAULT.handshakes_max);
const _: () = assert!(SessionLimits::DEFAULT.bytes_per_s as usize >= BYTES_PER_MESSAGE_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_fit_into_the_sockets_that_there_are() {
        let all = SessionLimits::DEFAULT;
        assert_eq!(all.within(all.sockets()), all);
        for sockets in [3, 10, 96, 864, 10_000, all.sockets() - 1] {
            let few = all.within(sockets);
            assert!(few.sockets() <= sockets, "{few:?}");
            assert!(few.connections_max > 0 && few.handshakes_per_address_max > 0);
            assert!(few.handshakes_per_address_max <= few.handshakes_max);
            assert_eq!(few.messages_per_s, all.messages_per_s);
        }
    }
}
