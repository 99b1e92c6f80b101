//! The operator's own pages: `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::{CONTENT_TYPE, Metrics};

/// What the pages show.
#[derive(Default)]
pub struct Pages {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The caches hold what the API server has.
    pub ready: AtomicBool,
}

impl Pages {
    /// From now on this replica is ready.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
        self.metrics.is_ready(true);
    }
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        // To answer at all is to be alive: the runtime turns.
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .with_state(pages);
    axum::serve(listener, router).await
}

async fn metrics(State(pages): State<Arc<Pages>>) -> Response {
    match pages.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn readiness(State(pages): State<Arc<Pages>>) -> Response {
    if pages.ready.load(Ordering::Relaxed) {
        return "ok\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the caches are not filled, or the CustomResourceDefinition is too old; see the log\n",
    )
        .into_response()
}
