//! What a plain scalar means: the core schema of YAML 1.2, in which `on`, `off`, `yes` and `no` are texts.

use serde_json::{Number, Value};

/// Resolves a plain scalar.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    integer(text).or_else(|| float(text)).map_or_else(|| Value::from(text), Value::Number)
}

fn integer(text: &str) -> Option<Number> {
    let digits = |text: &str, radix| {
        text.bytes().all(|byte| char::from(byte).is_digit(radix)).then(|| u64::from_str_radix(text, radix).ok())?
    };
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8).map(Number::from);
    }
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        return digits(hexadecimal, 16).map(Number::from);
    }
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<i64>().ok().map(Number::from),
        Some(_) => None,
        None => digits(text.strip_prefix('+').unwrap_or(text), 10).map(Number::from),
    }
}

fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let shaped = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.bytes().any(|byte| byte.is_ascii_digit())
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    shaped.then(|| text.parse::<f64>().ok().and_then(Number::from_f64))?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("off", json!("off")),
            ("12", json!(12)),
            ("-12", json!(-12)),
            ("+12", json!(12)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("0x", json!("0x")),
            ("-", json!("-")),
            ("+", json!("+")),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            (".inf", json!(".inf")),
            ("1.2.3", json!("1.2.3")),
            ("10:30", json!("10:30")),
            ("64Mi", json!("64Mi")),
            (".", json!(".")),
            ("18446744073709551616", json!(18_446_744_073_709_551_616_f64)),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }
}
