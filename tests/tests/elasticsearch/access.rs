//! Logins, certificates, rights, `setup` and `check --probe`: against a strict double that answers as the
//! documentation of Elasticsearch 9 says, and against a real OpenSearch.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::certificates::Authority;
use waybill_tests::elasticsearch::Elasticsearch;
use waybill_tests::opensearch::OpenSearch;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::shipment::Shipment;
use waybill_tests::skip;
use waybill_tests::wait::{await_true, holds_for};

use super::{STREAM, judge};

const SOON: Duration = Duration::from_secs(30);

fn sink(url: &str) -> Value {
    super::sink(&[url.to_owned()])
}

/// A sink with an API key, `secrets/es/api-key`.
fn keyed(url: &str) -> Value {
    with(sink(url), "/elasticsearch/auth", json!({"apiKey": {"secret": "es", "key": "api-key"}}))
}

/// A sink that checks the server with the authority in `secrets/es/ca.crt`.
fn trusting(url: &str) -> Value {
    with(sink(url), "/elasticsearch/tls", json!({"ca": {"secret": "es", "key": "ca.crt"}}))
}

/// Runs `waybill setup` for the policy in the room.
fn setup(shipment: &Shipment, room: &Room) -> Result<(bool, String)> {
    let (policy, secrets) = (room.policy().display().to_string(), room.path().join("secrets").display().to_string());
    shipment.waybill(&["setup", "-f", &policy, "--secrets-dir", &secrets])
}

fn set_up(shipment: &Shipment, room: &Room) -> Result<String> {
    let (well, said) = setup(shipment, room)?;
    ensure!(well, "setup failed: {said}");
    Ok(said)
}

/// What `check --probe` says of the sink, which must be that something is wrong.
fn complaint(shipment: &Shipment) -> Result<String> {
    let (well, said) = shipment.probe()?;
    ensure!(!well, "the probe finds nothing wrong: {said}");
    Ok(said)
}

#[test]
fn setup_on_elasticsearch_and_an_agent_that_may_only_create_documents() -> Result<()> {
    room::within("es-setup", |room| {
        let double = Elasticsearch::start()?;
        let sink = with(keyed(&double.url()), "/elasticsearch/retentionDays", json!(90));
        let mut shipment = Shipment::new(room, sink.clone())?;
        // An API key is `id:key` in base64; both forms are taken.
        shipment.secret("es", "api-key", "dGVzdDpzZWNyZXQ=\n")?;
        double.cluster().login = Some("ApiKey dGVzdDpzZWNyZXQ=".to_owned());
        let said = set_up(&shipment, room)?;
        ensure!(said.contains("removed 90 days later") && said.contains("made"), "{said}");
        {
            let cluster = double.cluster();
            let name = format!("waybill-{STREAM}");
            ensure!(
                cluster.policies[&name]["policy"]["phases"]["delete"]["min_age"] == "90d",
                "{:?}",
                cluster.policies
            );
            ensure!(cluster.templates[&name]["template"]["settings"]["index.lifecycle.name"] == name.as_str());
            ensure!(cluster.streams[STREAM].lifecycle.as_deref() == Some(&name), "the data stream has no lifecycle");
        }
        // A second time changes nothing; another retention changes the policy alone.
        let puts =
            |double: &Elasticsearch| double.cluster().requests.iter().filter(|r| r.starts_with("PUT /_i")).count();
        let before = puts(&double);
        let said = set_up(&shipment, room)?;
        ensure!(puts(&double) == before && said.matches("up to date").count() == 2, "{said}");
        let longer = with(sink.clone(), "/elasticsearch/retentionDays", json!(400));
        Shipment::policy(room, longer).write(&room.policy())?;
        set_up(&shipment, room)?;
        ensure!(puts(&double) == before + 1);
        // An older template is raised, and the data stream rolls over to use it.
        double.cluster().templates.values_mut().for_each(|t| t["version"] = json!(0));
        let said = set_up(&shipment, room)?;
        ensure!(
            said.contains("raised from version 0") && double.cluster().streams[STREAM].indices.len() == 2,
            "{said}"
        );
        // Now with the one right that agents need.
        double.cluster().privileges = BTreeSet::from(["create_doc".to_owned()]);
        shipment.write(500)?;
        shipment.agent.start()?;
        shipment.settle()?;
        ensure!(shipment.agent.log()?.contains("may not read"), "the log does not say what the login may not do");
        let (well, said) = shipment.probe()?;
        ensure!(well, "{said}");
        shipment.stop()?;
        judge(&shipment, double.documents(STREAM))?;
        let offences = double.cluster().offences.clone();
        ensure!(offences.is_empty(), "{offences:?}");
        Ok(())
    })
}

