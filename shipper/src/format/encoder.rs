//! From a frame to a line of ECS: the one entry of the room.

use super::drop_rule::Compiled;
use super::ecs::{Line, Writer};
use super::json::Mapping;
use super::members::Members;
use super::record::{Field, Record};
use super::redact::{Clean, Cleaner};
use super::settings::{Error, Kind, Meaning, Settings, Verdict};
use super::time::{Clock, rfc3339};
use super::{Frame, StreamInfo, host_log, json, qurl_connector, text, v2ray};

/// Encodes the records of one stream.
#[derive(Debug)]
pub struct Encoder {
    kind: Kind,
    keep_original: bool,
    outbounds: Vec<(String, Meaning)>,
    drop: Vec<Compiled>,
    mapping: Mapping,
    writer: Writer,
    clock: Clock,
    cleaner: Cleaner,
    members: Members,
    /// What the format writes itself: members of the record, and of `waybill`.
    objects: Vec<u8>,
    detail: Vec<u8>,
    /// Text that a format had to decode.
    scratch: Vec<u8>,
}

impl Encoder {
    /// Prepares what all records of the stream have in common.
    pub fn new(settings: &Settings, info: &StreamInfo) -> Result<Self, Error> {
        Ok(Self {
            kind: settings.format,
            keep_original: settings.keep_original,
            outbounds: settings.outbounds.iter().map(|(tag, meaning)| (tag.clone(), *meaning)).collect(),
            drop: settings.drop.iter().map(Compiled::new).collect(),
            mapping: Mapping::new(settings.json.as_ref())?,
            writer: Writer::new(info),
            clock: Clock::new(settings.time_zone.clone()),
            cleaner: Cleaner::new(),
            members: Members::default(),
            objects: Vec::new(),
            detail: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Appends exactly one JSON object and a newline to `out`, or nothing if a rule dropped the record.
    pub fn encode(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Verdict {
        self.objects.clear();
        self.detail.clear();
        let clean = match self.kind {
            Kind::V2RayAccess | Kind::V2RayError => self.cleaner.clean(frame.text),
            Kind::QurlConnector | Kind::Sshd | Kind::Sudo | Kind::Json | Kind::Text => {
                Clean { text: frame.text, original: frame.text, secrets: &[] }
            }
        };
        let whole = frame.fragment.is_none() && !frame.partial;
        let mut record = unread(self.kind);
        match self.kind {
            Kind::Text => text::parse(&mut record, clean.text),
            Kind::V2RayAccess | Kind::V2RayError if whole => {
                v2ray::parse(&mut record, clean.text, &self.outbounds, &mut self.clock, &mut self.detail);
            }
            Kind::QurlConnector if whole => {
                qurl_connector::parse(&mut record, clean.text, &mut self.clock, &mut self.members, &mut self.detail);
            }
            Kind::Sshd | Kind::Sudo if whole => {
                let clock = (&mut self.clock, frame.observed);
                host_log::parse(&mut record, clean.text, self.kind, clock, &mut self.scratch, &mut self.detail);
            }
            Kind::Json if whole => {
                let (objects, detail) = (&mut self.objects, &mut self.detail);
                json::parse(
                    &mut record,
                    clean.text,
                    &self.mapping,
                    &mut self.clock,
                    &mut self.members,
                    objects,
                    detail,
                );
            }
            _ => {}
        }
        if whole && !record.parsed {
            // ECS's word for what ingestion could not make sense of.
            record.kind = "pipeline_error";
            record.name(Field::ErrorMessage, "the line does not parse");
        }
        if !record.parsed {
            self.objects.clear();
            self.detail.clear();
        }
        let time = record
            .time
            .or_else(|| frame.envelope.and_then(|envelope| rfc3339(envelope.time)))
            .unwrap_or(frame.observed);
        let verdict = Verdict { outcome: record.outcome, parsed: record.parsed, dropped: false, time: Some(time) };
        if record.noise || self.drop.iter().any(|rule| rule.matches_record(&record) == Some(true)) {
            return Verdict { dropped: true, ..verdict };
        }
        let start = out.len();
        let line = Line {
            frame,
            original: (self.keep_original || !record.parsed).then_some(clean.original),
            secrets: clean.secrets,
            members: &self.objects,
            detail: &self.detail,
        };
        self.writer.write(out, time, &record, &line);
        if self.drop.iter().any(|rule| rule.matches_record(&record).is_none() && rule.matches_line(&out[start..])) {
            out.truncate(start);
            return Verdict { dropped: true, ..verdict };
        }
        verdict
    }
}

/// A record of which nothing is known yet but its format.
fn unread<'a>(kind: Kind) -> Record<'a> {
    match kind {
        Kind::V2RayAccess => Record::new("v2ray", "v2ray.access"),
        Kind::V2RayError => Record::new("v2ray", "v2ray.error"),
        Kind::QurlConnector => Record::new("qurl", "qurl.connector"),
        Kind::Sshd => Record::new("sshd", "sshd"),
        Kind::Sudo => Record::new("sudo", "sudo"),
        Kind::Json => Record::new("json", "json"),
        Kind::Text => Record::new("text", "text"),
    }
}
