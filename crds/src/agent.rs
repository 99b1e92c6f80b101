//! The DaemonSet of a policy; ignored on a bare host.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::quantity::{ParseQuantityError, TextOrNumber, not_a};

const CPU_REQUEST: &str = "100m";
const MEMORY: &str = "192Mi";
const MAX_UNAVAILABLE: MaxUnavailable = MaxUnavailable::Percent(10);

/// The DaemonSet of a policy; ignored on a bare host. Image, state root and priority class are the operator's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Labels of the nodes that get an agent, at most 32. Default: every node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::text_map")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that keep no agent away, at most 32. Default: all are tolerated, so that control-plane nodes are covered.
    #[serde(default = "tolerations")]
    #[schemars(length(max = crate::bounds::ENTRIES))]
    pub tolerations: Vec<Toleration>,
    /// Requests and limits of an agent. Default: 100m and 192Mi requested, limited to 192Mi.
    #[serde(default)]
    pub resources: Resources,
    /// How a new version reaches the nodes.
    #[serde(default)]
    pub update_strategy: UpdateStrategy,
    /// Annotations of the agents' service account, at most 32, such as eks.amazonaws.com/role-arn. Keys from the operator's
    /// allow-list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::text_map")]
    pub service_account_annotations: BTreeMap<String, String>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            node_selector: BTreeMap::new(),
            tolerations: tolerations(),
            resources: Resources::default(),
            update_strategy: UpdateStrategy::default(),
            service_account_annotations: BTreeMap::new(),
        }
    }
}

fn tolerations() -> Vec<Toleration> {
    vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }]
}

/// A toleration, as Kubernetes has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')")
        .message("write the taint's key, or operator: Exists for every taint"),
    validation = Rule::new("!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''")
        .message("operator Exists takes no value: leave it out, or write operator: Equal")
)]
pub struct Toleration {
    /// The taint's key. Absent with operator Exists: every taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub key: Option<String>,
    /// Equal (default of Kubernetes) or Exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::bounds::OTHER_NAME_LENGTH))]
    #[x_kube(
        validation = Rule::new("self in ['', 'Equal', 'Exists', 'Lt', 'Gt']").message("write Equal, Exists, Lt or Gt")
    )]
    pub operator: Option<String>,
    /// The taint's value, for operator Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::bounds::OTHER_NAME_LENGTH))]
    pub value: Option<String>,
    /// NoSchedule, PreferNoSchedule or NoExecute. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::bounds::OTHER_NAME_LENGTH))]
    #[x_kube(
        validation = Rule::new("self in ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute']")
            .message("write NoSchedule, PreferNoSchedule or NoExecute")
    )]
    pub effect: Option<String>,
    /// Seconds that a NoExecute taint is tolerated. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// Requests and limits, as Kubernetes has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is set aside for an agent. Default: cpu 100m, memory 192Mi.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::quantity_map")]
    pub requests: BTreeMap<String, Quantity>,
    /// What an agent may use at most. Default: memory 192Mi, and no bound for cpu.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::quantity_map")]
    pub limits: BTreeMap<String, Quantity>,
}

impl Resources {
    /// What applies: what is written, or the defaults if nothing is.
    #[must_use]
    pub fn effective(&self) -> Self {
        if *self != Self::default() {
            return self.clone();
        }
        let map = |entries: &[(&str, &str)]| {
            entries.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
        };
        Self { requests: map(&[("cpu", CPU_REQUEST), ("memory", MEMORY)]), limits: map(&[("memory", MEMORY)]) }
    }
}

/// A quantity of Kubernetes, such as 100m, 0.5 or 192Mi, kept as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity(String);

impl Quantity {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, suffix) = text.split_at(number);
        let dots = number.bytes().filter(|byte| *byte == b'.').count();
        let known = ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].contains(&suffix);
        if known && number.len() > dots && dots <= 1 && text.len() <= 20 {
            Ok(Self(text.to_owned()))
        } else {
            Err(not_a("a quantity", text))
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber(Self::from_str))
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-waybill": "quantity",
            "maxLength": 20,
            "pattern": "^([0-9]+[.]?[0-9]*|[.][0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
            // A pattern judges no number.
            "x-kubernetes-validations": [{"rule": "!string(self).startsWith('-')", "message": "write 0 or more, such as 100m or 192Mi"}],
        })
    }
}

/// How a new version reaches the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// Agents that may be down at once while they are replaced: a share such as 10%, or a number. Default 10%.
    #[serde(default = "max_unavailable")]
    pub max_unavailable: MaxUnavailable,
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self { max_unavailable: MAX_UNAVAILABLE }
    }
}

fn max_unavailable() -> MaxUnavailable {
    MAX_UNAVAILABLE
}

/// How many agents may be down at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxUnavailable {
    /// So many, at least one.
    Count(u32),
    /// This share of the nodes, 1 to 100.
    Percent(u8),
}

impl FromStr for MaxUnavailable {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || not_a("a number of nodes from 1 or a share from 1% to 100%", text);
        let digits = text.strip_suffix('%').unwrap_or(text);
        if digits.starts_with(['+', '0']) {
            return Err(wrong());
        }
        match (digits.parse::<u32>(), digits == text) {
            (Ok(count @ 1..=100_000), true) => Ok(Self::Count(count)),
            (Ok(percent @ 1..=100), false) => Ok(Self::Percent(percent as u8)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for MaxUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for MaxUnavailable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for MaxUnavailable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber(Self::from_str))
    }
}

impl JsonSchema for MaxUnavailable {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MaxUnavailable".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-waybill": "maxUnavailable",
            "maxLength": 20,
            "pattern": "^([1-9][0-9]{0,4}|([1-9][0-9]?|100)%)$",
            "x-kubernetes-validations": [{
                "rule": "!string(self).startsWith('-') && string(self) != '0' && size(string(self)) <= 6",
                "message": "write a share from 1% to 100%, or a number from 1",
            }],
        })
    }
}
