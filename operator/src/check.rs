//! `--check`: whether an operator is at work in this cluster. What `helm test` runs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};

use crate::settings::Settings;
use crate::{definition, lease};

/// How old the newest renewal of the Lease may be.
const RECENT: Duration = Duration::from_secs(30);
/// How long an operator that was just installed may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Succeeds once an operator leads and the definition is one that it knows.
pub async fn check(client: Client, settings: &Settings) -> Result<()> {
    let started = tokio::time::Instant::now();
    loop {
        match once(client.clone(), settings).await {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > PATIENCE => return Err(error),
            Err(error) => tracing::info!(error = format!("{error:#}"), "not yet"),
        }
        tokio::time::sleep(lease::PERIOD).await;
    }
}

async fn once(client: Client, settings: &Settings) -> Result<()> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let found = definitions.get(definition::NAME).await.context("failed to read the definition of AuditPolicy")?;
    let missing = definition::missing(&found);
    ensure!(missing.is_none(), "the definition of AuditPolicy lacks {}", missing.unwrap_or_default());
    let leases = Api::<Lease>::namespaced(client, &settings.namespace);
    let lease = leases.get(lease::NAME).await.context("failed to read the Lease")?.spec.unwrap_or_default();
    let holder = lease.holder_identity.unwrap_or_default();
    let renewed = lease.renew_time.map_or(Timestamp::MIN, |time| time.0);
    let age = Timestamp::now().duration_since(renewed);
    ensure!(!holder.is_empty() && age.unsigned_abs() < RECENT, "no operator leads");
    tracing::info!(holder, "an operator leads");
    Ok(())
}
