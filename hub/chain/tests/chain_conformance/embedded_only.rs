//! What only the embedded chain has: identity, persistence, the HTTP door's rules, limits to imitate.

use crate::contract;
use crate::node::{BOB, Hand, options};
use alloy::primitives::{Address, U256};
use alloy::providers::Provider as _;
use hub_chain::embedded::{Clock, DEV_ACCOUNTS, EmbeddedChain, EmbeddedConfig, PersistError};
use hub_chain::{AlloyChain, Chain as _, ChainOptions, Fees, LogQuery, TxRequest};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn port(chain: &EmbeddedChain) -> AlloyChain {
    AlloyChain::embedded(chain, options()).await.unwrap()
}

#[test]
fn genesis_is_one_per_seed_chain_id_and_balances() {
    let genesis = |config: EmbeddedConfig| EmbeddedChain::new(config).genesis_hash().unwrap();
    let seeded = |seed| EmbeddedConfig {
        seed: Some(seed),
        ..EmbeddedConfig::default()
    };
    assert_eq!(genesis(seeded(1)), genesis(seeded(1)), "also with a wall clock");
    assert_ne!(genesis(seeded(1)), genesis(seeded(2)));
    assert_ne!(
        genesis(seeded(1)),
        genesis(EmbeddedConfig {
            chain_id: 5,
            ..seeded(1)
        })
    );
    assert_ne!(
        genesis(seeded(1)),
        genesis(EmbeddedConfig {
            balances: Vec::new(),
            ..seeded(1)
        })
    );
    assert_ne!(
        genesis(EmbeddedConfig::default()),
        genesis(EmbeddedConfig::default())
    );
}

#[test]
fn dev_accounts_are_their_keys() {
    for account in DEV_ACCOUNTS {
        let signer = alloy::signers::local::PrivateKeySigner::from_bytes(&account.private_key).unwrap();
        assert_eq!(signer.address(), account.address);
    }
}

#[tokio::test]
async fn many_blocks_share_a_second_and_the_clock_is_ours() {
    let config = EmbeddedConfig {
        clock: Clock::fixed(1_800_000_000),
        ..EmbeddedConfig::default()
    };
    let chain = EmbeddedChain::new(config);
    chain.mine(2_000).unwrap();
    let port = port(&chain).await;
    assert_eq!(port.head().await.unwrap().timestamp_s, 1_800_000_000);
}

#[tokio::test]
async fn deterministic_chains_are_equal_block_by_block() {
    let run = || async {
        let chain = EmbeddedChain::new(EmbeddedConfig::deterministic(7));
        let to = chain.deploy(&contract::CREATION, &[]).unwrap();
        let port = port(&chain).await;
        for value in 0..5 {
            port.send(contract::log(to, value)).await.unwrap();
        }
        port.head().await.unwrap()
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test]
async fn deploy_and_fund_need_no_account() {
    let chain = EmbeddedChain::new(EmbeddedConfig {
        automine: false,
        ..EmbeddedConfig::default()
    });
    let first = chain.deploy(&contract::CREATION, &[]).unwrap();
    let second = chain.deploy(&contract::CREATION, &[1; 32]).unwrap();
    assert_ne!(first, second);
    let who = Address::repeat_byte(7);
    chain.fund(who, U256::from(5)).unwrap();
    chain.fund(who, U256::from(6)).unwrap();
    let port = port(&chain).await;
    assert_eq!(port.balance(who).await.unwrap(), U256::from(11));
    assert_eq!(
        port.code_hash(first).await.unwrap(),
        port.code_hash(second).await.unwrap()
    );
    assert!(
        chain
            .deploy(&[0xfd], &[])
            .unwrap_err()
            .message
            .contains("constructor")
    );
}

#[tokio::test]
async fn a_saved_chain_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chain.json");
    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    let to = chain.deploy(&contract::CREATION, &[]).unwrap();
    let before = port(&chain).await;
    for value in 1..=3 {
        before.send(contract::log(to, value)).await.unwrap();
        before.send(contract::store(to, value)).await.unwrap();
    }
    chain.increase_time(1_000).unwrap();
    chain.fund(BOB, U256::from(1)).unwrap();
    chain.set_automine(false).unwrap();
    let waiting = before.send(contract::store(to, 99)).await.unwrap();
    chain.save(&file).unwrap();

    let loaded = EmbeddedChain::load(EmbeddedConfig::default(), &file).unwrap();
    let after = port(&loaded).await;
    assert_eq!(after.head().await.unwrap(), before.head().await.unwrap());
    let all = LogQuery {
        address: to,
        from: 0,
        to: 7,
    };
    assert_eq!(after.logs(all).await.unwrap(), before.logs(all).await.unwrap());
    assert_eq!(
        after.balance(BOB).await.unwrap(),
        before.balance(BOB).await.unwrap()
    );
    loaded.mine(1).unwrap();
    let receipt = after.wait(waiting.hash, 0).await.unwrap();
    assert!(receipt.success, "the mempool was kept");
    // Old blocks can still be taken back, and old state read.
    loaded.reorg(3).unwrap();
    after.resync().await.unwrap();
    assert!(after.receipt(waiting.hash).await.unwrap().is_none());
    let read = hub_chain::CallRequest {
        to,
        data: contract::calldata(5, &[]),
        ..Default::default()
    };
    assert_eq!(after.call(read).await.unwrap(), contract::word(2).to_vec());
    // Saving over the old file replaces it whole.
    loaded.save(&file).unwrap();
    let again = EmbeddedChain::load(EmbeddedConfig::default(), &file).unwrap();
    assert_eq!(again.height().unwrap(), loaded.height().unwrap());
}

