//! Prints the schema.
fn main() { println!("{}", serde_json::to_string_pretty(&waybill_crds::crd()).unwrap_or_default()); }
