//! The canonical record: what a format found in a line, as slices of it.

use xxhash_rust::xxh3::xxh3_64;

use super::address::{Endpoint, Version};
use super::base;
use super::settings::Outcome;

/// The 64-bit hash of a record's raw bytes, the last part of its id.
pub fn record_hash(text: &[u8]) -> u64 {
    xxh3_64(text)
}

/// Writes the record id: stream, offset and hash in hexadecimal of fixed width (32, 16 and 16 digits), joined by `-`.
pub fn write_id(out: &mut Vec<u8>, stream: &[u8; 16], offset: u64, hash: u64) {
    base::hex(out, stream);
    write_id_tail(out, offset, hash);
}

/// The part of the id that differs within a stream.
pub(super) fn write_id_tail(out: &mut Vec<u8>, offset: u64, hash: u64) {
    out.push(b'-');
    base::hex_u64(out, offset);
    out.push(b'-');
    base::hex_u64(out, hash);
}

macro_rules! fields {
    ($($variant:ident = $name:literal [$($parent:literal)*] $key:literal,)*) => {
        /// A field of the canonical record that holds a slice of the line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Field { $($variant),* }

        impl Field {
            /// In the order in which they are written, which keeps those of one object together.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant),*];
        }

        /// Where each field stands in the record.
        const PLACES: &[Place] = &[$(Place {
            name: $name,
            shape: Field::$variant.shape(),
            parents: &[$(concat!("\"", $parent, "\":{")),*],
            number: concat!(",\"", $key, "\":"),
            text: concat!(",\"", $key, "\":\""),
        }),*];
    };
}

/// Where a field stands in the record.
pub(super) struct Place {
    /// Dotted name.
    pub(super) name: &'static str,
    /// The objects around it: the text that opens each.
    pub(super) parents: &'static [&'static str],
    /// How it is written.
    pub(super) shape: Shape,
    /// Comma, key and colon.
    pub(super) number: &'static str,
    /// Comma, key, colon and quote.
    pub(super) text: &'static str,
}

fields! {
    EventAction = "event.action" ["event"] "action",
    EventCode = "event.code" ["event"] "code",
    EventId = "event.id" ["event"] "id",
    EventReason = "event.reason" ["event"] "reason",
    Message = "message" [] "message",
    ErrorMessage = "error.message" ["error"] "message",
    ErrorCode = "error.code" ["error"] "code",
    ErrorStackTrace = "error.stack_trace" ["error"] "stack_trace",
    SourceAddress = "source.address" ["source"] "address",
    SourceIp = "source.ip" ["source"] "ip",
    SourceDomain = "source.domain" ["source"] "domain",
    SourcePort = "source.port" ["source"] "port",
    SourceMac = "source.mac" ["source"] "mac",
    DestinationAddress = "destination.address" ["destination"] "address",
    DestinationIp = "destination.ip" ["destination"] "ip",
    DestinationDomain = "destination.domain" ["destination"] "domain",
    DestinationPort = "destination.port" ["destination"] "port",
    DestinationMac = "destination.mac" ["destination"] "mac",
    NetworkTransport = "network.transport" ["network"] "transport",
    NetworkProtocol = "network.protocol" ["network"] "protocol",
    NetworkType = "network.type" ["network"] "type",
    NetworkBytes = "network.bytes" ["network"] "bytes",
    UserId = "user.id" ["user"] "id",
    UserName = "user.name" ["user"] "name",
    UserEffectiveId = "user.effective.id" ["user" "effective"] "id",
    UserEffectiveName = "user.effective.name" ["user" "effective"] "name",
    UserTargetId = "user.target.id" ["user" "target"] "id",
    UserTargetName = "user.target.name" ["user" "target"] "name",
    UserAgent = "user_agent.original" ["user_agent"] "original",
    ProcessPid = "process.pid" ["process"] "pid",
    ProcessName = "process.name" ["process"] "name",
    ProcessExecutable = "process.executable" ["process"] "executable",
    ProcessCommandLine = "process.command_line" ["process"] "command_line",
    ProcessArgs = "process.args" ["process"] "args",
    ProcessTitle = "process.title" ["process"] "title",
    ProcessWorkingDirectory = "process.working_directory" ["process"] "working_directory",
    ProcessParentPid = "process.parent.pid" ["process" "parent"] "pid",
    UrlOriginal = "url.original" ["url"] "original",
    UrlScheme = "url.scheme" ["url"] "scheme",
    UrlDomain = "url.domain" ["url"] "domain",
    UrlPort = "url.port" ["url"] "port",
    UrlPath = "url.path" ["url"] "path",
    UrlQuery = "url.query" ["url"] "query",
    HttpMethod = "http.request.method" ["http" "request"] "method",
    HttpReferrer = "http.request.referrer" ["http" "request"] "referrer",
    HttpStatus = "http.response.status_code" ["http" "response"] "status_code",
    FilePath = "file.path" ["file"] "path",
    ObserverIngress = "observer.ingress.interface.alias" ["observer" "ingress" "interface"] "alias",
    ObserverEgress = "observer.egress.interface.alias" ["observer" "egress" "interface"] "alias",
    DnsQuestionName = "dns.question.name" ["dns" "question"] "name",
    DnsQuestionType = "dns.question.type" ["dns" "question"] "type",
    DnsResponseCode = "dns.response_code" ["dns"] "response_code",
    DnsResolvedIp = "dns.resolved_ip" ["dns"] "resolved_ip",
    RuleName = "rule.name" ["rule"] "name",
    TraceId = "trace.id" ["trace"] "id",
    ServiceVersion = "service.version" ["service"] "version",
    LogLevel = "log.level" ["log"] "level",
    LogLogger = "log.logger" ["log"] "logger",
    SyslogHostname = "log.syslog.hostname" ["log" "syslog"] "hostname",
    SyslogAppname = "log.syslog.appname" ["log" "syslog"] "appname",
}

