//! The pods of a policy: one on each node, hardened.
//!
//! Nothing in the template depends on anything but the operator's arguments, the policy's `agent`, what it writes on the node,
//! its rights and its Secrets: every other edit reaches the running pods through the `ConfigMap`.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, LocalObjectReference,
    ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SELinuxOptions,
    SeccompProfile, SecurityContext, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use waybill_crds::MaxUnavailable;

use super::privileges::Privileges;
use super::{Input, metadata, mounts};
use crate::names;

/// Seconds from SIGTERM to SIGKILL: more than the longest `limits.drainSeconds`, so that an edit of that one rolls no pod.
const GRACE_SECONDS: i64 = 630;
/// The name of the port on which the pods answer.
const PORT: &str = "http";

pub(super) fn build(input: &Input<'_>) -> DaemonSet {
    let agent = &input.spec.agent;
    let privileges = Privileges::of(input.spec);
    let (volumes, volume_mounts) = mounts::build(input);
    let mut container = container(input, &privileges);
    container.volume_mounts = Some(volume_mounts);
    let pod = PodSpec {
        containers: vec![container],
        volumes: Some(volumes),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        host_pid: privileges.signals.then_some(true),
        image_pull_secrets: pull_secrets(input),
        node_selector: (!agent.node_selector.is_empty()).then(|| agent.node_selector.clone()),
        priority_class_name: Some(input.settings.priority_class.clone()),
        security_context: Some(PodSecurityContext {
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        service_account_name: Some(names::object(input.policy)),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        tolerations: tolerations(input),
        ..PodSpec::default()
    };
    DaemonSet {
        metadata: metadata(input),
        spec: Some(DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(names::selector(input.policy)), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(names::labels(input.policy)), ..ObjectMeta::default() }),
                spec: Some(pod),
            },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(match agent.update_strategy.max_unavailable {
                        MaxUnavailable::Count(count) => IntOrString::Int(i32::try_from(count).unwrap_or(i32::MAX)),
                        MaxUnavailable::Percent(percent) => IntOrString::String(format!("{percent}%")),
                    }),
                    max_surge: None,
                }),
            }),
            ..DaemonSetSpec::default()
        }),
        status: None,
    }
}

fn container(input: &Input<'_>, privileges: &Privileges) -> Container {
    let settings = input.settings;
    Container {
        name: names::CONTAINER.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(arguments(input)),
        env: Some(vec![field("NODE_NAME", "spec.nodeName"), field("POD_NAMESPACE", "metadata.namespace")]),
        ports: Some(vec![ContainerPort {
            name: Some(PORT.to_owned()),
            container_port: settings.agents_listen.port().into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources(input)),
        security_context: Some(SecurityContext {
            run_as_user: Some(0),
            run_as_group: Some(0),
            run_as_non_root: Some(false),
            privileged: Some(false),
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: Some(privileges.capabilities.iter().map(|name| (*name).to_owned()).collect()),
            }),
            // The runtime's own profile lets no signal out of the container.
            app_armor_profile: privileges
                .signals
                .then(|| AppArmorProfile { type_: "Unconfined".to_owned(), localhost_profile: None }),
            se_linux_options: settings
                .selinux_type
                .as_ref()
                .map(|kind| SELinuxOptions { type_: Some(kind.clone()), ..SELinuxOptions::default() }),
            ..SecurityContext::default()
        }),
        // Long: an agent that waits for its predecessor's lock, or reads a large state, is not dead.
        startup_probe: Some(Probe { failure_threshold: Some(600), period_seconds: Some(1), ..probe("/healthz") }),
        // Asks the engine alone: a sink that is down is no reason to kill an agent.
        liveness_probe: Some(Probe { failure_threshold: Some(3), period_seconds: Some(20), ..probe("/healthz") }),
        readiness_probe: Some(Probe { failure_threshold: Some(2), period_seconds: Some(5), ..probe("/readyz") }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

fn arguments(input: &Input<'_>) -> Vec<String> {
    let settings = input.settings;
    let mut arguments = vec![
        "run".to_owned(),
        format!("--file={}/{}", mounts::POLICY_DIR, names::POLICY_FILE),
        format!("--switch-file={}/{}", mounts::SWITCHES_DIR, mounts::SWITCHES_FILE),
        format!("--state-dir={}", settings.state_dir(input.policy).display()),
        format!("--secrets-dir={}", mounts::SECRETS_DIR),
        format!("--listen={}", settings.agents_listen),
    ];
    arguments.extend(settings.read_roots.iter().map(|root| format!("--read-root={}", root.display())));
    arguments
}

fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), api_version: Some("v1".to_owned()) }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT.to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

fn resources(input: &Input<'_>) -> ResourceRequirements {
    let effective = input.spec.agent.resources.effective();
    let list = |entries: &std::collections::BTreeMap<String, waybill_crds::Quantity>| {
        let entries = entries.iter().map(|(name, quantity)| (name.clone(), Quantity(quantity.as_str().to_owned())));
        Some(entries.collect()).filter(|list: &std::collections::BTreeMap<_, _>| !list.is_empty())
    };
    ResourceRequirements { requests: list(&effective.requests), limits: list(&effective.limits), claims: None }
}

fn tolerations(input: &Input<'_>) -> Option<Vec<Toleration>> {
    let tolerations = input.spec.agent.tolerations.iter().map(|toleration| Toleration {
        key: toleration.key.clone(),
        operator: toleration.operator.clone(),
        value: toleration.value.clone(),
        effect: toleration.effect.clone(),
        toleration_seconds: toleration.toleration_seconds,
    });
    Some(tolerations.collect()).filter(|list: &Vec<_>| !list.is_empty())
}

fn pull_secrets(input: &Input<'_>) -> Option<Vec<LocalObjectReference>> {
    let secrets = input.settings.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    Some(secrets.collect()).filter(|list: &Vec<_>| !list.is_empty())
}
