//! The adjudicator's batch of withdrawals, as the driver sends it.

use crate::node::{ALICE, Node};
use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::{SolCall, SolError as _, SolEvent as _};
use hub_chain::{CallRequest, Chain as _, ChainLog, LogQuery, TxReceipt, TxRequest};
use protocol_spec::{
    Amount, ChannelId, Config, Digest, Domain, Seq, Side, Signature, SignerKey, UnixSeconds, Withdraw,
    abi::IAdjudicator as I, calls,
};

const ARTIFACT: &str = include_str!("../../../../../protocol-spec/contracts/artifacts/Adjudicator.json");
/// EIP-7825.
const TX_GAS_MAX: u64 = 1 << 24;

struct Court<'a> {
    node: &'a Node,
    at: Address,
    domain: Domain,
}

fn key(number: u8) -> SignerKey {
    SignerKey::from_bytes(&[number; 32]).unwrap()
}

impl<'a> Court<'a> {
    async fn deploy(node: &'a Node) -> Self {
        let artifact: serde_json::Value = serde_json::from_str(ARTIFACT).unwrap();
        let data: Bytes = artifact["bytecode"].as_str().unwrap().parse().unwrap();
        let receipt = node.run(request(None, data.to_vec(), 0)).await;
        let at = receipt.contract_address.unwrap();
        let domain = Domain::new(node.chain.chain_id().await.unwrap(), at);
        Self { node, at, domain }
    }

    /// The channel of a client whose hub is the sending account, in the native coin.
    fn config(&self, client: u8) -> Config {
        let signer = key(client).address();
        Config {
            client: signer,
            client_signer: signer,
            hub: ALICE,
            hub_signer: key(99).address(),
            token: Address::ZERO,
            challenge_period_s: 86_400,
            salt: Digest([client; 32]),
        }
    }

    async fn open(&self, client: u8, amount: u128) -> ChannelId {
        let config = self.config(client);
        let call = calls::open(&config, amount).abi_encode();
        let receipt = self.node.run(request(Some(self.at), call, amount)).await;
        assert!(receipt.success);
        config.id(&self.domain)
    }

    fn release(&self, client: u8, total: u128, deadline: u64) -> (Config, Withdraw, Signature) {
        let config = self.config(client);
        let message = Withdraw {
            channel_id: config.id(&self.domain),
            side: Side::Hub,
            total: Amount(total),
            client_seq: Seq(3),
            client_paid: Amount(7),
            hub_seq: Seq(2),
            hub_paid: Amount(5),
            deadline: UnixSeconds(deadline),
        };
        let signature = key(client).sign(&message.digest(&self.domain));
        (config, message, signature)
    }

    async fn send_many(&self, items: &[(Config, Withdraw, Signature)]) -> TxReceipt {
        let call = I::withdrawManyCall {
            side: calls::hub_side(&items[0].0),
            items: items
                .iter()
                .map(|(config, message, signature)| {
                    calls::client_withdraw(config, message, Some(signature), None)
                })
                .collect(),
        };
        self.node.run(request(Some(self.at), call.abi_encode(), 0)).await
    }

    async fn read<C: SolCall>(&self, call: C) -> C::Return {
        let request = CallRequest {
            to: self.at,
            data: call.abi_encode().into(),
            ..CallRequest::default()
        };
        C::abi_decode_returns(&self.node.chain.call(request).await.unwrap()).unwrap()
    }

    async fn vault(&self) -> U256 {
        let (token, hub) = (Address::ZERO, ALICE);
        self.read(I::vaultCall { token, hub }).await
    }

    async fn hub_withdrawn(&self, channel: ChannelId) -> u128 {
        let call = I::channelCall {
            channelId: channel.0.into(),
        };
        self.read(call).await.hubWithdrawn
    }
}

fn request(to: Option<Address>, data: Vec<u8>, value: u128) -> TxRequest {
    TxRequest {
        to,
        data: data.into(),
        value: U256::from(value),
        ..TxRequest::default()
    }
}