#[test]
fn setup_says_what_an_administrator_must_do() -> Result<()> {
    room::within("es-setup-rights", |room| {
        let double = Elasticsearch::start()?;
        let shipment = Shipment::new(room, sink(&double.url()))?;
        double.cluster().privileges = BTreeSet::from(["create_doc".to_owned(), "monitor".to_owned()]);
        let (well, said) = setup(&shipment, room)?;
        ensure!(!well && said.contains("--username"), "{said}");
        Ok(())
    })
}

#[test]
fn a_wrong_password_holds_the_lane_until_the_file_is_corrected() -> Result<()> {
    room::within("es-password", |room| {
        let double = Elasticsearch::start()?;
        let auth = json!({"username": "waybill", "password": {"secret": "es", "key": "password"}});
        let mut shipment = Shipment::new(room, with(sink(&double.url()), "/elasticsearch/auth", auth))?;
        shipment.secret("es", "password", "right")?;
        set_up(&shipment, room)?;
        // waybill:right
        double.cluster().login = Some("Basic d2F5YmlsbDpyaWdodA==".to_owned());
        shipment.secret("es", "password", "wrong-and-secret")?;
        shipment.write(500)?;
        shipment.agent.start()?;
        shipment.await_trouble(true, &["correct the user name, or the password in secret es, key password"])?;
        let said = complaint(&shipment)?;
        ensure!(said.contains("401") && said.contains("secret es, key password"), "{said}");
        shipment.secret("es", "password", "right\n")?;
        shipment.settle()?;
        // It expires while the agent runs.
        double.cluster().login = Some("Basic nobody".to_owned());
        shipment.write(500)?;
        shipment.await_trouble(true, &["401"])?;
        double.cluster().login = Some("Basic d2F5YmlsbDpyaWdodA==".to_owned());
        shipment.settle()?;
        let log = shipment.agent.log()? + &shipment.agent.asker().metrics()? + &shipment.status()?.to_string();
        ensure!(!log.contains("wrong-and-secret") && !log.contains("d2F5YmlsbDp3cm9uZy"), "a secret was told");
        shipment.stop()?;
        judge(&shipment, double.documents(STREAM))
    })
}

#[test]
fn a_role_that_loses_its_right_for_a_while_loses_nothing() -> Result<()> {
    room::within("es-role", |room| {
        let double = Elasticsearch::start()?;
        let mut shipment = Shipment::new(room, sink(&double.url()))?;
        set_up(&shipment, room)?;
        shipment.agent.start()?;
        shipment.write(1_000)?;
        shipment.settle()?;
        double.cluster().privileges = BTreeSet::from(["monitor".to_owned()]);
        shipment.write(20_000)?;
        shipment.await_trouble(true, &["create_doc"])?;
        holds_for("nothing is refused", Duration::from_secs(1), || Ok(shipment.refused()? == 0))?;
        double.cluster().privileges.clear();
        shipment.settle()?;
        shipment.stop()?;
        judge(&shipment, double.documents(STREAM))
    })
}

#[test]
fn what_only_the_failure_store_took_is_a_dead_letter() -> Result<()> {
    room::within("es-failure-store", |room| {
        let double = Elasticsearch::start()?;
        let pattern = Shipment::pattern(room);
        let source = policy::source("app", &pattern, "Text");
        let policy = Policy::new("failures").source(source).sink(sink(&double.url()));
        let mut shipment = Shipment::with(room, &policy, "search")?;
        set_up(&shipment, room)?;
        double.cluster().failure_store = true;
        double.cluster().refused_text = Some("poison".to_owned());
        shipment.agent.start()?;
        shipment.write(100)?;
        shipment.lines(&["a line with poison in it"])?;
        shipment.write(100)?;
        shipment.settle()?;
        ensure!(shipment.refused()? == 1);
        ensure!(double.cluster().streams[STREAM].failures.len() == 1);
        shipment.agent.stop()?;
        shipment.logs.except(|line| line.ends_with(b"poison in it"));
        judge(&shipment, double.documents(STREAM))
    })
}

