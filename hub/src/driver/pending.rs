//! What both sides signed, as calls of the adjudicator: alone, or many in one.

use crate::ledger::{PendingTx, TxKind};
use alloy::sol_types::SolCall;
use protocol_spec::{Amount, ChannelId, Side, abi, abi::IAdjudicator, calls};

/// Closes, or releases, of one token and challenge period. One by itself may carry a signature of any kind; several are
/// of signers.
pub(super) fn call_of(alike: &[PendingTx]) -> (&'static str, Vec<u8>) {
    let Some(first) = alike.first().filter(|_| alike.len() > 1) else {
        return alike.first().map(PendingTx::call).unwrap_or_default();
    };
    let side = calls::hub_side(&first.config);
    let data = if first.is_release() {
        let items = alike.iter().filter_map(PendingTx::withdraw_item).collect();
        IAdjudicator::withdrawManyCall { side, items }.abi_encode()
    } else {
        let items = alike.iter().filter_map(PendingTx::close_item).collect();
        IAdjudicator::closeManyCall { side, items }.abi_encode()
    };
    (first.about().0, data)
}

impl PendingTx {
    pub(super) fn about(&self) -> (&'static str, ChannelId) {
        match &self.kind {
            TxKind::Withdraw(message) => ("withdraw", message.channel_id),
            TxKind::Close(message) => ("close", message.channel_id),
            TxKind::Cancel(message) => ("cancel", message.channel_id),
        }
    }

    /// The hub takes its own reserve back.
    pub(super) fn is_release(&self) -> bool {
        matches!(&self.kind, TxKind::Withdraw(message) if message.side == Side::Hub)
    }

    /// The chain would still take it. A batch would not notice, and pay for nothing.
    pub(super) fn is_wanted(&self, state: &abi::ChannelState) -> bool {
        match &self.kind {
            TxKind::Withdraw(message) => {
                let withdrawn = match message.side {
                    Side::Client => state.clientWithdrawn,
                    Side::Hub => state.hubWithdrawn,
                };
                matches!(state.status, abi::Status::Open) && withdrawn < message.total.0
            }
            TxKind::Close(_) | TxKind::Cancel(_) => !matches!(state.status, abi::Status::Closed),
        }
    }

    fn close_item(&self) -> Option<abi::ClientClose> {
        let TxKind::Close(message) = &self.kind else {
            return None;
        };
        Some(calls::client_close(
            &self.config,
            message,
            Some(&self.client_signature),
            None,
        ))
    }

    fn withdraw_item(&self) -> Option<abi::ClientWithdraw> {
        let TxKind::Withdraw(message) = &self.kind else {
            return None;
        };
        Some(calls::client_withdraw(
            &self.config,
            message,
            Some(&self.client_signature),
            None,
        ))
    }

    /// Tells this message from an earlier one of the same kind.
    pub(super) fn mark(&self) -> Amount {
        Amount(self.deadline().0.into())
    }

    /// What it does something about: what a withdrawal pays, or all that is in the channel.
    pub(super) fn moved(&self, state: &abi::ChannelState) -> u128 {
        match &self.kind {
            TxKind::Withdraw(message) => {
                let withdrawn = match message.side {
                    Side::Client => state.clientWithdrawn,
                    Side::Hub => state.hubWithdrawn,
                };
                message.total.0.saturating_sub(withdrawn)
            }
            TxKind::Close(_) | TxKind::Cancel(_) => state.total,
        }
    }

    /// The most that this can be, when the message says it.
    pub(super) fn moved_at_most(&self) -> Option<u128> {
        match &self.kind {
            TxKind::Withdraw(message) => Some(message.total.0),
            TxKind::Close(_) | TxKind::Cancel(_) => None,
        }
    }

    /// What comes home to the hub with it.
    pub(super) fn value(&self) -> Amount {
        match &self.kind {
            TxKind::Close(message) => message.hub_balance,
            TxKind::Withdraw(_) | TxKind::Cancel(_) => Amount::ZERO,
        }
    }

    /// Alone. The sender is the hub's own account, so the hub's signature stays empty.
    fn call(&self) -> (&'static str, Vec<u8>) {
        let (config, client) = (&self.config, &self.client_signature.0);
        let data = match &self.kind {
            TxKind::Withdraw(message) => calls::withdraw(config, message, client, &[]).abi_encode(),
            TxKind::Close(message) => calls::close(config, message, client, &[]).abi_encode(),
            TxKind::Cancel(message) => calls::cancel_dispute(config, message, client, &[]).abi_encode(),
        };
        (self.about().0, data)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::samples::quiet_channel, *};
    use protocol_spec::{Address, Close, Config, Digest, Seq, Signature, UnixSeconds, Withdraw};

