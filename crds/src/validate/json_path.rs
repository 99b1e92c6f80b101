//! Paths into a JSON line, and names of fields in the canonical record.

/// Whether a text is a path such as `$.a.b[0]`.
pub(super) fn is_path(text: &str) -> bool {
    let Some(mut rest) = text.strip_prefix('$') else {
        return false;
    };
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let (length, valid) = if let Some(inner) = rest.strip_prefix('[') {
            let length = inner.find(']').unwrap_or(0);
            let number = &inner[..length];
            (length + 2, (1..=9).contains(&length) && number.bytes().all(|byte| byte.is_ascii_digit()))
        } else if let Some(inner) = rest.strip_prefix('.') {
            let length = inner.find(['.', '[', ']']).unwrap_or(inner.len());
            (length + 1, length > 0)
        } else {
            return false;
        };
        if !valid {
            return false;
        }
        rest = &rest[length..];
    }
    true
}

/// Whether a text is a dotted name such as `source.ip`.
pub(super) fn is_field(text: &str) -> bool {
    text.split('.').all(|segment| {
        !segment.is_empty()
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'@'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_root() {
        for text in ["$.ts", "$.a.b", "$.a[0]", "$[0]", "$.a[0][12].b", "$.user name", "$.ärger"] {
            assert!(is_path(text), "{text}");
        }
        for text in ["", "$", "ts", "$ts", "$.", "$..a", "$.a.", "$.a[", "$.a[]", "$.a[x]", "$.a[0", "$.a]", "$.a[0]b"]
        {
            assert!(!is_path(text), "{text}");
        }
    }

    #[test]
    fn fields_are_dotted_names() {
        for text in ["source.ip", "@timestamp", "a", "waybill.json.x-y"] {
            assert!(is_field(text), "{text}");
        }
        for text in ["", ".", "a.", ".a", "a..b", "a b", "a[0]", "ä"] {
            assert!(!is_field(text), "{text}");
        }
    }
}
