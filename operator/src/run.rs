//! Wires the rest: start, lead, stop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::select_all;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admin::{self, Pages};
use crate::apply::Applier;
use crate::caches::Caches;
use crate::dereference::Reader;
use crate::events::Events;
use crate::fleet::{Changes, Fleet, Pace};
use crate::lease::Election;
use crate::queue::Queue;
use crate::reconcile::Context;
use crate::settings::Settings;
use crate::{controller, definition};

/// How long what is under way may take once the operator is told to stop.
const FINISH: Duration = Duration::from_secs(8);

/// Runs the operator until `stop`. An error means that it can't go on, or that another replica leads.
pub async fn run(client: Client, settings: Settings, pace: Pace, stop: watch::Receiver<bool>) -> Result<()> {
    let settings = Arc::new(settings);
    let pages = Arc::new(Pages::default());
    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("failed to listen on {}", settings.listen))?;
    let identity = settings.identity.clone().unwrap_or_else(host_name);
    let (election, leading) = Election::new(client.clone(), &settings.namespace, identity.clone());

    let work = lead(client, Arc::clone(&settings), &identity, pace, Arc::clone(&pages), leading, stop.clone());
    tokio::pin!(work);
    // The Lease is kept until what is under way is done.
    let (finish, finished) = watch::channel(false);
    let election = election.run(finished);
    tokio::pin!(election);
    let mut ended = stop;
    let finishing = async {
        tokio::select! {
            result = &mut work => result,
            () = told(&mut ended) => {
                tokio::time::timeout(FINISH, &mut work).await.unwrap_or(Ok(()))
            }
        }
    };
    tokio::select! {
        result = admin::serve(listener, pages) => return result.context("failed to serve"),
        // Fail-stop: whatever is under way is dropped with the process.
        result = &mut election => return result.context("this replica must not act any more"),
        result = finishing => result?,
    }
    finish.send_replace(true);
    match tokio::time::timeout(FINISH, election).await {
        Ok(result) => result.context("this replica must not act any more"),
        Err(_) => Ok(()),
    }
}

/// Fills the caches, waits for its turn, and acts.
async fn lead(
    client: Client,
    settings: Arc<Settings>,
    identity: &str,
    pace: Pace,
    pages: Arc<Pages>,
    mut leading: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let metrics = Arc::clone(&pages.metrics);
    let queue = Arc::new(Queue::default());
    let pods_changed = Arc::new(Changes::default());
    tokio::select! {
        () = definition::current(&client) => {}
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    }
    let (caches, watches) = Caches::new(&client, &settings, &queue, &pods_changed);
    let fleet = Arc::new(Fleet::new(caches.pods.clone(), Arc::clone(&queue), pods_changed, pace));
    let namespace = settings.agents_namespace.clone();
    let context = Arc::new(Context {
        client: client.clone(),
        reader: Reader::new(caches.clone(), Arc::clone(&settings)),
        applier: Applier::new(client.clone(), &namespace),
        fleet: Arc::clone(&fleet),
        events: Events::new(client.clone(), identity),
        metrics: Arc::clone(&metrics),
        statuses: Mutex::new(HashMap::new()),
        caches: caches.clone(),
        settings: Arc::clone(&settings),
    });
    let mut ended = stop.clone();
    let act = async {
        let turn = async {
            caches.synced().await;
            pages.set_ready();
            tracing::info!("the caches are filled");
            leading.wait_for(|leading| *leading).await.is_ok()
        };
        let leads = tokio::select! {
            leads = turn => leads,
            _ = ended.wait_for(|ended| *ended) => false,
        };
        if !leads {
            return Ok(());
        }
        metrics.leads(true);
        tracing::info!(identity, "this replica leads");
        let port = settings.agents_listen.port();
        tokio::select! {
            () = controller::run(context, queue, stop.clone()) => Ok(()),
            () = Arc::clone(&fleet).tell(client, namespace, Arc::clone(&metrics)) => Ok(()),
            result = Arc::clone(&fleet).ask(port, metrics) => result.context("failed to make a client for the agents"),
        }
    };
    tokio::select! {
        result = act => result,
        ((), _, _) = select_all(watches) => anyhow::bail!("a watch ended"),
    }
}

/// Waits until the operator is told to stop, or no one is left who could tell it.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let name = if name.is_empty() { "waybill-operator" } else { name };
    // Two processes of one host are two replicas.
    format!("{name}-{}", std::process::id())
}
