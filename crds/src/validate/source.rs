//! Sources.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Places, json_path, network, pattern, size, switch};
use crate::finding::Finding;
use crate::format::{Format, JsonMap};
use crate::policy::AuditPolicySpec;
use crate::rotation::{ReopenType, Rotation, RotationMode};
use crate::source::{FileSource, Source, SourceType};
use crate::usage::Usage;

pub(super) fn judge(found: &mut Vec<Finding>, spec: &AuditPolicySpec, places: &Places) {
    let mut names = BTreeMap::new();
    let mut patterns = BTreeMap::new();
    for (index, source) in spec.sources.iter().enumerate() {
        let at = places.source(index);
        if places.sources.is_empty()
            && let Some(first) = names.insert(&source.name, at.clone())
        {
            found.push(Finding::error(
                format!("{at}.name"),
                format!("{:?} is the name of {first} too", source.name),
                "give each source a name of its own",
            ));
        }
        one(found, source, &at);
        for (index, path) in source.file.iter().flat_map(|file| &file.paths).enumerate() {
            let at = format!("{at}.file.paths[{index}]");
            if let Some(first) = patterns.get(path) {
                found.push(Finding::warning(
                    &at,
                    format!("{first} has the same pattern, and a file belongs to the first source that matches it"),
                    "leave it out here, or there",
                ));
            } else {
                patterns.insert(path, at);
            }
        }
    }
}

fn one(found: &mut Vec<Finding>, source: &Source, at: &str) {
    switch::judge(found, &source.kill_switch, &format!("{at}.killSwitch"));
    members(found, source, at);
    if let Some(file) = &source.file {
        paths(found, file, &format!("{at}.file"));
    }
    if let Some(syslog) = &source.syslog
        && !syslog.listen.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0)
    {
        found.push(Finding::error(
            format!("{at}.syslog.listen"),
            format!("{:?} is not an address with a port", syslog.listen),
            "write one such as 0.0.0.0:5514 or [::]:5514",
        ));
    }
    if let Some(json) = &source.json {
        map(found, json, &format!("{at}.json"));
    }
    for (index, rule) in source.drop.iter().enumerate() {
        if !json_path::is_field(&rule.field) {
            found.push(Finding::error(
                format!("{at}.drop[{index}].field"),
                format!("{:?} is no name of a field", rule.field),
                "write a dotted name such as source.ip",
            ));
        }
    }
    if !source.outbounds.is_empty() && !matches!(source.format, Format::V2RayAccess | Format::V2RayError) {
        found.push(Finding::warning(
            format!("{at}.outbounds"),
            format!("{} has no outbounds, ignored", source.format),
            "leave it out",
        ));
    }
    if let Some(usage) = &source.usage {
        self::usage(found, usage, source.format, &format!("{at}.usage"));
    }
    if let Some(zone) = &source.time_zone {
        time_zone(found, zone, format!("{at}.timeZone"));
    }
    rotation(found, &source.rotation, &format!("{at}.rotation"));
    if let Some(retention) = &source.retention {
        size::retention(found, retention, &format!("{at}.retention"));
    }
}

/// Which objects go with which type and format.
fn members(found: &mut Vec<Finding>, source: &Source, at: &str) {
    let is_file = source.kind == SourceType::File;
    match (&source.file, is_file) {
        (None, true) => found.push(Finding::error(
            format!("{at}.file"),
            "this is missing",
            "write file: {paths: [\"/var/log/v2ray/access.log\"]}, or type: Syslog",
        )),
        (Some(_), false) => {
            found.push(Finding::error(
                format!("{at}.file"),
                "file is for type File",
                "leave it out, or write type: File",
            ));
        }
        _ => {}
    }
    match (&source.syslog, is_file) {
        (None, false) => found.push(Finding::error(
            format!("{at}.syslog"),
            "this is missing",
            "write syslog: {listen: \"0.0.0.0:5514\"}",
        )),
        (Some(_), true) => found.push(Finding::error(
            format!("{at}.syslog"),
            "syslog is for type Syslog",
            "leave it out, or write type: Syslog",
        )),
        _ => {}
    }
    if source.json.is_some() && source.format != Format::Json {
        found.push(Finding::error(
            format!("{at}.json"),
            "json is for format Json",
            "write format: Json, or leave json out",
        ));
    }
    if !is_file {
        let managed = [
            ("rotation", source.rotation.mode != RotationMode::Observe),
            ("retention", source.retention.is_some()),
            ("protect", !source.protect.is_off()),
        ];
        for (field, _) in managed.into_iter().filter(|(_, present)| *present) {
            found.push(Finding::error(
                format!("{at}.{field}"),
                format!("{field} is for type File"),
                "leave it out: a socket has no files",
            ));
        }
    }
}

