//! The Helm chart against a real API server: every object is valid to the last field, the chart tests itself, and taking it away
//! stops no agent.

use std::path::Path;

use anyhow::{Result, ensure};
use waybill_tests::cluster::{Cluster, PolicyScene, chart, definition, within};
use waybill_tests::oracle::Leniency;

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn every_rendered_object_is_valid_to_the_last_field() -> Result<()> {
    let cluster = Cluster::here()?;
    chart::install(&cluster)?;
    for values in [
        "",
        "operator.replicas=1",
        "openshift.scc=privileged,agents.seLinuxType=spc_t",
        "dashboard.enabled=true",
        "networkPolicy.metricsNamespaceLabels.team=monitoring",
        "agents.createNamespace=false,admission.enabled=false,rbac.aggregate=false",
    ] {
        let rendered =
            chart::helm(&["template", "waybill", &chart::path(), "--namespace", chart::OPERATOR, "--set", values])?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("objects.yaml");
        std::fs::write(&file, rendered)?;
        valid(&cluster, &file).map_err(|error| error.context(format!("values {values:?}")))?;
    }
    Ok(())
}

fn valid(cluster: &Cluster, file: &Path) -> Result<()> {
    let file = file.to_string_lossy();
    let words =
        ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--filename", &file];
    let said = cluster.kubectl().run(&words)?;
    println!("{} objects are valid", said.lines().count());
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_charts_own_test_passes() -> Result<()> {
    chart::install(&Cluster::here()?)?;
    let said = chart::helm(&["test", "waybill", "--namespace", chart::OPERATOR, "--timeout", "90s"])?;
    ensure!(said.contains("Succeeded"), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn agents_ship_on_without_the_chart_and_a_new_one_takes_them_over() -> Result<()> {
    within("chart-uninstall", |site| {
        let mut scene = PolicyScene::begin(site, "chart-uninstall")?;
        scene.flow(200)?;
        chart::helm(&["uninstall", "waybill", "--namespace", chart::OPERATOR, "--wait", "--timeout", "90s"])?;
        ensure!(site.kubectl().find("crd", "auditpolicies.waybill.dev")?.is_some(), "the definition is gone");
        ensure!(site.kubectl().find("namespace", chart::AGENTS)?.is_some(), "the agents' namespace is gone");
        scene.flow(200)?;
        // A namespace that was kept is taken over again.
        chart::install_again(site.cluster())?;
        scene.await_up_to_date()?;
        scene.flow(200)?;
        scene.untouched()?;
        scene.judge(Leniency::default())?;
        scene.remove()
    })
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_command_of_the_notes_upgrades_the_definition_that_helm_installed() -> Result<()> {
    let cluster = Cluster::here()?;
    chart::install(&cluster)?;
    let uninstall = ["uninstall", "waybill", "--namespace", chart::OPERATOR, "--wait", "--timeout", "90s"];
    chart::helm(&uninstall)?;
    cluster.kubectl().delete("crd", definition::NAME)?;
    let verdict = (|| {
        chart::release(chart::THIS, chart::THIS, true)?;
        let text = std::fs::read_to_string(definition::path())?;
        let next = text.replace("Stops the whole policy.", "Stops all of the policy.");
        ensure!(next != text, "the definition does not have what is to be changed");
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("definition.yaml"), next)?;
        // As it stands in the notes. The fields are Helm's: without force the API server refuses to give them to someone else.
        let folder = folder.path().to_string_lossy().into_owned();
        cluster.kubectl().run(&["apply", "--server-side", "--force-conflicts", "--filename", &folder])?;
        let found = cluster.kubectl().json(&["get", "crd", definition::NAME])?;
        ensure!(found.to_string().contains("Stops all of the policy."), "nothing was changed");
        Ok(())
    })();
    let back = chart::install_again(&cluster);
    verdict.and(back)
}
