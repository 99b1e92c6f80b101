//! How long archives and rotated files are kept.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{ByteSize, MinFree};

const MAX_AGE_DAYS: u32 = 90;
const MAX_FILES: u32 = 14;

/// How long archives and rotated files are kept. A file goes when any of the bounds is passed, the oldest first, and never
/// before every required lane has it, unless `onPressure` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Days that a file is kept: 0 to 36500, 0 for no bound. Default 90.
    #[serde(default = "max_age_days")]
    #[schemars(range(min = 0, max = 36500))]
    pub max_age_days: u32,
    /// Files of each live file that are kept: 0 to 100000, 0 for no bound. Default 14.
    #[serde(default = "max_files")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_files: u32,
    /// Bytes of all files together, such as 5Gi. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("!isQuantity(string(self)) || quantity(string(self)).compareTo(quantity('1Mi')) >= 0")
            .message("write at least 1Mi, or leave it out for no bound")
    )]
    pub max_total_size: Option<ByteSize>,
    /// What has to stay free on the file system: a share such as 10%, or a size such as 5Gi. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("!string(self).startsWith('-')").message("write a share from 1% to 99%, or a size such as 5Gi")
    )]
    pub min_free: Option<MinFree>,
    /// What happens if a bound is passed while a required lane still lacks bytes. Hold (default): they are never deleted.
    /// Evict: the loss is entered, then the oldest file is deleted.
    #[serde(default)]
    pub on_pressure: OnPressure,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age_days: MAX_AGE_DAYS,
            max_files: MAX_FILES,
            max_total_size: None,
            min_free: None,
            on_pressure: OnPressure::Hold,
        }
    }
}

fn max_age_days() -> u32 {
    MAX_AGE_DAYS
}

fn max_files() -> u32 {
    MAX_FILES
}

/// What happens if a bound is passed while a required lane still lacks bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnPressure {
    /// Never delete what a required lane lacks.
    #[default]
    Hold,
    /// Enter the loss, then delete the oldest.
    Evict,
}
