//! The part of the operator's door that asks the running hub: `GET /liquidity` and `POST /settle-now`.
//!
//! The door has no login, so it is on loopback; a page in a browser there cannot ask either, because it cannot set the
//! header that is demanded without being asked first, and nobody answers that.

use crate::driver::{Operator, SettleNow};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use std::sync::{Arc, OnceLock};

/// Must be sent along, with any value.
pub const HEADER: &str = "x-hub-operator";

/// Where the operator's handle lies once the hub runs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<OnceLock<Operator>>);

impl Desk {
    /// The hub runs: questions are answered from now on.
    pub fn open(&self, operator: Operator) {
        // There is one hub in a process.
        let _ = self.0.set(operator);
    }

    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/liquidity", get(liquidity))
            .route("/settle-now", post(settle_now))
            .with_state(self)
    }

    fn operator(&self, headers: &HeaderMap) -> Result<&Operator, Refused> {
        if !headers.contains_key(HEADER) {
            let text = format!("the header {HEADER} is missing; use `hub liquidity` and `hub settle-now`");
            return Err(Refused(StatusCode::FORBIDDEN, text));
        }
        let starting = || Refused(StatusCode::SERVICE_UNAVAILABLE, "the hub is starting".to_owned());
        self.0.get().ok_or_else(starting)
    }
}

struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

fn answer<T: Serialize>(result: Result<T, String>) -> Result<Json<T>, Refused> {
    result
        .map(Json)
        .map_err(|text| Refused(StatusCode::BAD_GATEWAY, text))
}

async fn liquidity(State(desk): State<Desk>, headers: HeaderMap) -> Result<impl IntoResponse, Refused> {
    answer(desk.operator(&headers)?.liquidity().await)
}

async fn settle_now(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Json(what): Json<SettleNow>,
) -> Result<impl IntoResponse, Refused> {
    answer(desk.operator(&headers)?.settle_now(what).await)
}
