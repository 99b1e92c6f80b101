//! Whether an object is what it should be. Pure.
//!
//! The API server adds fields that no one set and rewrites quantities, so equality is not the question: everything that the
//! operator says must be there, and lists must have no more than what it says.

use serde_json::Value;

/// Whether `live` says all that `desired` says.
pub(super) fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, value)| live.get(key).is_some_and(|live| covers(live, value)))
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(live, desired)| covers(live, desired))
        }
        (Value::String(live), Value::String(desired)) => live == desired || same_quantity(live, desired),
        _ => live == desired,
    }
}

/// Whether two texts are one quantity, such as 0.5 and 500m.
fn same_quantity(left: &str, right: &str) -> bool {
    matches!((quantity(left), quantity(right)), (Some(left), Some(right)) if left == right)
}

/// A quantity in thousandths, rounded up as the API server does.
fn quantity(text: &str) -> Option<u128> {
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let unit: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        "Ei" => 1000 << 60,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 18 || whole.len() > 18 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(digits.checked_mul(unit)?.div_ceil(scale))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_adds_does_not_count() {
        let desired = json!({"spec": {"list": [{"name": "a", "value": 1}], "memory": "1024Mi", "cpu": "0.5"}});
        let live = json!({"status": {}, "spec": {"list": [{"name": "a", "value": 1, "default": true}], "memory": "1Gi", "cpu": "500m"}});
        assert!(covers(&live, &desired));
        assert!(!covers(&desired, &live));
    }

    #[test]
    fn every_change_of_what_was_said_counts() {
        let desired = json!({"a": [{"b": "x"}], "c": true});
        for live in [
            json!({"a": [{"b": "y"}], "c": true}),
            json!({"a": [{"b": "x"}], "c": false}),
            json!({"a": [{"b": "x"}]}),
            json!({"a": [], "c": true}),
            json!({"a": [{"b": "x"}, {"b": "z"}], "c": true}),
            json!(null),
        ] {
            assert!(!covers(&live, &desired), "{live}");
        }
    }

    #[test]
    fn quantities_are_compared_by_value() {
        for (left, right) in [("1", "1000m"), ("1.5Gi", "1536Mi"), ("0.1", "100m"), ("1k", "1000"), ("0.0001", "1m")] {
            assert!(same_quantity(left, right), "{left} {right}");
        }
        for (left, right) in [("1", "2"), ("1Gi", "1G"), ("a", "b"), ("", ""), (".", "."), ("1e3", "1000")] {
            assert!(!same_quantity(left, right), "{left} {right}");
        }
    }
}
