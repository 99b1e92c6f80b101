//! `waybill`: arguments, then one call.
fn main() {}
