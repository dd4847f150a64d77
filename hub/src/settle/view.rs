//! What the chain says about a channel at one block, and what it would pay under each course of events.

use super::{
    evidence::{CheckedDirection, CheckedEvidence},
    exit::SettleError,
    node::{Head, Node},
    on_chain::{self, Marks},
};
use alloy::{
    eips::BlockId,
    primitives::{Address, B256, U256},
    sol,
};
use futures::future::BoxFuture;
use protocol_spec::{
    Amount, Digest, Side, UnixSeconds,
    abi::{ChannelState, IAdjudicator, LocksState, Status},
    settlement::{Adjudication, Direction, Funds, LiveLocks},
};
use std::collections::BTreeSet;

sol! {
    /// What settle asks a token for, for display.
    interface Token {
        function decimals() external view returns (uint8);
        function symbol() external view returns (string);
    }
}

/// Locks that a sentence names.
const NAMED_MAX: usize = 20;

/// How amounts of a token are shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenInfo {
    /// The token; zero for the native coin.
    pub address: Address,
    /// Its symbol, letters and digits only; empty when it does not tell.
    pub symbol: String,
    /// Its decimals, if it tells.
    pub decimals: Option<u8>,
}

/// Where a channel is in its life, on chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Never opened at this adjudicator.
    None,
    /// Open.
    Open,
    /// In dispute number `no`.
    Disputed {
        /// Number of the dispute.
        no: u64,
        /// Vouchers are taken before this chain time.
        window_end: UnixSeconds,
        /// `finalize` works from this chain time on (R18).
        final_at: UnixSeconds,
    },
    /// Paid out.
    Closed,
}

/// A channel on chain, read at one block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The block.
    pub head: Head,
    /// Where it is in its life.
    pub phase: Phase,
    /// Deposits and withdrawals, gross.
    pub funds: Funds,
    /// The adjudicator's memory, with the marks of the locks in the evidence.
    pub adjudication: Adjudication,
    /// Received locks whose resolvers refuse the witness in the evidence.
    pub refused: BTreeSet<u64>,
    /// Received locks that are not to be shown although nothing refuses them.
    pub left_out: BTreeSet<u64>,
    /// The channel's token.
    pub token: TokenInfo,
    /// What failed payouts left for the evidence's account, in this token.
    pub claimable: Amount,
    /// What the hub has in its vault, in this token.
    pub vault: Amount,
}

impl View {
    /// Reads everything at the newest block.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`]; [`SettleError::Refused`] when the answers do not add up by R19 and R20.
    pub fn read<'a>(
        node: &'a Node,
        evidence: &'a CheckedEvidence,
    ) -> BoxFuture<'a, Result<Self, SettleError>> {
        Box::pin(async move {
            let head = node.head().await?;
            let reader = Reader {
                node,
                evidence,
                block: BlockId::number(head.number),
            };
            let state = reader.state().await?;
            let config = &evidence.raw().config;
            let account = config.account(evidence.side());
            let (token, claimable, vault, (adjudication, refused), final_at) = tokio::try_join!(
                token_info(node, config.token, reader.block),
                reader.amount(IAdjudicator::claimableCall {
                    token: config.token,
                    account
                }),
                reader.amount(IAdjudicator::vaultCall {
                    token: config.token,
                    hub: config.hub
                }),
                reader.adjudication(&state),
                reader.final_at(),
            )?;
            let view = Self {
                head,
                phase: phase(&state, final_at),
                funds: funds(&state)?,
                adjudication,
                refused,
                left_out: BTreeSet::new(),
                token,
                claimable,
                vault,
            };
            reader.check(&view).await?;
            Ok(view)
        })
    }

    /// (client, hub) if it were finalized as it stands.
    #[must_use]
    pub fn balances(&self) -> (Amount, Amount) {
        self.adjudication.balances(&self.funds)
    }

    /// False for a received lock that is not to be shown.
    #[must_use]
    pub fn shows(&self, lock: u64) -> bool {
        !self.refused.contains(&lock) && !self.left_out.contains(&lock)
    }

    /// For people: what is not shown, and why.
    #[must_use]
    pub fn unshown_notes(&self) -> Vec<String> {
        let refused = "the resolver does not take the witness in this file; they are left out";
        let notes = [(&self.refused, refused), (&self.left_out, "left out, as told")];
        let some = notes.into_iter().filter(|(locks, _)| !locks.is_empty());
        some.map(|(locks, why)| {
            let named: Vec<String> = locks.iter().take(NAMED_MAX).map(u64::to_string).collect();
            let rest = match locks.len().saturating_sub(named.len()) {
                0 => String::new(),
                rest => format!(" and {rest} more"),
            };
            format!("locks {}{rest}: {why}", named.join(", "))
        })
        .collect()
    }

    /// True while vouchers are taken: open, or disputed before the window's end.
    #[must_use]
    pub fn takes_vouchers(&self) -> bool {
        match self.phase {
            Phase::Open => true,
            Phase::Disputed { window_end, .. } => self.head.time < window_end,
            Phase::None | Phase::Closed => false,
        }
    }
}

/// One side's part of (client, hub).
#[must_use]
pub fn share(side: Side, balances: (Amount, Amount)) -> Amount {
    match side {
        Side::Client => balances.0,
        Side::Hub => balances.1,
    }
}

struct Reader<'a> {
    node: &'a Node,
    evidence: &'a CheckedEvidence,
    block: BlockId,
}

