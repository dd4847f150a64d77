//! `--listen`: takes packages by `POST /packages` and puts them into the directory. No login: what is taken must be signed,
//! for this watchtower's key, of a channel that is on chain, and newer than what is there.

use super::folder::{Comparison, compare, seq};
use crate::settle::{
    Node, SettleError,
    evidence::CheckedEvidence,
    files::{evidence_files, load, replace},
};
use alloy::{eips::BlockId, primitives::B256};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use protocol_spec::{
    Address,
    abi::{IAdjudicator, Status},
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::{net::TcpListener, sync::Mutex};

/// Largest package taken, bytes. One with a batch signature takes 3,000.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Most files in the directory.
const FILES_MAX: usize = 100_000;

/// Where packages go, and for whom they must be.
#[derive(Debug)]
struct Desk {
    dir: PathBuf,
    key: Address,
    node: Node,
    /// One at a time, so that an older package cannot overtake a newer one.
    turn: Mutex<()>,
}

/// Listens. The task ends with the process.
///
/// # Errors
/// [`SettleError::Usage`] when the address cannot be listened on.
pub(super) async fn listen(
    address: SocketAddr,
    dir: PathBuf,
    key: Address,
    node: Node,
) -> Result<SocketAddr, SettleError> {
    let failed = |error: std::io::Error| SettleError::Usage(format!("--listen {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let desk = Desk {
        dir,
        key,
        node,
        turn: Mutex::new(()),
    };
    let router = Router::new()
        .route("/packages", post(take))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(desk));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(bound)
}

async fn take(State(desk): State<Arc<Desk>>, body: Bytes) -> (StatusCode, String) {
    match desk.take(&body).await {
        Ok(text) => (StatusCode::OK, text),
        Err((status, text)) => (status, format!("{text}\n")),
    }
}

type Refusal = (StatusCode, String);

impl Desk {
    async fn take(&self, body: &[u8]) -> Result<String, Refusal> {
        let refuse = |status: StatusCode, text: String| Err((status, text));
        let evidence = match CheckedEvidence::from_json(body) {
            Ok(evidence) => evidence,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, error.to_string()),
        };
        if evidence
            .accept()
            .is_none_or(|signed| signed.accept.submitter != self.key)
        {
            let text = format!(
                "expected a package for {}: `settle export --submitter {}`",
                self.key, self.key
            );
            return refuse(StatusCode::BAD_REQUEST, text);
        }
        self.require_on_chain(&evidence).await?;
        let _turn = self.turn.lock().await;
        let path = self.dir.join(format!("{}.json", evidence.id()));
        match path.exists() {
            true => {
                let held = load(&path).ok();
                let comparison = held.map(|held| compare(self.key, &evidence, &held));
                if let Some(Comparison::Worse(why)) = comparison {
                    return refuse(StatusCode::CONFLICT, why.to_owned());
                }
            }
            false => {
                let files = evidence_files(&self.dir).map_or(FILES_MAX, |files| files.len());
                if files >= FILES_MAX {
                    return refuse(
                        StatusCode::INSUFFICIENT_STORAGE,
                        "the watchtower is full".to_owned(),
                    );
                }
            }
        }
        match replace(&path, body) {
            Ok(()) => Ok(format!(
                "guarding {} with voucher {}\n",
                evidence.id(),
                seq(&evidence)
            )),
            Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// Anybody can sign packages for channels that do not exist; opening one costs something.
    async fn require_on_chain(&self, evidence: &CheckedEvidence) -> Result<(), Refusal> {
        let call = IAdjudicator::channelCall {
            channelId: B256::from(evidence.id().0),
        };
        let adjudicator = evidence.raw().adjudicator;
        let state = async {
            self.node.check(evidence.domain()).await?;
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
