//! Writes a value as YAML in block style. Texts that YAML could take for anything else are written as JSON strings.

use std::fmt::Write as _;

use serde_json::Value;

/// Appends `value` as one document.
pub(super) fn write(out: &mut String, value: &Value) {
    node(out, value, 0);
}

fn node(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let _ = write!(out, "{:indent$}{}:", "", text(key));
                member(out, value, indent + 2);
            }
        }
        Value::Array(items) => {
            for item in items {
                if is_block(item) {
                    let mut inner = String::new();
                    node(&mut inner, item, indent + 2);
                    let _ = write!(out, "{:indent$}- {}", "", inner.trim_start());
                } else {
                    let _ = writeln!(out, "{:indent$}- {}", "", scalar(item));
                }
            }
        }
        _ => {
            let _ = writeln!(out, "{}", scalar(value));
        }
    }
}

fn member(out: &mut String, value: &Value, indent: usize) {
    if is_block(value) {
        out.push('\n');
        node(out, value, indent);
    } else {
        let _ = writeln!(out, " {}", scalar(value));
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A plain scalar where no YAML, old or new, could mistake it; a JSON string elsewhere.
fn text(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '/' | '_'))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}