fn paths(found: &mut Vec<Finding>, file: &FileSource, at: &str) {
    for (field, patterns) in [("paths", &file.paths), ("exclude", &file.exclude)] {
        for (index, text) in patterns.iter().enumerate() {
            if let Some((message, remedy)) = pattern::fault(text) {
                found.push(Finding::error(format!("{at}.{field}[{index}]"), message, remedy));
            }
        }
    }
}

fn map(found: &mut Vec<Finding>, json: &JsonMap, at: &str) {
    let named = [("time", &json.time), ("outcome", &json.outcome)];
    let named = named.into_iter().filter_map(|(name, path)| Some((format!("{at}.{name}"), path.as_ref()?)));
    let fields = json.fields.iter().map(|(name, path)| (format!("{at}.fields[{name}]"), path));
    for (at, path) in named.chain(fields) {
        if !json_path::is_path(path) {
            found.push(Finding::error(
                at,
                format!("{path:?} is no path"),
                "write one such as $.user.name or $.items[0]",
            ));
        }
    }
    for name in json.fields.keys().filter(|name| !json_path::is_field(name)) {
        found.push(Finding::error(
            format!("{at}.fields[{name}]"),
            format!("{name:?} is no name of a field"),
            "write a dotted name such as user.name",
        ));
    }
}

fn usage(found: &mut Vec<Finding>, usage: &Usage, format: Format, at: &str) {
    if !matches!(format, Format::V2RayAccess | Format::V2RayError) {
        found.push(Finding::warning(at, format!("{format} has no evidence of usage, ignored"), "leave it out"));
    }
    if (1..10).contains(&usage.fan_out) {
        found.push(Finding::error(
            format!("{at}.fanOut"),
            format!("{} addresses in a minute are what every browser opens", usage.fan_out),
            "write 10 to 200, or 0 for never",
        ));
    }
    for (field, hosts) in [("hosts", &usage.hosts), ("exceptHosts", &usage.except_hosts)] {
        for (index, host) in hosts.iter().enumerate() {
            if host.starts_with(['.', '*']) || host.contains(['/', ':', ' ']) {
                found.push(Finding::error(
                    format!("{at}.{field}[{index}]"),
                    format!("{host:?} is no name of a host"),
                    "write the name alone, such as example.com; what lies below it is meant too",
                ));
            }
        }
    }
}

fn time_zone(found: &mut Vec<Finding>, zone: &str, at: String) {
    let shaped = zone.starts_with(|first: char| first.is_ascii_alphabetic())
        && zone.split('/').all(|part| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+'))
        });
    let zones = jiff::tz::db();
    if shaped && (zones.get(zone).is_ok() || zones.available().next().is_none()) {
        return;
    }
    found.push(Finding::error(
        at,
        format!("{zone:?} is no time zone"),
        "write an IANA name such as Europe/Berlin or UTC",
    ));
}

fn rotation(found: &mut Vec<Finding>, rotation: &Rotation, at: &str) {
    size::rotated(found, rotation.max_size, at);
    if !rotation.folder.is_empty()
        && let Some((message, remedy)) = pattern::plain_fault(&rotation.folder)
    {
        found.push(Finding::error(format!("{at}.folder"), message, remedy));
    }
    let renames = rotation.mode == RotationMode::Rename;
    let Some(reopen) = &rotation.reopen else {
        if renames {
            found.push(Finding::error(
                format!("{at}.reopen"),
                "mode Rename needs reopen",
                "say how the writer is made to open its file anew, or write mode: Collapse, which needs nothing of the writer",
            ));
        }
        return;
    };
    let at = format!("{at}.reopen");
    if !renames {
        found.push(Finding::error(&at, "reopen is for mode Rename", "write mode: Rename, or leave reopen out"));
    }
    let by_signal = reopen.kind == ReopenType::Signal;
    let needs = [
        ("signal", reopen.signal.is_some(), by_signal, "write signal: USR1"),
        ("process", reopen.process.is_some(), by_signal, "write process: {executable: /usr/sbin/x}"),
        ("address", reopen.address.is_some(), !by_signal, "write address: \"127.0.0.1:10085\""),
    ];
    for (field, present, needed, remedy) in needs {
        match (present, needed) {
            (false, true) => found.push(Finding::error(format!("{at}.{field}"), "this is missing", remedy)),
            (true, false) => {
                let message = format!("{field} is not for type {:?}", reopen.kind);
                found.push(Finding::error(format!("{at}.{field}"), message, "leave it out"));
            }
            _ => {}
        }
    }
    if let Some(address) = reopen.address.as_deref().filter(|address| !network::is_host_and_port(address)) {
        found.push(Finding::error(
            format!("{at}.address"),
            format!("{address:?} is not an address with a port"),
            "write one such as 127.0.0.1:10085",
        ));
    }
    if let Some((message, remedy)) =
        reopen.process.as_ref().and_then(|process| pattern::plain_fault(&process.executable))
    {
        found.push(Finding::error(format!("{at}.process.executable"), message, remedy));
    }
}
