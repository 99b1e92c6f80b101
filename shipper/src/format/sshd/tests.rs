use super::*;

struct Read {
    text: String,
    outcome: Option<Outcome>,
    suspect: bool,
}

/// `action user address port method`, with `-` for what is not there.
fn read(message: &str) -> Option<Read> {
    let (mut scratch, mut detail) = (Vec::new(), Vec::new());
    let mut record = Record::new("sshd", "sshd");
    if !parse(&mut record, message.as_bytes(), &mut scratch, &mut detail) {
        return None;
    }
    let text = |field| record.get(field).map_or("-".into(), |text| String::from_utf8_lossy(text).into_owned());
    let fields = [Field::EventAction, Field::UserName, Field::SourceAddress, Field::SourcePort].map(text);
    Some(Read { text: fields.join("|"), outcome: record.outcome, suspect: record.suspect.is_some() })
}

fn detail(message: &str) -> serde_json::Value {
    let (mut scratch, mut detail) = (Vec::new(), Vec::new());
    let mut record = Record::new("sshd", "sshd");
    assert!(parse(&mut record, message.as_bytes(), &mut scratch, &mut detail), "{message}");
    let text = String::from_utf8(detail).unwrap();
    serde_json::from_str(&format!("{{{}}}", &text[1..])).unwrap()
}

#[track_caller]
fn is(message: &str, expected: &str, outcome: Option<Outcome>) {
    let read = read(message).unwrap_or_else(|| panic!("{message}"));
    assert_eq!((read.text.as_str(), read.outcome, read.suspect), (expected, outcome, false), "{message}");
}

#[test]
fn attempts() {
    let deny = Some(Deny);
    is("Accepted password for alice from 192.0.2.1 port 5 ssh2", "ssh_login|alice|192.0.2.1|5", Some(Allow));
    is(
        "Accepted publickey for bob from 2001:db8::50 port 60288 ssh2: ED25519 SHA256:abc+/0",
        "ssh_login|bob|2001:db8::50|60288",
        Some(Allow),
    );
    is("Accepted publickey for bob from 192.0.2.1 port 5 ssh2: RSA 1e:2d:3c", "ssh_login|bob|192.0.2.1|5", Some(Allow));
    is(
        "Accepted gssapi-with-mic for bob from 192.0.2.1 port 5 ssh2: bob@REALM.TEST",
        "ssh_login|bob|192.0.2.1|5",
        Some(Allow),
    );
    is(
        "Accepted hostbased for bob from host.test port 5 ssh2: RSA SHA256:x, client user \"a\", client host \"b\"",
        "ssh_login|bob|host.test|5",
        Some(Allow),
    );
    is("Failed password for invalid user admin from 192.0.2.1 port 5 ssh2", "ssh_login|admin|192.0.2.1|5", deny);
    is(
        "Failed password for illegal user admin from ::ffff:192.0.2.1 port 5 ssh2",
        "ssh_login|admin|::ffff:192.0.2.1|5",
        deny,
    );
    is("Failed none for invalid user  from 192.0.2.1 port 5 ssh2", "ssh_login||192.0.2.1|5", deny);
    is(
        "Failed keyboard-interactive/pam for alice from 192.0.2.1 port 5 ssh2 [preauth]",
        "ssh_login|alice|192.0.2.1|5",
        deny,
    );
    is("Failed password for root from 192.0.2.1", "ssh_login|root|192.0.2.1|-", deny);
    is(
        "Failed password for CORP\\\\alice smith from 192.0.2.1 port 5 ssh2",
        "ssh_login|CORP\\alice smith|192.0.2.1|5",
        deny,
    );
    is("Partial password for alice from 192.0.2.1 port 5 ssh2", "ssh_login_partial|alice|192.0.2.1|5", Some(Success));
    is(
        "Postponed keyboard-interactive/pam for alice from 192.0.2.1 port 5 ssh2 [preauth]",
        "ssh_login_postponed|alice|192.0.2.1|5",
        None,
    );
    is(
        "error: maximum authentication attempts exceeded for invalid user x from 192.0.2.1 port 5 ssh2 [preauth]",
        "max-authentication-attempts|x|192.0.2.1|5",
        deny,
    );
    let found = detail(
        "Failed publickey for carol from 192.0.2.1 port 5 ssh2: RSA-CERT SHA256:abc ID id with space: cert (serial 7) CA ED25519 SHA256:def [preauth]",
    );
    assert_eq!(
        found["sshd"],
        serde_json::json!({
            "preauth": true, "method": "publickey", "key_type": "RSA-CERT", "fingerprint": "SHA256:abc",
            "certificate_id": "id with space: cert", "certificate_serial": "7", "authority": "ED25519 SHA256:def",
        })
    );
    let found = detail("Failed keyboard-interactive/pam for invalid user x from 192.0.2.1 port 5 ssh2");
    assert_eq!(
        found["sshd"],
        serde_json::json!({"method": "keyboard-interactive", "submethod": "pam", "invalid_user": true})
    );
}

