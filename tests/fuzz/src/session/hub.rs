//! The real session server and engine on one thread, over pipes, in virtual time.

use super::{client::Client, support};
use hub::{
    engine::{EngineChoice, EngineOptions, Running, Signatures, start},
    execution::Execution,
    ledger::Input,
    ops::Shutdown,
    session::{self, Listener, Settings},
    store::MemoryStore,
};
use std::{
    future::pending,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    time::sleep,
};

const PIPE_BYTES: usize = 1 << 16;

pub(super) struct Hub {
    running: Running,
    dial: mpsc::UnboundedSender<(DuplexStream, IpAddr)>,
    dialled: u8,
}

struct Pipes(mpsc::UnboundedReceiver<(DuplexStream, IpAddr)>);

impl Listener for Pipes {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, IpAddr)> {
        match self.0.recv().await {
            Some(come) => Ok(come),
            None => pending().await,
        }
    }
}

impl Hub {
    /// With the channels of `clients` open and funded with `deposit` on both sides.
    pub(super) async fn start(clients: &[Client], deposit: u128) -> Self {
        let options = EngineOptions {
            execution: Execution::Inline,
            workers: 1,
            signatures: Signatures {
                engine: EngineChoice::Libsecp256k1,
                ..Signatures::default()
            },
            ..support::options(Arc::new(MemoryStore::new()))
        };
        let settings = Settings {
            now: options.now.clone(),
            ..Settings::default()
        };
        let running = start(options).await.unwrap();
        let opened = Input::Chain(support::opening(clients, deposit));
        assert!(running.control.tell(opened).await);
        let (dial, come) = mpsc::unbounded_channel();
        let serving = session::serve(Pipes(come), running.engine.clone(), settings, Shutdown::new());
        tokio::spawn(serving);
        Self {
            running,
            dial,
            dialled: 0,
        }
    }

    /// A connection from an address of its own.
    pub(super) fn dial(&mut self) -> DuplexStream {
        self.dialled = self.dialled.wrapping_add(1);
        let (ours, theirs) = duplex(PIPE_BYTES);
        let from = IpAddr::V4(Ipv4Addr::new(10, 0, 0, self.dialled));
        self.dial.send((theirs, from)).unwrap();
        ours
    }

    /// Lets everybody do what can be done without waiting. The engine must still be there.
    pub(super) async fn settle(&self) {
        // Virtual time passes only when nobody has anything to do.
        sleep(Duration::from_millis(5)).await;
        assert!(!self.running.fatal.is_finished(), "the engine has stopped");
    }
}
