//! The signing guard: one seq is never signed twice with different content.

use crate::{ChannelId, Digest, Seq};
use alloy_primitives::map::{Entry, HashMap};
use thiserror::Error;

/// A refusal of the guard. A programmer's or operator's error (two processes on one key): stop signing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum GuardError {
    /// A different digest was signed for this seq.
    #[error("channel {channel}: seq {seq} was signed with digest {signed}, refused {asked}")]
    SecondDigest {
        /// The channel.
        channel: ChannelId,
        /// The seq asked for.
        seq: Seq,
        /// What was signed.
        signed: Digest,
        /// What was asked for.
        asked: Digest,
    },
    /// An older seq than the newest signed.
    #[error("channel {channel}: newest signed seq is {newest}, refused {asked}")]
    OlderSeq {
        /// The channel.
        channel: ChannelId,
        /// Newest signed.
        newest: Seq,
        /// Asked for.
        asked: Seq,
    },
}

/// Remembers the newest (seq, digest) signed for each channel. One guard per signer key; restored from the durable state.
#[derive(Clone, Debug, Default)]
pub struct SigningGuard {
    newest: HashMap<ChannelId, (Seq, Digest)>,
}

impl SigningGuard {
    /// Permits signing `digest` for `seq`, and remembers it. The same pair again is permitted.
    pub fn permit(&mut self, channel: ChannelId, seq: Seq, digest: Digest) -> Result<(), GuardError> {
        // One look-up: with many channels it is a miss of the cache.
        let known = match self.newest.entry(channel) {
            Entry::Vacant(new) => {
                new.insert((seq, digest));
                return Ok(());
            }
            Entry::Occupied(known) => known.into_mut(),
        };
        let (newest, signed) = *known;
        match () {
            () if newest == seq && signed != digest => Err(GuardError::SecondDigest {
                channel,
                seq,
                signed,
                asked: digest,
            }),
            () if newest > seq => Err(GuardError::OlderSeq {
                channel,
                newest,
                asked: seq,
            }),
            () => {
                *known = (seq, digest);
                Ok(())
            }
        }
    }

    /// Forgets a closed channel.
    pub fn forget(&mut self, channel: &ChannelId) {
        self.newest.remove(channel);
    }
}