#[test]
fn refusals() {
    let deny = Some(Deny);
    is("Invalid user admin from 192.0.2.1 port 5", "invalid-user|admin|192.0.2.1|5", deny);
    is("Invalid user admin from 192.0.2.1", "invalid-user|admin|192.0.2.1|-", deny);
    is("Illegal user  from 192.0.2.1 ", "invalid-user||192.0.2.1|-", deny);
    is("input_userauth_request: invalid user admin [preauth]", "invalid-user|admin|-|-", deny);
    is("User dave from 192.0.2.1 not allowed because listed in DenyUsers", "user-not-allowed|dave|192.0.2.1|-", deny);
    is("User dave not allowed because account is locked", "user-not-allowed|dave|-|-", deny);
    is(
        "User a b from host.test not allowed because none of user's groups are listed in AllowGroups",
        "user-not-allowed|a b|host.test|-",
        deny,
    );
    is("error: PAM: Authentication failure for alice from 192.0.2.1", "pam-refused|alice|192.0.2.1|-", deny);
    is(
        "error: PAM: User not known to the underlying authentication module for illegal user x from 192.0.2.1",
        "pam-refused|x|192.0.2.1|-",
        deny,
    );
    is(
        "error: PAM: Authentication error for illegal user test from 192.0.2.1 via 198.51.100.1",
        "pam-refused|test|192.0.2.1|-",
        deny,
    );
    is("error: PAM: authentication failure for x from 192.0.2.1 via 198.51.100.1", "pam-refused|x|192.0.2.1|-", deny);
    for (reason, outcome) in [
        ("Have exhausted maximum number of retries for service", Deny),
        ("Authentication service cannot retrieve authentication info", Error),
        ("Module is unknown", Error),
        ("System error", Error),
    ] {
        let line = format!("error: PAM: {reason} for root from 192.0.2.1");
        is(&line, "pam-refused|root|192.0.2.1|-", Some(outcome));
    }
    is("Login restricted for bob: 3004-303 There have been too many", "user-not-allowed|bob|-|-", deny);
    is(
        "error: Could not stat AuthorizedKeysCommand \"/x\": No such file or directory",
        "keys-unreadable|-|-|-",
        Some(Error),
    );
    is("fatal: Access denied for user alice by PAM account configuration [preauth]", "account-refused|alice|-|-", deny);
    is("ROOT LOGIN REFUSED FROM 192.0.2.1 port 5", "root-login-refused|root|192.0.2.1|5", deny);
    is(
        "Authentication tried for bob with correct key but not from a permitted host (host=h.test, ip=192.0.2.1, required=x).",
        "key-not-permitted|bob|192.0.2.1|-",
        deny,
    );
    is("refused connect from h.test (192.0.2.1)", "connection-refused|-|192.0.2.1|-", deny);
    is("Authentication refused: bad ownership or modes for file /home/x", "authentication-refused|-|-|-", deny);
    is(
        "Disconnecting invalid user nosuch 192.0.2.1 port 5: Too many authentication failures [preauth]",
        "disconnecting|nosuch|192.0.2.1|5",
        deny,
    );
    is("Disconnecting: Too many authentication failures for root [preauth]", "disconnecting|root|-|-", deny);
    is(
        "drop connection #3 from [192.0.2.1]:56388 on [192.0.2.9]:22 past MaxStartups",
        "connection-dropped|-|192.0.2.1|56388",
        deny,
    );
    is(
        "drop connection #0 from [2001:db8::1]:5 on [192.0.2.9]:22 penalty: failed authentication",
        "connection-dropped|-|2001:db8::1|5",
        deny,
    );
    is(
        "srclimit_penalise: ipv4: new 192.0.2.1/32 active penalty of 5.000 seconds for penalty: failed authentication",
        "penalty|-|192.0.2.1|-",
        deny,
    );
}

