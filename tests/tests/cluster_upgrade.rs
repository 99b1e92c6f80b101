//! The release before and the one after run together in any order, forward and back, while records are written all the time.
//!
//! The next release is this code with its versions raised, and with a field more in the policy, in the state on disk and in what agents
//! report: `tests/cluster/next` makes it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use waybill_tests::cluster::node_writer::{NodeWriter, all_came};
use waybill_tests::cluster::policy_scene::{lifted, thrown};
use waybill_tests::cluster::{PATIENCE, PolicyScene, Site, chart, definition, within};
use waybill_tests::face;
use waybill_tests::oracle::Leniency;
use waybill_tests::policy::with;
use waybill_tests::skip;
use waybill_tests::wait::await_true;

/// Lines that are written a tenth of a second on each node.
const PACE: usize = 20;

/// The definition of the next release; `None` if it was not built.
fn next_definition() -> Option<PathBuf> {
    let folder = std::env::var_os("WAYBILL_NEXT").filter(|folder| !folder.is_empty())?;
    Some(PathBuf::from(folder).join("definition.yaml"))
}

/// Has lines written on every node while something else goes on.
fn during<T>(writers: &mut [NodeWriter], act: impl FnOnce() -> Result<T>) -> Result<T> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writing = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                writers.iter_mut().try_for_each(|writer| writer.write(PACE))?;
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        });
        let done = act();
        over.store(true, Ordering::Relaxed);
        let written = writing.join().map_err(|_| anyhow!("a writer panicked"))?;
        done.and_then(|done| written.map(|()| done))
    })
}

struct Stage<'a> {
    site: &'a Site,
    scene: PolicyScene<'a>,
    next: PathBuf,
    began: Instant,
}

impl Stage<'_> {
    fn say(&self, what: &str) {
        println!("{:5.1}s {what}", self.began.elapsed().as_secs_f64());
    }

    /// Rolls the agents or the operator to other images, and waits until both are up to date.
    fn release(&self, operator: &str, agents: &str) -> Result<()> {
        chart::release(operator, agents, true)?;
        let image = format!("docker.io/waybill-test/waybill:{agents}");
        await_true(&format!("the agents are of release {agents}"), PATIENCE, || {
            Ok(self.scene.pods()?.iter().all(|pod| pod["spec"]["containers"][0]["image"] == image.as_str()))
        })?;
        self.scene.await_up_to_date()?;
        self.say(&format!("operator {operator}, agents {agents}"));
        Ok(())
    }

    fn define(&self, next: bool) -> Result<()> {
        let path = if next { self.next.clone() } else { definition::path() };
        self.site.kubectl().apply_file(&path)?;
        definition::await_served(self.site.kubectl())?;
        self.say(if next { "the next definition" } else { "this definition" });
        Ok(())
    }

    /// A switch is thrown and lifted by whoever leads, and the agents obey.
    fn switch(&self, writers: &[NodeWriter], reason: &str) -> Result<()> {
        let base = self.scene.plain();
        self.scene.put(&base.clone().with("killSwitch", thrown("Hold", reason)))?;
        await_true(reason, PATIENCE, || {
            writers.iter().try_fold(true, |all, writer| Ok(all && writer.has_entry(face::SWITCH, reason)?))
        })?;
        self.scene.put(&base.with("killSwitch", lifted("over")))?;
        self.scene.await_condition("KillSwitchEngaged", "False", "NotEngaged")?;
        self.say(reason);
        Ok(())
    }

    /// The policy with the next release's field.
    fn with_its_field(&self) -> Result<()> {
        let policy = with(self.scene.plain().value(), "/spec/limits", json!({"patience": 7}));
        self.site.kubectl().apply(&policy)?;
        self.scene.await_up_to_date()?;
        let said = self.scene.condition("Accepted")?;
        ensure!(said["status"] == "True", "{said}");
        ensure!(self.document()?.contains("patience"), "the field does not reach the agents");
        self.say("a policy with the next release's field");
        Ok(())
    }

    fn document(&self) -> Result<String> {
        let map = self.scene.agents().find("configmap", "waybill-upgrade")?.unwrap_or_default();
        Ok(map["data"]["policy.yaml"].as_str().unwrap_or_default().to_owned())
    }
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_release_and_the_next_run_together_in_any_order_forward_and_back() -> Result<()> {
    let Some(next) = next_definition() else {
        return skip::skip("cluster_upgrade", "the next release was not built; make test-cluster does so");
    };
    let verdict = within("upgrade", |site| {
        let mut scene = PolicyScene::begin(site, "upgrade")?;
        let mut writers = std::mem::take(&mut scene.writers);
        let stage = Stage { site, scene, next, began: Instant::now() };
        let operator = site.cluster().kubectl().namespace(chart::OPERATOR);
        let (this, next) = (chart::THIS, chart::NEXT);

        // Forward: the agents, then an operator that waits for its definition while the one before goes on, then the definition.
        during(&mut writers, || stage.release(this, next))?;
        during(&mut writers, || {
            chart::release(next, next, false)?;
            await_true("the next operator says what it lacks", PATIENCE, || {
                // A container that is being made has no log yet.
                let logs = operator.run(&["logs", "--selector", chart::OPERATOR_PODS, "--tail=-1", "--prefix"]);
                let lacks = ["lacks .spec.limits.patience", "kubectl apply --server-side --force-conflicts -f crds/"];
                Ok(logs.is_ok_and(|logs| lacks.iter().all(|part| logs.contains(part))))
            })
        })?;
        stage.switch(&writers, "under the operator before, beside one that waits")?;
        during(&mut writers, || {
            stage.define(true)?;
            stage.release(next, next)
        })?;
        during(&mut writers, || stage.with_its_field())?;

        // Back: the definition first, then the operator, then the agents.
        during(&mut writers, || {
            stage.define(false)?;
            stage.site.kubectl().apply(&stage.scene.plain().value())?;
            stage.scene.await_up_to_date()?;
            stage.release(this, next)?;
            stage.release(this, this)
        })?;
        stage.switch(&writers, "all of it back")?;

        // Forward and back in the other order: definition, operator, agents; agents, operator, definition. The policy keeps its field.
        during(&mut writers, || {
            stage.define(true)?;
            stage.release(next, this)?;
            stage.with_its_field()?;
            stage.release(next, next)?;
            stage.release(next, this)?;
            stage.release(this, this)?;
            ensure!(
                stage.document()?.contains("patience"),
                "an older operator took a field away that it does not know"
            );
            stage.define(false)
        })?;
        stage.switch(&writers, "all of it back again")?;

        during(&mut writers, || Ok(()))?;
        all_came(&writers)?;
        // Whoever is replaced may send again what was not acknowledged.
        let lenient = Leniency { new_ids: false, repeats: true };
        writers.iter().try_for_each(|writer| writer.judge(lenient).map(|_| ()))?;
        for writer in &writers {
            let output = writer.output()?;
            let versions: Vec<&Value> = output.actions(face::STARTED).map(|entry| &entry.details["version"]).collect();
            ensure!(versions.contains(&&json!("9.0.0")), "no agent of the next release ran: {versions:?}");
            println!("{} records under {versions:?}", output.records.len());
        }
        stage.scene.balance()?;
        stage.scene.remove()
    });
    // Whatever happened, the other tests find what they expect.
    let kubectl = waybill_tests::cluster::Cluster::here()?;
    let back = chart::install_again(&kubectl).context("failed to put this release back");
    verdict.and(back)
}