/// How a field is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    /// Digits, checked when set.
    Number,
    /// Texts between NUL bytes.
    Arguments,
    /// Addresses between commas or blanks, some in brackets; those that are not addresses are left out.
    IpList,
    /// Twelve hexadecimal digits, checked when set, written with hyphens between the pairs.
    Mac,
}

impl Field {
    /// Where the field stands in the record.
    pub(super) fn place(self) -> &'static Place {
        &PLACES[self as usize]
    }

    /// The field of a dotted name. Not those of `process`, `user_agent` and `file`, which a field map may fill as it likes.
    pub(super) fn named(name: &str) -> Option<Self> {
        let is_open = |name: &str| ["process.", "user_agent.", "file."].iter().any(|root| name.starts_with(root));
        Self::ALL.iter().copied().find(|field| field.place().name == name && !is_open(name))
    }

    /// Whether it is written with the parts of its object that are no fields.
    const fn is_apart(self) -> bool {
        matches!(
            self,
            Self::EventAction
                | Self::EventCode
                | Self::EventId
                | Self::EventReason
                | Self::LogLevel
                | Self::LogLogger
                | Self::SyslogHostname
                | Self::SyslogAppname
        )
    }

    /// How the field is written.
    const fn shape(self) -> Shape {
        match self {
            Self::SourcePort
            | Self::DestinationPort
            | Self::UrlPort
            | Self::NetworkBytes
            | Self::HttpStatus
            | Self::ProcessPid
            | Self::ProcessParentPid => Shape::Number,
            Self::ProcessArgs => Shape::Arguments,
            Self::SourceMac | Self::DestinationMac => Shape::Mac,
            Self::DnsResolvedIp => Shape::IpList,
            _ => Shape::Text,
        }
    }
}

const COUNT: usize = PLACES.len();
const _: () = assert!(COUNT <= 64, "Record::present has one bit a field");

/// The bits of the fields that [`Field::is_apart`].
const APART: u64 = {
    let mut bits = 0;
    let mut index = 0;
    while index < COUNT {
        bits |= (Field::ALL[index].is_apart() as u64) << index;
        index += 1;
    }
    bits
};

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// What a format found in a line.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "facts about a line that do not exclude each other")]
pub(super) struct Record<'a> {
    present: u64,
    slices: [&'a [u8]; COUNT],
    /// The slices are insides of JSON strings, still escaped.
    pub(super) escaped: bool,
    /// The line was understood.
    pub(super) parsed: bool,
    /// The outbound tag means noise.
    pub(super) noise: bool,
    /// The line's own time, in nanoseconds since 1970 UTC.
    pub(super) time: Option<i64>,
    /// The time falls into the repeated hour.
    pub(super) ambiguous: bool,
    /// Why the line may not be what the program meant to write: `waybill.suspect`.
    pub(super) suspect: Option<&'static str>,
    /// Why an auditor must know of the line: something was, or may be, missing from the logs. `waybill.integrity`
    pub(super) integrity: Option<&'static str>,
    /// `event.id`, equal for the copies of one event in different logs.
    pub(super) event_id: Option<u128>,
    /// `event.kind`
    pub(super) kind: &'static str,
    /// `event.category`: the inside of a JSON list.
    pub(super) category: &'static str,
    /// `event.type`, beside what the outcome says: the inside of a JSON list.
    pub(super) types: &'static str,
    /// `event.module`
    pub(super) module: &'static str,
    /// `event.dataset`
    pub(super) dataset: &'static str,
    /// `event.duration`, in nanoseconds.
    pub(super) duration: Option<u64>,
    pub(super) outcome: Option<Outcome>,
}