/// Channel and amount of each release told, in order.
fn withdrawn(logs: &[ChainLog]) -> Vec<(ChannelId, U256)> {
    let told = logs
        .iter()
        .filter(|log| log.topics.first() == Some(&I::Withdrawn::SIGNATURE_HASH));
    told.map(|log| {
        let event = I::Withdrawn::decode_raw_log(log.topics.iter().copied(), &log.data).unwrap();
        assert_eq!(event.side, Side::Hub.index());
        (ChannelId(event.channelId.0), event.amount)
    })
    .collect()
}

fn skipped(logs: &[ChainLog]) -> Vec<(ChannelId, [u8; 4])> {
    let told = logs
        .iter()
        .filter(|log| log.topics.first() == Some(&I::Skipped::SIGNATURE_HASH));
    told.map(|log| {
        let event = I::Skipped::decode_raw_log(log.topics.iter().copied(), &log.data).unwrap();
        (ChannelId(event.channelId.0), event.reason.0)
    })
    .collect()
}

/// Many releases are one transaction: one event per channel, one credit of the vault, and a bad one hurts nobody else.
pub(crate) async fn releases_in_one_transaction(node: Node) {
    let court = Court::deploy(&node).await;
    let each = 1_000_000_u128;
    let mut ids = Vec::new();
    for client in 1..=5 {
        ids.push(court.open(client, each).await);
    }
    let now = node.chain.head().await.unwrap().timestamp_s;
    let (late, deadline) = (now - 1, now + 3_600);
    let mut items = vec![
        court.release(1, 400, deadline),
        court.release(2, 500, deadline),
        court.release(3, each + 1, deadline),
        court.release(4, 600, late),
        court.release(5, 700, deadline),
    ];
    items[1].2 = items[0].2;
    let receipt = court.send_many(&items).await;
    assert!(receipt.success);
    let expected = [(ids[0], U256::from(400)), (ids[4], U256::from(700))];
    assert_eq!(withdrawn(&receipt.logs), expected);
    let refused = [
        (ids[1], I::BadSignature::SELECTOR),
        (ids[2], I::InsufficientTotal::SELECTOR),
        (ids[3], I::DeadlinePassed::SELECTOR),
    ];
    assert_eq!(skipped(&receipt.logs), refused);
    assert_eq!(court.vault().await, U256::from(1_100));
    assert_eq!(court.hub_withdrawn(ids[0]).await, 400);
    assert_eq!(court.hub_withdrawn(ids[1]).await, 0);
    // The same again does nothing, and says so.
    let again = court.send_many(&items[..1]).await;
    assert!(again.success);
    let refused = [(ids[0], I::WithdrawalNotNewer::SELECTOR)];
    assert_eq!(skipped(&again.logs), refused);
    assert_eq!(court.vault().await, U256::from(1_100));
    // What watchers ask for holds the same events.
    let query = LogQuery {
        address: court.at,
        from: receipt.block_number,
        to: again.block_number,
    };
    let logs = node.chain.logs(query).await.unwrap();
    assert_eq!(withdrawn(&logs), expected);
    let held = node.chain.balance(court.at).await.unwrap();
    assert_eq!(held, U256::from(5 * each));
}

/// A hundred in a transaction, the most that the driver puts into one, are far below what a transaction may cost.
pub(crate) async fn a_full_batch_of_releases_is_cheap_enough(node: Node) {
    let court = Court::deploy(&node).await;
    let deadline = node.chain.head().await.unwrap().timestamp_s + 3_600;
    let mut items = Vec::new();
    for client in 1..=25 {
        court.open(client, 1_000).await;
        items.push(court.release(client, 400, deadline));
    }
    let receipt = court.send_many(&items).await;
    assert_eq!(withdrawn(&receipt.logs).len(), 25);
    let hundred = receipt.gas_used * 4;
    assert!(hundred * 2 < TX_GAS_MAX, "{hundred} gas for a hundred");
    println!("{} gas for each of 25", receipt.gas_used / 25);
}
