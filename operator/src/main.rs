//! The Waybill operator.
fn main() {}