#[test]
fn items_that_are_refused_at_random_for_a_while_all_arrive() -> Result<()> {
    room::within("es-partial", |room| {
        let double = Elasticsearch::start()?;
        let mut shipment = Shipment::new(room, sink(&double.url()))?;
        set_up(&shipment, room)?;
        double.cluster().busy = 30;
        shipment.agent.start()?;
        shipment.write(3_000)?;
        await_true("some of it arrives", SOON, || Ok(shipment.account()?.term("acknowledged").records > 1_000))?;
        shipment.write(1_000)?;
        shipment.settle()?;
        ensure!(shipment.status()?["retries"].as_u64() > Some(0), "nothing was tried again");
        shipment.stop()?;
        judge(&shipment, double.documents(STREAM))
    })
}

#[test]
fn mutual_tls_and_certificates_that_are_replaced() -> Result<()> {
    room::within("es-tls", |room| {
        let authority = Authority::new(&room.path().join("ca"))?;
        let good = authority.sign("server", "DNS:localhost")?;
        let client = authority.sign("client", "DNS:client")?;
        let double = Elasticsearch::secure(&good, Some(&authority.certificate()))?;
        let tls = json!({"ca": {"secret": "es", "key": "ca.crt"}, "certificate": {"secret": "es", "key": "tls.crt"},
            "privateKey": {"secret": "es", "key": "tls.key"}});
        let mut shipment = Shipment::new(room, with(sink(&double.url()), "/elasticsearch/tls", tls))?;
        let put = |shipment: &Shipment, key: &str, path: &Path| shipment.secret("es", key, std::fs::read(path)?);
        put(&shipment, "ca.crt", &authority.certificate())?;
        put(&shipment, "tls.crt", &client.certificate)?;
        put(&shipment, "tls.key", &client.key)?;
        set_up(&shipment, room)?;
        let stranger = Authority::new(&room.path().join("other"))?;
        put(&shipment, "ca.crt", &stranger.certificate())?;
        shipment.write(500)?;
        shipment.agent.start()?;
        shipment.await_trouble(true, &["unknown authority"])?;
        put(&shipment, "ca.crt", &authority.certificate())?;
        shipment.settle()?;
        let other = stranger.sign("client", "DNS:client")?;
        put(&shipment, "tls.crt", &other.certificate)?;
        shipment.write(10)?;
        shipment.await_trouble(true, &["do not go together"])?;
        put(&shipment, "tls.key", &other.key)?;
        shipment.await_trouble(true, &["refuses the client certificate"])?;
        put(&shipment, "tls.crt", &client.certificate)?;
        put(&shipment, "tls.key", &client.key)?;
        shipment.settle()?;
        shipment.stop()?;
        judge(&shipment, double.documents(STREAM))
    })
}

/// The queries of the documentation, as they are typed there.
fn documented() -> Result<Vec<Value>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shipper/docs/sinks/elasticsearch.md");
    let text = std::fs::read_to_string(page)?;
    let head = format!("    POST /{STREAM}/_search\n");
    text.split(&head)
        .skip(1)
        .map(|rest| {
            let lines: Vec<&str> = rest.lines().take_while(|line| line.starts_with("    ")).collect();
            serde_json::from_str(&lines.join("\n")).context("a documented query is not JSON")
        })
        .collect()
}

#[test]
fn setup_on_opensearch_and_the_two_queries_as_they_are_documented() -> Result<()> {
    if let Some(why) = OpenSearch::missing() {
        return skip::skip("os-setup", &why);
    }
    room::within("os-setup", |room| {
        let server = OpenSearch::start(&room.path().join("opensearch"), &[])?;
        let pattern = Shipment::pattern(room);
        let retained = with(sink(&server.url()), "/elasticsearch/retentionDays", json!(30));
        let source = with(policy::source("app", &pattern, "V2RayAccess"), "/outbounds", json!({"block": "Deny"}));
        let policy = Policy::new("queries").source(with(source, "/timeZone", json!("UTC"))).sink(retained);
        let mut shipment = Shipment::with(room, &policy, "search")?;
        let said = complaint(&shipment)?;
        ensure!(said.contains("there is no data stream"), "{said}");
        let said = set_up(&shipment, room)?;
        ensure!(said.contains("OpenSearch 2") && said.contains("NOTHING removes old records"), "{said}");
        let again = set_up(&shipment, room)?;
        ensure!(again.contains("up to date"), "{again}");
        let (well, said) = shipment.probe()?;
        ensure!(well && said.contains("takes records"), "{said}");
        ensure!(server.count(STREAM)? == 0, "the probe wrote something");
        shipment.agent.start()?;
        for (from, status, to, user) in [
            ("198.51.100.7:1000", "accepted", "tcp:bad.example:443 [in -> block]", "mallory"),
            ("198.51.100.7:1001", "rejected", "proxy/vmess/encoding: invalid user", ""),
            ("198.51.100.7:1002", "accepted", "tcp:good.example:443 [in -> direct]", "mallory"),
            ("203.0.113.9:1003", "accepted", "tcp:bad.example:443 [in -> block]", "alice"),
            ("203.0.113.9:1004", "accepted", "tcp:good.example:443 [in -> direct]", "bob"),
        ] {
            let user = if user.is_empty() { String::new() } else { format!(" email: {user}") };
            shipment.lines(&[format!("2026/08/24 05:21:16 {from} {status} {to}{user}")])?;
        }
        shipment.settle()?;
        shipment.stop()?;
        judge(&shipment, server.documents(STREAM)?)?;
        let queries = documented()?;
        ensure!(queries.len() == 2, "{} queries are documented", queries.len());
        let ask = |query: &Value| server.call("POST", &format!("/{STREAM}/_search"), query);
        let failed = ask(&queries[0])?;
        ensure!(failed["hits"]["total"]["value"] == 2, "failed connections: {failed}");
        let users = ask(&queries[1])?;
        let buckets = users["aggregations"]["users"]["buckets"].as_array().context("no users")?;
        let names: BTreeSet<&str> = buckets.iter().filter_map(|bucket| bucket["key"].as_str()).collect();
        ensure!(names == BTreeSet::from(["alice", "mallory"]), "users routed to block: {users}");
        Ok(())
    })
}

