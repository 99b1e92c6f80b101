//! Who may connect to the pods: the operator and whoever collects metrics; to what listens for syslog, everyone.

use std::net::SocketAddr;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use waybill_crds::ListenTransport;

use super::{Input, metadata};
use crate::names;

pub(super) fn build(input: &Input<'_>) -> NetworkPolicy {
    let pages = NetworkPolicyIngressRule {
        from: Some(vec![
            namespaces("kubernetes.io/metadata.name", &input.settings.namespace),
            namespaces(names::METRICS_LABEL, "allowed"),
        ]),
        ports: Some(vec![port("TCP", input.settings.agents_listen.port())]),
    };
    let mut ingress = vec![pages];
    let sockets = input.spec.sources.iter().filter_map(|source| source.syslog.as_ref());
    let ports: Vec<NetworkPolicyPort> = sockets
        .filter_map(|syslog| {
            let protocol = match syslog.transport {
                ListenTransport::Udp => "UDP",
                ListenTransport::Tcp => "TCP",
            };
            Some(port(protocol, syslog.listen.parse::<SocketAddr>().ok()?.port()))
        })
        .collect();
    if !ports.is_empty() {
        ingress.push(NetworkPolicyIngressRule { from: None, ports: Some(ports) });
    }
    NetworkPolicy {
        metadata: metadata(input),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(names::selector(input.policy)),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}

fn namespaces(label: &str, value: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some([(label.to_owned(), value.to_owned())].into()),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn port(protocol: &str, port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.to_owned()), port: Some(IntOrString::Int(port.into())), end_port: None }
}
