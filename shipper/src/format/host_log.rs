//! What a host logs of those who come to it: lines of sshd, PAM, sudo and su, as syslog files mix them.
//!
//! `auth.log` and `secure` hold the lines of many programs, so either source takes all of them. A line with a header is understood
//! if only because its header is: the message of an unknown program is kept as `message`. A line without a header, such as
//! `sshd -E` and sudo's own file have them, must be one that its format knows.

use super::address::{Endpoint, Version};
use super::join::Join;
use super::object::Object;
use super::record::{Field, Record, Side};
use super::settings::Kind;
use super::sshd::connection::{self, Known, Process};
use super::time::Clock;
use super::{pam, peer, sshd, sudo, sudo_json, syslog};

/// What was learnt from the lines of one stream.
pub(super) type Context = Join<Known>;

/// Reads a line.
pub(super) fn parse<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    kind: Kind,
    (clock, observed): (&mut Clock, i64),
    context: &'a mut Context,
    scratch: &'a mut Vec<u8>,
    detail: &mut Vec<u8>,
) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let header = read(record, line, kind, (clock, observed), scratch, detail);
    let Some(process) = served(line, &header) else { return };
    connection::learn(context, process, record, record.time.unwrap_or(observed));
    connection::complete(record, context, process, detail);
}

/// The process of sshd that wrote a line, if its number tells it from others.
fn served<'a>(line: &[u8], header: &syslog::Header<'a>) -> Option<Process<'a>> {
    const PROGRAMS: [&[u8]; 5] = [b"sshd", b"sshd-session", b"sshd-auth", b"internal-sftp", b"sftp-server"];
    let pid = header.pid.filter(|_| PROGRAMS.contains(&base_name(header.program)))?;
    // Every container has its own numbers.
    let is_mixed = header.host.is_none() && syslog::behind_container(line).len() < line.len();
    (!is_mixed).then(|| Process { host: header.host.unwrap_or_default(), pid })
}

/// Reads a line for itself. Answers its header.
fn read<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    kind: Kind,
    (clock, observed): (&mut Clock, i64),
    scratch: &'a mut Vec<u8>,
    detail: &mut Vec<u8>,
) -> syslog::Header<'a> {
    if line.starts_with(b"-- ") && line.ends_with(b" --") {
        // journalctl's own: "-- Boot 0f3a… --", "-- No entries --"
        record.parsed = true;
        record.name(Field::EventAction, "journal-mark");
        record.set(Field::Message, line);
        return syslog::Header::default();
    }
    let header = syslog::parse(line, clock, observed)
        .or_else(|| {
            syslog::untimed(line, |program| matches!(base_name(program), b"sshd" | b"sshd-session" | b"sudo" | b"su"))
        })
        .unwrap_or(syslog::Header { message: syslog::behind_container(line), ..Default::default() });
    if let Some(moment) = header.moment {
        (record.time, record.ambiguous) = (Some(moment.time), moment.ambiguous);
    }
    if let Some(host) = header.host {
        record.set(Field::SyslogHostname, host);
    }
    if let Some(pid) = header.pid {
        record.set_checked(Field::ProcessPid, pid);
    }
    let mut message = behind_kernel(header.message);
    let mut folded = syslog::repeated(message);
    if let Some((count, inside)) = syslog::unfolded(message) {
        (folded, message) = (Some(count), inside);
    }
    if let Some(count) = folded {
        Object::member_after(detail, "syslog").value("repeated").extend_from_slice(count);
    }
    if header.program.is_empty() {
        let known = match kind {
            Kind::Sudo => {
                sudo_json::parse(record, message, scratch, detail)
                    || sudo::parse(record, message, detail)
                    || sudo::continuation(record, line)
            }
            _ => sshd::parse(record, message, scratch, detail),
        };
        record.parsed = known || header.host.is_some();
        if !known {
            record.set(Field::Message, message);
            if folded.is_some() {
                record.name(Field::EventAction, "message-repeated");
            }
        }
        return header;
    }
    record.parsed = true;
    record.set(Field::SyslogAppname, header.program);
    let name = base_name(header.program);
    record.set(Field::ProcessName, name);
    if pam::parse(record, header.program, message.trim_ascii_start(), detail) {
        return header;
    }
    let known = match name {
        b"sshd" | b"sshd-session" | b"sshd-auth" => {
            record.dataset = "sshd";
            sshd::parse(record, message, scratch, detail);
            true
        }
        b"sudo" | b"sudo-rs" => {
            record.dataset = "sudo";
            if sudo_json::parse(record, message, scratch, detail) {
                return header;
            }
            sudo::parse(record, message, detail)
        }
        b"su" | b"su-l" | b"doas" | b"sudo-i" => {
            record.dataset = "su";
            sudo::parse_su(record, message, detail)
        }
        b"unix_chkpwd" if pam::helper(record, message.trim_ascii(), detail) => true,
        b"internal-sftp" | b"sftp-server" => {
            record.dataset = "sshd";
            sshd::parse(record, message, scratch, detail)
        }
        _ => {
            record.dataset = "syslog";
            false
        }
    };
    if !known {
        record.set(Field::Message, message.trim_ascii_start());
    }
    header
}

/// What follows `kernel: [  970.699396] `, which some set-ups put between a program's tag and its message.
fn behind_kernel(message: &[u8]) -> &[u8] {
    let Some(rest) = message.strip_prefix(b"kernel:") else { return message };
    let rest = rest.trim_ascii_start();
    let Some(end) = memchr::memchr(b']', &rest[..rest.len().min(24)]).filter(|_| rest.starts_with(b"[")) else {
        return message;
    };
    let rest = &rest[end + 1..];
    rest.strip_prefix(b":").unwrap_or(rest).trim_ascii_start()
}

/// `sshd` of `/usr/sbin/sshd`, of `sshd(pam_unix)`, and of the units `ssh.service` and `sshd@…service`.
fn base_name(program: &[u8]) -> &[u8] {
    if let Some(unit) = program.strip_suffix(b".service") {
        let name = &unit[..memchr::memchr(b'@', unit).unwrap_or(unit.len())];
        return if name == b"ssh" { b"sshd" } else { name };
    }
    let end = memchr::memchr(b'(', program).filter(|at| *at > 0).unwrap_or(program.len());
    let name = &program[..end];
    memchr::memrchr(b'/', name).map_or(name, |at| &name[at + 1..])
}

/// Sets the destination of a connection.
pub(super) fn destination<'a>(record: &mut Record<'a>, host: &'a [u8], port: Option<&'a [u8]>) {
    if host == peer::UNKNOWN {
        return;
    }
    let endpoint = Endpoint { transport: None, host, port, version: Version::of(host) };
    record.endpoint(Side::Destination, &endpoint);
}

#[cfg(test)]
mod tests;
