//! Looks for records in the backing indices before the current one.
//!
//! The server knows an `_id` within one backing index. A record that was sent, with an outcome that is not known, would come a second
//! time if the data stream rolled over in between. So before such a record goes again, the backing indices before the current one are
//! asked for it. That costs one small request for each repeat, and two or more if there is an older backing index. It needs the rights
//! to read the data stream and its metadata; without them the repeat is sent all the same, for a second copy is better than none.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::super::Failure;
use super::bulk::Part;
use super::client::{Client, Reply};

/// How many backing indices before the current one are asked.
const DEPTH: usize = 3;
/// Ids in one request.
const IDS: usize = 5_000;

/// Whether the login may look.
#[derive(Debug, Default)]
pub(super) struct Previous {
    forbidden: AtomicBool,
}

#[derive(Deserialize)]
struct Streams {
    #[serde(default)]
    data_streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    indices: Vec<Index>,
}

#[derive(Deserialize)]
struct Index {
    index_name: String,
}

#[derive(Deserialize)]
struct Documents {
    docs: Vec<Document>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    found: bool,
}

impl Previous {
    /// The ids of a part that stand in an earlier backing index. `index` is the one that was written to before they were first sent,
    /// if that is known: while it is still the current one, there is nothing to look for.
    pub(super) async fn find(
        &self,
        client: &Client,
        part: &Part,
        index: Option<&str>,
    ) -> Result<HashSet<String>, Failure> {
        let mut found = HashSet::new();
        if self.forbidden.load(Ordering::Relaxed) {
            return Ok(found);
        }
        let path = format!("/_data_stream/{}?filter_path=data_streams.indices.index_name", client.config().data_stream);
        let reply = client.get(&path).await.map_err(|broken| broken.failure)?;
        let Some(streams) = self.read::<Streams>(client, &reply)? else { return Ok(found) };
        let indices: Vec<String> =
            streams.data_streams.into_iter().flat_map(|s| s.indices).map(|i| i.index_name).collect();
        let Some((current, earlier)) = indices.split_last() else { return Ok(found) };
        if index == Some(current.as_str()) {
            return Ok(found);
        }
        for earlier in earlier.iter().rev().take(DEPTH) {
            let path = format!("/{earlier}/_mget?_source=false&filter_path=docs._id,docs.found");
            let missing: Vec<&str> =
                part.items.iter().map(|item| item.id.as_str()).filter(|id| !found.contains(*id)).collect();
            for ids in missing.chunks(IDS) {
                let reply = client.json(Method::POST, &path, &json!({"ids": ids})).await.map_err(|b| b.failure)?;
                let Some(documents) = self.read::<Documents>(client, &reply)? else { break };
                found.extend(documents.docs.into_iter().filter(|d| d.found).map(|d| d.id));
            }
        }
        Ok(found)
    }

    /// Reads an answer; `None` if there is nothing there, or if the login may not look.
    fn read<T: for<'de> Deserialize<'de>>(&self, client: &Client, reply: &Reply) -> Result<Option<T>, Failure> {
        match reply.status {
            200 => serde_json::from_slice(&reply.body)
                .map(Some)
                .map_err(|e| Failure::again(format!("{}: an answer cannot be read: {e}", reply.endpoint))),
            404 => Ok(None),
            401 | 408 | 429 | 500..=599 => Err(client.trouble(reply)),
            status => {
                if !self.forbidden.swap(true, Ordering::Relaxed) {
                    let stream = &client.config().data_stream;
                    tracing::warn!(
                        status,
                        "the login may not read {stream} and its metadata: a record that is repeated right after a rollover may \
                         come twice; give it read and view_index_metadata to rule that out"
                    );
                }
                Ok(None)
            }
        }
    }
}
