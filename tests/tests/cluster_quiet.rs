//! In an unchanged world the operator writes nothing but its Lease, however much the agents ship: the API server's own audit log
//! is the witness, and a source of the very policy, so that any feedback would feed itself.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use waybill_tests::cluster::traffic::Traffic;
use waybill_tests::cluster::{PolicyScene, within};
use waybill_tests::oracle::Leniency;
use waybill_tests::policy::source;
use waybill_tests::scene::SOON;
use waybill_tests::wait::{await_true, holds_for};

/// How long, unless `WAYBILL_QUIET_SECONDS` says otherwise.
const SPAN: Duration = Duration::from_secs(120);
/// How long the operator may gather counters before it writes them.
const NUMBERS: Duration = Duration::from_secs(62);

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn nothing_is_written_but_the_lease() -> Result<()> {
    let span = std::env::var("WAYBILL_QUIET_SECONDS").ok().and_then(|text| text.parse().ok());
    let span = span.map_or(SPAN, Duration::from_secs);
    within("quiet", |site| {
        let mut scene = PolicyScene::begin(site, "quiet")?;
        let audit = source("apiserver", "/var/log/kubernetes/audit/audit.log", "KubernetesAudit");
        scene.put(&scene.plain().source(audit))?;
        scene.await_up_to_date()?;
        // The beginning of the audit log is history; what comes from now on is what counts.
        await_true("the audit log is a source", SOON, || {
            Ok(!scene.writers[0].output()?.texts("apiserver").is_empty())
        })?;
        // Counters of the beginning may still be written, once a minute at most.
        let beginning = Instant::now();
        while beginning.elapsed() < NUMBERS {
            scene.flow(500)?;
        }
        let traffic = Traffic::mark(site.cluster())?;
        let began = Instant::now();
        while began.elapsed() < span {
            scene.flow(500)?;
        }
        let (mut leases, mut others) = (0, Vec::new());
        for (request, count) in traffic.requests()? {
            if !request.user.ends_with(":waybill-operator") {
                continue;
            }
            println!("{} {} by {}: {count}", request.verb, request.resource, request.pod);
            match (request.writes(), request.resource.as_str()) {
                (true, "leases") => leases += count,
                (true, _) => others.push((request, count)),
                _ => {}
            }
        }
        println!("in {}s: {leases} writes of the Lease, {} others", span.as_secs(), others.len());
        ensure!(others.is_empty(), "the operator wrote: {others:?}");
        ensure!(leases > 0, "the audit log does not show the Lease: it is no witness");
        scene.untouched()?;
        scene.balance()?;
        let lines = scene.writers[0].output()?.texts("apiserver").len();
        println!("{lines} lines of the API server's audit log were shipped");
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_agent_never_reads_its_own_output() -> Result<()> {
    within("quiet-self", |site| {
        let mut scene = PolicyScene::begin(site, "quiet-self")?;
        // Its own log is among these files, and it prints every record to it.
        let pods = source("pods", "/var/log/pods/waybill-agents_waybill-quiet-self-*/*/*.log", "Text");
        let stdout = serde_json::json!({"name": "mirror", "type": "Stdout"});
        scene.put(&scene.plain().source(pods).sink(stdout))?;
        scene.await_up_to_date()?;
        scene.flow(100)?;
        let own = |scene: &PolicyScene<'_>| -> Result<usize> {
            scene.writers.iter().try_fold(0, |sum, writer| Ok(sum + writer.output()?.texts("pods").len()))
        };
        let some = own(&scene)?;
        holds_for("nothing of its own log is shipped", Duration::from_secs(5), || Ok(own(&scene)? == some))?;
        ensure!(some == 0, "{some} lines of the agents' own logs were shipped");
        scene.judge(Leniency::default())?;
        scene.remove()
    })
}
