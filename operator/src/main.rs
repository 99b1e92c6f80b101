//! The Waybill operator: arguments, then one call.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use waybill_operator::fleet::Pace;
use waybill_operator::run::run;
use waybill_operator::settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    init_log();
    // Of two providers none would be the default.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::warn!("a provider of cryptography was installed already");
    }
    match start(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the operator ends");
            ExitCode::FAILURE
        }
    }
}

async fn start(settings: Settings) -> Result<()> {
    let client = Client::try_default().await.context("failed to find the API server")?;
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen to signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen to signals")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        // Whoever is gone needs no telling.
        let _told = stop.send(true);
    });
    run(client, settings, Pace::default(), stopped).await
}

fn init_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("WAYBILL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call changes nothing.
    let _set = tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_env_filter(filter).try_init();
}
