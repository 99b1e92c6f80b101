//! Judges one value by its schema, and says how it would be written.

use serde_json::Value;

use super::suggest::nearest;
use super::tree::{Kind, Node};
use crate::agent::{MaxUnavailable, Quantity};
use crate::quantity::{ByteSize, MinFree};

/// What is wrong, and what to write instead.
pub(super) type Wrong = (String, String);

/// Characters of a value that a message repeats.
const SHOWN: usize = 64;

pub(super) fn is_text_or_number(schema: &Value) -> bool {
    schema["x-kubernetes-int-or-string"] == true
}

/// Judges a quantity.
pub(super) fn text_or_number(value: &Value, schema: &Value) -> Option<Wrong> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => {
            return Some((format!("{} is no quantity", shown(value)), example(schema).to_owned()));
        }
    };
    let valid = match schema["x-waybill"].as_str() {
        Some("byteSize") => text.parse::<ByteSize>().is_ok(),
        Some("minFree") => text.parse::<MinFree>().is_ok(),
        Some("maxUnavailable") => text.parse::<MaxUnavailable>().is_ok(),
        _ => text.parse::<Quantity>().is_ok(),
    };
    (!valid).then(|| (format!("{} is no quantity that is known here", shown(value)), example(schema).to_owned()))
}

/// Judges a text, a number or a boolean.
pub(super) fn scalar(value: &Value, schema: &Value) -> Option<Wrong> {
    match (schema["type"].as_str(), value) {
        (Some("boolean"), Value::Bool(_)) => None,
        (Some("string"), Value::String(text)) => string(text, schema),
        (Some("integer"), Value::Number(number)) => integer(number, schema),
        (Some("string"), Value::Number(_) | Value::Bool(_)) if schema.get("enum").is_none() => {
            Some((format!("{} is not a text", shown(value)), format!("put it in quotes: \"{}\"", bare(value))))
        }
        (Some("boolean"), Value::String(text)) => {
            let remedy = match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" | "1" => "write true, without quotes",
                "no" | "off" | "n" | "false" | "0" => "write false, without quotes",
                _ => "write true or false",
            };
            Some((format!("{} is neither true nor false", shown(value)), remedy.to_owned()))
        }
        (Some("integer"), Value::String(text)) if text.parse::<i64>().is_ok() => {
            Some((format!("{} is a text", shown(value)), format!("write {text} without quotes")))
        }
        _ => Some((format!("{} is not {}", shown(value), kind(schema)), how(schema))),
    }
}

fn string(text: &str, schema: &Value) -> Option<Wrong> {
    if let Some(names) = schema["enum"].as_array() {
        if names.iter().any(|name| name == text) {
            return None;
        }
        let remedy = match nearest(text, names.iter().filter_map(Value::as_str)) {
            Some(name) => format!("did you mean {name}?"),
            None => how(schema),
        };
        return Some((format!("{} is not known here", shown(&Value::from(text))), remedy));
    }
    let length = text.chars().count() as u64;
    if schema["minLength"].as_u64().is_some_and(|least| length < least) {
        return Some((
            "this is empty".to_owned(),
            "write something, or leave the field out if it may be absent".to_owned(),
        ));
    }
    if let Some(most) = schema["maxLength"].as_u64()
        && length > most
    {
        return Some((format!("this has {length} characters"), format!("write at most {most}")));
    }
    let (valid, remedy) = match schema["x-waybill"].as_str() {
        Some("name") => {
            (is_name(text), "write lower-case letters, digits and hyphens, beginning and ending with a letter or digit")
        }
        Some("secretName") => {
            (text.split('.').all(is_name), "write the name of a Secret: lower-case letters, digits, hyphens and dots")
        }
        Some("secretKey") => (
            !text.starts_with('.')
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')),
            "write a key of the Secret: letters, digits, dots, underscores and hyphens, not beginning with a dot",
        ),
        _ => (true, ""),
    };
    (!valid).then(|| (format!("{} is no name that can be used here", shown(&Value::from(text))), remedy.to_owned()))
}

