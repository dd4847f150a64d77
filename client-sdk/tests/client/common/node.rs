//! A scripted node: the mini-hub's channels as their adjudicator would have them, and resolvers that say what the test wants.
//! It may stand still, be down, or tell of a dispute.

use super::Hub;
use alloy::{
    primitives::B256,
    rpc::types::Block,
    sol_types::{SolCall, SolValue},
};
use protocol_spec::abi::{ChannelState, IAdjudicator, LocksState, Status};
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

const BLOCK: u64 = 100;

/// One node, at a block that never changes but for its time: that is the hub's until it stands still.
pub struct Node {
    pub url: String,
    hub: Arc<Hub>,
    /// The one witness that resolvers take.
    pub takes: Mutex<Option<Vec<u8>>>,
    /// How often a resolver was asked.
    pub asked: AtomicU64,
    /// Time of its newest block, when it stands still.
    pub stands_at: Mutex<Option<u64>>,
    /// Answers nothing but errors.
    pub down: AtomicBool,
    /// Asked for a channel it answers an error.
    pub hides_channels: AtomicBool,
    /// All channels are disputed.
    pub disputed: AtomicBool,
    /// What it lies about; nothing by default.
    pub lie: Mutex<Lie>,
}

/// A node's lies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lie {
    /// Its newest block is so many blocks ahead.
    pub blocks: u64,
    /// And so many seconds.
    pub seconds: u64,
    /// Added to the hub's deposit.
    pub hub_deposit: u128,
    /// Nobody has deposited anything.
    pub hides_deposits: bool,
    /// A dispute of this number is over.
    pub past_dispute: u64,
    /// A dispute in which nothing was shown has closed every channel.
    pub closed: bool,
    /// Then the hub's voucher of this number was shown, and locks of this sum in it were opened.
    pub collected: (u64, u128),
    /// And the client's voucher of this number.
    pub taken: u64,
    /// It serves another chain.
    pub other_chain: bool,
}

impl Node {
    pub async fn start(hub: Arc<Hub>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            hub,
            takes: Mutex::default(),
            asked: AtomicU64::new(0),
            stands_at: Mutex::default(),
            down: AtomicBool::new(false),
            hides_channels: AtomicBool::new(false),
            disputed: AtomicBool::new(false),
            lie: Mutex::default(),
        });
        let server = node.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(socket));
            }
        });
        node
    }

    /// One connection, request after request.
    async fn serve(self: Arc<Self>, socket: TcpStream) {
        let mut socket = BufReader::new(socket);
        loop {
            let (mut line, mut length) = (String::new(), 0);
            while line != "\r\n" {
                line.clear();
                if socket.read_line(&mut line).await.unwrap_or_default() == 0 {
                    return;
                }
                let lower = line.to_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            if socket.read_exact(&mut body).await.is_err() {
                return;
            }
            let body = self.answer(&serde_json::from_slice(&body).unwrap()).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
            let answer = format!("{head} {}\r\n\r\n{body}", body.len());
            if socket.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// No block comes any more; it answers as quickly as ever.
    pub fn stand_still(&self) {
        *self.stands_at.lock().unwrap() = Some(self.hub.clock().now.0);
    }

    pub fn go_on(&self) {
        *self.stands_at.lock().unwrap() = None;
    }

    fn answer(&self, request: &Value) -> Value {
        let out_of_order = || {
            let error = json!({"code": -32000, "message": "out of order"});
            json!({"jsonrpc": "2.0", "id": request["id"], "error": error})
        };
        if self.down.load(Ordering::SeqCst) {
            return out_of_order();
        }
        let call = &request["params"][0];
        let result = match request["method"].as_str().unwrap() {
            "eth_chainId" if self.lie.lock().unwrap().other_chain => json!("0x5"),
            "eth_chainId" => json!("0x7a69"),
            "eth_getBlockByNumber" => self.block(call),
            "eth_call" if call["to"].is_null() => {
                self.asked.fetch_add(1, Ordering::SeqCst);
                let takes = self.takes.lock().unwrap().as_ref().map(hex::encode);
                let takes = takes.is_some_and(|digits| call["input"].as_str().unwrap().contains(&digits));
                json!(format!("0x{:064x}", u8::from(takes)))
            }
            "eth_call" if self.hides_channels.load(Ordering::SeqCst) => return out_of_order(),
            "eth_call" => match self.channel(call) {
                Some(state) => state,
                None => return out_of_order(),
            },
            other => panic!("{other} is not in the script"),
        };
        json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
    }

    fn block(&self, at: &Value) -> Value {
        let number = at.as_str().unwrap().strip_prefix("0x");
        let lie = *self.lie.lock().unwrap();
        let newest = BLOCK + lie.blocks;
        let number = number.map_or(newest, |digits| u64::from_str_radix(digits, 16).unwrap());
        let mut block: Block = Block::default();
        block.header.inner.number = number;
        let stands_at = *self.stands_at.lock().unwrap();
        block.header.inner.timestamp = stands_at.unwrap_or(self.hub.clock().now.0) + lie.seconds;
        serde_json::to_value(block).unwrap()
    }

    /// `None`: another question.
    fn channel(&self, call: &Value) -> Option<Value> {
        let input = call["input"].as_str().unwrap().strip_prefix("0x").unwrap();
        let asked = IAdjudicator::channelCall::abi_decode(&hex::decode(input).unwrap()).ok()?;
        let state = self.hub.state();
        let id = client_sdk::ChannelId(asked.channelId.0);
        let funds = state.channels[&id].channel.funds();
        let lie = *self.lie.lock().unwrap();
        let (client, hub) = match lie.hides_deposits {
            true => (0, 0),
            false => (funds.client_deposit.0, funds.hub_deposit.0 + lie.hub_deposit),
        };
        let none = || LocksState {
            live: false,
            opened: false,
            commitment: B256::ZERO,
            base: 0,
            counted: 0,
            maxExpiry: 0,
        };
        let disputed = self.disputed.load(Ordering::SeqCst);
        let (shown, counted) = match lie.closed {
            true => lie.collected,
            false => Default::default(),
        };
        let state = ChannelState {
            status: match (lie.closed, disputed) {
                (true, _) => Status::Closed,
                (_, true) => Status::Disputed,
                _ => Status::Open,
            },
            total: if lie.closed { 0 } else { client + hub },
            clientNet: if lie.closed {
                0
            } else {
                i128::try_from(client).unwrap()
            },
            clientWithdrawn: 0,
            hubWithdrawn: 0,
            clientSeq: if lie.closed { lie.taken } else { 0 },
            clientPaid: 0,
            hubSeq: shown,
            hubPaid: 0,
            windowEnd: 0,
            disputeNo: u64::from(disputed || lie.closed).max(lie.past_dispute),
            clientLocks: none(),
            hubLocks: LocksState {
                live: counted > 0,
                counted,
                ..none()
            },
        };
        Some(json!(format!("0x{}", hex::encode(state.abi_encode()))))
    }
}
