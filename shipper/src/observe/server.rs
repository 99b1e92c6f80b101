//! The pages of the agent: `/metrics`, `/report`, `/healthz`, `/readyz` for anyone who can connect, `/status` for this machine.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::latest::Latest;
use super::listener::{Bounded, LIFETIME, Peer};
use super::metrics;
use super::process::Process;
use super::summary;

pub use super::latest::Source;

/// Without an answer of the engine for this long the agent is not healthy.
const UNHEALTHY: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Serves until `shutdown`. Each connection carries one request.
pub async fn serve(listener: TcpListener, source: Source, shutdown: impl Future<Output = ()> + Send + 'static) {
    serve_within(listener, source, shutdown, LIFETIME).await;
}

async fn serve_within(
    listener: TcpListener,
    source: Source,
    shutdown: impl Future<Output = ()> + Send + 'static,
    lifetime: Duration,
) {
    let pages = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/report", get(show_report))
        .route("/healthz", get(show_health))
        .route("/readyz", get(show_readiness))
        .route("/status", get(show_status))
        .with_state(Arc::new(Latest::new(source)))
        .into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(Bounded::new(listener, lifetime), pages).with_graceful_shutdown(shutdown).await;
    if let Err(error) = served {
        tracing::error!(%error, "failed to serve");
    }
}

type Agent = State<Arc<Latest>>;

async fn show_metrics(State(latest): Agent) -> Response {
    match latest.get().await.0 {
        Some(report) => page(StatusCode::OK, metrics::CONTENT_TYPE, metrics::render(&report, &Process::read())),
        None => silent(),
    }
}

async fn show_report(State(latest): Agent) -> Response {
    match latest.get().await.0 {
        Some(report) => page(StatusCode::OK, JSON, summary::render(&report)),
        None => silent(),
    }
}

async fn show_health(State(latest): Agent) -> Response {
    let (report, ago) = latest.get().await;
    if report.is_some() || ago < UNHEALTHY {
        return page(StatusCode::OK, TEXT, "ok\n".to_owned());
    }
    page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("the engine has not answered for {} s\n", ago.as_secs()))
}

async fn show_readiness(State(latest): Agent) -> Response {
    let reason = match latest.get().await.0 {
        None => return silent(),
        Some(report) if report.digest.is_empty() => "no policy is in force\n",
        Some(report) if !report.ready => "the first scan is not done\n",
        Some(_) => return page(StatusCode::OK, TEXT, "ok\n".to_owned()),
    };
    page(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason.to_owned())
}

async fn show_status(State(latest): Agent, ConnectInfo(Peer(peer)): ConnectInfo<Peer>, headers: HeaderMap) -> Response {
    let named = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    if let Err(reason) = is_local(peer, named) {
        return page(StatusCode::FORBIDDEN, TEXT, reason.to_owned());
    }
    let Some(report) = latest.get().await.0 else { return silent() };
    match serde_json::to_string_pretty(&*report) {
        Ok(text) => page(StatusCode::OK, JSON, text + "\n"),
        Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("failed to write the report: {error}\n")),
    }
}

/// Whether `/status` may be shown. The name that the peer used counts too: a browser on this machine can be led here under the name of
/// a stranger.
fn is_local(peer: SocketAddr, host: Option<&str>) -> Result<(), &'static str> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err(
            "the full status has paths and errors in it: it is shown to this machine only, ask through 127.0.0.1\n",
        );
    }
    let name = |host: &str| {
        let named = host.split(':').next().unwrap_or_default();
        let bare: Option<IpAddr> = host.trim_matches(['[', ']']).parse().or_else(|_| named.parse()).ok();
        let address = host.parse::<SocketAddr>().map(|address| address.ip()).ok().or(bare);
        named == "localhost" || address.is_some_and(|ip| ip.to_canonical().is_loopback())
    };
    if host.is_some_and(|host| !name(host)) {
        return Err("the full status is shown under the names localhost, 127.0.0.1 and [::1] only\n");
    }
    Ok(())
}

fn silent() -> Response {
    page(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the engine does not answer; try again\n".to_owned())
}

fn page(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::SERVER, HeaderValue::from_static(concat!("waybill/", env!("CARGO_PKG_VERSION"))));
    response
}

#[cfg(test)]
mod tests;
