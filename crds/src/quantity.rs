//! Sizes as people write them: `64Mi`, `5Gi`, `10%`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The suffixes, the largest first, so that a size is written with the largest one that divides it.
const BINARY: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
const DECIMAL: [(&str, u64); 4] = [("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseQuantityError(String);

impl fmt::Display for ParseQuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseQuantityError {}

/// A number of bytes, written as `64Mi`, `100M` or a plain number.
///
/// Suffixes are `Ki`, `Mi`, `Gi`, `Ti` (powers of 1024) and `k`, `M`, `G`, `T` (powers of 1000). There are no fractions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `n` kibibytes.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` gibibytes.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match BINARY.iter().find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at(digits);
        let unit = match suffix {
            "" => Some(1),
            _ => BINARY.iter().chain(&DECIMAL).find(|(name, _)| *name == suffix).map(|(_, unit)| *unit),
        };
        let (Some(unit), false) = (unit, number.is_empty()) else {
            return Err(ParseQuantityError(format!("{text:?} is not a size")));
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(Self)
            .ok_or_else(|| ParseQuantityError(format!("{text:?} is more bytes than can be counted")))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber(Self::from_str))
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-waybill": "byteSize",
            "maxLength": 20,
            "pattern": "^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$",
        })
    }
}

/// How much of a file system has to stay free: a share of it (`10%`) or a size (`5Gi`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinFree {
    /// At least so many bytes.
    Bytes(ByteSize),
    /// At least this share of the file system, 1 to 99.
    Percent(u8),
}

impl fmt::Display for MinFree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(size) => size.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for MinFree {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().map(Self::Bytes);
        };
        match percent.parse() {
            Ok(percent @ 1..=99) if !text.starts_with(['+', '0']) => Ok(Self::Percent(percent)),
            _ => Err(ParseQuantityError(format!("{text:?} is not a share from 1% to 99%"))),
        }
    }
}

impl Serialize for MinFree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MinFree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumber(Self::from_str))
    }
}

impl JsonSchema for MinFree {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MinFree".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-waybill": "minFree",
            "maxLength": 20,
            "pattern": "^([1-9][0-9]?%|[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?)$",
        })
    }
}

/// Accepts a text, or a whole number as if it had been written as a text.
pub(crate) struct TextOrNumber<T>(pub(crate) fn(&str) -> Result<T, ParseQuantityError>);

impl<T> de::Visitor<'_> for TextOrNumber<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity such as 64Mi, or a whole number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// Makes the error of a quantity of another module.
pub(crate) fn not_a(what: &str, text: &str) -> ParseQuantityError {
    ParseQuantityError(format!("{text:?} is not {what}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, written) in [
            ("64Mi", 64 << 20, "64Mi"),
            ("1024Ki", 1 << 20, "1Mi"),
            ("5Gi", 5 << 30, "5Gi"),
            ("1000k", 1_000_000, "1000000"),
            ("0", 0, "0"),
            ("1", 1, "1"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string(), written);
            assert_eq!(written.parse(), Ok(size));
        }
    }

    #[test]
    fn nonsense_is_no_size() {
        for text in ["", "Mi", "-1", "+1", "1.5Gi", "10 Mi", "1mi", "1MB", "99999999999Ti", "18446744073709551616"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn free_space_is_a_share_or_a_size() {
        assert_eq!("10%".parse(), Ok(MinFree::Percent(10)));
        assert_eq!("5Gi".parse(), Ok(MinFree::Bytes(ByteSize::gib(5))));
        for text in ["0%", "100%", "%", "-1%", "+5%", "1.5%", "300%"] {
            assert!(text.parse::<MinFree>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_plain_number_is_bytes() {
        assert_eq!(serde_json::from_str::<ByteSize>("4096").unwrap(), ByteSize::kib(4));
        assert_eq!(serde_json::from_str::<MinFree>("4096").unwrap(), MinFree::Bytes(ByteSize::kib(4)));
        assert!(serde_json::from_str::<ByteSize>("-1").is_err());
        assert!(serde_json::from_str::<ByteSize>("true").is_err());
    }
}
