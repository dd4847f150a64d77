//! The library in process, on the embedded chain: what the demo calls.

use crate::{
    vouchers::{CLIENT_SIGNER, PERIOD_S, key},
    world::{World, local},
};
use alloy::network::EthereumWallet;
use hub::{
    chain::embedded::{EmbeddedChain, EmbeddedConfig},
    settle::{CheckedEvidence, Exit, Node, Settle, Verb},
};
use protocol_spec::{DirectionEvidence, Side};

#[tokio::test(flavor = "multi_thread")]
async fn the_library_settles_in_process_on_the_embedded_chain() {
    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    let world = World::build(chain.provider(), String::new(), None, false).await;
    let p = &world.parties;
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (2, 80)),
        DirectionEvidence::default(),
    );
    let checked = CheckedEvidence::check(evidence).unwrap();
    let settle = Settle::open(Node::new(chain.provider()), checked).await.unwrap();
    let sender = key(CLIENT_SIGNER).address();
    let wallet = EthereumWallet::from(local(&key(CLIENT_SIGNER)));
    settle.run(Verb::Dispute, sender, &wallet, 1).await.unwrap();
    let early = settle.run(Verb::Finalize, sender, &wallet, 1).await.unwrap_err();
    assert_eq!(early.exit(), Exit::NotNow);
    world.pass(PERIOD_S).await;
    settle.run(Verb::Finalize, sender, &wallet, 1).await.unwrap();
    assert_eq!(world.balance(p.config.client).await, 1220);
}
