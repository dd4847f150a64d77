//! The process that is killed: the real engine on redb, with sessions over a Unix socket, telling its stages.

use super::{stage::mark, support, wire};
use hub::{
    engine::{Control, Engine, Inbound, SessionId, start},
    store::{
        Checkpoint, Durable, Epoch, Identity, JournalRecord, Loaded, RedbStore, Row, ShardId, Store,
        StoreError, Table, Trimmed,
    },
};
use protocol_spec::{PublicKey, message::Message};
use std::{
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
};
use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, unix::OwnedReadHalf},
    sync::mpsc,
};

/// A store that tells when it begins and ends what a kill may interrupt.
struct Telling {
    inner: RedbStore,
    pipe: UnixStream,
}

#[async_trait::async_trait]
impl Store for Telling {
    async fn acquire(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        self.inner.acquire(shard).await
    }
    async fn load(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        self.inner.load(shard).await
    }
    async fn append(
        &self,
        shard: ShardId,
        epoch: Epoch,
        record: JournalRecord,
    ) -> Result<Durable, StoreError> {
        mark(&self.pipe, b'a');
        let durable = self.inner.append(shard, epoch, record).await;
        mark(&self.pipe, b'd');
        durable
    }
    async fn checkpoint(
        &self,
        shard: ShardId,
        epoch: Epoch,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        mark(&self.pipe, b'c');
        let done = self.inner.checkpoint(shard, epoch, checkpoint).await;
        mark(&self.pipe, b'C');
        done
    }
    async fn trim(&self, shard: ShardId, epoch: Epoch, below: u64) -> Result<Trimmed, StoreError> {
        mark(&self.pipe, b't');
        let done = self.inner.trim(shard, epoch, below).await;
        mark(&self.pipe, b'T');
        done
    }
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key).await
    }
    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(table, from, limit).await
    }
    async fn journal_tail(
        &self,
        shard: ShardId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<JournalRecord>, StoreError> {
        self.inner.journal_tail(shard, from, limit).await
    }
}

#[tokio::main(worker_threads = 2)]
pub(crate) async fn run(dir: &Path) {
    let pipe = UnixStream::connect(dir.join("stage.sock")).unwrap();
    let identity = Identity {
        format_version: 1,
        chain_id: 31_337,
        genesis_hash: [1; 32],
        adjudicator: [0xad; 20],
        code_hash: [3; 32],
        hub_signer: [4; 20],
    };
    let store = Telling {
        inner: RedbStore::open(dir.join("data"), identity).unwrap(),
        pipe: pipe.try_clone().unwrap(),
    };
    let running = start(support::options(Arc::new(store))).await.unwrap();
    // Told again at every start; the ledger takes a block in once.
    let all = support::clients((super::PAYERS + super::PAYEES) as u64, super::DEPOSIT);
    let block = support::opening(&all, super::DEPOSIT);
    running.control.send(Control::Block(block)).await;
    let path = dir.join("hub.sock");
    drop(std::fs::remove_file(&path));
    let listener = UnixListener::bind(path).unwrap();
    let engine = running.engine.clone();
    let pipe = Arc::new(pipe);
    mark(&pipe, b'r');
    let next = AtomicU64::new(1);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let session = SessionId(next.fetch_add(1, Ordering::Relaxed));
            tokio::spawn(serve(engine.clone(), socket, session, Arc::clone(&pipe)));
        }
    });
    let end = running.fatal.await.unwrap();
    panic!("the engine ended: {end:?}");
}

async fn serve(engine: Engine, socket: tokio::net::UnixStream, session: SessionId, pipe: Arc<UnixStream>) {
    let (mut reader, mut writer) = socket.into_split();
    let mut key = [0; 33];
    if reader.read_exact(&mut key).await.is_err() {
        return;
    }
    let key = PublicKey::from_compressed(&key).unwrap();
    let (sender, mut outbox) = mpsc::channel::<Vec<Message>>(512);
    engine.outboxes.insert(session, sender);
    let reading = tokio::spawn(take(engine.clone(), reader, session, key));
    while let Some(batch) = outbox.recv().await {
        if wire::write(&mut writer, &batch).await.is_err() {
            break;
        }
        mark(&pipe, b's');
    }
    reading.abort();
    engine.outboxes.remove(&session);
    drop(engine.inbound.send(Inbound::Gone { session }).await);
}

async fn take(engine: Engine, mut reader: OwnedReadHalf, session: SessionId, key: PublicKey) {
    while let Ok(Message::Request { id, call }) = wire::read(&mut reader).await {
        let call = *call;
        let inbound = Inbound::Call {
            session,
            key,
            id,
            call,
        };
        if engine.inbound.send(inbound).await.is_err() {
            return;
        }
    }
    engine.outboxes.remove(&session);
}
