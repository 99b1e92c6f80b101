use serde_json::{Value, json};

use super::*;
use crate::made_up;

fn judged(change: impl FnOnce(&mut Value), arguments: &[&str]) -> Verdict {
    let mut object = made_up::object("quickstart", made_up::QUICKSTART);
    change(&mut object.data["spec"]);
    validate(&Policy::new(&object), &made_up::settings(arguments), &Claims::default(), &[])
}

#[track_caller]
fn refused(verdict: Verdict, reason: Reason, part: &str) {
    let Verdict::Refused(refusal) = verdict else { panic!("accepted, but {part:?} was expected") };
    assert_eq!(refusal.reason, reason, "{}", refusal.sentence);
    assert!(refusal.sentence.contains(part), "{}", refusal.sentence);
}

#[test]
fn the_quickstart_is_accepted() {
    assert_eq!(judged(|_| (), &[]), Verdict::Accepted(None));
}

#[test]
fn sources_stay_below_the_read_roots() {
    for path in ["/etc/shadow", "/**/*.log", "/var/lo[g]/x", "/var/*/x.log", "/var/logs/x", "/var/log"] {
        let verdict = judged(|spec| spec["sources"][0]["file"]["paths"] = json!([path]), &[]);
        refused(verdict, Reason::PathNotAllowed, "spec.sources[0].file.paths[0]");
    }
    let verdict = judged(|spec| spec["sources"][0]["file"]["paths"] = json!(["/var/log/../../etc/shadow"]), &[]);
    refused(verdict, Reason::InvalidSpec, "it goes up with ..");
    let verdict = judged(|spec| spec["sources"][0]["file"]["paths"] = json!(["/srv/a.log"]), &["--read-roots", "/srv"]);
    assert_eq!(verdict, Verdict::Accepted(None));
}

#[test]
fn what_is_written_stays_below_the_write_roots() {
    for path in ["/etc/cron.d/x", "/var/log/out.log", "/var/lib/waybill/other/archive/x", "/var/lib/waybill/x"] {
        let verdict = judged(|spec| spec["sinks"][0]["file"]["path"] = json!(path), &[]);
        refused(verdict, Reason::PathNotAllowed, "spec.sinks[0].file.path");
    }
    for path in ["/var/lib/waybill/quickstart/state-0.log", "/var/lib/waybill/quickstart/dead-letters/x"] {
        let verdict = judged(|spec| spec["sinks"][0]["file"]["path"] = json!(path), &[]);
        refused(verdict, Reason::PathNotAllowed, "spec.sinks[0].file.path");
    }
    let collapse = |spec: &mut Value| {
        spec["sources"][0]["file"]["paths"] = json!(["/var/log/v2ray/access.log"]);
        spec["sources"][0]["rotation"] = json!({"mode": "Collapse"});
    };
    refused(judged(collapse, &[]), Reason::PathNotAllowed, "--write-roots");
    assert_eq!(judged(collapse, &["--write-roots", "/var/log/v2ray,/srv"]), Verdict::Accepted(None));
    let folder = |spec: &mut Value| {
        collapse(spec);
        spec["sources"][0]["rotation"]["folder"] = json!("/root/archives");
    };
    refused(judged(folder, &["--write-roots", "/var/log/v2ray"]), Reason::PathNotAllowed, "rotation.folder");
}

#[test]
fn no_policy_goes_below_the_floor() {
    refused(judged(|_| (), &["--retention-floor-days", "365"]), Reason::RetentionBelowFloor, "90 days are below");
    let long = |spec: &mut Value| {
        spec["sinks"][0]["file"]["retention"] = json!({"maxAgeDays": 400, "maxFiles": 0});
    };
    assert_eq!(judged(long, &["--retention-floor-days", "365"]), Verdict::Accepted(None));
    for (field, value) in [("maxFiles", json!(14)), ("maxTotalSize", json!("5Gi")), ("minFree", json!("10%"))] {
        let verdict = judged(
            |spec| {
                long(spec);
                spec["sinks"][0]["file"]["retention"][field] = value;
            },
            &["--retention-floor-days", "365"],
        );
        refused(verdict, Reason::RetentionBelowFloor, field);
    }
}

#[test]
fn annotations_are_those_on_the_list() {
    let annotate =
        |key: &'static str| move |spec: &mut Value| spec["agent"] = json!({"serviceAccountAnnotations": {key: "x"}});
    assert_eq!(judged(annotate("eks.amazonaws.com/role-arn"), &[]), Verdict::Accepted(None));
    refused(judged(annotate("evil.example/token"), &[]), Reason::AnnotationNotAllowed, "evil.example/token");
    let none = &["--service-account-annotation-keys="];
    for key in ["eks.amazonaws.com/role-arn", "iam.gke.io/gcp-service-account"] {
        refused(judged(annotate(key), none), Reason::AnnotationNotAllowed, key);
    }
}

