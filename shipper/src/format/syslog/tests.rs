use jiff::tz::TimeZone;

use super::*;

/// 2026-11-21T22:45:15Z
const OBSERVED: i64 = 1_795_301_115_000_000_000;

fn read(line: &str) -> Option<(Option<i64>, String, String, String, String)> {
    let mut clock = Clock::new(TimeZone::UTC);
    let header = parse(line.as_bytes(), &mut clock, OBSERVED)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let since = header.moment.map(|moment| (OBSERVED - moment.time) / 1_000_000);
    let optional = |bytes: Option<&[u8]>| bytes.map(text).unwrap_or_default();
    Some((since, optional(header.host), text(header.program), optional(header.pid), text(header.message)))
}

#[test]
fn headers_of_many_systems() {
    for (line, since, host, program, pid, message) in [
        ("Nov 21 22:45:14 vm sshd[20648]: hello", Some(1000), "vm", "sshd", "20648", "hello"),
        ("Nov 21 22:45:14.250 vm sshd[20648]: hello", Some(750), "vm", "sshd", "20648", "hello"),
        ("<38>Nov 21 22:45:14 vm sshd[1]: hello", Some(1000), "vm", "sshd", "1", "hello"),
        ("2026-11-21T22:45:14.083979+00:00 vm sshd[20648]: hello", Some(916), "vm", "sshd", "20648", "hello"),
        ("2026-11-21T23:45:14+0100 vm sshd-session[7]: hello", Some(1000), "vm", "sshd-session", "7", "hello"),
        ("<38>1 2026-11-21T22:45:14.5+00:00 vm sshd 24991 - -  hello", Some(500), "vm", "sshd", "24991", "hello"),
        (
            "<46>1 2026-11-21T22:45:14Z vm rsyslogd - - -  [origin x] start",
            Some(1000),
            "vm",
            "rsyslogd",
            "",
            "[origin x] start",
        ),
        (
            "<38>1 2026-11-21T22:45:14Z - sshd 1 ID7 [a b=\"]\\\"\"][c] \u{feff}hello",
            Some(1000),
            "",
            "sshd",
            "1",
            "hello",
        ),
        ("2026-11-21T22:45:14+00:00 kiwi sudo 77 - -     opty : x", Some(1000), "kiwi", "sudo", "77", "   opty : x"),
        ("Nov 21 22:45:14 alpine auth.info sshd[99]: hello", Some(1000), "alpine", "sshd", "99", "hello"),
        ("Sat Nov 21 22:45:14 2026 authpriv.info sshd[99]: hello", Some(1000), "", "sshd", "99", "hello"),
        ("Nov 21 22:45:14 <4.6> bsd sshd[99]: hello", Some(1000), "bsd", "sshd", "99", "hello"),
        ("Nov 21 22:45:14 bsd <auth.info> sshd[99]: hello", Some(1000), "bsd", "sshd", "99", "hello"),
        ("Nov 21 22:45:14 sun sshd[99]: [ID 800047 auth.info] hello", Some(1000), "sun", "sshd", "99", "hello"),
        ("Nov 21 22:45:14 vm sshd(pam_unix)[99]: hello", Some(1000), "vm", "sshd(pam_unix)", "99", "hello"),
        ("Nov 21 22:45:14 vm sudo:    alice : x", Some(1000), "vm", "sudo", "", "   alice : x"),
        ("Nov 21 22:45:14 vm (systemd)[9]: hello", Some(1000), "vm", "(systemd)", "9", "hello"),
        ("Sat 2026-11-21 22:45:14 UTC vm sshd[9]: hello", Some(1000), "vm", "sshd", "9", "hello"),
        ("1795301114.250000 vm sshd[9]: hello", Some(750), "vm", "sshd", "9", "hello"),
        ("2026-11-21 22:45:14.083979+0000  localhost sshd[9]: hello", Some(916), "localhost", "sshd", "9", "hello"),
        ("Nov 21 22:45:14 sshd[9]: hello", Some(1000), "", "sshd", "9", "hello"),
        ("Nov 21 22:45:14 [sshd] hello", Some(1000), "", "sshd", "", "hello"),
        ("Nov 21 22:45:14 vm gdm-password]: hello", Some(1000), "vm", "gdm-password", "", "hello"),
        ("Nov 21 22:45:14 vm gdm-password][9]: hello", Some(1000), "vm", "gdm-password", "9", "hello"),
        ("Nov 21 22:45:14 relay Message forwarded from aix1: sshd[9]: hello", Some(1000), "aix1", "sshd", "9", "hello"),
        (
            "Nov 21 22:45:14 relay auth|security:info Message forwarded from aix1: sshd[9]: hello",
            Some(1000),
            "aix1",
            "sshd",
            "9",
            "hello",
        ),
        ("sshd[9]: hello", None, "", "sshd", "9", "hello"),
        ("sshd_1  | Nov 21 22:45:14 vm sshd[9]: hello", Some(1000), "vm", "sshd", "9", "hello"),
        ("[pod/a/b] Nov 21 22:45:14 vm sshd[9]: hello", Some(1000), "vm", "sshd", "9", "hello"),
        ("Nov 21 22:45:14 vm last message repeated 3 times", Some(1000), "vm", "", "", "last message repeated 3 times"),
        // A date alone.
        ("2026-11-21T22:45:14Z Accepted password for x", Some(1000), "", "", "", "Accepted password for x"),
        // What a client names is no header.
        ("2026-11-21T22:45:14Z Invalid user sshd[1]: x", Some(1000), "", "", "", "Invalid user sshd[1]: x"),
    ] {
        let expected = (since, host.to_owned(), program.to_owned(), pid.to_owned(), message.to_owned());
        assert_eq!(read(line), Some(expected), "{line}");
    }
    for line in
        ["", "hello", "Invalid user sshd[1]: x", "<38", "<38>1 x", "Nov 21", "2026", "a b c: d", "<38>1 - - - - -"]
    {
        assert_eq!(read(line), None, "{line}");
    }
}

#[test]
fn folded_messages() {
    assert_eq!(unfolded(b"message repeated 2 times: [ Failed x]"), Some((&b"2"[..], &b"Failed x"[..])));
    assert_eq!(unfolded(b"message repeated 2 times: [ a [preauth]]"), Some((&b"2"[..], &b"a [preauth]"[..])));
    for text in
        ["message repeated x times: [ a]", "message repeated 2 times: [ a", "message repeated 02 times: [ a]", ""]
    {
        assert_eq!(unfolded(text.as_bytes()), None, "{text}");
    }
    assert_eq!(repeated(b"last message repeated 3 times"), Some(&b"3"[..]));
}
