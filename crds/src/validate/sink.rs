//! Sinks.

use std::collections::BTreeMap;

use super::{Places, network, pattern, size, switch};
use crate::finding::Finding;
use crate::policy::AuditPolicySpec;
use crate::secret::Tls;
use crate::sink::{
    CloudWatch, Elasticsearch, FileSink, Kafka, RETENTION_DAYS, SaslMechanism, Sink, SinkType, SyslogSink,
    SyslogTransport,
};

const HOST_AND_PORT: &str = "write host:port, such as kafka-0:9093";

pub(super) fn judge(found: &mut Vec<Finding>, spec: &AuditPolicySpec, places: &Places) {
    let mut names = BTreeMap::new();
    let mut files = BTreeMap::new();
    for (index, sink) in spec.sinks.iter().enumerate() {
        let at = places.sink(index);
        if places.sinks.is_empty()
            && let Some(first) = names.insert(&sink.name, at.clone())
        {
            found.push(Finding::error(
                format!("{at}.name"),
                format!("{:?} is the name of {first} too", sink.name),
                "give each sink a name of its own",
            ));
        }
        switch::judge(found, &sink.kill_switch, &format!("{at}.killSwitch"));
        members(found, sink, &at);
        sources(found, spec, sink, places, &at);
        destination(found, sink, &at);
        if let Some(file) = &sink.file
            && let Some(first) = files.insert(&file.path, at.clone())
        {
            found.push(Finding::error(
                format!("{at}.file.path"),
                format!("{first} writes to this file too"),
                "give each sink a file of its own",
            ));
        }
    }
}

/// Which objects go with which type.
fn members(found: &mut Vec<Finding>, sink: &Sink, at: &str) {
    let objects = [
        (SinkType::Kafka, "kafka", sink.kafka.is_some()),
        (SinkType::Elasticsearch, "elasticsearch", sink.elasticsearch.is_some()),
        (SinkType::CloudWatch, "cloudWatch", sink.cloud_watch.is_some()),
        (SinkType::Syslog, "syslog", sink.syslog.is_some()),
        (SinkType::File, "file", sink.file.is_some()),
    ];
    for (kind, object, present) in objects {
        let name = kind.name();
        match (present, kind == sink.kind) {
            (true, false) => found.push(Finding::error(
                format!("{at}.{object}"),
                format!("{object} is for type {name}, and this sink's type is {}", sink.kind.name()),
                format!("leave it out, or write type: {name}"),
            )),
            (false, true) => found.push(Finding::error(
                format!("{at}.{object}"),
                "this is missing",
                format!("write {object}: with where the records go, because the sink's type is {name}"),
            )),
            _ => {}
        }
    }
}

fn sources(found: &mut Vec<Finding>, spec: &AuditPolicySpec, sink: &Sink, places: &Places, at: &str) {
    let Some(names) = &sink.sources else { return };
    if names.is_empty() {
        found.push(Finding::error(
            format!("{at}.sources"),
            "an empty list of sources would deliver nothing",
            "name some, or leave sources out for all of them",
        ));
    }
    for (index, name) in names.iter().enumerate() {
        if spec.source(name).is_none() && !places.other_sources.contains(name) {
            let known: Vec<&str> = spec.sources.iter().map(|source| source.name.as_str()).take(8).collect();
            found.push(Finding::error(
                format!("{at}.sources[{index}]"),
                format!("no source is named {name:?}"),
                format!("write the name of a source of this policy, such as {}", known.join(", ")),
            ));
        }
        if names[..index].contains(name) {
            found.push(Finding::warning(
                format!("{at}.sources[{index}]"),
                format!("{name:?} is named twice"),
                "name it once",
            ));
        }
    }
}

fn destination(found: &mut Vec<Finding>, sink: &Sink, at: &str) {
    if let Some(it) = &sink.kafka {
        kafka(found, it, &format!("{at}.kafka"));
    }
    if let Some(it) = &sink.elasticsearch {
        elasticsearch(found, it, &format!("{at}.elasticsearch"));
    }
    if let Some(it) = &sink.cloud_watch {
        cloud_watch(found, it, &format!("{at}.cloudWatch"));
    }
    if let Some(it) = &sink.syslog {
        syslog(found, it, &format!("{at}.syslog"));
    }
    if let Some(it) = &sink.file {
        file(found, it, &format!("{at}.file"));
    }
}

fn kafka(found: &mut Vec<Finding>, kafka: &Kafka, at: &str) {
    for (index, broker) in kafka.brokers.iter().enumerate().filter(|(_, broker)| !network::is_host_and_port(broker)) {
        found.push(Finding::error(
            format!("{at}.brokers[{index}]"),
            format!("{} is not a host with a port", network::shown(broker)),
            HOST_AND_PORT,
        ));
    }
    let plain = kafka.topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if !plain || [".", ".."].contains(&kafka.topic.as_str()) {
        found.push(Finding::error(
            format!("{at}.topic"),
            format!("{:?} is no name of a topic", kafka.topic),
            "write letters, digits, dots, underscores and hyphens",
        ));
    }
    tls(found, kafka.tls.as_ref(), at);
    if kafka.tls.is_none() && kafka.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == SaslMechanism::Plain) {
        found.push(Finding::warning(
            format!("{at}.sasl.mechanism"),
            "without tls, Plain sends the password readable",
            "write tls: {}, or a mechanism such as ScramSha512",
        ));
    }
}

