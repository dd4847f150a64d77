//! How fast the embedded chain is, as found; no target. Run with
//! `cargo test --release -p hub --test chain_conformance -- --ignored --nocapture measure`.

use crate::contract;
use crate::node::{BOB, Hand, options};
use alloy::providers::Provider as _;
use hub_chain::embedded::{EmbeddedChain, EmbeddedConfig};
use hub_chain::{AlloyChain, Chain as _, ChainView, Cursor, TxRequest, ViewOptions};
use std::time::Instant;

const COUNT: u64 = 5_000;

fn report(what: &str, count: u64, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    println!(
        "{what}: {:.0}/s ({:.0} us each)",
        count as f64 / seconds,
        seconds * 1e6 / count as f64
    );
}

#[tokio::test]
#[ignore = "a measurement"]
async fn measure_transactions_per_second() {
    let signing = Instant::now();
    let signed: Vec<_> = (0..COUNT)
        .map(|nonce| {
            Hand {
                nonce,
                ..Hand::default()
            }
            .sign()
        })
        .collect();
    report("sign (alloy's k256)", COUNT, signing);

    for automine in [true, false] {
        let chain = EmbeddedChain::new(EmbeddedConfig {
            automine,
            ..EmbeddedConfig::default()
        });
        let provider = chain.provider();
        let start = Instant::now();
        for tx in &signed {
            let _ = provider.send_raw_transaction(&tx.raw).await.unwrap();
        }
        while provider
            .get_transaction_receipt(signed[COUNT as usize - 1].hash)
            .await
            .unwrap()
            .is_none()
        {
            chain.mine(1).unwrap();
        }
        report(
            &format!("presigned transfers through a provider in process, automine {automine}"),
            COUNT,
            start,
        );
    }

    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    let door = chain.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let over_http = AlloyChain::connect(&door.url(), options()).await.unwrap();
    let start = Instant::now();
    for tx in &signed {
        let _ = over_http.provider().send_raw_transaction(&tx.raw).await.unwrap();
    }
    report(
        "presigned transfers over HTTP, one connection, automine",
        COUNT,
        start,
    );

    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    let to = chain.deploy(&contract::CREATION, &[]).unwrap();
    let port = AlloyChain::embedded(&chain, options()).await.unwrap();
    let start = Instant::now();
    for value in 0..COUNT {
        port.send(contract::log(to, value)).await.unwrap();
    }
    report(
        "Chain::send of a logging call (estimate, fees, nonce, sign, mine)",
        COUNT,
        start,
    );
    let start = Instant::now();
    for _ in 0..COUNT {
        let fees = hub_chain::Fees {
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1,
        };
        let request = TxRequest {
            to: Some(BOB),
            gas_limit: Some(21_000),
            fees: Some(fees),
            ..TxRequest::default()
        };
        port.send(request).await.unwrap();
    }
    report("Chain::send of a transfer with gas and fees given", COUNT, start);
    read(&port, to).await;
    persist(&chain);
}

async fn read(port: &AlloyChain, to: alloy::primitives::Address) {
    let genesis = port.block(0).await.unwrap().unwrap();
    let options = ViewOptions {
        address: to,
        confirmations: 12,
        blocks_per_poll_max: u64::MAX,
    };
    let mut view = ChainView::new(options, Cursor::before(genesis));
    let start = Instant::now();
    let events = view.poll(port).await.unwrap().len() as u64;
    report("ChainView catching up, events", events, start);
    let start = Instant::now();
    for _ in 0..1_000 {
        view.poll(port).await.unwrap();
    }
    report("ChainView::poll without news", 1_000, start);
}

fn persist(chain: &EmbeddedChain) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chain");
    let start = Instant::now();
    chain.save(&file).unwrap();
    let bytes = std::fs::metadata(&file).unwrap().len();
    println!(
        "save {} blocks: {} ms, {} KiB",
        chain.height().unwrap(),
        start.elapsed().as_millis(),
        bytes / 1024
    );
    let start = Instant::now();
    EmbeddedChain::load(EmbeddedConfig::default(), &file).unwrap();
    println!("load: {} ms", start.elapsed().as_millis());
}
