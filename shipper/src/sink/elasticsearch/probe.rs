//! Tries a data stream out without writing to it.

use super::super::{Context, Failure};
use super::client::Client;
use waybill_crds::Elasticsearch;

/// Connects to each endpoint, logs in, and looks whether the data stream would take records.
pub fn probe(config: &Elasticsearch, context: &Context) -> Result<String, Failure> {
    let client = Client::new(config, &context.secrets)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::again(format!("the sink cannot start: {e}")))?;
    runtime.block_on(async {
        for index in 0..config.endpoints.len() {
            client.use_endpoint(index);
            let reply = client.get("/").await.map_err(|b| b.failure)?;
            if reply.status != 200 {
                return Err(client.trouble(&reply));
            }
        }
        Ok(format!("{} answers", client.endpoint()))
    })
}
