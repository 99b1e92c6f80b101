//! From a frame to a line of ECS: the one entry of the room.

use super::drop_rule::Compiled;
use super::ecs::{Line, Writer};
use super::json::Mapping;
use super::linux_audit::{self, Assembly};
use super::members::Members;
use super::record::{Field, Record};
use super::redact::{Clean, Cleaner};
use super::settings::{Error, Kind, Meaning, Settings, Verdict};
use super::time::{Clock, rfc3339};
use super::v2ray_forgery::Forgery;
use super::v2ray_usage::{FanOut, Usage};
use super::{
    Frame, StreamInfo, host_log, journal, json, kubernetes_audit, logfmt, qurl_connector, softether, text, v2ray,
};

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
    softether: softether::Context,
    host_log: host_log::Context,
    forgery: Forgery,
    usage: Usage,
    fan_out: FanOut,
    /// What the format writes itself: members of the record, and of `waybill`.
    objects: Vec<u8>,
    detail: Vec<u8>,
    /// Text that a format had to decode.
    scratch: Vec<u8>,
    /// The line that an entry of journald stands for.
    journal: Vec<u8>,
    /// Events of the Linux audit log that are not closed yet.
    assembly: Assembly,
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
            writer: match settings.format {
                Kind::KubernetesAudit => Writer::without_orchestrator(info),
                _ => Writer::new(info),
            },
            clock: Clock::new(settings.time_zone.clone()),
            cleaner: Cleaner::new(),
            members: Members::default(),
            softether: softether::Context::new(info),
            host_log: host_log::Context::default(),
            forgery: Forgery::new(),
            usage: Usage::new(&settings.usage),
            fan_out: FanOut::default(),
            objects: Vec::new(),
            detail: Vec::new(),
            scratch: Vec::new(),
            journal: Vec::new(),
            assembly: Assembly::default(),
        })
    }

    /// How many bytes before record `seq` the format wants to read first, because lines refer to earlier ones. 0 if it knows
    /// them, or needs none.
    pub fn reach(&self, seq: u64) -> u64 {
        match self.kind {
            Kind::SoftEtherServer | Kind::SoftEtherSecurity => self.softether.reach(seq),
            Kind::Sshd | Kind::Sudo => self.host_log.reach(seq),
            _ => 0,
        }
    }

    /// Begins to remember what stands before record `seq`: [`recall`](Self::recall) is given those lines.
    pub fn recall_before(&mut self, seq: u64) {
        match self.kind {
            Kind::Sshd | Kind::Sudo => self.host_log.open(seq),
            _ => self.softether.recall_before(seq),
        }
    }

    /// Reads a line again, to remember what later ones refer to. `observed` is now, in nanoseconds since 1970 UTC.
    pub fn recall(&mut self, text: &[u8], observed: i64) {
        self.detail.clear();
        let mut record = unread(self.kind);
        let (clock, detail) = (&mut self.clock, &mut self.detail);
        if matches!(self.kind, Kind::Sshd | Kind::Sudo) {
            let entry = journal::to_line(text, &mut self.members, &mut self.journal);
            let text = if entry { &self.journal } else { text };
            let (clock, context) = ((clock, observed), &mut self.host_log);
            host_log::parse(&mut record, text, self.kind, clock, context, &mut self.scratch, detail);
        } else {
            let clean = self.cleaner.clean(text);
            softether::parse(&mut record, clean.text, self.kind, clock, &mut self.softether, detail);
        }
    }

    /// Appends exactly one JSON object and a newline to `out`, or nothing if a rule dropped the record.
    pub fn encode(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Verdict {
        self.encode_both(frame, out, None)
    }

    /// The same, and appends the line as it was, secrets redacted, to `originals`.
    pub fn encode_both(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>, originals: Option<&mut Vec<u8>>) -> Verdict {
        self.objects.clear();
        self.detail.clear();
        let clean = match self.kind {
            Kind::V2RayAccess
            | Kind::V2RayError
            | Kind::SoftEtherServer
            | Kind::SoftEtherSecurity
            | Kind::SoftEtherPacket => self.cleaner.clean(frame.text),
            _ => Clean { text: frame.text, original: frame.text, secrets: &[] },
        };
        let whole = frame.fragment.is_none() && !frame.partial;
        let mut record = unread(self.kind);
        let from_journal = whole
            && matches!(self.kind, Kind::Sshd | Kind::Sudo | Kind::V2RayAccess | Kind::V2RayError)
            && journal::to_line(clean.text, &mut self.members, &mut self.journal);
        let line = if from_journal { &self.journal } else { clean.text };
        match self.kind {
            Kind::Text => text::parse(&mut record, clean.text),
            Kind::V2RayAccess | Kind::V2RayError if whole => {
                let clock = (&mut self.clock, frame.observed);
                v2ray::parse(&mut record, line, &self.outbounds, clock, &mut self.detail);
                self.forgery.check(&mut record, line, frame.seq);
                if self.kind == Kind::V2RayError {
                    v2ray::keep(&mut record, line, &mut self.clock);
                }
                self.usage.check(&record, &mut self.fan_out, &mut self.detail);
            }
            Kind::SoftEtherServer | Kind::SoftEtherSecurity | Kind::SoftEtherPacket if whole => {
                self.softether.at(frame.seq);
                let (clock, context) = (&mut self.clock, &mut self.softether);
                softether::parse(&mut record, clean.text, self.kind, clock, context, &mut self.detail);
            }
            Kind::QurlConnector if whole => {
                // The runtime log may be text: it is read as the object that it stands for.
                let text = clean.text.first().is_some_and(|byte| *byte != b'{');
                let line =
                    if text && logfmt::to_json(clean.text, &mut self.scratch) { &self.scratch } else { clean.text };
                qurl_connector::parse(&mut record, line, &mut self.clock, &mut self.members, &mut self.detail);
                if !record.parsed {
                    qurl_connector::proxy(&mut record, clean.text, &mut self.clock);
                }
            }
            Kind::Sshd | Kind::Sudo => {
                self.host_log.at(frame.seq);
                if whole {
                    let (clock, context) = ((&mut self.clock, frame.observed), &mut self.host_log);
                    let (scratch, detail) = (&mut self.scratch, &mut self.detail);
                    host_log::parse(&mut record, line, self.kind, clock, context, scratch, detail);
                }
            }
            Kind::LinuxAudit if whole => {
                let (assembly, scratch) = (&mut self.assembly, &mut self.scratch);
                let times = (&mut self.clock, frame.observed);
                linux_audit::parse(&mut record, clean.text, frame.offset, times, assembly, scratch, &mut self.detail);
            }
            Kind::KubernetesAudit if whole => {
                let (members, scratch) = (&mut self.members, &mut self.scratch);
                let (objects, detail) = (&mut self.objects, &mut self.detail);
                kubernetes_audit::parse(&mut record, clean.text, members, scratch, objects, detail);
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
        let verdict = Verdict {
            outcome: record.outcome,
            parsed: record.parsed,
            suspect: record.suspect.is_some(),
            incomplete: record.integrity.is_some() && record.kind == "alert",
            dropped: false,
            time: Some(time),
        };
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
        if let Some(originals) = originals {
            originals.extend_from_slice(clean.original);
        }
        verdict
    }
}

/// A record of which nothing is known yet but its format.
fn unread<'a>(kind: Kind) -> Record<'a> {
    match kind {
        Kind::V2RayAccess => Record::new("v2ray", "v2ray.access"),
        Kind::V2RayError => Record::new("v2ray", "v2ray.error"),
        Kind::SoftEtherServer => Record::new("softether", "softether.server"),
        Kind::SoftEtherSecurity => Record::new("softether", "softether.security"),
        Kind::SoftEtherPacket => Record::new("softether", "softether.packet"),
        Kind::QurlConnector => Record::new("qurl", "qurl.connector"),
        Kind::Sshd => Record::new("sshd", "sshd"),
        Kind::Sudo => Record::new("sudo", "sudo"),
        Kind::LinuxAudit => Record::new("auditd", "auditd.log"),
        Kind::KubernetesAudit => Record::new("kubernetes", "kubernetes.audit"),
        Kind::Json => Record::new("json", "json"),
        Kind::Text => Record::new("text", "text"),
    }
}