impl Reader<'_> {
    async fn read<C: alloy::sol_types::SolCall>(&self, call: &C) -> Result<C::Return, SettleError> {
        self.node
            .read(self.evidence.raw().adjudicator, call, self.block)
            .await
    }

    async fn final_at(&self) -> Result<U256, SettleError> {
        let config = self.evidence.raw().config.to_abi();
        self.read(&IAdjudicator::finalAtCall { config }).await
    }

    async fn state(&self) -> Result<ChannelState, SettleError> {
        let channel_id = B256::from(self.evidence.id().0);
        self.read(&IAdjudicator::channelCall {
            channelId: channel_id,
        })
        .await
    }

    async fn amount<C: alloy::sol_types::SolCall<Return = U256>>(
        &self,
        call: C,
    ) -> Result<Amount, SettleError> {
        Ok(Amount(self.read(&call).await?.saturating_to()))
    }

    /// The adjudicator's memory, and which locks resolvers refuse.
    async fn adjudication(&self, state: &ChannelState) -> Result<(Adjudication, BTreeSet<u64>), SettleError> {
        // A lock can be marked only after a dispute.
        let marks = match state.disputeNo > 0 {
            true => on_chain::marks(self.node, self.evidence, self.block).await?,
            false => Marks::default(),
        };
        let refused = on_chain::refused(self.node, self.evidence, &marks, self.block).await?;
        let mut adjudication = Adjudication {
            client: direction(state.clientSeq, state.clientPaid, &state.clientLocks),
            hub: direction(state.hubSeq, state.hubPaid, &state.hubLocks),
            marks,
        };
        let mine = self.evidence.side();
        supply_total(&mut adjudication, mine.other(), self.evidence.received());
        supply_total(&mut adjudication, mine, self.evidence.sent());
        Ok((adjudication, refused))
    }

    /// What this settle computes must be what the adjudicator computes, or its forecasts are worth nothing.
    async fn check(&self, view: &View) -> Result<(), SettleError> {
        if matches!(view.phase, Phase::None | Phase::Closed) {
            return Ok(());
        }
        let channel_id = B256::from(self.evidence.id().0);
        let got = self
            .read(&IAdjudicator::balancesCall {
                channelId: channel_id,
            })
            .await?;
        let (client, hub) = view.balances();
        if (got.clientBalance, got.hubBalance) == (U256::from(client.0), U256::from(hub.0)) {
            return Ok(());
        }
        Err(SettleError::Refused(format!(
            "the adjudicator divides {} to the client and {} to the hub, R19 and R20 make it {client} and {hub}: \
             it is not the adjudicator this settle knows, or the node contradicts itself",
            got.clientBalance, got.hubBalance
        )))
    }
}

/// The chain does not tell the total of opened locks; the evidence does when it has that opening.
fn supply_total(adjudication: &mut Adjudication, payer: Side, evidence: &CheckedDirection) {
    let live = match payer {
        Side::Client => adjudication.client.live.as_mut(),
        Side::Hub => adjudication.hub.live.as_mut(),
    };
    if let (Some(live), Some(opening)) = (live, evidence.opening)
        && live.max_expiry.is_some()
        && live.commitment == opening.commitment()
    {
        live.total = Some(opening.total);
    }
}

fn direction(seq: u64, paid: u128, locks: &LocksState) -> Direction {
    Direction {
        seq,
        paid: Amount(paid),
        live: locks.live.then(|| LiveLocks {
            commitment: Digest(locks.commitment.0),
            base: Amount(locks.base),
            counted: Amount(locks.counted),
            max_expiry: locks.opened.then_some(UnixSeconds(locks.maxExpiry)),
            total: None,
        }),
    }
}

fn phase(state: &ChannelState, final_at: U256) -> Phase {
    match state.status {
        Status::Open => Phase::Open,
        Status::Disputed => Phase::Disputed {
            no: state.disputeNo,
            window_end: UnixSeconds(state.windowEnd),
            final_at: UnixSeconds(final_at.saturating_to()),
        },
        Status::Closed => Phase::Closed,
        _ => Phase::None,
    }
}

fn funds(state: &ChannelState) -> Result<Funds, SettleError> {
    let gross = || {
        let client = i128::try_from(state.clientWithdrawn)
            .ok()?
            .checked_add(state.clientNet)?;
        let all = state
            .total
            .checked_add(state.clientWithdrawn)?
            .checked_add(state.hubWithdrawn)?;
        let client = u128::try_from(client).ok()?;
        Some((client, all.checked_sub(client)?))
    };
    let (client, hub) = gross().ok_or_else(|| {
        SettleError::Refused("the adjudicator's sums do not add up; use another node".to_owned())
    })?;
    Ok(Funds {
        client_deposit: Amount(client),
        hub_deposit: Amount(hub),
        client_withdrawn: Amount(state.clientWithdrawn),
        hub_withdrawn: Amount(state.hubWithdrawn),
    })
}

/// What a token says of itself, for display.
///
/// # Errors
/// [`SettleError::Unreachable`].
pub fn token_info<'a>(
    node: &'a Node,
    address: Address,
    block: BlockId,
) -> BoxFuture<'a, Result<TokenInfo, SettleError>> {
    Box::pin(async move {
        if address == Address::ZERO {
            return Ok(TokenInfo {
                address,
                symbol: "native".to_owned(),
                decimals: Some(18),
            });
        }
        // A token need not answer either; only silence of the node is an error.
        let told = |error| match error {
            SettleError::Unreachable(text) => Err(SettleError::Unreachable(text)),
            _ => Ok(()),
        };
        let decimals = match node.read(address, &Token::decimalsCall {}, block).await {
            Ok(decimals) => Some(decimals),
            Err(error) => told(error).map(|()| None)?,
        };
        let symbol = match node.read(address, &Token::symbolCall {}, block).await {
            Ok(symbol) => symbol,
            Err(error) => told(error).map(|()| String::new())?,
        };
        Ok(TokenInfo {
            address,
            symbol: symbol
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .take(12)
                .collect(),
            decimals,
        })
    })
}