#[test]
fn a_path_has_one_owner() {
    let manage = |paths: Value| {
        let mut object = made_up::object("younger", made_up::QUICKSTART);
        object.data["spec"]["sources"][0]["file"] = json!({"paths": paths});
        object.data["spec"]["sources"][0]["rotation"] = json!({"mode": "Collapse"});
        object.data["spec"]["sinks"] = json!([]);
        Policy::new(&object)
    };
    let settings = made_up::settings(&["--write-roots", "/var/log"]);
    let reader = Claims::of(made_up::policy("quickstart", made_up::QUICKSTART).document.spec.as_ref().unwrap());
    let owner = Claims::of(manage(json!(["/var/log/a/*.log"])).document.spec.as_ref().unwrap());
    let against = |policy: &Policy, held: &Claims| {
        let other = Other { name: "older".into(), older: true, held: held.clone(), asked: Claims::default() };
        validate(policy, &settings, &Claims::default(), &[other])
    };

    let both = manage(json!(["/var/log/b.log", "/var/log/pods/{pod}/x/0.log"]));
    refused(
        against(&both, &reader),
        Reason::PathOwned,
        "paths[1]: it meets spec.sources[0].file.paths[0] of the older",
    );
    refused(against(&manage(json!(["/var/log/a/x.log"])), &owner), Reason::PathOwned, "older policy older");
    assert_eq!(against(&manage(json!(["/var/log/b/x.log"])), &owner), Verdict::Accepted(None));

    let mut object = made_up::object("quickstart", made_up::QUICKSTART);
    assert_eq!(against(&Policy::new(&object), &reader), {
        // Two may read the same; but both write the same archive.
        let at = "spec.sinks[0].file.path";
        let rule =
            "only one policy may rotate, remove or write a file, and no other may read it then: name other files";
        let sentence = format!("{at}: it meets {at} of the older policy older; {rule}");
        Verdict::Refused(Refusal { reason: Reason::PathOwned, sentence })
    });
    object.data["spec"]["sinks"] = json!([]);
    assert_eq!(against(&Policy::new(&object), &reader), Verdict::Accepted(None));
}

#[test]
fn a_path_stays_with_whose_agents_have_it() {
    let settings = made_up::settings(&["--write-roots", "/var/log"]);
    let policy = |paths: &str, mode: &str| {
        let mut object = made_up::object("this", made_up::QUICKSTART);
        object.data["spec"]["sources"][0]["file"] = json!({"paths": [paths]});
        object.data["spec"]["sources"][0]["rotation"] = json!({"mode": mode});
        object.data["spec"]["sinks"] = json!([]);
        Policy::new(&object)
    };
    let claims = |policy: &Policy| Claims::of(policy.document.spec.as_ref().unwrap());
    let (cuts, reads) =
        (policy("/var/log/v2ray/access.log", "Collapse"), policy("/var/log/v2ray/access.log", "Observe"));
    let none = Claims::default();
    let judged = |policy: &Policy, own: &Claims, older: bool, held: &Claims, asked: &Claims| {
        let other = Other { name: "other".into(), older, held: held.clone(), asked: asked.clone().without(held) };
        matches!(validate(policy, &settings, own, &[other]), Verdict::Accepted(_))
    };
    let [cutting, reading] = [claims(&cuts), claims(&reads)];
    // The older one begins to cut what the younger one's agents read: it is refused, and the younger one goes on.
    assert!(!judged(&cuts, &reading, false, &reading, &none));
    assert!(!judged(&cuts, &none, false, &reading, &none));
    assert!(judged(&reads, &reading, true, &none, &cutting));
    assert!(judged(&reads, &reading, true, &reading, &cutting));
    // Nor does it begin to read what the younger one's agents cut.
    assert!(!judged(&reads, &none, false, &cutting, &none));
    assert!(judged(&cuts, &cutting, true, &none, &reading));
    // Of two that have nothing yet, or that both have it, the older one gets it.
    for own in [&none, &cutting] {
        assert!(
            judged(&cuts, own, false, &none, &reading)
                && (own == &cutting || !judged(&cuts, own, true, &none, &reading))
        );
        assert!(
            own == &none || judged(&cuts, own, false, &reading, &none) && !judged(&cuts, own, true, &reading, &none)
        );
    }
    // Whoever owns may merely read from now on; and its place in the policy tells nothing.
    assert!(judged(&reads, &cutting, true, &none, &cutting));
    let mut moved = made_up::object("this", made_up::QUICKSTART);
    moved.data["spec"]["sources"][0]["file"] = json!({"paths": ["/var/log/new.log", "/var/log/v2ray/access.log"]});
    moved.data["spec"]["sinks"] = json!([]);
    assert!(judged(&Policy::new(&moved), &reading, true, &none, &cutting));
}

#[test]
fn what_this_release_does_not_know_is_said_and_stops_nothing() {
    let verdict = judged(
        |spec| {
            let unknown = json!({"name": "next", "format": "NextYear", "file": {"paths": ["/etc/shadow"]}});
            spec["sources"].as_array_mut().unwrap().push(unknown);
        },
        &[],
    );
    let Verdict::Accepted(Some(sentence)) = verdict else { panic!("{verdict:?}") };
    assert!(sentence.starts_with("spec.sources[1]"), "{sentence}");
}

#[test]
fn a_sentence_is_bounded_and_harmless() {
    let paths: Vec<String> = (0..32).map(|n| format!("/etc/\u{1b}[31m{}-{n}", "x".repeat(400))).collect();
    let Verdict::Refused(refusal) = judged(|spec| spec["sources"][0]["file"]["paths"] = json!(paths), &[]) else {
        panic!("accepted")
    };
    assert!(refusal.sentence.chars().count() < SENTENCE + 40 && !refusal.sentence.contains('\u{1b}'));
    assert!(refusal.sentence.contains("more"), "{}", refusal.sentence);
}
