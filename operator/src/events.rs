//! Events: what a person should see in `kubectl describe`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::Resource as _;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use waybill_crds::AuditPolicy;

use crate::names;

/// Characters that the API server takes as an event's note.
const NOTE: usize = 1000;

/// Publishes events about policies. The same news about the same policy is told once until there is other news of that kind.
pub struct Events {
    recorder: Recorder,
    told: Mutex<HashMap<(String, &'static str), String>>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What it is about: of each topic the last news counts.
    pub topic: &'static str,
    /// In one word.
    pub reason: String,
    /// As a sentence.
    pub note: String,
    /// Whether a person should worry.
    pub warning: bool,
}

impl Events {
    /// Publishes in the name of one replica.
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: names::MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter), told: Mutex::default() }
    }

    /// Tells news of a policy. Returns whether it was news.
    pub async fn tell(&self, policy: &str, uid: &str, news: News) -> bool {
        let key = (policy.to_owned(), news.topic);
        let text = format!("{} {}", news.reason, news.note);
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.get(&key) == Some(&text) {
                return false;
            }
            told.insert(key, text);
        }
        let about = ObjectReference {
            api_version: Some(AuditPolicy::api_version(&()).into_owned()),
            kind: Some(AuditPolicy::kind(&()).into_owned()),
            name: Some(policy.to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: if news.warning { EventType::Warning } else { EventType::Normal },
            reason: news.reason,
            note: Some(news.note.chars().take(NOTE).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &about).await {
            // It is in the log, in the status and in the metrics too.
            tracing::warn!(%error, policy, reason = event.reason, "failed to publish an event");
        }
        true
    }

    /// There is no such news any more.
    pub fn settle(&self, policy: &str, topic: &'static str) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&(policy.to_owned(), topic));
    }

    /// Forgets a policy.
    pub fn forget(&self, policy: &str) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _), _| name != policy);
    }
}

/// An error with everything that caused it, as one sentence.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let boxed = cause.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref);
        let said = match boxed.or_else(|| cause.downcast_ref()) {
            // What the API server says is a sentence already; its other fields say the same again.
            Some(kube::Error::Api(answer)) if !answer.message.is_empty() => Some(answer.message.clone()),
            _ => None,
        };
        let last = said.is_some();
        let cause_text = said.unwrap_or_else(|| cause.to_string());
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source().filter(|_| !last);
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::reconcile::Error;

    #[test]
    fn what_the_api_server_says_is_said_once() {
        let answer = Status::failure("DaemonSet.apps \"waybill-a\" is invalid: spec: a sentence", "Invalid");
        let source = Box::new(kube::Error::Api(Box::new(answer)));
        let error = Error::ApplyFailed { kind: "DaemonSet", name: "waybill-a".to_owned(), source };
        let wanted =
            "failed to apply the DaemonSet waybill-a: DaemonSet.apps \"waybill-a\" is invalid: spec: a sentence";
        assert_eq!(chain(&error), wanted);
    }
}
