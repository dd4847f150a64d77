//! The operator's HTTP door: `/metrics`, `/livez` and `/readyz`, on loopback by default because they have no login, and what
//! [`super::desk`] answers to who has its token.

use super::{Readiness, Shutdown, desk::Desk};
use crate::bounded_listener::{BoundedListener, Peer};
use axum::{Router, extract::State, http::StatusCode, http::header, response::IntoResponse, routing::get};
use futures::future::BoxFuture;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::{io, time::Duration};
use tokio::net::TcpListener;

/// Connections at once: a few scrapers and operators.
const CONNECTIONS_MAX: usize = 32;
/// How often histograms are folded, so that an unscraped hub does not grow.
const UPKEEP: Duration = Duration::from_secs(5);
/// Buckets of all histograms, seconds: 50 us to 5 s.
const BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Installs the process's metrics recorder. Call once, before the first metric. Errors: there is one already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(BUCKETS)?
        .install_recorder()?;
    metrics::describe_gauge!("hub_sessions_open", "WebSocket connections after their handshake");
    metrics::describe_counter!("hub_session_accepted_total", "TCP connections accepted");
    metrics::describe_counter!(
        "hub_session_handshakes_refused_total",
        "Handshakes answered with an HTTP error"
    );
    metrics::describe_counter!(
        "hub_session_handshakes_timed_out_total",
        "Handshakes not finished in time"
    );
    metrics::describe_counter!(
        "hub_session_handshakes_evicted_total",
        "Slow handshakes dropped for newer ones"
    );
    metrics::describe_counter!(
        "hub_session_turned_away_total",
        "TCP connections closed at once: all sockets for clients were taken"
    );
    metrics::describe_counter!("hub_logins_total", "Logins by outcome");
    metrics::describe_counter!("hub_session_messages_received_total", "Data messages received");
    metrics::describe_counter!("hub_session_messages_sent_total", "Messages sent");
    metrics::describe_counter!(
        "hub_session_errors_sent_total",
        "Errors that sessions answered themselves"
    );
    metrics::describe_counter!(
        "hub_session_busy_total",
        "Calls refused because the engine's queue was full"
    );
    metrics::describe_counter!(
        "hub_session_rate_limited_total",
        "Messages beyond a connection's rate"
    );
    Ok(handle)
}

#[derive(Clone)]
struct Facts {
    metrics: PrometheusHandle,
    readiness: Readiness,
}

/// Serves the door until `shutdown`. Errors: the listener failed.
pub fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    readiness: Readiness,
    desk: Desk,
    shutdown: Shutdown,
) -> BoxFuture<'static, io::Result<()>> {
    Box::pin(async move {
        let upkeep = {
            let metrics = metrics.clone();
            async move {
                let mut ticks = tokio::time::interval(UPKEEP);
                loop {
                    ticks.tick().await;
                    metrics.run_upkeep();
                }
            }
        };
        let router = Router::new()
            .route("/metrics", get(render))
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .with_state(Facts { metrics, readiness })
            .merge(desk.router())
            .into_make_service_with_connect_info::<Peer>();
        // Not axum's graceful end: it waits for scrapers that keep their connection.
        tokio::select! {
            served = axum::serve(BoundedListener::new(listener, CONNECTIONS_MAX), router) => served,
            () = upkeep => Ok(()),
            () = shutdown.triggered() => Ok(()),
        }
    })
}

async fn render(State(facts): State<Facts>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, facts.metrics.render())
}

async fn ready(State(facts): State<Facts>) -> (StatusCode, String) {
    let status = match facts.readiness.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, facts.readiness.report())
}
