//! Makes an object what it should be, and writes nothing if it is that already.

mod covers;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};

use crate::build::{Desired, Kind};
use crate::names;
use covers::covers;

/// How long a cache may take to show a write.
pub const LATE: Duration = Duration::from_secs(10);

/// Applies objects in the agents' namespace, as the one manager of their fields.
pub struct Applier {
    client: Client,
    namespace: String,
    written: Mutex<HashMap<(Kind, String), Written>>,
}

/// What was written last.
struct Written {
    desired: Desired,
    /// The version that the cache had then.
    before: Option<String>,
    /// What the API server made of it.
    answer: DynamicObject,
    at: Instant,
    /// The cache has shown this write, or a later one.
    seen: bool,
}

impl Applier {
    /// Applies into a namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), written: Mutex::default() }
    }

    /// Applies one object; `live` is what the cache has. Returns whether anything was written.
    pub async fn apply(&self, desired: &Desired, live: Option<&DynamicObject>) -> kube::Result<bool> {
        if self.is_done(desired, live) {
            return Ok(false);
        }
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &self.namespace, &desired.kind.resource());
        let manager = PatchParams::apply(names::MANAGER).force();
        let answer = api.patch(&desired.name, &manager, &Patch::Apply(&desired.object)).await?;
        let before = live.and_then(ResourceExt::resource_version);
        let written = Written { desired: desired.clone(), before, answer, at: Instant::now(), seen: false };
        self.lock().insert((desired.kind, desired.name.clone()), written);
        Ok(true)
    }

    /// Forgets what was written, because it was deleted.
    pub fn forget(&self, kind: Kind, name: &str) {
        self.lock().remove(&(kind, name.to_owned()));
    }

    fn is_done(&self, desired: &Desired, live: Option<&DynamicObject>) -> bool {
        let mut written = self.lock();
        let mut written = written.get_mut(&(desired.kind, desired.name.clone()));
        let version = live.and_then(ResourceExt::resource_version);
        let mut newest = live;
        if let Some(written) = written.as_mut() {
            written.seen |= version != written.before;
            if !written.seen && written.at.elapsed() < LATE {
                newest = Some(&written.answer);
            }
            // If the API server made something else of it, to say it again would change nothing.
            let unchanged = newest.is_some_and(|newest| newest.resource_version() == written.answer.resource_version());
            if unchanged && written.desired == *desired {
                return true;
            }
        }
        let mut wanted = desired.object.clone();
        if let Some(wanted) = wanted.as_object_mut() {
            // Objects of a list don't repeat what kind they are of.
            wanted.remove("apiVersion");
            wanted.remove("kind");
        }
        newest.and_then(|object| serde_json::to_value(object).ok()).is_some_and(|live| covers(&live, &wanted))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Kind, String), Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
