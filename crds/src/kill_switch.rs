//! The kill switch: one object, which stands on the policy, on each source and on each sink.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stops delivery. Any engaged switch counts; where switches overlap, Hold wins.
///
/// The mode at the throw governs. A change while engaged is a new entry in the ledger, for bytes from then on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.engaged || (self.reason.trim() != '' && self.requestedBy.trim() != '')")
        .message("an engaged kill switch needs a reason and requestedBy: write why, and your user name"),
    validation = Rule::new("self.engaged == oldSelf.engaged || self.requestedBy.trim() != ''")
        .message("whoever throws or lifts a kill switch says so: write your user name in requestedBy")
)]
pub struct KillSwitch {
    /// Whether the switch is thrown. Default false.
    #[serde(default)]
    pub engaged: bool,
    /// What becomes of records meanwhile. Hold (default): nothing new is delivered, nothing is lost. Discard: they are
    /// skipped for good, with an entry in the ledger.
    #[serde(default)]
    pub mode: KillSwitchMode,
    /// Why the switch is thrown. Required when it is engaged; at most 512 characters.
    #[serde(default)]
    #[schemars(length(max = crate::bounds::REASON_LENGTH))]
    pub reason: String,
    /// Who throws or lifts it: the user name that the cluster knows. Required when it is thrown or lifted; at most 253
    /// characters.
    #[serde(default)]
    #[schemars(length(max = crate::bounds::USER_LENGTH))]
    pub requested_by: String,
}

/// What an engaged kill switch does with records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KillSwitchMode {
    /// Nothing new is delivered, nothing is lost.
    #[default]
    Hold,
    /// Records are skipped for good, with an entry in the ledger.
    Discard,
}
