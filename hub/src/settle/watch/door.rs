//! `--listen`: takes packages by `POST /packages` and puts them into the directory. No login: what is taken must be signed,
//! for this watchtower's key, of a channel that is on chain, and newer than what is there.

use super::{
    folder::{Comparison, Ward, compare, seq, ward},
    trust::Trust,
};
use crate::{
    bounded_listener::BoundedListener,
    settle::{
        Node, SettleError,
        evidence::CheckedEvidence,
        files::{evidence_files, load, replace},
        package::{SignedAccept, seal_package},
        text,
    },
};
use alloy::{eips::BlockId, primitives::B256};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
    serve::Listener,
};
use protocol_spec::{
    Address,
    abi::{IAdjudicator, Status},
    canary::{Canary, planted},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{net::TcpListener, sync::Mutex};

/// Largest package taken, bytes. One with a batch signature takes 3,000.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// Most files in the directory.
const FILES_MAX: usize = 100_000;

/// Where packages go, and for whom they must be.
#[derive(Debug)]
pub(super) struct Desk {
    dir: PathBuf,
    key: Address,
    node: Node,
    trust: Trust,
    /// One at a time, so that an older package cannot overtake a newer one.
    turn: Mutex<()>,
}

/// Listens. The task ends with the process.
///
/// # Errors
/// [`SettleError::Usage`] when the address cannot be listened on.
pub(super) async fn listen(address: SocketAddr, desk: Arc<Desk>) -> Result<SocketAddr, SettleError> {
    let failed = |error: std::io::Error| SettleError::Usage(format!("--listen {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tokio::spawn(serve(BoundedListener::new(listener, CONNECTIONS_MAX), desk));
    Ok(bound)
}

/// Takes packages of whoever connects. Ends never.
pub(super) async fn serve<L: Listener<Addr: std::fmt::Debug>>(listener: L, desk: Arc<Desk>) {
    let router = Router::new()
        .route("/packages", post(take))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(desk);
    // Listeners of this kind do not fail.
    let _ = axum::serve(listener, router).await;
}

async fn take(State(desk): State<Arc<Desk>>, body: Bytes) -> (StatusCode, String) {
    match desk.take(&body).await {
        Ok(text) => (StatusCode::OK, text),
        Err((status, text)) => (status, format!("{text}\n")),
    }
}

type Refusal = (StatusCode, String);

impl Desk {
    pub(super) fn new(dir: PathBuf, key: Address, node: Node, trust: Trust) -> Self {
        Self {
            dir,
            key,
            node,
            trust,
            turn: Mutex::new(()),
        }
    }

    async fn take(&self, body: &[u8]) -> Result<String, Refusal> {
        let refuse = |status: StatusCode, text: String| Err((status, text));
        let evidence = match CheckedEvidence::from_json(body) {
            Ok(evidence) => evidence,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let accept = evidence
            .accept()
            .filter(|signed| signed.accept.submitter == self.key);
        let Some(accept) = accept.cloned() else {
            let text = format!(
                "expected a package for {}: `settle export --submitter {}`",
                self.key, self.key
            );
            return refuse(StatusCode::BAD_REQUEST, text);
        };
        self.require_on_chain(&evidence).await?;
        let _turn = self.turn.lock().await;
        let (path, held) = self.place(ward(&evidence));
        match held.map(|held| compare(self.key, &evidence, &held)) {
            Some(Comparison::Worse(why)) => refuse(StatusCode::CONFLICT, why.to_owned()),
            Some(Comparison::Same) => Ok(guarding(&evidence)),
            Some(Comparison::Better) if planted(Canary::KeepPackage) => Ok(guarding(&evidence)),
            Some(Comparison::Better) => self.put(&path, &evidence, accept),
            None => {
                self.require_room(&path)?;
                self.put(&path, &evidence, accept)
            }
        }
    }

    /// Where the package of a side is or goes, and what is there. One file per side: neither can displace the other's.
    fn place(&self, (id, side): Ward) -> (PathBuf, Option<CheckedEvidence>) {
        let of_side = |path: &Path| load(path).ok().filter(|held| ward(held) == (id, side));
        // An earlier version named the file by the channel only, and an app's directory does.
        let plain = self.dir.join(format!("{id}.json"));
        if let Some(held) = of_side(&plain) {
            return (plain, Some(held));
        }
        let path = self.dir.join(format!("{id}.{}.json", text::side(side)));
        let held = of_side(&path);
        (path, held)
    }

    fn require_room(&self, path: &Path) -> Result<(), Refusal> {
        let files = evidence_files(&self.dir).map_or(FILES_MAX, |files| files.len());
        match path.exists() || files < FILES_MAX {
            true => Ok(()),
            false => Err((
                StatusCode::INSUFFICIENT_STORAGE,
                "the watchtower is full".to_owned(),
            )),
        }
    }

    /// Writes the part of it that was checked and is of use: what else was posted along is nobody's signed word.
    fn put(&self, path: &Path, evidence: &CheckedEvidence, accept: SignedAccept) -> Result<String, Refusal> {
        let failed = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error);
        let package = seal_package(evidence, accept);
        let bytes = serde_json::to_vec_pretty(&package).map_err(|error| failed(error.to_string()))?;
        replace(path, &bytes).map_err(|error| failed(error.to_string()))?;
        Ok(guarding(evidence))
    }

    /// Anybody can sign packages for channels that do not exist. To open one at an adjudicator that is believed costs gas,
    /// and so does every dispute that the watchtower is to answer.
    async fn require_on_chain(&self, evidence: &CheckedEvidence) -> Result<(), Refusal> {
        let call = IAdjudicator::channelCall {
            channelId: B256::from(evidence.id().0),
        };
        let adjudicator = evidence.raw().adjudicator;
        let state = async {
            self.trust.check(evidence.domain()).await?;
            self.node.read(adjudicator, &call, BlockId::latest()).await
        };
        match state.await {
            Ok(state) if matches!(state.status, Status::Open | Status::Disputed) => Ok(()),
            Ok(_) => Err((
                StatusCode::BAD_REQUEST,
                "the channel is not open on chain".to_owned(),
            )),
            Err(error @ SettleError::Unreachable(_)) => {
                Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
            }
            Err(error) => Err((StatusCode::BAD_REQUEST, error.to_string())),
        }
    }
}

fn guarding(evidence: &CheckedEvidence) -> String {
    format!("guarding {} with voucher {}\n", evidence.id(), seq(evidence))
}
