//! OpenSSH's server, from 2.x to 10.x: what `auth.c`, `packet.c`, `sshd.c` and their neighbours log.
//!
//! A user's name is whatever a client sent, a key id whatever its CA wrote, and a reason for a disconnect whatever the client
//! said; none of them is quoted. Each message is therefore read from that end at which nothing foreign stands, and where a second
//! reading stays possible the record is marked as suspect. Names are escaped by sshd; `user.name` has them without escapes.

pub(super) mod connection;
mod key;
mod pam_reason;
mod sftp;

use super::object::Object;
use super::peer::{Peer, is_host, source};
use super::record::{Field, Record};
use super::settings::Outcome::{self, Allow, Deny, Error, Success};
use super::sshd_messages::{Simple, simple};
use super::vis;

pub(super) const AUTHENTICATION: &str = "\"authentication\"";
const NETWORK: &str = "\"network\"";
const SESSION: &str = "\"session\"";

/// Where a message is read into.
pub(super) struct Reader<'r, 'a> {
    record: &'r mut Record<'a>,
    /// Room for a name without its escapes.
    scratch: Option<&'a mut Vec<u8>>,
    waybill: Object<'r>,
    /// Before anyone was let in.
    preauth: bool,
}

/// Reads a message. False if it is none of those that are known; the record then has its level and message alone.
pub(super) fn parse<'r, 'a>(
    record: &'r mut Record<'a>,
    message: &'a [u8],
    scratch: &'a mut Vec<u8>,
    detail: &'r mut Vec<u8>,
) -> bool {
    record.set(Field::Message, message);
    let mut text = level(record, message.trim_ascii_end());
    let mut waybill = Object::member_after(detail, "sshd");
    let mut preauth = false;
    if let Some(rest) = text.strip_suffix(b" [preauth]") {
        (text, preauth) = (rest.trim_ascii_end(), true);
        waybill.flag("preauth");
    } else if let Some(rest) = text.strip_suffix(b" [postauth]") {
        text = rest.trim_ascii_end();
    }
    let mut reader = Reader { record, scratch: Some(scratch), waybill, preauth };
    reader.known(text).is_some()
}

/// Takes off sshd's own name for the level (`log.c`).
fn level<'a>(record: &mut Record<'a>, message: &'a [u8]) -> &'a [u8] {
    const LEVELS: [(&[u8], &str); 7] = [
        (b"error: ", "error"),
        (b"fatal: ", "fatal"),
        (b"debug1: ", "debug"),
        (b"debug2: ", "debug"),
        (b"debug3: ", "debug"),
        (b"warning: ", "warning"),
        (b"Warning: ", "warning"),
    ];
    let mut rest = message;
    if let Some((prefix, level)) = LEVELS.iter().find(|(prefix, _)| rest.starts_with(prefix)) {
        record.name(Field::LogLevel, level);
        rest = &rest[prefix.len()..];
    }
    // FreeBSD builds the library with another prefix for its names.
    rest.strip_prefix(b"Fssh_").unwrap_or(rest)
}

