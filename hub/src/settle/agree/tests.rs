//! Nodes that hang, in a time of their own.

use super::*;
use alloy::{
    providers::{Provider as _, RootProvider},
    rpc::client::RpcClient,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// A node that answers everything, after a while.
#[derive(Clone)]
struct Fake {
    takes: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    says: Value,
}

const PROMPT_MS: u64 = 20;
const NEVER_MS: u64 = 3_600_000;

impl Fake {
    fn new(takes_ms: u64, height: u64) -> Self {
        Self {
            takes: Arc::new(AtomicU64::new(takes_ms)),
            asked: Arc::default(),
            says: json!({"number": format!("{height:#x}"), "hash": format!("{height:#x}")}),
        }
    }

    fn provider(&self) -> DynProvider {
        RootProvider::new(RpcClient::new(self.clone(), false)).erased()
    }
}

impl Service<RequestPacket> for Fake {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            this.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(this.takes.load(Ordering::Relaxed))).await;
            let RequestPacket::Single(request) = packet else {
                panic!("one at a time");
            };
            let says = match request.method() {
                "eth_getBlockByNumber" => this.says,
                _ => json!("0x01"),
            };
            let says = RawValue::from_string(says.to_string()).unwrap();
            Ok(ResponsePacket::Single(Response {
                id: request.id().clone(),
                payload: ResponsePayload::Success(says),
            }))
        })
    }
}

fn panel(nodes: &[&Fake]) -> Agreeing {
    let nodes = nodes.iter().map(|node| node.provider()).collect();
    Agreeing::new(nodes, 2).unwrap()
}

/// A read at the newest block, as most of what `settle status` asks. How long it took, milliseconds.
async fn read(panel: &Agreeing) -> u128 {
    let began = Instant::now();
    let answer = panel.answer("eth_getBalance", json!(["0x00", "latest"])).await;
    assert_eq!(answer.unwrap(), json!("0x01"));
    began.elapsed().as_millis()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_is_waited_for_once() {
    let (one, hangs, other) = (
        Fake::new(PROMPT_MS, 9),
        Fake::new(NEVER_MS, 9),
        Fake::new(PROMPT_MS, 9),
    );
    let panel = panel(&[&one, &hangs, &other]);
    assert!(read(&panel).await >= 6_000, "how high it is, might matter");
    for _ in 0..10 {
        assert!(read(&panel).await <= 200);
    }
    let asked = hangs.asked.load(Ordering::Relaxed);
    assert!(asked <= 3, "it rests: {asked}");
    // Asked again after its rest, and not waited for until it answers.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(read(&panel).await <= 1_000);
    assert!(hangs.asked.load(Ordering::Relaxed) > asked);
    hangs.takes.store(PROMPT_MS, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(70)).await;
    read(&panel).await;
    assert!(panel.nodes.iter().all(|node| node.is_prompt()));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_slow_is_asked_when_the_others_do_not_decide_it() {
    let (one, slow, other) = (
        Fake::new(PROMPT_MS, 9),
        Fake::new(4_000, 9),
        Fake::new(PROMPT_MS, 9),
    );
    let panel = panel(&[&one, &slow, &other]);
    read(&panel).await;
    assert!(read(&panel).await <= 200, "it rests");
    other.takes.store(NEVER_MS, Ordering::Relaxed);
    for _ in 0..3 {
        read(&panel).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_liar_that_is_fast_does_not_lower_the_head() {
    let (honest, liar, late) = (Fake::new(PROMPT_MS, 9), Fake::new(1, 0), Fake::new(2_000, 9));
    let panel = panel(&[&honest, &liar, &late]);
    let head = panel.head().await.unwrap();
    assert_eq!(ballot::height(&head), Some(9));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_goes_to_every_node_and_waits_for_one() {
    let (one, hangs, other) = (
        Fake::new(PROMPT_MS, 9),
        Fake::new(NEVER_MS, 9),
        Fake::new(PROMPT_MS, 9),
    );
    let panel = panel(&[&one, &hangs, &other]);
    read(&panel).await;
    let (before, began) = (hangs.asked.load(Ordering::Relaxed), Instant::now());
    panel
        .answer("eth_sendRawTransaction", json!(["0x00"]))
        .await
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(hangs.asked.load(Ordering::Relaxed), before + 1);
}

/// 4 MB of `{"a":0}` took 350 MB, sixteen at once a watchtower's machine.
#[tokio::test(start_paused = true)]
async fn an_answer_of_more_parts_than_any_honest_one_is_not_looked_at() {
    let asked = |says: Value| async {
        let node = Fake {
            says,
            ..Fake::new(PROMPT_MS, 7)
        };
        let member = Arc::new(Member::new(node.provider()));
        let answer = member.ask("eth_getBlockByNumber".to_owned(), json!([])).await;
        answer.map_err(|error| error.to_string())
    };
    let hash = format!("0x{}", "ab".repeat(32));
    let block = json!({"transactions": vec![hash; 20_000], "number": "0x7"});
    assert_eq!(asked(block.clone()).await, Ok(block));
    for many in [
        json!(vec![json!({"a": 0}); 20_000]),
        json!(vec![json!([]); 20_000]),
    ] {
        assert!(asked(many).await.unwrap_err().contains("more parts"));
    }
}
