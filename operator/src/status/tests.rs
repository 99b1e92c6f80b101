use serde_json::json;
use waybill_crds::SinkState;

use super::*;
use crate::fleet::Report;
use crate::made_up;
use crate::validate::{Reason, Refusal};

fn standing(node: &str, state: &str, lost: u64, good: bool) -> Standing {
    let lane = json!({"name": "archive", "state": state, "lost": lost, "oldestPendingSeconds": lost});
    let text = json!({"policy": "quickstart", "lanes": [lane]}).to_string();
    let report = Report::parse(text.as_bytes(), "quickstart").unwrap();
    Standing { node: node.to_owned(), report: Some(report), up_to_date: good, switched: good }
}

struct Scene {
    policy: Policy,
    verdict: Verdict,
    secrets: Secrets,
    progress: Progress,
    standings: Vec<Standing>,
    gone: Vec<Gone>,
}

impl Scene {
    fn calm() -> Self {
        let standings = vec![standing("n1", "Delivering", 0, true), standing("n2", "Delivering", 0, true)];
        Self {
            policy: made_up::policy("quickstart", made_up::QUICKSTART),
            verdict: Verdict::Accepted(None),
            secrets: Secrets::default(),
            progress: Progress { desired: 2, scheduled: 2, ready: 2, updated: 2, observed: true },
            standings,
            gone: Vec::new(),
        }
    }

    fn status(&self) -> AuditPolicyStatus {
        compute(&Facts {
            now: "2026-01-02T00:00:00Z".parse().unwrap(),
            policy: &self.policy,
            spec: self.policy.document.spec.as_ref(),
            verdict: &self.verdict,
            secrets: &self.secrets,
            progress: Some(self.progress),
            cannot_create: None,
            trouble: None,
            standings: &self.standings,
            gone: &self.gone,
        })
    }

    /// The status becomes the former one.
    fn settle(&mut self) -> AuditPolicyStatus {
        self.policy.status = self.status();
        self.policy.status.clone()
    }

    fn throw(&mut self, engaged: bool) {
        let mut object = made_up::object("quickstart", made_up::QUICKSTART);
        object.metadata.generation = Some(self.policy.generation + 1);
        object.data["spec"]["killSwitch"] = json!({"engaged": engaged, "reason": "leak", "requestedBy": "alice"});
        self.policy = Policy { status: self.policy.status.clone(), ..Policy::new(&object) };
    }
}

fn condition(status: &AuditPolicyStatus, kind: Type) -> (String, String, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind.name()).unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

#[test]
fn a_calm_policy() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&Scene::calm().status()).unwrap());
}

#[test]
fn a_policy_in_every_trouble() {
    let mut scene = Scene::calm();
    let refusal = Refusal { reason: Reason::PathOwned, sentence: "spec.sources[0]: it meets another".to_owned() };
    scene.verdict = Verdict::Refused(refusal);
    scene.secrets.states.insert("es".to_owned(), crate::dereference::SecretState::NotLabelled);
    scene.progress = Progress { desired: 3, scheduled: 3, ready: 1, updated: 3, observed: true };
    scene.standings = vec![standing("n1", "Behind", 3, false), standing("n2", "Misconfigured", 4, true)];
    scene.standings[0].switched = false;
    scene.throw(true);
    scene.gone = vec![Gone { node: "n9".to_owned(), bytes: 1234 }];
    insta::assert_snapshot!(serde_json::to_string_pretty(&scene.status()).unwrap());
}

#[test]
fn a_switch_is_engaged_when_every_agent_says_so_and_the_silent_are_named() {
    let mut scene = Scene::calm();
    scene.settle();
    scene.throw(true);
    scene.standings[1].switched = false;
    let (status, reason, message) = condition(&scene.settle(), Type::KillSwitchEngaged);
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Engaging"));
    assert!(message.contains("the policy (Hold) by alice: leak"), "{message}");
    assert!(message.contains("1 of 2 agents; not yet by n2"), "{message}");
    scene.standings[1].switched = true;
    assert_eq!(condition(&scene.settle(), Type::KillSwitchEngaged).1, "Engaged");
    scene.throw(false);
    scene.standings[0].switched = false;
    assert_eq!(condition(&scene.settle(), Type::KillSwitchEngaged).1, "Lifting");
    assert_eq!(condition(&scene.settle(), Type::KillSwitchEngaged).1, "Lifting");
    scene.standings[0].switched = true;
    assert_eq!(condition(&scene.settle(), Type::KillSwitchEngaged).1, "NotEngaged");
}

