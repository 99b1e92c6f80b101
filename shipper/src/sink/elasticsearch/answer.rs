//! The answer to a bulk request: each item is judged on its own.

use serde::Deserialize;
use waybill_crds::Elasticsearch;

use super::super::{Answer, Failure};
use super::Outcome;
use super::bulk::Part;
use super::client::{Client, Reply};
use super::trouble::clip;

#[derive(Deserialize)]
struct Body {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Created,
}

#[derive(Deserialize)]
struct Created {
    status: u16,
    #[serde(rename = "_index")]
    index: Option<String>,
    failure_store: Option<String>,
    error: Option<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(rename = "type", default)]
    kind: String,
    reason: Option<String>,
    caused_by: Option<Box<Cause>>,
}

/// What an item says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The record is there.
    There,
    Refused(String),
    Again(String),
    Held(String, String),
}

/// The errors of a record that does not parse or does not map, by type.
const OF_THE_RECORD: [&str; 7] = [
    "mapper_parsing_exception",
    "document_parsing_exception",
    "strict_dynamic_mapping_exception",
    "json_parse_exception",
    "x_content_parse_exception",
    "parsing_exception",
    "input_coercion_exception",
];

/// Errors of the same kind that have only a general type, by what their reason says.
const IN_OTHER_WORDS: [&str; 10] = [
    "immense term",
    "Limit of total fields",
    "Limit of mapping depth",
    "Limit of nested fields",
    "cannot be changed from type",
    "can't merge a non object mapping",
    "conflicts with existing mapper",
    "Number of nested documents",
    "is longer than the maximum",
    "is longer than the limit of",
];

/// Judges each item of an answer with status 200. An answer that cannot be matched with the request is none: all goes again.
pub(super) fn judge(client: &Client, reply: &Reply, part: &Part, outcome: &mut Outcome) {
    let endpoint = &reply.endpoint;
    let body = match serde_json::from_slice::<Body>(&reply.body) {
        Ok(body) if body.items.len() == part.items.len() => body,
        Ok(body) => {
            let (got, sent) = (body.items.len(), part.items.len());
            return unreadable(outcome, format!("{endpoint}: the answer has {got} items for {sent} records"));
        }
        Err(error) => return unreadable(outcome, format!("{endpoint}: the answer cannot be read: {error}")),
    };
    let stream = &client.config().data_stream;
    for (item, answer) in part.items.iter().zip(body.items) {
        match verdict(&answer.create, stream) {
            Verdict::There => outcome.answers.push((item.parcel, item.record, Answer::Acknowledged)),
            Verdict::Refused(reason) => outcome.answers.push((item.parcel, item.record, Answer::Refused(reason))),
            Verdict::Again(what) => {
                outcome.unknown |= answer.create.status != 429;
                outcome.failure.get_or_insert_with(|| Failure::again(format!("{endpoint}: {what}")));
            }
            Verdict::Held(what, remedy) => {
                if !outcome.failure.as_ref().is_some_and(Failure::is_held) {
                    outcome.failure = Some(Failure::held(format!("{endpoint}: {what}"), remedy));
                }
            }
        }
        if answer.create.status == 201 {
            outcome.index = answer.create.index;
        }
    }
}

fn unreadable(outcome: &mut Outcome, what: String) {
    outcome.unknown = true;
    outcome.whole = true;
    outcome.failure = Some(Failure::again(what));
}

fn verdict(item: &Created, stream: &str) -> Verdict {
    let error = item.error.as_ref();
    let said = error.map_or_else(|| format!("status {}", item.status), |e| format!("{}: {}", item.status, e.chain()));
    let kind = error.map_or("", |e| e.kind.as_str());
    match item.status {
        200..=299 if item.failure_store.as_deref() == Some("used") => {
            Verdict::Refused(format!("{stream} did not take it: it stands in the failure store instead"))
        }
        200..=299 => Verdict::There,
        // A create conflicts with nothing but the record itself.
        409 if matches!(kind, "version_conflict_engine_exception" | "") => Verdict::There,
        408 | 409 | 429 | 500..=599 => Verdict::Again(said),
        400 | 413 if error.is_some_and(Cause::is_of_the_record) => Verdict::Refused(said),
        401 | 403 if kind == "cluster_block_exception" => {
            Verdict::Held(said, format!("lift the block: {stream} is read-only now"))
        }
        401 | 403 => Verdict::Held(said, format!("give the login the right to create documents in {stream}")),
        404 => Verdict::Held(said, "make the data stream: run `waybill setup`".to_owned()),
        _ => Verdict::Held(said, "this is no error of a record that is known here: look at the server".to_owned()),
    }
}