#[test]
fn a_damaged_or_foreign_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chain.json");
    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    chain.mine(3).unwrap();
    chain.save(&file).unwrap();
    let other = EmbeddedConfig {
        chain_id: 1,
        ..EmbeddedConfig::default()
    };
    assert!(matches!(
        EmbeddedChain::load(other, &file),
        Err(PersistError::OtherChain { .. })
    ));
    let good = std::fs::read(&file).unwrap();
    let missing = directory.path().join("missing");
    assert!(matches!(
        EmbeddedChain::load(EmbeddedConfig::default(), &missing),
        Err(PersistError::Io { .. })
    ));
    for bad in [&good[..good.len() - 1], &good[..40], b"", b"{}", &flipped(&good)] {
        std::fs::write(&file, bad).unwrap();
        let refused = EmbeddedChain::load(EmbeddedConfig::default(), &file);
        assert!(
            matches!(refused, Err(PersistError::Unreadable { .. })),
            "{refused:?}"
        );
        assert_eq!(
            std::fs::read(&file).unwrap(),
            bad,
            "a refused file is left as it is"
        );
    }
}

fn flipped(good: &[u8]) -> Vec<u8> {
    let mut bad = good.to_vec();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    bad
}

#[tokio::test]
async fn logs_are_bisected_when_the_node_limits_range_or_results() {
    let limited = [(Some(3), None), (None, Some(2)), (Some(7), Some(1))];
    for (logs_range_max, logs_results_max) in limited {
        let chain = EmbeddedChain::new(EmbeddedConfig {
            logs_range_max,
            logs_results_max,
            ..EmbeddedConfig::default()
        });
        let to = chain.deploy(&contract::CREATION, &[]).unwrap();
        let port = port(&chain).await;
        for value in 0..20 {
            port.send(contract::log(to, value)).await.unwrap();
        }
        let logs = port
            .logs(LogQuery {
                address: to,
                from: 0,
                to: 21,
            })
            .await
            .unwrap();
        let words: Vec<_> = logs.iter().map(|log| log.topics[1]).collect();
        assert_eq!(words, (0..20).map(contract::topic).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn contracts_created_and_reverted_leave_no_trace_after_a_reorg() {
    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    let port = port(&chain).await;
    chain.mine(1).unwrap();
    let to = chain.deploy(&contract::CREATION, &[]).unwrap();
    port.send(contract::store(to, 5)).await.unwrap();
    chain.reorg(2).unwrap();
    assert_eq!(
        port.code_hash(to).await.unwrap(),
        alloy::primitives::KECCAK256_EMPTY
    );
    port.resync().await.unwrap();
    let again = chain.deploy(&contract::CREATION, &[]).unwrap();
    assert_eq!(again, to, "the deployer's nonce went back too");
    let read = hub_chain::CallRequest {
        to,
        data: contract::calldata(5, &[]),
        ..Default::default()
    };
    assert_eq!(
        port.call(read).await.unwrap(),
        contract::word(0).to_vec(),
        "and so did the storage"
    );
}

#[tokio::test]
async fn a_full_block_leaves_the_rest_for_the_next() {
    let chain = EmbeddedChain::new(EmbeddedConfig {
        automine: false,
        ..EmbeddedConfig::default()
    });
    let port = port(&chain).await;
    // Code that burns all the gas it is given.
    let burner = Address::repeat_byte(0xbb);
    let set = serde_json::json!([burner, "0xfe"]);
    port.provider()
        .raw_request::<_, ()>("anvil_setCode".into(), set)
        .await
        .unwrap();
    let mut sent = Vec::new();
    for _ in 0..3 {
        let request = TxRequest {
            to: Some(burner),
            gas_limit: Some(16_000_000),
            ..TxRequest::default()
        };
        sent.push(port.send(request).await.unwrap().hash);
    }
    chain.mine(3).unwrap();
    let mut receipts = Vec::new();
    for hash in sent {
        let receipt = port.receipt(hash).await.unwrap().unwrap();
        receipts.push((receipt.block_number, receipt.success, receipt.gas_used));
    }
    assert_eq!(receipts, [1, 2, 3].map(|number| (number, false, 16_000_000)));
}

async fn post(address: SocketAddr, host: &str, content_type: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_door_is_for_local_json_only() {
    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    assert!(chain.serve("0.0.0.0:0".parse().unwrap()).await.is_err());
    let door = chain.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = door.address();
    let ask = r#"{"jsonrpc":"2.0","id":"x","method":"eth_chainId","params":[]}"#;
    for host in ["localhost:8545", "127.0.0.1", "[::1]:1", "LOCALHOST"] {
        let answer = post(at, host, "application/json; charset=utf-8", ask).await;
        assert!(
            answer.ends_with(r#"{"jsonrpc":"2.0","id":"x","result":"0x7a69"}"#),
            "{host}: {answer}"
        );
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "127.0.0.1.nip.io",
        "",
    ] {
        let answer = post(at, host, "application/json", ask).await;
        assert!(
            answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 400"),
            "{host}: {answer}"
        );
    }
    assert!(
        post(at, "localhost", "text/plain", ask)
            .await
            .starts_with("HTTP/1.1 415")
    );
    let large = format!("[{}]", "1,".repeat(2_000_000));
    assert!(
        post(at, "localhost", "application/json", &large)
            .await
            .starts_with("HTTP/1.1 413")
    );
    for bad in [
        "",
        "{",
        "[",
        "{}",
        "[1]",
        "null",
        r#"{"method":5}"#,
        r#"{"id":1,"method":"eth_call","params":5}"#,
    ] {
        let answer = post(at, "localhost", "application/json", bad).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("\"error\""),
            "{bad}: {answer}"
        );
    }
    let many = format!("[{}]", vec![ask; 1_001].join(","));
    assert!(
        post(at, "localhost", "application/json", &many)
            .await
            .contains("at most 1000")
    );
    door.stop().await;
    assert!(TcpStream::connect(at).await.is_err(), "a stopped door is closed");
}

/// The place of a transaction of an earlier process is not bought at any price.
#[tokio::test]
async fn the_fee_limit_holds_for_those_of_an_earlier_process() {
    const GWEI: u128 = 1_000_000_000;
    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    let options = ChainOptions {
        max_fee_per_gas: Some(30 * GWEI),
        ..options()
    };
    let port = AlloyChain::embedded(&chain, options).await.unwrap();
    chain.set_automine(false).unwrap();
    let old = Hand::default().sign();
    let taken = port.provider().send_raw_transaction(&old.raw).await.unwrap();
    assert_eq!(*taken.tx_hash(), old.hash);
    let ours = TxRequest {
        to: Some(BOB),
        fees: Some(Fees {
            max_fee_per_gas: 900 * GWEI,
            max_priority_fee_per_gas: GWEI,
        }),
        ..TxRequest::default()
    };
    assert_eq!(port.send(ours).await.unwrap().nonce, 1);
    let at = async |gwei: u128| {
        let wei = format!("{:#x}", gwei * GWEI);
        let ask = port.provider();
        let ask = ask.raw_request::<_, ()>("anvil_setNextBlockBaseFeePerGas".into(), (wei,));
        ask.await.unwrap();
    };
    for _ in 0..5 {
        at(100).await;
        assert_eq!(
            port.tend().await.unwrap().unblocked,
            0,
            "it may offer 30 gwei, blocks ask for 100"
        );
        chain.mine(1).unwrap();
    }
    // What is set for the next block is told of it once it is there.
    at(20).await;
    chain.mine(1).unwrap();
    assert_eq!(port.tend().await.unwrap().unblocked, 1);
}