#[test]
fn connections() {
    let error = Some(Error);
    is("Connection from 192.0.2.1 port 5 on 192.0.2.9 port 22 rdomain \"\"", "connection|-|192.0.2.1|5", None);
    is("Connection closed by 192.0.2.1 port 5 [preauth]", "connection-closed|-|192.0.2.1|5", error);
    is("Connection closed by 192.0.2.1 port 5", "connection-closed|-|192.0.2.1|5", None);
    is("Connection closed by 192.0.2.1", "connection-closed|-|192.0.2.1|-", None);
    is("Connection closed by UNKNOWN port 65535", "connection-closed|-|-|-", None);
    is(
        "Connection closed by authenticating user root 192.0.2.1 port 5 [preauth]",
        "connection-closed|root|192.0.2.1|5",
        error,
    );
    is("Connection closed by invalid user  192.0.2.1 port 5 [preauth]", "connection-closed||192.0.2.1|5", error);
    is(
        r"Connection closed by invalid user nl\\nx\\303\\274 192.0.2.1 port 5 [preauth]",
        "connection-closed|nl\nxü|192.0.2.1|5",
        error,
    );
    is(
        "Connection reset by authenticating user root 192.0.2.1 port 5 [preauth]",
        "connection-reset|root|192.0.2.1|5",
        error,
    );
    is("Connection from user alice 192.0.2.1 port 5 timed out", "connection-timeout|alice|192.0.2.1|5", error);
    is(
        "Read error from remote host user alice 192.0.2.1 port 5: Connection reset by peer",
        "connection-failed|alice|192.0.2.1|5",
        error,
    );
    is("Disconnected from user alice 192.0.2.1 port 5", "disconnected|alice|192.0.2.1|5", Some(Success));
    is("Disconnected from 192.0.2.1 port 5 [preauth]", "disconnected|-|192.0.2.1|5", error);
    is(
        "Received disconnect from 192.0.2.1 port 5:11: disconnected by user",
        "disconnected|-|192.0.2.1|5",
        Some(Success),
    );
    is("Received disconnect from 192.0.2.1: 11: Bye Bye [preauth]", "disconnected|-|192.0.2.1|-", error);
    is(
        "Received disconnect from 192.0.2.1 port 5:11: x from 198.51.100.1 port 6:11: y",
        "disconnected|-|192.0.2.1|5",
        Some(Success),
    );
    is(
        "Unable to negotiate with 192.0.2.1 port 5: no matching cipher found. Their offer: x 1.1.1.1 port 2 [preauth]",
        "negotiation-failed|-|192.0.2.1|5",
        error,
    );
    is(
        "fatal: Unable to negotiate with 192.0.2.1: no matching cipher found",
        "negotiation-failed|-|192.0.2.1|-",
        error,
    );
    is("Did not receive identification string from 192.0.2.1 port 5", "no-identification|-|192.0.2.1|5", error);
    is(
        "Bad protocol version identification 'GET / from 1.1.1.1 port 2' from 192.0.2.1 port 5",
        "bad-identification|-|192.0.2.1|5",
        error,
    );
    is("banner exchange: Connection from 192.0.2.1 port 5: invalid format", "bad-identification|-|192.0.2.1|5", error);
    is(
        "ssh_dispatch_run_fatal: Connection from authenticating user root 192.0.2.1 port 5: message authentication code incorrect [preauth]",
        "protocol-error|root|192.0.2.1|5",
        error,
    );
    is("fatal: Timeout before authentication for 192.0.2.1 port 5", "authentication-timeout|-|192.0.2.1|5", error);
    is(
        "Timeout before authentication for connection from 192.0.2.1 to 192.0.2.9, pid = 7",
        "authentication-timeout|-|192.0.2.1|-",
        error,
    );
    is(
        "error: kex_exchange_identification: client sent invalid protocol identifier \"GET / HTTP/1.1\"",
        "bad-identification|-|-|-",
        error,
    );
    is("Server listening on :: port 22.", "listening|-|-|-", Some(Success));
    is(
        "reverse mapping checking getaddrinfo for a.test [192.0.2.1] failed - POSSIBLE BREAK-IN ATTEMPT!",
        "reverse-mapping-mismatch|-|192.0.2.1|-",
        None,
    );
    is(
        "Address 192.0.2.1 maps to a.test, but this does not map back to the address - POSSIBLE BREAK-IN ATTEMPT!",
        "reverse-mapping-mismatch|-|192.0.2.1|-",
        None,
    );
    is(
        "Starting session: command on pts/1 for alice from 192.0.2.1 port 5 id 0",
        "session-started|alice|192.0.2.1|5",
        Some(Success),
    );
    is("Close session: user bob from 192.0.2.1 port 5 id 0", "session-closed|bob|192.0.2.1|5", Some(Success));
}