impl<'a> Reader<'_, 'a> {
    fn known(&mut self, text: &'a [u8]) -> Option<()> {
        self.attempt(text)
            .or_else(|| self.user(text))
            .or_else(|| self.ending(text))
            .or_else(|| self.connection(text))
            .or_else(|| self.session(text))
            .or_else(|| self.key(text))
            .or_else(|| self.name_service(text))
            .or_else(|| sftp::parse(self.record, text))
            .or_else(|| {
                let Simple { action, outcome, category, .. } = simple(text)?;
                self.says(action, *outcome, category, "\"info\"");
                self.ends(action, text);
                self.named(text);
                Some(())
            })
    }

    /// The ends that a message names in sshd's own words.
    fn ends(&mut self, action: &str, text: &'a [u8]) {
        let Some(last) = Peer::last(text) else { return };
        match action {
            "forward-failed" => super::host_log::destination(self.record, last.host, last.port),
            "forward-refused" => {
                if let Some(first) = text.strip_prefix(b"Received request from ").and_then(Peer::first) {
                    first.set(self.record);
                    if first.host.as_ptr() != last.host.as_ptr() {
                        super::host_log::destination(self.record, last.host, last.port);
                    }
                }
            }
            "disconnected" | "connection-failed" | "connection-timeout" => last.set(self.record),
            // The others quote what a client called himself and offered, and what certificates say.
            _ => {}
        }
    }

    /// The user that such a message names.
    fn named(&mut self, text: &'a [u8]) {
        if let Some(name) = text.strip_prefix(b"Too many authentication failures for ") {
            self.name(name, 1);
        } else if let Some((name, reason)) =
            text.strip_prefix(b"Login restricted for ").and_then(|rest| split(rest, b": "))
        {
            self.name(name, 1);
            self.record.set(Field::EventReason, reason);
        } else if let Some((name, _)) =
            text.strip_prefix(b"Authorized to ").and_then(|rest| rsplit(rest, b", krb5 principal "))
        {
            self.name(name, 1);
        }
    }

    fn says(&mut self, action: &'static str, outcome: Option<Outcome>, category: &'static str, types: &'static str) {
        self.record.name(Field::EventAction, action);
        (self.record.outcome, self.record.category, self.record.types) = (outcome, category, types);
    }

    /// Sets the user's name; `times` is how often it was escaped.
    fn name(&mut self, name: &'a [u8], times: usize) {
        self.record.set(Field::UserName, name);
        if times == 0 || !vis::is_escaped(name) {
            return;
        }
        let Some(scratch) = self.scratch.take() else { return };
        scratch.clear();
        scratch.extend_from_slice(name);
        for _ in 0..times {
            vis::unescape(scratch);
        }
        self.record.set(Field::UserName, scratch);
    }

    /// A name behind `invalid user ` or the like.
    fn marked(&mut self, name: &'a [u8], times: usize) {
        for mark in [&b"invalid user "[..], b"illegal user "] {
            if let Some(name) = name.strip_prefix(mark) {
                self.waybill.flag("invalid_user");
                self.name(name, times);
                return;
            }
        }
        // An empty name of a message whose blanks were cut.
        if name == b"invalid user" || name == b"illegal user" {
            self.waybill.flag("invalid_user");
            self.name(&name[name.len()..], times);
            return;
        }
        self.name(name, times);
    }

    /// `(Accepted|Failed|Partial|Postponed) METHOD for [invalid user ]USER from A port N[ ssh2][: key]`
    fn attempt(&mut self, text: &'a [u8]) -> Option<()> {
        let (verb, rest) = split(text, b" ")?;
        let (action, outcome, types) = match verb {
            b"Accepted" => ("ssh_login", Some(Allow), "\"start\""),
            b"Failed" => ("ssh_login", Some(Deny), "\"start\""),
            b"Partial" => ("ssh_login_partial", Some(Success), "\"start\""),
            b"Postponed" => ("ssh_login_postponed", None, "\"info\""),
            _ => return None,
        };
        let (method, rest) = split(rest, b" for ")?;
        if method.is_empty() || method.len() > 64 || method.iter().any(|byte| !byte.is_ascii_graphic()) {
            return None;
        }
        let found = Attempt::find(rest, method)?;
        self.says(action, outcome, AUTHENTICATION, types);
        let (method, submethod) = split(method, b"/").map_or((method, None), |(method, sub)| (method, Some(sub)));
        self.waybill.text("method", method);
        if let Some(submethod) = submethod {
            self.waybill.text("submethod", submethod);
        }
        self.record.suspect = found.ambiguous.then_some("ambiguous");
        self.marked(found.user, 1);
        source(self.record, found.host, found.port);
        if !found.info.is_empty() {
            key::write(&mut self.waybill, method, found.info);
        }
        Some(())
    }

    /// Users that are refused by name.
    fn user(&mut self, text: &'a [u8]) -> Option<()> {
        for begins in [&b"Invalid user "[..], b"invalid user ", b"Illegal user ", b"illegal user "] {
            if let Some(rest) = text.strip_prefix(begins) {
                // The name may be empty: "Invalid user  from A".
                let peer = Peer::named_end(rest)?;
                let name =
                    peer.before.strip_suffix(b" from").or_else(|| (peer.before == b"from").then_some(&rest[..0]))?;
                self.says("invalid-user", Some(Deny), AUTHENTICATION, "\"start\"");
                self.waybill.flag("invalid_user");
                self.name(name, 1);
                peer.set(self.record);
                return Some(());
            }
        }
        if let Some(rest) = text.strip_prefix(b"User ")
            && let Some(at) = memchr::memmem::rfind(rest, b" not allowed because ")
        {
            self.record.set(Field::EventReason, &rest[at + 21..]);
            self.says("user-not-allowed", Some(Deny), AUTHENTICATION, "\"start\"");
            self.named_from(&rest[..at], false);
            return Some(());
        }
        if let Some(rest) = text.strip_prefix(b"input_userauth_request: ") {
            self.says("invalid-user", Some(Deny), AUTHENTICATION, "\"start\"");
            self.marked(rest, 1);
            return Some(());
        }
        if let Some(rest) = text.strip_prefix(b"maximum authentication attempts exceeded for ") {
            let found = Attempt::find(rest, b"password")?;
            self.says("max-authentication-attempts", Some(Deny), AUTHENTICATION, "\"start\"");
            self.marked(found.user, 1);
            source(self.record, found.host, found.port);
            return Some(());
        }
        self.module(text).or_else(|| self.refusal(text))
    }

    /// What PAM answers, in sshd's words: `PAM: Authentication failure for [illegal user ]U from H`.
    fn module(&mut self, text: &'a [u8]) -> Option<()> {
        let rest = text.strip_prefix(b"PAM: ").unwrap_or(text);
        let (reason, outcome, rest) = pam_reason::split(rest)?;
        // Apple's names its own end too: "for U from H via ADDRESS".
        let rest = match rsplit(rest, b" via ") {
            Some((before, own)) if super::address::Version::of(own).is_some() => before,
            _ => rest,
        };
        self.record.set(Field::EventReason, reason);
        self.says("pam-refused", Some(outcome), AUTHENTICATION, "\"start\"");
        self.named_from(rest, true);
        Some(())
    }

    /// Refusals of other forms.
    fn refusal(&mut self, text: &'a [u8]) -> Option<()> {
        if let Some(rest) = text.strip_prefix(b"Access denied for user ") {
            let (name, _) = rsplit(rest, b" by PAM account configuration")?;
            self.says("account-refused", Some(Deny), AUTHENTICATION, "\"start\"");
            self.name(name, 1);
        } else if let Some(at) = memchr::memmem::find(text, b" LOGIN REFUSED").filter(|at| *at <= 4) {
            self.says("root-login-refused", Some(Deny), AUTHENTICATION, "\"start\"");
            self.record.name(Field::UserName, "root");
            if let Some(rest) = split(&text[at..], b" FROM ").map(|(_, rest)| rest)
                && let Some(peer) = Peer::first(rest)
            {
                peer.set(self.record);
            }
        } else if let Some(rest) = text.strip_prefix(b"Authentication tried for ") {
            let (name, rest) = split(rest, b" with correct key but not from a permitted host")?;
            self.says("key-not-permitted", Some(Deny), AUTHENTICATION, "\"start\"");
            self.name(name, 1);
            if let Some((_, rest)) = rsplit(rest, b"ip=") {
                let end = rest.iter().position(|byte| matches!(byte, b',' | b')')).unwrap_or(rest.len());
                if is_host(&rest[..end]) {
                    source(self.record, &rest[..end], None);
                }
            }
        } else if let Some(rest) = text.strip_prefix(b"refused connect from ") {
            // The wrapper's name of the host is what its owner says in DNS; the address is not.
            self.says("connection-refused", Some(Deny), NETWORK, "\"connection\"");
            let host = match rsplit(rest, b"(") {
                Some((_, inside)) => inside.strip_suffix(b")").unwrap_or(inside),
                None => rest,
            };
            if is_host(host) {
                source(self.record, host, None);
            }
        } else {
            return None;
        }
        Some(())
    }

    /// `U[ from H]`, to the end; `marked` if `invalid user ` may stand before the name.
    fn named_from(&mut self, text: &'a [u8], marked: bool) {
        let peer = rsplit(text, b" from ").and_then(|(name, rest)| Some((name, Peer::first(rest)?)));
        let name = match peer {
            Some((name, peer)) if peer.behind.is_empty() => {
                peer.set(self.record);
                name
            }
            _ => text,
        };
        if marked {
            self.marked(name, 1);
        } else {
            self.name(name, 1);
        }
    }

    /// Connections that end.
    fn ending(&mut self, text: &'a [u8]) -> Option<()> {
        if let Some(rest) = text.strip_prefix(b"Received disconnect from ") {
            return self.farewell(rest);
        }
        if let Some(rest) = text.strip_prefix(b"Disconnecting") {
            return self.disconnecting(rest);
        }
        let failed = Some(Error);
        for (begins, action, outcome) in [
            (&b"Connection closed by "[..], "connection-closed", self.preauth.then_some(Error)),
            (b"Connection reset by ", "connection-reset", failed),
            (b"Disconnected from ", "disconnected", if self.preauth { failed } else { Some(Success) }),
            (b"Timeout, client not responding from ", "connection-timeout", failed),
            (b"Connection timed out with ", "connection-timeout", failed),
            (b"Read error from remote host ", "connection-failed", failed),
            (b"Write failed to ", "connection-failed", failed),
        ] {
            if let Some(rest) = text.strip_prefix(begins) {
                self.says(action, outcome, NETWORK, "\"connection\",\"end\"");
                if matches!(rest, b"peer" | b"remote host") {
                    return Some(());
                }
                let rest = match Peer::at_end(rest) {
                    Some(peer) if peer.port.is_some() || super::address::Version::of(peer.host).is_some() => rest,
                    // "…: Connection reset by peer"
                    _ => rsplit(rest, b": ").map_or(rest, |(rest, reason)| {
                        self.record.set(Field::EventReason, reason);
                        rest
                    }),
                };
                self.who(rest);
                return Some(());
            }
        }
        None
    }

    /// `[invalid user U |authenticating user U |user U ]A[ port N]`. The name stands there escaped twice.
    fn who(&mut self, text: &'a [u8]) {
        // Some builds also print their own end: "A port N on B port M".
        let first = Peer::first(text).filter(|peer| peer.port.is_some() && peer.behind.starts_with(b" on "));
        let Some(peer) = first.or_else(|| Peer::at_end(text)) else { return };
        peer.set(self.record);
        self.whose(peer.before);
    }

    fn whose(&mut self, text: &'a [u8]) {
        for mark in [&b"invalid user"[..], b"authenticating user", b"user"] {
            if let Some(rest) = text.strip_prefix(mark) {
                if mark == b"invalid user" {
                    self.waybill.flag("invalid_user");
                }
                let name = rest.strip_prefix(b" ").unwrap_or(rest);
                self.name(name, 2);
                return;
            }
        }
    }

    /// `A port N:CODE: what the client said`, before 7.4 `A: CODE: …`. Since 10.0 a name may stand before the address.
    fn farewell(&mut self, text: &'a [u8]) -> Option<()> {
        let peer = Peer::first(text).filter(|peer| peer.behind.starts_with(b":"));
        let peer = match peer {
            Some(peer) => peer,
            None => {
                let mut candidates = Peer::all(text).filter(|peer| peer.behind.starts_with(b":"));
                let last = candidates.next()?;
                self.record.suspect = candidates.next().map(|_| "ambiguous");
                self.whose(last.before);
                last
            }
        };
        peer.set(self.record);
        let rest = peer.behind.strip_prefix(b":").unwrap_or(peer.behind).trim_ascii_start();
        let (code, reason) = split(rest, b":").unwrap_or((rest, &rest[rest.len()..]));
        let mut by_application = false;
        let mut refused = false;
        if super::base::is_decimal(code) {
            by_application = code == b"11";
            refused = code == b"14" || (code == b"3" && reason.ends_with(b"Auth fail"));
            self.waybill.value("disconnect_code").extend_from_slice(code);
        }
        let reason = reason.trim_ascii();
        if !reason.is_empty() {
            self.record.set(Field::EventReason, reason);
        }
        let outcome = match by_application {
            _ if refused => Deny,
            true if !self.preauth => Success,
            _ => Error,
        };
        self.says("disconnected", Some(outcome), NETWORK, "\"connection\",\"end\"");
        Some(())
    }

    /// `Disconnecting[ from] [invalid user U |…]A port N: reason`, before 7.4 `Disconnecting: reason`.
    fn disconnecting(&mut self, text: &'a [u8]) -> Option<()> {
        if let Some(reason) = text.strip_prefix(b": ") {
            self.disconnect(reason);
            if let Some(name) = reason.strip_prefix(b"Too many authentication failures for ") {
                self.name(name, 1);
            }
            return Some(());
        }
        let text = text.strip_prefix(b" from").unwrap_or(text).strip_prefix(b" ")?;
        let mut chosen = None;
        let mut candidates = 0;
        for peer in Peer::all(text) {
            let Some(reason) = peer.behind.strip_prefix(b": ") else { continue };
            candidates += 1;
            if chosen.is_none() || is_own_change(peer.before, reason) {
                chosen = Some((peer, reason));
            }
        }
        let (peer, reason) = chosen?;
        self.record.suspect = (candidates > 1).then_some("ambiguous");
        peer.set(self.record);
        self.disconnect(reason);
        self.whose(peer.before);
        Some(())
    }

    fn disconnect(&mut self, reason: &'a [u8]) {
        self.record.set(Field::EventReason, reason);
        let refused =
            [&b"Too many authentication failures"[..], b"Change of username", b"Your account", b"Access denied"]
                .iter()
                .any(|refusal| reason.starts_with(refusal));
        let (outcome, category) = if refused { (Deny, AUTHENTICATION) } else { (Error, NETWORK) };
        self.says("disconnecting", Some(outcome), category, "\"connection\",\"end\"");
    }

    /// Connections that begin, or never quite do.
    fn connection(&mut self, text: &'a [u8]) -> Option<()> {
        if let Some(rest) = text.strip_prefix(b"Connection from ") {
            if let Some(rest) = rest.strip_suffix(b" timed out") {
                self.says("connection-timeout", Some(Error), NETWORK, "\"connection\",\"end\"");
                self.who(rest);
                return Some(());
            }
            self.says("connection", None, NETWORK, "\"connection\",\"start\"");
            let Some(peer) = Peer::first(rest) else { return Some(()) };
            peer.set(self.record);
            if let Some(local) = peer.behind.strip_prefix(b" on ").and_then(Peer::first) {
                super::host_log::destination(self.record, local.host, local.port);
            }
            return Some(());
        }
        for (begins, action, outcome) in [
            (&b"Unable to negotiate with "[..], "negotiation-failed", Error),
            (b"Protocol major versions differ for ", "negotiation-failed", Error),
            (b"Timeout before authentication for connection from ", "authentication-timeout", Error),
            (b"Timeout before authentication for ", "authentication-timeout", Error),
            (b"Timeout before authentication from ", "authentication-timeout", Error),
            (b"Did not receive identification string from ", "no-identification", Error),
            (b"Client did not identify from ", "no-identification", Error),
            (b"scanned from ", "scanned", Error),
            (b"Server listening on ", "listening", Success),
        ] {
            if let Some(rest) = text.strip_prefix(begins) {
                let rest = if action == "listening" { rest.strip_suffix(b".").unwrap_or(rest) } else { rest };
                let peer = Peer::first(rest)?;
                if action == "listening" {
                    super::host_log::destination(self.record, peer.host, peer.port);
                    self.says(action, Some(outcome), NETWORK, "\"info\"");
                    return Some(());
                }
                peer.set(self.record);
                if let Some(reason) = peer.behind.strip_prefix(b": ") {
                    self.record.set(Field::EventReason, reason);
                }
                self.says(action, Some(outcome), NETWORK, "\"connection\"");
                return Some(());
            }
        }
        // A patch of some distributions: "SSH: Server;Ltype: Kex;Remote: A-N;Enc: …"
        if let Some((what, rest)) = text.strip_prefix(b"SSH: Server;Ltype: ").and_then(|rest| split(rest, b";Remote: "))
        {
            let (peer, rest) = split(rest, b";")?;
            let (host, port) = rsplit(peer, b"-")?;
            self.says("connection", None, NETWORK, "\"connection\"");
            if is_host(host) && super::address::is_port(port) {
                source(self.record, host, Some(port));
            }
            if what == b"Authname"
                && let Some(name) = rest.strip_prefix(b"Name: ")
            {
                self.name(name, 1);
            }
            return Some(());
        }
        self.protocol(text).or_else(|| self.limits(text))
    }

    /// Peers that do not speak the protocol, or break it.
    fn protocol(&mut self, text: &'a [u8]) -> Option<()> {
        if text.starts_with(b"Bad protocol version identification ") {
            let (name, peer) = (&text[36..], Peer::at_end(text)?);
            self.says("bad-identification", Some(Error), NETWORK, "\"connection\"");
            self.waybill.text("identification", name.get(..peer.before.len().saturating_sub(36 + 5)).unwrap_or(name));
            peer.set(self.record);
            return Some(());
        }
        for (begins, action) in [
            (&b"banner exchange: Connection from "[..], "bad-identification"),
            (b"ssh_dispatch_run_fatal: Connection from ", "protocol-error"),
            (b"packet_write_wait: Connection from ", "connection-failed"),
            (b"packet_write_poll: Connection from ", "connection-failed"),
            (b"ssh_packet_write_poll: Connection from ", "connection-failed"),
            (b"ssh_packet_read: Connection from ", "connection-failed"),
            (b"ssh_packet_read_seqnr: Connection from ", "connection-failed"),
            (b"sshpkt_disconnect: Connection from ", "connection-failed"),
        ] {
            if let Some(rest) = text.strip_prefix(begins) {
                self.says(action, Some(Error), NETWORK, "\"connection\"");
                // What stands behind the address is sshd's own.
                match Peer::all(rest).find(|peer| peer.behind.starts_with(b": ")) {
                    Some(peer) => {
                        peer.set(self.record);
                        self.record.set(Field::EventReason, &peer.behind[2..]);
                        self.whose(peer.before);
                    }
                    None => self.who(rest),
                }
                return Some(());
            }
        }
        None
    }

    /// Connections that are not taken, because there are too many or because of what was done before.
    fn limits(&mut self, text: &'a [u8]) -> Option<()> {
        if text.starts_with(b"drop connection #") {
            let (_, rest) = split(text, b" from [")?;
            let (host, rest) = split(rest, b"]:")?;
            let (port, rest) = split(rest, b" ")?;
            self.says("connection-dropped", Some(Deny), NETWORK, "\"connection\"");
            if is_host(host) && super::address::is_port(port) {
                source(self.record, host, Some(port));
            }
            // "on [ip]:22 past MaxStartups", "on [ip]:22 penalty: failed authentication"
            if let Some((_, rest)) = split(rest, b"on [")
                && let Some((_, reason)) = split(rest, b" ")
            {
                self.record.set(Field::EventReason, reason);
            }
            return Some(());
        }
        if memchr::memmem::find(text, b" penalty of ").is_some()
            || (text.starts_with(b"srclimit") && memchr::memmem::find(text, b"penalt").is_some())
        {
            self.says("penalty", Some(Deny), NETWORK, "\"info\"");
            for token in text.split(|byte| *byte == b' ').take(8) {
                let host = token.split(|byte| *byte == b'/').next().unwrap_or(token);
                let host = host.strip_suffix(b":").unwrap_or(host);
                if super::address::Version::of(host).is_some() {
                    source(self.record, host, None);
                    break;
                }
            }
            if let Some((_, reason)) = rsplit(text, b" for ") {
                self.record.set(Field::EventReason, reason);
            }
            return Some(());
        }
        None
    }

    /// What an authenticated user does.
    fn session(&mut self, text: &'a [u8]) -> Option<()> {
        for (begins, action, types) in [
            (&b"Starting session: "[..], "session-started", "\"start\""),
            (b"Close session: ", "session-closed", "\"end\""),
        ] {
            if let Some(rest) = text.strip_prefix(begins) {
                let (rest, _) = rsplit(rest, b" id ")?;
                let peer = Peer::at_end(rest)?;
                let what = peer.before.strip_suffix(b" from")?;
                self.says(action, Some(Success), SESSION, types);
                peer.set(self.record);
                match what.strip_prefix(b"user ") {
                    Some(name) => self.name(name, 1),
                    None => {
                        let (what, name) = rsplit(what, b" for ")?;
                        self.waybill.text("session", what);
                        self.name(name, 1);
                    }
                }
                return Some(());
            }
        }
        for (begins, action, types) in [
            (&b"session opened for local user "[..], "session-started", "\"start\""),
            (b"session closed for local user ", "session-closed", "\"end\""),
        ] {
            if let Some(rest) = text.strip_prefix(begins) {
                let (name, host) = rsplit(rest, b" from [")?;
                self.says(action, Some(Success), SESSION, types);
                self.name(name, 0);
                let host = host.strip_suffix(b"]").unwrap_or(host);
                if is_host(host) {
                    source(self.record, host, None);
                }
                return Some(());
            }
        }
        if let Some(rest) = text.strip_prefix(b"subsystem request for ") {
            let failed = rest.strip_suffix(b" failed, subsystem not found");
            if failed.is_some() {
                self.record.set(Field::EventReason, b"subsystem not found");
            }
            // What is asked for is the client's word, its name is not.
            let rest = failed.unwrap_or(rest);
            let (subsystem, name) = rsplit(rest, b" by user ").unwrap_or((rest, b""));
            let outcome = if failed.is_some() { Error } else { Success };
            self.says("subsystem-request", Some(outcome), SESSION, "\"info\"");
            self.waybill.text("session", subsystem);
            if !name.is_empty() {
                self.name(name, 1);
            }
            return Some(());
        }
        None
    }

    /// Keys and certificates that are looked at.
    fn key(&mut self, text: &'a [u8]) -> Option<()> {
        if let Some(rest) = text.strip_prefix(b"Accepted key ") {
            let (info, file) = split(rest, b" found at ")?;
            self.says("key-found", Some(Success), AUTHENTICATION, "\"info\"");
            key::write(&mut self.waybill, b"publickey", info);
            self.waybill.text("file", file);
        } else if let Some(rest) = text.strip_prefix(b"Accepted certificate ID \"") {
            let (id, rest) = rsplit(rest, b"\" (serial ")?;
            self.says("certificate-found", Some(Success), AUTHENTICATION, "\"info\"");
            self.waybill.text("certificate_id", id);
            if let Some((_, rest)) = split(rest, b") signed by ") {
                let (authority, file) = split(rest, b" via ").unwrap_or((rest, b""));
                self.waybill.text("authority", authority);
                if !file.is_empty() {
                    self.waybill.text("file", file);
                }
            }
        } else if let Some(rest) = text.strip_prefix(b"Found matching ") {
            let (kind, fingerprint) = split(rest, b" key: ")?;
            self.says("key-found", Some(Success), AUTHENTICATION, "\"info\"");
            self.waybill.text("key_type", kind);
            self.waybill.text("fingerprint", fingerprint);
        } else {
            return None;
        }
        Some(())
    }

    /// What DNS says about a client. Its owner chooses the names.
    fn name_service(&mut self, text: &'a [u8]) -> Option<()> {
        let host = if let Some(rest) = text.strip_prefix(b"Address ") {
            let (host, rest) = split(rest, b" ")?;
            rest.starts_with(b"maps to ").then_some(host)?
        } else if text.starts_with(b"reverse mapping checking getaddrinfo for ") {
            let (_, rest) = rsplit(text, b"[")?;
            split(rest, b"]")?.0
        } else if text.starts_with(b"Nasty PTR record ") {
            let (_, rest) = rsplit(text, b" is set up for ")?;
            split(rest, b",")?.0
        } else {
            return None;
        };
        if is_host(host) {
            source(self.record, host, None);
        }
        self.says("reverse-mapping-mismatch", None, NETWORK, "\"info\"");
        Some(())
    }
}

