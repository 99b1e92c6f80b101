//! What a sink needs to know of a record beside its bytes, read from the canonical record.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Parts of a canonical record. Text is the log's own: a sink escapes it for where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<'a> {
    /// Stream, offset and hash: 32, 16 and 16 hexadecimal digits, joined by `-`.
    pub id: &'a str,
    /// `@timestamp`, RFC 3339 in UTC.
    pub time: &'a str,
    /// `waybill.outcome`: success, allow, deny or error.
    pub outcome: Option<&'a str>,
    /// The name of the source.
    pub source: Cow<'a, str>,
    /// `user.name`.
    pub user: Option<Cow<'a, str>>,
    /// `source.ip`, else `source.address`.
    pub address: Option<Cow<'a, str>>,
    /// The hub of a SoftEther VPN server: what the path captured as `hub`, else what the line says.
    pub hub: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "@timestamp", borrow)]
    time: &'a str,
    #[serde(borrow)]
    waybill: Waybill<'a>,
    #[serde(borrow, default)]
    user: Members<'a>,
    #[serde(borrow, default)]
    source: Members<'a>,
}

#[derive(Deserialize)]
struct Waybill<'a> {
    id: &'a str,
    #[serde(default, borrow)]
    outcome: Option<&'a str>,
    #[serde(borrow)]
    source: Text<'a>,
    #[serde(borrow, default)]
    captures: Members<'a>,
    #[serde(borrow, default)]
    softether: Members<'a>,
}

/// The members that are asked for, of an object or of whatever a field map put in its place.
#[derive(Default)]
struct Members<'a> {
    name: Text<'a>,
    ip: Text<'a>,
    address: Text<'a>,
    hub: Text<'a>,
}

/// A string, or nothing if something else stands there.
#[derive(Default)]
struct Text<'a>(Option<Cow<'a, str>>);

/// Takes in any value: strings for [`Text`], objects for [`Members`].
struct Any;

/// What [`Any`] found.
enum Found<'a> {
    Text(Cow<'a, str>),
    Members(Members<'a>),
    Other,
}

impl<'de> Visitor<'de> for Any {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Found::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Found::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Members::default();
        while let Some(Text(key)) = map.next_key()? {
            let slot = match key.as_deref() {
                Some("name") => &mut members.name,
                Some("ip") => &mut members.ip,
                Some("address") => &mut members.address,
                Some("hub") => &mut members.hub,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = map.next_value()?;
        }
        Ok(Found::Members(members))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = deserializer.deserialize_any(Any)?;
        Ok(Self(if let Found::Text(text) = found { Some(text) } else { None }))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = deserializer.deserialize_any(Any)?;
        Ok(if let Found::Members(members) = found { members } else { Self::default() })
    }
}

impl<'a> View<'a> {
    /// Reads a canonical record; `None` if it is none, which only damage can bring about.
    pub fn of(record: &'a [u8]) -> Option<Self> {
        let raw: Raw<'a> = serde_json::from_slice(record).ok()?;
        let hub = raw.waybill.captures.hub.0.or(raw.waybill.softether.hub.0);
        Some(Self {
            id: raw.waybill.id,
            time: raw.time,
            outcome: raw.waybill.outcome,
            source: raw.waybill.source.0.unwrap_or_default(),
            user: raw.user.name.0,
            address: raw.source.ip.0.or(raw.source.address.0),
            hub,
        })
    }

    /// The stream's part of the id.
    pub fn stream(&self) -> &'a str {
        self.id.split('-').next().unwrap_or_default()
    }

    /// The record's time in milliseconds since 1970 UTC.
    pub fn millis(&self) -> Option<i64> {
        self.time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Encoder, Frame, Kind, Settings, StreamInfo};

    #[test]
    fn reads_what_the_encoder_writes() {
        let info = StreamInfo {
            source: "gate".into(),
            captures: vec![("hub".into(), "CAF\"É".into())],
            ..StreamInfo::default()
        };
        let settings = Settings { keep_original: true, ..Settings::new(Kind::V2RayAccess) };
        let mut encoder = Encoder::new(&settings, &info).unwrap();
        let text = br#"2021/03/30 01:02:03 tcp:1.2.3.4:55 rejected tcp:x","waybill":{"id":"forged:1 email: b"ob"#;
        let frame =
            Frame { text, seq: 1, offset: 7, hash: 9, observed: 0, envelope: None, fragment: None, partial: false };
        let mut out = Vec::new();
        encoder.encode(&frame, &mut out);
        let view = View::of(&out).unwrap();
        assert_eq!(view.id, format!("{}-{:016x}-{:016x}", "0".repeat(32), 7, 9));
        assert_eq!((view.source.as_ref(), view.hub.as_deref()), ("gate", Some("CAF\"É")));
        assert_eq!(view.stream(), "0".repeat(32));
        assert!(view.millis().is_some());
        assert_eq!(View::of(b"{}\n"), None);
        let odd =
            br#"{"@timestamp":"t","user":7,"source":{"ip":["1"],"address":"a"},"waybill":{"id":"x-1","source":"s"}}"#;
        let view = View::of(odd).unwrap();
        assert_eq!((view.user, view.address.as_deref()), (None, Some("a")));
    }
}
