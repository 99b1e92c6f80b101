//! `make demo`: Waybill's main job on genuine input, in under a minute.

fn main() -> anyhow::Result<()> {
    waybill_tests::demo::run()
}
