//! The index template: the types of the fields, as Elasticsearch 8 and 9 and OpenSearch 2 and 3 take them alike.
//!
//! A field that is not listed is kept with its record and is not searchable: names in a log are foreign text, and an index holds a
//! bounded number of fields. A value that does not fit its field's type is left out of the index, and the record is taken all the same.

use serde_json::{Map, Value, json};
use waybill_crds::Elasticsearch;

/// The version of what is installed; it rises with every change here.
pub(super) const VERSION: u64 = 2;

/// The types of the fields.
const FIELDS: &str = include_str!("fields.txt");

/// Longer text is kept and not indexed, in characters. The servers refuse a record with a term of more than 32,766 bytes.
const LONGEST: u32 = 8191;

/// The types of all fields.
pub(super) fn mappings() -> Value {
    let keyword = json!({"type": "keyword", "ignore_above": LONGEST});
    let mut properties = Map::new();
    for (name, kind) in FIELDS.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| *name != "#") {
        let kind = match kind {
            "keyword" => keyword.clone(),
            "kept" => json!({"type": "keyword", "index": false, "doc_values": false}),
            "foreign" => json!({"type": "object", "dynamic": false}),
            kind => json!({"type": kind}),
        };
        insert(&mut properties, name, &kind);
    }
    // The other objects of `waybill` are what the formats say of their programs: their names are in the code.
    properties["waybill"]["dynamic"] = json!(true);
    properties["waybill"]["properties"]["control"]["dynamic"] = json!(false);
    let of_scalars = |kind: &str| {
        let template = json!({"path_match": "waybill.*", "match_mapping_type": kind, "mapping": keyword.clone()});
        json!({(kind): template})
    };
    let templates = ["string", "long", "double", "boolean"].map(of_scalars);
    json!({
        "_meta": {"waybill": {"version": VERSION}},
        "dynamic": false,
        "date_detection": false,
        "dynamic_templates": templates,
        "properties": properties,
    })
}

fn insert(properties: &mut Map<String, Value>, name: &str, kind: &Value) {
    match name.split_once('.') {
        None => {
            properties.insert(name.to_owned(), kind.clone());
        }
        Some((head, rest)) => {
            let object = properties.entry(head).or_insert_with(|| json!({"properties": {}}));
            if let Some(inner) = object["properties"].as_object_mut() {
                insert(inner, rest, kind);
            }
        }
    }
}

/// The name of the template and of the retention policy.
pub(super) fn name(config: &Elasticsearch) -> String {
    format!("waybill-{}", config.data_stream)
}

/// The whole template, with further settings and a lifecycle of the data stream's own if the product has that.
pub(super) fn template(config: &Elasticsearch, settings: &[(&str, Value)], lifecycle: Option<Value>) -> Value {
    let mut all = json!({
        "index.codec": "best_compression",
        "index.mapping.total_fields.limit": 2000,
        "index.mapping.ignore_malformed": true,
    });
    for (name, value) in settings {
        all[*name] = value.clone();
    }
    let mut template = json!({"settings": all, "mappings": mappings()});
    if let Some(lifecycle) = lifecycle {
        template["lifecycle"] = lifecycle;
    }
    json!({
        "index_patterns": [config.data_stream],
        "data_stream": {},
        // Above those that Elasticsearch brings for logs-*-*, which have 100.
        "priority": 500,
        "version": VERSION,
        "_meta": {"description": "records of Waybill", "managed_by": "waybill setup", "version": VERSION},
        "template": template,
    })
}

/// Days after which a backing index makes room for a new one. A record outlives its retention by no more than this.
pub(super) fn rollover_days(retention: Option<u32>) -> u32 {
    match retention {
        Some(0..30) => 1,
        Some(30..) => 7,
        None => 30,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The type of a field in the mapping.
    fn kind<'a>(mappings: &'a Value, name: &str) -> Option<&'a str> {
        let mut at = mappings;
        for part in name.split('.') {
            at = at.get("properties")?.get(part)?;
        }
        at.get("type")?.as_str()
    }

    #[test]
    fn every_field_of_a_canonical_record_has_a_type() {
        let mappings = mappings();
        for name in crate::format::field_names() {
            assert!(kind(&mappings, name).is_some(), "{name} is not in the index template: add it, and raise VERSION");
        }
        for (name, wanted) in [("@timestamp", "date"), ("source.ip", "ip"), ("waybill.id", "keyword")] {
            assert_eq!(kind(&mappings, name), Some(wanted));
        }
    }

    #[test]
    fn what_a_log_names_itself_makes_no_field() {
        let mappings = mappings();
        assert_eq!(mappings["dynamic"], false);
        for name in ["json", "qurl", "control"] {
            assert_eq!(mappings["properties"]["waybill"]["properties"][name]["dynamic"], false, "{name}");
        }
    }
}
