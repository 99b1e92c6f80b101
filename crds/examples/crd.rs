//! Writes the `CustomResourceDefinition` into the file beside the crate.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("auditpolicies.waybill.dev.yaml");
    std::fs::write(path, waybill_crds::crd_yaml())
}