/// The rights that the documentation asks for, on a server that checks them.
#[test]
fn a_real_login_with_the_documented_rights_that_loses_them_and_its_password_for_a_while() -> Result<()> {
    if let Some(why) = OpenSearch::missing_secure() {
        return skip::skip("os-secure", &why);
    }
    room::within("os-secure", |room| {
        let authority = Authority::new(&room.path().join("ca"))?;
        let server = OpenSearch::start_secure(&room.path().join("opensearch"), &authority)?;
        let auth = json!({"username": "waybill", "password": {"secret": "es", "key": "password"}});
        let mut shipment = Shipment::new(room, with(trusting(&server.url()), "/elasticsearch/auth", auth))?;
        let password = "Correct-horse-7-battery";
        shipment.secret("es", "ca.crt", std::fs::read(authority.certificate())?)?;
        shipment.secret("es", "password", password)?;
        let security = |path: &str, body: &Value| server.call("PUT", &format!("/_plugins/_security/api/{path}"), body);
        let rights = json!({"cluster_permissions": ["indices:data/write/bulk"], "index_permissions": [{
            "index_patterns": [STREAM],
            "allowed_actions": ["indices:data/write/bulk*", "indices:data/write/index", "indices:admin/mapping/put"],
        }]});
        security("internalusers/waybill", &json!({"password": password}))?;
        security("internalusers/chief", &json!({"password": password, "backend_roles": ["admin"]}))?;
        security("roles/waybill", &rights)?;
        security("rolesmapping/waybill", &json!({"users": ["waybill"]}))?;
        // Setup needs another login than the agents'.
        let (well, said) = setup(&shipment, room)?;
        ensure!(!well && said.contains("403"), "{said}");
        let file = room.path().join("chief");
        std::fs::write(&file, format!("{password}\n"))?;
        let (policy, secrets) = (room.policy(), room.path().join("secrets"));
        let words =
            ["setup", "-f"].map(std::ffi::OsString::from).into_iter().chain([policy.into(), "--secrets-dir".into()]);
        let words =
            words.chain([secrets.into(), "--username".into(), "chief".into(), "--password-file".into(), file.into()]);
        let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let (well, said) = shipment.waybill(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        ensure!(well && said.contains("made"), "{said}");
        let (well, said) = shipment.probe()?;
        ensure!(well && said.contains("may create documents"), "{said}");
        shipment.agent.start()?;
        shipment.write(2_000)?;
        shipment.settle()?;
        let none = json!({"cluster_permissions": [], "index_permissions": []});
        security("roles/waybill", &none)?;
        shipment.write(5_000)?;
        shipment.await_trouble(true, &["give the login the right to create documents"])?;
        security("roles/waybill", &rights)?;
        shipment.settle()?;
        let changed = "Another-horse-8-battery";
        security("internalusers/waybill", &json!({"password": changed}))?;
        shipment.write(1_000)?;
        shipment.await_trouble(true, &["secret es, key password"])?;
        shipment.secret("es", "password", changed)?;
        shipment.settle()?;
        shipment.stop()?;
        judge(&shipment, server.documents(STREAM)?)
    })
}
