//! How live files become archives.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::ByteSize;

const MAX_SIZE: ByteSize = ByteSize::mib(100);

/// Who rotates a source's files, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode == 'Rename' || !has(self.reopen)")
        .message("reopen is for mode Rename: write mode: Rename, or leave reopen out"),
    validation = Rule::new("self.mode != 'Rename' || has(self.reopen)")
        .message("mode Rename needs reopen: say how the writer is made to open its file anew, \
            or write mode: Collapse, which needs nothing of the writer")
)]
pub struct Rotation {
    /// Observe (default): someone else rotates, Waybill follows. Rename: the file is renamed, then its writer is made to
    /// reopen. Collapse: what is safe in an archive is cut from the front of the live file, and its writer never notices.
    #[serde(default)]
    pub mode: RotationMode,
    /// The size at which a file is rotated: 64Ki to 64Gi. Default 100Mi. Not used with Observe.
    #[serde(default = "max_size")]
    #[x_kube(validation = crate::rules::size("64Ki", "64Gi"))]
    pub max_size: ByteSize,
    /// How often a file is rotated, whatever its size: None (default), Hour, Day or Month, in the source's time zone. Not
    /// used with Observe.
    #[serde(default)]
    pub cycle: Cycle,
    /// How archives are compressed: Gzip (default), Zstd or None.
    #[serde(default)]
    pub compression: Compression,
    /// The folder for archives, an absolute path of at most 512 characters. Default: beside the file.
    #[serde(default)]
    #[schemars(length(max = crate::bounds::PATH_LENGTH))]
    #[x_kube(validation = crate::rules::folder())]
    pub folder: String,
    /// How the writer is made to reopen its file. Required for mode Rename, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopen: Option<Reopen>,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            mode: RotationMode::Observe,
            max_size: MAX_SIZE,
            cycle: Cycle::None,
            compression: Compression::Gzip,
            folder: String::new(),
            reopen: None,
        }
    }
}

fn max_size() -> ByteSize {
    MAX_SIZE
}

/// Who rotates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RotationMode {
    /// Someone else rotates, Waybill follows.
    #[default]
    Observe,
    /// Waybill renames the file, then makes its writer reopen it.
    Rename,
    /// Waybill cuts what is safe in an archive from the front of the live file.
    Collapse,
}

/// How often a file is rotated, whatever its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Cycle {
    /// By size alone.
    #[default]
    None,
    /// At every full hour.
    Hour,
    /// At midnight.
    Day,
    /// At midnight before the first of a month.
    Month,
}

/// How archives are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, file names end in `.gz`.
    #[default]
    Gzip,
    /// Zstandard, file names end in `.zst`.
    Zstd,
}

/// How the writer of a renamed file is made to open a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Signal') == (has(self.signal) && has(self.process))")
        .message("type Signal needs both signal and process, such as signal: USR1 and process: {executable: /usr/sbin/x}"),
    validation = Rule::new("self.type == 'Signal' || (!has(self.signal) && !has(self.process))")
        .message("signal and process are for type Signal: leave them out"),
    validation = Rule::new("(self.type == 'V2RayApi') == has(self.address)")
        .message("type V2RayApi needs address, such as 127.0.0.1:10085, and no other type has it")
)]
pub struct Reopen {
    /// Signal: a signal to the writing process. V2RayApi: V2Ray's and Xray's own logger API.
    #[serde(rename = "type")]
    pub kind: ReopenType,
    /// The signal, for type Signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// The process that gets the signal, for type Signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Where the API listens, for type V2RayApi: a loopback address with its port, such as 127.0.0.1:10085.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = crate::bounds::ADDRESS_LENGTH))]
    #[x_kube(validation = crate::rules::host())]
    pub address: Option<String>,
}

/// By what means a writer is made to reopen its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReopenType {
    /// A signal to the writing process.
    Signal,
    /// The logger API of V2Ray and Xray.
    V2RayApi,
}

/// A signal that asks a program to reopen its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

/// A process of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// The executable's absolute path, as the node sees it; at most 512 characters.
    #[schemars(length(min = 1, max = crate::bounds::PATH_LENGTH))]
    #[x_kube(validation = crate::rules::folder())]
    pub executable: String,
}

/// How a File sink's file becomes archives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileRotation {
    /// The size at which the file is rotated: 64Ki to 64Gi. Default 100Mi.
    #[serde(default = "max_size")]
    #[x_kube(validation = crate::rules::size("64Ki", "64Gi"))]
    pub max_size: ByteSize,
    /// How often the file is rotated, whatever its size: None (default), Hour, Day or Month.
    #[serde(default)]
    pub cycle: Cycle,
    /// How archives are compressed: Gzip (default), Zstd or None.
    #[serde(default)]
    pub compression: Compression,
}

impl Default for FileRotation {
    fn default() -> Self {
        Self { max_size: MAX_SIZE, cycle: Cycle::None, compression: Compression::Gzip }
    }
}