impl<'a> Record<'a> {
    /// A record without fields, of a line that is not understood until the format says so.
    pub(super) fn new(module: &'static str, dataset: &'static str) -> Self {
        Self {
            present: 0,
            slices: [&[]; COUNT],
            escaped: false,
            parsed: false,
            noise: false,
            time: None,
            ambiguous: false,
            suspect: None,
            integrity: None,
            event_id: None,
            kind: "event",
            category: "",
            types: "",
            module,
            dataset,
            duration: None,
            outcome: None,
        }
    }

    /// Sets a field to text.
    pub(super) fn set(&mut self, field: Field, text: &'a [u8]) {
        self.slices[field as usize] = text;
        self.present |= 1 << field as u8;
    }

    /// Sets a field to text that the program names itself.
    pub(super) fn name(&mut self, field: Field, text: &'static str) {
        self.set(field, text.as_bytes());
    }

    /// Sets a field from foreign text, if its type allows that text.
    pub(super) fn set_checked(&mut self, field: Field, text: &'a [u8]) -> bool {
        let fits = match field {
            Field::SourceIp | Field::DestinationIp => Version::of(text).is_some(),
            Field::SourcePort | Field::DestinationPort | Field::UrlPort => super::address::is_port(text),
            Field::NetworkBytes | Field::HttpStatus | Field::ProcessPid | Field::ProcessParentPid => {
                base::is_decimal(text)
            }
            Field::SourceMac | Field::DestinationMac => text.len() == 12 && text.iter().all(u8::is_ascii_hexdigit),
            Field::DnsResolvedIp => false,
            _ => true,
        };
        if fits {
            self.set(field, text);
        }
        fits
    }

    /// The text of a field.
    pub(super) fn get(&self, field: Field) -> Option<&'a [u8]> {
        (self.present & 1 << field as u8 != 0).then(|| self.slices[field as usize])
    }

    /// The fields that are there, in writing order, without those that [`Field::is_apart`].
    pub(super) fn fields(&self) -> impl Iterator<Item = (Field, &'a [u8])> {
        let mut present = self.present & !APART;
        std::iter::from_fn(move || {
            let index = present.trailing_zeros() as usize;
            let field = *Field::ALL.get(index)?;
            present &= present - 1;
            Some((field, self.slices[index]))
        })
    }

    /// Sets the fields of one end of a connection, and `network.type` after the first address.
    pub(super) fn endpoint(&mut self, side: Side, endpoint: &Endpoint<'a>) {
        let [address, ip, domain, port] = match side {
            Side::Source => [Field::SourceAddress, Field::SourceIp, Field::SourceDomain, Field::SourcePort],
            Side::Destination => {
                [Field::DestinationAddress, Field::DestinationIp, Field::DestinationDomain, Field::DestinationPort]
            }
        };
        if !endpoint.host.is_empty() {
            self.set(address, endpoint.host);
            if let Some(version) = endpoint.version {
                self.set(ip, endpoint.host);
                if self.get(Field::NetworkType).is_none() {
                    self.name(Field::NetworkType, version.network_type());
                }
            } else if endpoint.is_domain() {
                self.set(domain, endpoint.host);
            }
        }
        if let Some(digits) = endpoint.port {
            self.set(port, digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_fixed_widths() {
        let mut out = Vec::new();
        write_id(&mut out, &[0xab; 16], 17, record_hash(b"a line"));
        let id = String::from_utf8(out).unwrap();
        let parts: Vec<&str> = id.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [32, 16, 16]);
        assert!(id.starts_with("abababababababababababababababab-0000000000000011-"));
    }

    #[test]
    fn names_agree_with_places_and_objects_are_contiguous() {
        let mut closed: Vec<&str> = Vec::new();
        let mut open = "nothing yet";
        for field in Field::ALL {
            let place = field.place();
            let segments = place.parents.iter().copied().chain([place.number]);
            let dotted: Vec<&str> = segments.map(|text| text.trim_matches(['"', ':', ',', '{'])).collect();
            assert_eq!(dotted.join("."), place.name);
            let root = place.parents.first().copied().unwrap_or("the record itself");
            if root != open {
                assert!(!closed.contains(&root), "{root} is opened twice");
                closed.push(open);
                open = root;
            }
        }
    }

    #[test]
    fn fields_come_in_writing_order() {
        let mut record = Record::new("m", "d");
        record.set(Field::UserName, b"u");
        record.set(Field::SourceIp, b"192.0.2.1");
        let names: Vec<&str> = record.fields().map(|(field, _)| field.place().name).collect();
        assert_eq!(names, ["source.ip", "user.name"]);
    }
}