    fn config(number: u8) -> Config {
        Config {
            client: Address::repeat_byte(number),
            client_signer: Address::repeat_byte(0x60),
            hub: Address::repeat_byte(0x61),
            hub_signer: Address::repeat_byte(0x62),
            token: Address::repeat_byte(0x63),
            challenge_period_s: 86_400,
            salt: Digest([number; 32]),
        }
    }

    fn pending(number: u8, kind: TxKind) -> PendingTx {
        let client_signature = Signature([number; 65]);
        PendingTx {
            config: config(number),
            kind,
            client_signature,
        }
    }

    pub(in super::super) fn withdraw(number: u8, side: Side) -> PendingTx {
        let message = Withdraw {
            channel_id: ChannelId([number; 32]),
            side,
            total: Amount(100 + u128::from(number)),
            client_seq: Seq(1),
            client_paid: Amount(2),
            hub_seq: Seq(3),
            hub_paid: Amount(4),
            deadline: UnixSeconds(1_000),
        };
        pending(number, TxKind::Withdraw(message))
    }

    fn close(number: u8) -> PendingTx {
        let message = Close {
            channel_id: ChannelId([number; 32]),
            client_deposit: Amount(1),
            hub_deposit: Amount(2),
            client_balance: Amount(3),
            hub_balance: Amount(0),
            deadline: UnixSeconds(1_000),
        };
        pending(number, TxKind::Close(message))
    }

    #[test]
    fn several_releases_are_one_batch_and_one_is_a_withdrawal() {
        let releases = [withdraw(1, Side::Hub), withdraw(2, Side::Hub)];
        let (what, data) = call_of(&releases);
        let call = IAdjudicator::withdrawManyCall::abi_decode(&data).unwrap();
        assert_eq!(what, "withdraw");
        let side = (call.side.hub, call.side.hubSigner, call.side.token);
        assert_eq!(side, (config(1).hub, config(1).hub_signer, config(1).token));
        let told = |item: &abi::ClientWithdraw| (item.client, item.side, item.total, item.hubPaid);
        let expected = [1, 2].map(|number| (Address::repeat_byte(number), 1, 100 + u128::from(number), 4));
        assert_eq!(call.items.iter().map(told).collect::<Vec<_>>(), expected);
        assert_eq!(call_of(&releases[..1]), releases[0].call());
        let (what, data) = call_of(&[close(1), close(2)]);
        let call = IAdjudicator::closeManyCall::abi_decode(&data).unwrap();
        assert_eq!((what, call.items.len()), ("close", 2));
    }

    #[test]
    fn only_the_hubs_own_side_is_a_release() {
        assert!(withdraw(1, Side::Hub).is_release());
        assert!(!withdraw(1, Side::Client).is_release());
        assert!(!close(1).is_release());
    }

    fn at(status: abi::Status, hub_withdrawn: u128) -> abi::ChannelState {
        abi::ChannelState {
            status,
            hubWithdrawn: hub_withdrawn,
            ..quiet_channel()
        }
    }

    #[test]
    fn a_withdrawal_moves_what_is_new_and_a_close_all_that_there_is() {
        let (withdrawal, mut state) = (withdraw(1, Side::Client), at(abi::Status::Open, 0));
        (state.clientWithdrawn, state.total) = (95, 70);
        assert_eq!(withdrawal.moved(&state), 6);
        state.clientWithdrawn = 200;
        assert_eq!(withdrawal.moved(&state), 0);
        assert_eq!(close(1).moved(&state), 70);
    }

    #[test]
    fn what_the_chain_would_not_take_is_not_put_into_a_batch() {
        let release = withdraw(1, Side::Hub);
        assert!(release.is_wanted(&at(abi::Status::Open, 100)));
        assert!(
            !release.is_wanted(&at(abi::Status::Open, 101)),
            "it is there already"
        );
        assert!(!release.is_wanted(&at(abi::Status::Disputed, 100)));
        assert!(!release.is_wanted(&at(abi::Status::Closed, 100)));
        assert!(withdraw(1, Side::Client).is_wanted(&at(abi::Status::Open, 101)));
        assert!(close(1).is_wanted(&at(abi::Status::Disputed, 0)));
        assert!(!close(1).is_wanted(&at(abi::Status::Closed, 0)));
    }
}
