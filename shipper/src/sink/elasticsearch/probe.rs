//! Tries a data stream out without writing to it.

use reqwest::Method;
use serde_json::{Value, json};
use waybill_crds::Elasticsearch;

use super::super::{Context, Failure};
use super::client::{Broken, Client};
use super::product::{Flavor, Product};

/// Connects to each endpoint, logs in, and looks whether the data stream would take records.
pub fn probe(config: &Elasticsearch, context: &Context) -> Result<String, Failure> {
    let client = Client::new(config, &context.secrets)?;
    super::runtime()?.block_on(async {
        let mut product = None;
        for index in 0..config.endpoints.len() {
            client.use_endpoint(index);
            product = root(&client).await?;
        }
        client.use_endpoint(0);
        let known = is_there(&client, config).await?;
        // Elasticsearch says what a login may do; OpenSearch is asked for something that it never takes.
        let may = match product.as_ref().map(|p| p.flavor) {
            Some(Flavor::Elasticsearch | Flavor::Serverless) => privileges(&client, config).await?,
            Some(Flavor::OpenSearch) | None => refused_record(&client, config).await?,
        };
        let server = product.map_or_else(|| "the server".to_owned(), |p| p.to_string());
        let stream = &config.data_stream;
        Ok(match (known, may) {
            (true, true) => format!("{server} answers, the login is good, and {stream} takes records"),
            (true, false) => format!("{server} answers, the login is good, and {stream} is there"),
            (false, true) => format!("{server} answers, and the login may create documents in {stream}"),
            (false, false) => format!("{server} answers and the login is good; it may not look at {stream}"),
        })
    })
}

/// The product; `None` if the login is good and may not ask.
async fn root(client: &Client) -> Result<Option<Product>, Failure> {
    let reply = client.get("/").await.map_err(|b| b.failure)?;
    match reply.status {
        200 => Product::read(&reply.endpoint, &reply.body).map(Some),
        403 if reply.product.is_some() => {
            Ok(Some(Product { flavor: Flavor::Elasticsearch, version: "of an unknown version".to_owned() }))
        }
        403 => Ok(None),
        _ => Err(client.trouble(&reply)),
    }
}

/// Whether the data stream is there and open; `false` if the login may not look.
async fn is_there(client: &Client, config: &Elasticsearch) -> Result<bool, Failure> {
    let stream = &config.data_stream;
    let reply = client.get(&format!("/_data_stream/{stream}")).await.map_err(|b| b.failure)?;
    let endpoint = &reply.endpoint;
    match reply.status {
        200 => {
            let found: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            if found["data_streams"].as_array().is_none_or(Vec::is_empty) {
                return Err(missing(endpoint, stream));
            }
        }
        404 => {
            let index = client.get(&format!("/{stream}")).await.map_err(|b| b.failure)?;
            if index.status == 200 {
                return Err(Failure::held(
                    format!("{endpoint}: {stream} is an index, not a data stream"),
                    "remove that index and run `waybill setup`, or name another data stream",
                ));
            }
            return Err(missing(endpoint, stream));
        }
        400 | 403 | 405 => return Ok(false),
        _ => return Err(client.trouble(&reply)),
    }
    let blocks = client.get(&format!("/{stream}/_settings/index.blocks.*")).await.map_err(|b| b.failure)?;
    if blocks.status == 200 {
        let all: Value = serde_json::from_slice(&blocks.body).unwrap_or_default();
        // Earlier backing indices may be closed for writing; the newest counts, and they sort by their number.
        let newest = all
            .as_object()
            .and_then(|all| all.iter().max_by_key(|(name, _)| name.rsplit('-').next().map(str::to_owned)));
        let set = newest.and_then(|(_, index)| index["settings"]["index"]["blocks"].as_object());
        let closed = set.and_then(|set| set.iter().find(|(_, value)| **value == "true" || **value == true));
        if let Some((block, _)) = closed {
            return Err(Failure::held(
                format!("{endpoint}: {stream} is read-only (index.blocks.{block})"),
                "lift the block; if the cluster set it, its disk is full",
            ));
        }
    }
    Ok(true)
}

fn missing(endpoint: &str, stream: &str) -> Failure {
    Failure::held(
        format!("{endpoint}: there is no data stream {stream}"),
        "run `waybill setup` with an administrator's login, or correct dataStream",
    )
}

/// Asks Elasticsearch what the login may do. `false` if that cannot be told, as without security.
async fn privileges(client: &Client, config: &Elasticsearch) -> Result<bool, Failure> {
    let stream = &config.data_stream;
    let body = json!({"index": [{"names": [stream], "privileges": ["create_doc"]}]});
    let reply = client
        .json(Method::POST, "/_security/user/_has_privileges", &body)
        .await
        .map_err(|Broken { failure, .. }| failure)?;
    if reply.status != 200 {
        return Ok(false);
    }
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if answer["has_all_requested"] == false {
        let what = format!("{}: the login may not create documents in {stream}", reply.endpoint);
        return Err(Failure::held(what, "give it the index privilege create_doc there"));
    }
    Ok(answer["has_all_requested"] == true)
}

/// Sends OpenSearch a record without a time, which no data stream takes: what it says first tells whether the login may write.
async fn refused_record(client: &Client, config: &Elasticsearch) -> Result<bool, Failure> {
    let body = super::bulk::compress(b"{\"create\":{\"_id\":\"waybill-probe\"}}\n{}\n")
        .map_err(|e| Failure::again(format!("a request cannot be compressed: {e}")))?;
    let reply = client.bulk(body).await.map_err(|b| b.failure)?;
    if reply.status != 200 {
        return Err(client.trouble(&reply));
    }
    super::answer::probed(&reply, config)
}