/// Whether a text can name a source or a sink, its length aside.
pub(super) fn is_name(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    inner && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

fn integer(number: &serde_json::Number, schema: &Value) -> Option<Wrong> {
    if !number.is_i64() && !number.is_u64() {
        return Some((format!("{number} is not a whole number"), how(schema)));
    }
    let (least, most) = bounds(schema);
    let number = number.as_f64().unwrap_or_default();
    let within = least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most);
    (!within).then(|| (format!("{number} is out of bounds"), how(schema)))
}

fn bounds(schema: &Value) -> (Option<f64>, Option<f64>) {
    (schema["minimum"].as_f64(), schema["maximum"].as_f64())
}

/// A value of the wrong type.
pub(super) fn wrong_type(node: &Node, schema: &Value) -> Wrong {
    let is = match &node.kind {
        Kind::Scalar(Value::Null) => "nothing".to_owned(),
        Kind::Scalar(value) => shown(value),
        Kind::Sequence(_) => "a list".to_owned(),
        Kind::Mapping(_) => "an object".to_owned(),
    };
    (format!("this is {is}, and should be {}", kind(schema)), how(schema))
}

/// How a missing field is written.
pub(super) fn how_to_write(name: &str, schema: &Value) -> String {
    let value = match name {
        "name" => "the entry's own name, such as gateway",
        "paths" => "[\"/var/log/v2ray/access.log\"]",
        "path" => "/var/lib/waybill/archive/audit.log",
        "brokers" => "[\"kafka-0:9093\"]",
        "endpoints" => "[\"https://es-0:9200\"]",
        "address" => "siem:6514",
        "listen" => "\"0.0.0.0:5514\"",
        _ => return format!("write {name}: {}", how(schema).trim_start_matches("write ")),
    };
    format!("write {name}: {value}")
}

fn how(schema: &Value) -> String {
    if is_text_or_number(schema) {
        return example(schema).to_owned();
    }
    if let Some(names) = schema["enum"].as_array() {
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        return match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => {
                format!("write {} or {last}", rest.join(", "))
            }
            _ => format!("write {}", names.join("")),
        };
    }
    match (schema["type"].as_str(), bounds(schema)) {
        (Some("integer"), (Some(least), Some(most))) => {
            format!("write a whole number from {least} to {most}")
        }
        (Some("integer"), _) => "write a whole number".to_owned(),
        (Some("boolean"), _) => "write true or false".to_owned(),
        (Some("array"), _) => "write a list, such as [\"…\"], or one entry a line behind a hyphen".to_owned(),
        (Some("object"), _) => match schema["properties"].as_object() {
            Some(fields) => {
                let fields: Vec<&str> = fields.keys().map(String::as_str).collect();
                format!("write an object with fields of {}", fields.join(", "))
            }
            None => "write an object, such as {name: value}".to_owned(),
        },
        _ => "write a text".to_owned(),
    }
}

fn kind(schema: &Value) -> &'static str {
    if is_text_or_number(schema) {
        return "a quantity";
    }
    match schema["type"].as_str() {
        Some("integer") => "a whole number",
        Some("boolean") => "true or false",
        Some("array") => "a list",
        Some("object") => "an object",
        _ => "a text",
    }
}

fn example(schema: &Value) -> &'static str {
    match schema["x-waybill"].as_str() {
        Some("byteSize") => "write a size such as 64Mi, 5Gi or 100M, without a fraction",
        Some("minFree") => "write a share from 1% to 99%, or a size such as 5Gi",
        Some("maxUnavailable") => "write a share from 1% to 100%, or a number from 1",
        _ => "write a quantity such as 100m or 192Mi",
    }
}

/// A value as a message shows it: short, and without control characters.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

fn bare(value: &Value) -> String {
    shown(value).trim_matches('"').to_owned()
}
