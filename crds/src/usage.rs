//! What a usage policy forbids, and what counts as evidence of it.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Evidence that a connection breaks a usage policy (V2Ray and Xray). Every list has at most 32 entries. Default: evidence of
/// BitTorrent, with the lists that the documentation of V2RayAccess names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Names of hosts that are forbidden; what lies below a name is forbidden with it. Each is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = crate::bounds::ENTRIES),
        inner(length(min = 1, max = crate::bounds::VALUE_LENGTH))
    )]
    #[x_kube(validation = crate::rules::host_names())]
    pub hosts: Vec<String>,
    /// Outbound tags to which the rule for BitTorrent routes. Each is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = crate::bounds::ENTRIES),
        inner(length(min = 1, max = crate::bounds::OTHER_NAME_LENGTH))
    )]
    pub outbounds: Vec<String>,
    /// Ports that speak for BitTorrent beside the usual ones; one alone is not enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::ENTRIES), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
    /// So many different addresses on high ports in one minute are too many for one user: 10 to 200, or 0 for never. Default
    /// 40.
    #[serde(default = "fan_out")]
    #[schemars(range(min = 0, max = 200))]
    #[x_kube(validation = Rule::new("self == 0 || self >= 10").message("write 10 to 200, or 0 for never"))]
    pub fan_out: u32,
    /// Ports that never count, beside those of services that talk to many addresses, such as 7680, on which Windows shares its
    /// updates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::ENTRIES), inner(range(min = 1, max = 65535)))]
    pub except_ports: Vec<u16>,
    /// Names of hosts that never count, with what lies below them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = crate::bounds::ENTRIES),
        inner(length(min = 1, max = crate::bounds::VALUE_LENGTH))
    )]
    #[x_kube(validation = crate::rules::host_names())]
    pub except_hosts: Vec<String>,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            outbounds: Vec::new(),
            ports: Vec::new(),
            fan_out: fan_out(),
            except_ports: Vec::new(),
            except_hosts: Vec::new(),
        }
    }
}

fn fan_out() -> u32 {
    40
}