/// `Change of username or service not allowed: (U,…) -> (V,…)`, where U is the name before the address.
fn is_own_change(before: &[u8], reason: &[u8]) -> bool {
    let name =
        [&b"invalid user "[..], b"authenticating user ", b"user "].iter().find_map(|mark| before.strip_prefix(*mark));
    let Some(rest) = reason.strip_prefix(b"Change of username or service not allowed: (") else { return false };
    name.is_some_and(|name| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(b",")))
}

/// The end of an attempt's message.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    user: &'a [u8],
    host: &'a [u8],
    port: Option<&'a [u8]>,
    info: &'a [u8],
    /// The words of a name or of a certificate's id could be those of sshd.
    ambiguous: bool,
}

impl<'a> Attempt<'a> {
    /// Reads `USER from A port N[ ssh2][: info]`. The last place counts behind which there is nothing or what that method prints:
    /// a password has no info, so nothing can follow; a key is a type and a fingerprint; only a certificate's id is free text.
    fn find(text: &'a [u8], method: &[u8]) -> Option<Self> {
        let method = split(method, b"/").map_or(method, |(method, _)| method);
        let certificate = key::is_certificate_end(text);
        let mut found: Option<Self> = None;
        let mut first = None;
        for peer in Peer::all(text) {
            let Some(user) = peer.before.strip_suffix(b" from") else { continue };
            let Some(info) = behind_protocol(peer.behind) else { continue };
            let fits = match method {
                _ if info.is_empty() => true,
                _ if peer.behind.starts_with(b" ssh1:") => found.is_none(),
                b"publickey" => key::is_key(info) || (certificate && key::begins_with_key(info)),
                b"password" | b"none" | b"keyboard-interactive" => false,
                _ => found.is_none(),
            };
            if !fits {
                first = Some(Self { user, host: peer.host, port: peer.port, info, ambiguous: false });
                continue;
            }
            match &mut found {
                None => found = Some(Self { user, host: peer.host, port: peer.port, info, ambiguous: false }),
                Some(found) => {
                    found.ambiguous = true;
                    break;
                }
            }
        }
        // A password has no info, so this is a name that looks like one, or a version that nobody knows.
        if let Some(found) = &mut found {
            found.ambiguous |= found.info.is_empty() && first.is_some_and(|first| !first.info.is_empty());
            return Some(*found);
        }
        // Without a port, as old versions and some ports of sshd print it.
        first.or_else(|| {
            let (user, rest) = rsplit(text, b" from ")?;
            let peer = Peer::first(rest)?;
            let info = behind_protocol(peer.behind)?;
            Some(Self { user, host: peer.host, port: None, info, ambiguous: false })
        })
    }
}

/// What follows ` ssh2: `; empty if nothing follows. Some builds print their own end before: ` on B port M`.
fn behind_protocol(text: &[u8]) -> Option<&[u8]> {
    let text = match text.strip_prefix(b" on ").and_then(Peer::first) {
        Some(own) => own.behind,
        None => text,
    };
    let rest = match text {
        [b' ', b's', b's', b'h', b'1' | b'2', rest @ ..] => rest,
        [b' ', b's', b's', b'h', rest @ ..] => rest,
        _ => text,
    };
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b": ") }
}

pub(super) fn split<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::find(text, mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}

pub(super) fn rsplit<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::rfind(text, mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}

#[cfg(test)]
mod tests;