#[test]
fn times_move_with_the_status_alone() {
    let mut scene = Scene::calm();
    let mut before = scene.status();
    for condition in &mut before.conditions {
        condition.last_transition_time = Time("2025-01-01T00:00:00Z".parse().unwrap());
    }
    scene.policy.status = before;
    scene.standings[0] = standing("n1", "Behind", 0, true);
    let after = scene.status();
    let moved = after.conditions.iter().filter(|one| one.last_transition_time.0.to_string().starts_with("2026"));
    assert_eq!(moved.map(|one| one.type_.as_str()).collect::<Vec<_>>(), ["Delivering"]);
    assert_eq!((after.sinks[0].state, after.sinks[0].worst_node.as_str()), (SinkState::Behind, "n1"));
}

#[test]
fn numbers_alone_are_written_once_a_minute_and_states_at_once() {
    let mut scene = Scene::calm();
    let before = scene.status();
    assert!(!is_worth_writing(&before, &before, None));
    scene.standings[0] = standing("n1", "Delivering", 7, true);
    let counted = scene.status();
    assert_eq!(counted.sinks[0].lost_records, 7);
    assert!(!is_worth_writing(&before, &counted, Some(Duration::from_secs(59))));
    assert!(is_worth_writing(&before, &counted, Some(Duration::from_secs(60))));
    scene.standings[0] = standing("n1", "Held", 7, true);
    assert!(is_worth_writing(&before, &scene.status(), Some(Duration::ZERO)));
}

#[test]
fn a_node_that_is_gone_is_remembered_until_it_is_back() {
    let mut scene = Scene::calm();
    let calm = scene.settle();
    scene.gone = vec![Gone { node: "n3".to_owned(), bytes: 10 }];
    let gone = scene.settle();
    assert_eq!((gone.nodes.lost_with_pending, gone.nodes.lost[0].pending_bytes), (1, 10));
    let told = news(&calm, &gone);
    assert_eq!(told.iter().map(|news| news.reason.as_str()).collect::<Vec<_>>(), ["NodeLostWithPending"]);
    scene.gone.clear();
    assert_eq!(scene.settle().nodes.lost.len(), 1);
    scene.standings.push(standing("n3", "Delivering", 0, true));
    assert_eq!(scene.settle().nodes.lost_with_pending, 0);
}

#[test]
fn news_is_what_changed() {
    let mut scene = Scene::calm();
    assert_eq!(news(&AuditPolicyStatus::default(), &scene.settle()), []);
    let calm = scene.settle();
    assert_eq!(news(&calm, &calm), []);
    scene.throw(true);
    let thrown = scene.settle();
    let told = news(&calm, &thrown);
    assert_eq!((told.len(), told[0].reason.as_str(), told[0].warning), (1, "Engaged", true));
    scene.throw(false);
    let told = news(&thrown, &scene.settle());
    assert_eq!((told[0].reason.as_str(), told[0].warning), ("KillSwitchEngagedFalse", false));
}

#[test]
fn a_sink_that_no_agent_runs_is_not_delivered_to() {
    let mut scene = Scene::calm();
    let mut object = made_up::object("quickstart", made_up::QUICKSTART);
    object.data["spec"]["sinks"].as_array_mut().unwrap().push(json!({"name": "stream", "type": "Stdout"}));
    scene.policy = Policy::new(&object);
    let status = scene.status();
    assert_eq!(condition(&status, Type::Delivering).2, "stream is Misconfigured on n1, n2");
    assert_eq!(
        status.sinks.iter().map(|sink| sink.state).collect::<Vec<_>>(),
        [SinkState::Delivering, SinkState::Misconfigured]
    );
    // Agents that do not have the policy yet are not blamed.
    scene.standings.iter_mut().for_each(|standing| standing.up_to_date = false);
    assert_eq!(condition(&scene.status(), Type::Delivering).1, "Delivering");
}

#[test]
fn an_agent_makes_up_no_sinks() {
    let mut scene = Scene::calm();
    let text = json!({"policy": "quickstart", "lanes": [{"name": "made-up", "state": "Held"}]}).to_string();
    scene.standings[0].report = Some(Report::parse(text.as_bytes(), "quickstart").unwrap());
    assert_eq!(scene.status().sinks.iter().map(|sink| sink.name.as_str()).collect::<Vec<_>>(), ["archive"]);
}
