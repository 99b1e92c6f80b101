//! Looks at policies when there is reason to, several at a time, each by itself: one that fails is tried again later and
//! delays no other.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;

use crate::events::chain;
use crate::queue::Queue;
use crate::reconcile::{Context, reconcile};

/// Policies that are looked at at once.
const AT_ONCE: usize = 8;
/// How long to wait after a first failure; twice as long after each further one.
const RETRY: Duration = Duration::from_secs(1);
/// How long to wait at most.
const RETRY_MOST: Duration = Duration::from_secs(60);

/// Looks at policies until `stop`, then finishes those that it is at.
pub async fn run(context: Arc<Context>, queue: Arc<Queue>, mut stop: watch::Receiver<bool>) {
    let mut running = BTreeSet::new();
    let mut failures: HashMap<String, u32> = HashMap::new();
    let mut looks = FuturesUnordered::new();
    loop {
        tokio::select! {
            policy = queue.next(&running), if running.len() < AT_ONCE => {
                running.insert(policy.clone());
                looks.push(look(&context, policy));
            }
            Some((policy, again)) = looks.next(), if !looks.is_empty() => {
                running.remove(&policy);
                match again {
                    Ok(again) => {
                        failures.remove(&policy);
                        if let Some(delay) = again {
                            queue.add(&policy, delay);
                        }
                    }
                    Err(()) => {
                        let failed = failures.entry(policy.clone()).or_default();
                        queue.add(&policy, RETRY.saturating_mul(1 << (*failed).min(6)).min(RETRY_MOST));
                        *failed = failed.saturating_add(1);
                    }
                }
            }
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    while looks.next().await.is_some() {}
}

async fn look(context: &Context, policy: String) -> (String, Result<Option<Duration>, ()>) {
    let started = Instant::now();
    let result = reconcile(context, &policy).await;
    context.metrics.reconciled(started.elapsed(), result.as_ref().err().map(crate::reconcile::Error::reason));
    match result {
        Ok(again) => {
            context.events.settle(&policy, "Error");
            (policy, Ok(again))
        }
        Err(error) => {
            tracing::error!(
                policy,
                reason = error.reason(),
                error = chain(&error),
                "a look at a policy failed; it is tried again"
            );
            context.complain(&policy, &error).await;
            (policy, Err(()))
        }
    }
}