fn elasticsearch(found: &mut Vec<Finding>, sink: &Elasticsearch, at: &str) {
    for (index, url) in sink.endpoints.iter().enumerate() {
        let at = format!("{at}.endpoints[{index}]");
        if !network::is_http_url(url) {
            let remedy = "write one such as https://es-0:9200, without user, query or fragment";
            found.push(Finding::error(at, format!("{} is no URL that can be used here", network::shown(url)), remedy));
        } else if sink.auth.is_some() && url.starts_with("http:") {
            found.push(Finding::warning(at, "http sends the login readable", "write https"));
        }
    }
    let name = &sink.data_stream;
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.'));
    if !plain || name.starts_with(['-', '_', '.']) {
        found.push(Finding::error(
            format!("{at}.dataStream"),
            format!("{name:?} is no name of a data stream"),
            "write lower-case letters, digits, hyphens, underscores and dots, beginning with a letter or digit",
        ));
    }
    tls(found, sink.tls.as_ref(), at);
    let Some(auth) = &sink.auth else { return };
    if auth.api_key.is_some() == auth.username.is_some() {
        found.push(Finding::error(
            format!("{at}.auth"),
            "the login is neither an API key nor a user",
            "write either apiKey, or username and password",
        ));
    }
    if auth.username.is_some() != auth.password.is_some() {
        found.push(Finding::error(
            format!("{at}.auth"),
            "username and password go together",
            "write both, or an apiKey instead",
        ));
    }
}

fn cloud_watch(found: &mut Vec<Finding>, sink: &CloudWatch, at: &str) {
    let mut wrong = |field: &str, message: String, remedy: &str| {
        found.push(Finding::error(format!("{at}.{field}"), message, remedy));
    };
    if !sink.region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        wrong("region", format!("{:?} is no region", sink.region), "write one such as eu-central-1");
    }
    if !sink.endpoint.is_empty() && !network::is_http_url(&sink.endpoint) {
        let message = format!("{} is no URL that can be used here", network::shown(&sink.endpoint));
        wrong("endpoint", message, "write one such as https://logs.example, or leave it out");
    }
    let group = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'#');
    if !sink.log_group.bytes().all(group) {
        let message = format!("{:?} is no name of a log group", sink.log_group);
        wrong("logGroup", message, "write letters, digits, and any of . - _ / #");
    }
    let filled =
        ["{node}", "{source}", "{hub}"].iter().fold(sink.log_stream.clone(), |name, part| name.replace(part, ""));
    if filled.contains([':', '*', '{', '}']) {
        let message = format!("{:?} is no name of a log stream", sink.log_stream);
        wrong(
            "logStream",
            message,
            "write it without : and *, and with no other braces than {node}, {source} and {hub}",
        );
    }
    if let Some(days) = sink.retention_days.filter(|days| !RETENTION_DAYS.contains(days)) {
        let near: Vec<String> = nearest_two(days).iter().map(u32::to_string).collect();
        wrong(
            "retentionDays",
            format!("CloudWatch does not keep logs for {days} days"),
            &format!("write {}", near.join(" or ")),
        );
    }
}

/// The allowed retentions on either side.
fn nearest_two(days: u32) -> Vec<u32> {
    let above = RETENTION_DAYS.iter().position(|allowed| *allowed > days).unwrap_or(RETENTION_DAYS.len());
    let below = above.checked_sub(1);
    below.into_iter().chain([above]).filter_map(|index| RETENTION_DAYS.get(index).copied()).collect()
}

fn syslog(found: &mut Vec<Finding>, sink: &SyslogSink, at: &str) {
    if !network::is_host_and_port(&sink.address) {
        found.push(Finding::error(
            format!("{at}.address"),
            format!("{:?} is not a host with a port", sink.address),
            "write host:port, such as siem:6514",
        ));
    }
    tls(found, sink.tls.as_ref(), at);
    if sink.tls.is_some() && sink.transport != SyslogTransport::Tls {
        found.push(Finding::error(
            format!("{at}.tls"),
            "tls is for transport Tls",
            "write transport: Tls, or leave tls out",
        ));
    }
}

fn file(found: &mut Vec<Finding>, sink: &FileSink, at: &str) {
    if let Some((message, remedy)) = pattern::plain_fault(&sink.path) {
        found.push(Finding::error(format!("{at}.path"), message, remedy));
    } else if sink.path.ends_with('/') {
        found.push(Finding::error(format!("{at}.path"), "it is a folder", "name a file, such as audit.log in it"));
    }
    size::rotated(found, sink.rotation.max_size, &format!("{at}.rotation"));
    size::retention(found, &sink.retention, &format!("{at}.retention"));
}

fn tls(found: &mut Vec<Finding>, tls: Option<&Tls>, at: &str) {
    if tls.is_some_and(|tls| tls.certificate.is_some() != tls.private_key.is_some()) {
        found.push(Finding::error(
            format!("{at}.tls"),
            "certificate and privateKey go together",
            "write both, or neither",
        ));
    }
}
