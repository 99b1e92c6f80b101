//! Fetches the servers that tests start where there is no network: inside of the test cluster. What can't be had is said and is no
//! error; the tests that need it are counted as skipped.

use waybill_tests::kafka::Broker;
use waybill_tests::opensearch::OpenSearch;

fn main() {
    for (name, missing, fetch) in [
        ("Kafka", Broker::missing(), Broker::fetch as fn() -> anyhow::Result<_>),
        ("OpenSearch", OpenSearch::missing(), OpenSearch::fetch),
    ] {
        let why = missing.or_else(|| fetch().err().map(|error| format!("{error:#}")));
        if let Some(why) = why {
            println!("SKIPPED: {name} can't be fetched: {why}");
        }
    }
}