/// Judges the answer to a record that nobody takes: a refusal of the record itself says that others would be taken.
pub(super) fn probed(reply: &Reply, config: &Elasticsearch) -> Result<bool, Failure> {
    let endpoint = &reply.endpoint;
    let body: Body = serde_json::from_slice(&reply.body)
        .map_err(|e| Failure::again(format!("{endpoint}: the answer cannot be read: {e}")))?;
    match body.items.first().map(|item| verdict(&item.create, &config.data_stream)) {
        Some(Verdict::Held(what, remedy)) => Err(Failure::held(format!("{endpoint}: {what}"), remedy)),
        Some(Verdict::Again(what)) => Err(Failure::again(format!("{endpoint}: {what}"))),
        Some(Verdict::Refused(_)) => Ok(true),
        Some(Verdict::There) | None => Ok(false),
    }
}

impl Cause {
    fn is_of_the_record(&self) -> bool {
        let in_other_words = self.kind == "illegal_argument_exception"
            && self.reason.as_ref().is_some_and(|reason| IN_OTHER_WORDS.iter().any(|words| reason.contains(words)));
        OF_THE_RECORD.contains(&self.kind.as_str()) || in_other_words
    }

    fn chain(&self) -> String {
        let mut text = format!("{}: {}", self.kind, self.reason.as_deref().unwrap_or("no reason"));
        if let Some(cause) = self.caused_by.as_ref().and_then(|cause| cause.reason.as_ref()) {
            text = format!("{text}: {cause}");
        }
        clip(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(json: &str) -> Verdict {
        verdict(&serde_json::from_str(json).unwrap(), "logs-waybill-default")
    }

    #[test]
    fn each_kind_of_item() {
        let with = |status: u16, kind: &str, reason: &str| {
            judged(&format!(r#"{{"status":{status},"error":{{"type":"{kind}","reason":"{reason}"}}}}"#))
        };
        assert_eq!(judged(r#"{"status":201,"_index":"x"}"#), Verdict::There);
        assert_eq!(judged(r#"{"status":201,"failure_store":"not_applicable_or_unknown"}"#), Verdict::There);
        assert_eq!(with(409, "version_conflict_engine_exception", "document already exists"), Verdict::There);
        assert_eq!(judged(r#"{"status":409}"#), Verdict::There);
        assert!(matches!(judged(r#"{"status":201,"failure_store":"used"}"#), Verdict::Refused(_)));
        for (status, kind, reason) in [
            (400, "mapper_parsing_exception", "failed to parse"),
            (400, "document_parsing_exception", "failed to parse field [a] of type [ip]"),
            (400, "strict_dynamic_mapping_exception", "not allowed"),
            (400, "illegal_argument_exception", "Document contains at least one immense term in field"),
            (400, "illegal_argument_exception", "Limit of total fields [1000] has been exceeded"),
            (400, "illegal_argument_exception", "Field name [xx] is longer than the limit of [1] characters"),
        ] {
            assert!(matches!(with(status, kind, reason), Verdict::Refused(_)), "{kind}");
        }
        for (status, kind) in [
            (408, ""),
            (409, "resource_already_exists_exception"),
            (429, "cluster_block_exception"),
            (429, "es_rejected_execution_exception"),
            (500, "null_pointer_exception"),
            (503, "unavailable_shards_exception"),
        ] {
            assert!(matches!(with(status, kind, "x"), Verdict::Again(_)), "{status} {kind}");
        }
        for (status, kind, reason) in [
            (400, "illegal_argument_exception", "only write ops with an op_type of create are allowed in data streams"),
            (400, "ingest_processor_exception", "x"),
            (400, "something_new", "x"),
            (401, "security_exception", "x"),
            (403, "security_exception", "x"),
            (403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write (api)]"),
            (404, "index_not_found_exception", "x"),
            (302, "", ""),
            (418, "", ""),
        ] {
            assert!(matches!(with(status, kind, reason), Verdict::Held(..)), "{status} {kind}");
        }
    }
}