/// A connection that was gone when its line was written.
#[test]
fn a_peer_that_is_unknown() {
    is(
        "Accepted publickey for aws_user from UNKNOWN port 65535 ssh2: RSA SHA256:abc",
        "ssh_login|aws_user|-|-",
        Some(Allow),
    );
    is("Failed password for root from UNKNOWN port 65535 ssh2", "ssh_login|root|-|-", Some(Deny));
    is("Invalid user x from UNKNOWN port 65535", "invalid-user|x|-|-", Some(Deny));
    is("Received disconnect from UNKNOWN port 65535:11: bye", "disconnected|-|-|-", Some(Success));
    is("Connection from UNKNOWN port 65535 on UNKNOWN port 65535", "connection|-|-|-", None);
    is("error: PAM: Authentication failure for root from UNKNOWN", "pam-refused|root|-|-", Some(Deny));
    // A name of that kind hides nobody.
    is(
        "Failed password for invalid user x from UNKNOWN port 65535 ssh2 from 192.0.2.1 port 5 ssh2",
        "ssh_login|x from UNKNOWN port 65535 ssh2|192.0.2.1|5",
        Some(Deny),
    );
}

#[test]
fn subsystems() {
    let (success, error) = (Some(Success), Some(Error));
    is("subsystem request for sftp by user bob", "subsystem-request|bob|-|-", success);
    is("subsystem request for sftp", "subsystem-request|-|-|-", success);
    is(
        "subsystem request for netconf by user checker failed, subsystem not found",
        "subsystem-request|checker|-|-",
        error,
    );
    is("error: subsystem request for netconf failed, subsystem not found", "subsystem-request|-|-|-", error);
    is("subsystem request for x by user root by user bob", "subsystem-request|bob|-|-", success);
    is("open \"/x\" flags READ mode 0666", "sftp-open|-|-|-", None);
}

