//! A file on the node.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::protect::Protect;
use crate::retention::Retention;
use crate::rotation::FileRotation;

/// A file on the node: one JSON object a line, written and synced before a record counts as delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSink {
    /// The file's absolute path, at most 512 characters. On a cluster it lies below one of the operator's write roots.
    #[schemars(length(min = 1, max = crate::bounds::PATH_LENGTH))]
    #[x_kube(validation = crate::rules::file())]
    pub path: String,
    /// When the file is rotated. Default: at 100Mi, compressed with gzip.
    #[serde(default)]
    pub rotation: FileRotation,
    /// How long archives are kept. Default: 90 days and at most 14 of them.
    #[serde(default)]
    pub retention: Retention,
    /// Attributes of the file system against tampering. Default: none.
    #[serde(default)]
    pub protect: Protect,
}
