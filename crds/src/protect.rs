//! Attributes of the file system against tampering.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Attributes of the file system that keep others from changing what was written (ext4 and others that know them).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Protect {
    /// Live files become append-only. Default false.
    #[serde(default)]
    pub live: bool,
    /// Archives become immutable until retention removes them. Default false.
    #[serde(default)]
    pub archives: bool,
    /// What happens where the file system knows no such attributes. Refuse (default): the source or sink is refused. Warn: it
    /// runs without.
    #[serde(default)]
    pub when_unsupported: WhenUnsupported,
}

impl Protect {
    /// Whether nothing is protected.
    pub fn is_off(&self) -> bool {
        !self.live && !self.archives
    }
}

/// What happens where the file system can't protect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsupported {
    /// The source or sink is refused.
    #[default]
    Refuse,
    /// It runs without, with a warning.
    Warn,
}