/// Names that hold sshd's own words.
#[test]
fn a_client_cannot_name_another_address() {
    for name in [
        "test from 10.10.1.2 port 55555 ssh2",
        "x from 9.9.9.9 port 1",
        "x from 9.9.9.9",
        "root from 9.9.9.9 port 1 ssh2: RSA SHA256:abc",
        " from 9.9.9.9 port 1 ssh2 [preauth]",
        "9.9.9.9 port 1: Too many authentication failures",
        "invalid user y",
        "x not allowed because account is locked",
    ] {
        let peer = "192.0.2.1 port 5";
        for (line, action) in [
            (format!("Failed password for invalid user {name} from {peer} ssh2"), "ssh_login"),
            (format!("Failed publickey for invalid user {name} from {peer} ssh2: RSA SHA256:zzz"), "ssh_login"),
            (format!("Invalid user {name} from {peer}"), "invalid-user"),
            (format!("Connection closed by invalid user {name} {peer} [preauth]"), "connection-closed"),
            (format!("Connection reset by invalid user {name} {peer} [preauth]"), "connection-reset"),
            (format!("Disconnected from invalid user {name} {peer} [preauth]"), "disconnected"),
            (
                format!(
                    "error: maximum authentication attempts exceeded for invalid user {name} from {peer} ssh2 [preauth]"
                ),
                "max-authentication-attempts",
            ),
        ] {
            let read = read(&line).unwrap_or_else(|| panic!("{line}"));
            assert!(!read.suspect || name.contains("ssh2: "), "{line}");
            assert_eq!(read.text, format!("{action}|{name}|192.0.2.1|5"), "{line}");
        }
        let line = format!("User {name} from 192.0.2.1 not allowed because not listed in AllowUsers");
        assert_eq!(read(&line).unwrap().text, format!("user-not-allowed|{name}|192.0.2.1|-"));
    }
    // The name that a client wanted to change to.
    let line = "Disconnecting authenticating user root 192.0.2.1 port 5: Change of username or service not allowed: (root,ssh-connection) -> (x 9.9.9.9 port 7: y,ssh-connection) [preauth]";
    let read = read(line).unwrap();
    assert_eq!((read.text.as_str(), read.suspect), ("disconnecting|root|192.0.2.1|5", true));
}

#[test]
fn a_certificate_can_hold_a_second_reading() {
    let certificate = |id: &str| {
        format!(
            "Failed publickey for bob from 192.0.2.1 port 5 ssh2: RSA-CERT SHA256:abc ID {id} (serial 0) CA RSA SHA256:def"
        )
    };
    let plain = read(&certificate("x from 9.9.9.9 port 1 ssh2")).unwrap();
    assert_eq!((plain.text.as_str(), plain.suspect), ("ssh_login|bob|192.0.2.1|5", false));
    assert!(read(&certificate("x from 9.9.9.9 port 1 ssh2: RSA-CERT SHA256:abc ID y")).unwrap().suspect);
}

#[test]
fn builds_that_print_their_own_end() {
    is(
        "Failed password for x from 192.0.2.1 port 5 on 198.51.100.1 port 22 ssh2",
        "ssh_login|x|192.0.2.1|5",
        Some(Deny),
    );
    is("Invalid user x from 192.0.2.1 port 5 on 198.51.100.1 port 22", "invalid-user|x|192.0.2.1|5", Some(Deny));
    is(
        "Connection closed by 192.0.2.1 port 5 on 198.51.100.1 port 22 [preauth]",
        "connection-closed|-|192.0.2.1|5",
        Some(Error),
    );
    is(
        "Failed password for user from 192.0.2.1 port 5 ssh1: ruser from 9.9.9.9",
        "ssh_login|user|192.0.2.1|5",
        Some(Deny),
    );
}

#[test]
fn a_password_has_no_info() {
    let line = "Failed password for invalid user test from 9.9.9.9 port 58946 ssh2: from 192.0.2.1 port 5 ssh2";
    let read = read(line).unwrap();
    assert_eq!((read.text.as_str(), read.suspect), ("ssh_login|test from 9.9.9.9 port 58946 ssh2:|192.0.2.1|5", true));
}

#[test]
fn what_is_no_message_of_sshd() {
    for message in [
        "",
        " ",
        "hello",
        "Accepted",
        "Accepted password for",
        "Failed password for x",
        "Failed to start x for y",
        "Invalid user",
        "User x",
    ] {
        assert!(read(message).is_none(), "{message}");
    }
}
