//! What one agent may use.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::ByteSize;

const IN_FLIGHT: ByteSize = ByteSize::mib(64);
const LINE: ByteSize = ByteSize::mib(1);
const OPEN_FILES: u32 = 1024;
const DRAIN_SECONDS: u32 = 25;

/// What one agent may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!isQuantity(string(self.inFlight)) || !isQuantity(string(self.line)) \
            || quantity(string(self.inFlight)).compareTo(quantity(string(self.line)).add(quantity(string(self.line)))) >= 0")
        .message("inFlight does not hold two lines: write at least twice limits.line")
)]
pub struct Limits {
    /// Bytes of records in memory, all lanes together: 1Mi to 16Gi, at least twice `line`. Each sink has its even share, a `File` or
    /// `Stdout` sink 16Mi of it at most. Default 64Mi.
    #[serde(default = "in_flight")]
    #[x_kube(validation = crate::rules::size("1Mi", "16Gi"))]
    pub in_flight: ByteSize,
    /// Bytes of a line: 1Ki to 64Mi. A longer line is delivered in numbered fragments. Default 1Mi.
    #[serde(default = "line")]
    #[x_kube(validation = crate::rules::size("1Ki", "64Mi"))]
    pub line: ByteSize,
    /// Files that are held open: 16 to 8192. Beside these, a file that owes bytes to a required lane stays open, up to 8192.
    /// Default 1024.
    #[serde(default = "open_files")]
    #[schemars(range(min = 16, max = 8192))]
    pub open_files: u32,
    /// Seconds that the lanes get to finish when the agent is told to stop: 0 to 600. Default 25.
    #[serde(default = "drain_seconds")]
    #[schemars(range(min = 0, max = 600))]
    pub drain_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: IN_FLIGHT, line: LINE, open_files: OPEN_FILES, drain_seconds: DRAIN_SECONDS }
    }
}

fn in_flight() -> ByteSize {
    IN_FLIGHT
}

fn line() -> ByteSize {
    LINE
}

fn open_files() -> u32 {
    OPEN_FILES
}

fn drain_seconds() -> u32 {
    DRAIN_SECONDS
}
