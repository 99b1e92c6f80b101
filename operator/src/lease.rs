//! Leader election by a Lease, with fail-stop.
//!
//! Of several replicas one acts. It renews the Lease; the others watch it and take it over once it has not changed for as long
//! as it says. Whoever can't renew in time ends its process at once, well before another may take over: two never act. No
//! clocks are compared: how long a Lease has been unchanged is measured by whoever looks.

mod turn;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

pub use turn::{Seen, Step, Turn};

/// How long a Lease that does not change still holds.
pub const DURATION: Duration = Duration::from_secs(15);
/// How long the leader goes on without a renewal.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// How often the Lease is renewed, or looked at.
pub const PERIOD: Duration = Duration::from_secs(2);
/// The Lease's name.
pub const NAME: &str = "waybill-operator";

/// Why this replica must end.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another replica has the Lease.
    #[error("the Lease was taken by {0}")]
    Taken(String),
    /// It could not be renewed.
    #[error("the Lease could not be renewed for {} s", DEADLINE.as_secs())]
    Expired,
}

/// This replica's part in the election.
pub struct Election {
    api: Api<Lease>,
    identity: String,
    leading: watch::Sender<bool>,
    turn: Turn,
}

impl Election {
    /// Takes part in the election in a namespace. The receiver says whether this replica leads.
    pub fn new(client: Client, namespace: &str, identity: String) -> (Self, watch::Receiver<bool>) {
        let (leading, told) = watch::channel(false);
        let api = Api::namespaced(client, namespace);
        let turn = Turn::new(identity.clone(), DURATION, DEADLINE);
        (Self { api, identity, leading, turn }, told)
    }

    /// Takes part until `stop`, then gives the Lease back. An error means that this process must end now.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Lost> {
        loop {
            let deadline = self.turn.deadline();
            let round = async {
                tokio::select! {
                    () = self.round() => true,
                    // A request that hangs must not outlast the deadline, nor keep a standby from looking again.
                    () = sleep_until(deadline) => true,
                    () = tokio::time::sleep(DEADLINE) => true,
                    _ = stop.wait_for(|stop| *stop) => false,
                }
            };
            if !round.await {
                break;
            }
            if let Some(lost) = self.turn.lost(Instant::now().into_std()) {
                return Err(lost);
            }
            self.leading.send_if_modified(|leading| std::mem::replace(leading, self.turn.leads()) != self.turn.leads());
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if self.turn.leads()
            && let Err(error) = self.give_back().await
        {
            tracing::warn!(%error, "failed to give the Lease back; another replica takes it over when it expires");
        }
        Ok(())
    }

    /// One look at the Lease, and what follows from it.
    async fn round(&mut self) {
        let asked = Instant::now().into_std();
        let found = match self.api.get_opt(NAME).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "failed to read the Lease");
                return;
            }
        };
        let seen = found.as_ref().map(seen);
        let written = match self.turn.step(seen.as_ref(), asked) {
            Step::Wait => return,
            Step::Create => self.api.create(&PostParams::default(), &self.fresh(0)).await,
            Step::Renew | Step::Take => match found {
                Some(found) => self.replace(found).await,
                None => return,
            },
        };
        match written {
            // The Lease holds from when it was asked for, not from when the answer came.
            Ok(lease) => self.turn.held(&seen_version(&lease), asked),
            // Another one was first.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => tracing::warn!(%error, "failed to write the Lease"),
        }
    }

    async fn replace(&self, mut lease: Lease) -> kube::Result<Lease> {
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
        // The version that was read goes along: whoever wrote meanwhile wins.
        self.api.replace(NAME, &PostParams::default(), &lease).await
    }

    async fn give_back(&self) -> kube::Result<()> {
        let mut lease = self.api.get(NAME).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.api.replace(NAME, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }

    fn fresh(&self, transitions: i32) -> Lease {
        let now = MicroTime(Timestamp::now());
        Lease {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}

async fn sleep_until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn seen_version(lease: &Lease) -> String {
    lease.metadata.resource_version.clone().unwrap_or_default()
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Seen {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        duration: Duration::from_secs(seconds.unwrap_or(DURATION.as_secs())),
        version: seen_version(lease),
    }
}
