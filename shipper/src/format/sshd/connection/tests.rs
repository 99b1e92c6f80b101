//! Whole conversations: what a line lacks comes from the others of its process, and from no others.

use serde_json::{Value, json};

use crate::format::tests::{frame, gateway, info, record};
use crate::format::{Encoder, Frame, Kind};

/// 2026-11-22T12:00:00Z
const OBSERVED: i64 = 1_795_348_800_000_000_000;

struct Reader {
    encoder: Encoder,
    seq: u64,
}

impl Reader {
    fn new() -> Self {
        Self { encoder: Encoder::new(&gateway(Kind::Sshd), &info()).unwrap(), seq: 0 }
    }

    fn read(&mut self, line: &str) -> Value {
        self.seq += 1;
        let mut out = Vec::new();
        let next = Frame { seq: self.seq, observed: OBSERVED, ..frame(line.as_bytes()) };
        assert!(self.encoder.encode(&next, &mut out).parsed, "{line}");
        record(&out)
    }

    /// `user address port`, and behind a bar what was joined.
    fn who(&mut self, line: &str) -> String {
        let record = self.read(line);
        let text = |path: &str| match record.pointer(path) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "-".to_owned(),
        };
        let mut who = ["/user/name", "/source/address", "/source/port"].map(text).join(" ");
        for joined in record["waybill"]["sshd"]["joined"].as_array().into_iter().flatten() {
            who += if who.contains('|') { "," } else { " | " };
            who += joined.as_str().unwrap().rsplit('.').next().unwrap();
        }
        who
    }
}

/// Each line is followed by who it was, behind `=>`.
#[track_caller]
fn conversation(text: &str) {
    let mut reader = Reader::new();
    let mut lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty());
    while let (Some(line), Some(expected)) = (lines.next(), lines.next()) {
        assert_eq!(format!("=> {}", reader.who(line)), expected, "{line}");
    }
}

#[test]
fn a_guesser_of_openssh_5() {
    conversation(
        "Nov 22 04:09:18 gw sshd[26713]: Connection from 192.0.2.77 port 51353
        => - 192.0.2.77 51353
        Nov 22 04:09:18 gw sshd[26713]: reverse mapping checking getaddrinfo for x.test [192.0.2.77] failed - POSSIBLE BREAK-IN ATTEMPT!
        => - 192.0.2.77 51353 | port
        Nov 22 04:09:19 gw sshd[26713]: Invalid user oracle from 192.0.2.77
        => oracle 192.0.2.77 51353 | port
        Nov 22 04:09:19 gw sshd[26714]: input_userauth_request: invalid user oracle
        => oracle - -
        Nov 22 04:09:19 gw sshd[26713]: pam_unix(sshd:auth): check pass; user unknown
        => oracle 192.0.2.77 51353 | address,port,name
        Nov 22 04:09:19 gw sshd[26713]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.77 
        => oracle 192.0.2.77 51353 | port,name
        Nov 22 04:09:21 gw sshd[26713]: Failed password for invalid user oracle from 192.0.2.77 port 51353 ssh2
        => oracle 192.0.2.77 51353
        Nov 22 04:09:22 gw sshd[26713]: Disconnecting: Too many authentication failures
        => oracle 192.0.2.77 51353 | address,port,name
        Nov 22 04:09:22 gw sshd[26713]: PAM service(sshd) ignoring max retries; 6 > 3
        => oracle 192.0.2.77 51353 | address,port,name",
    );
}

#[test]
fn a_locked_account_of_openssh_6() {
    conversation(
        "Nov 22 01:39:19 gw sshd[3719]: User root not allowed because account is locked
        => root - -
        Nov 22 01:39:19 gw sshd[3719]: input_userauth_request: invalid user root [preauth]
        => root - -
        Nov 22 01:39:19 gw sshd[3719]: error: Received disconnect from 198.51.100.34: 11: Bye Bye [preauth]
        => root 198.51.100.34 - | name
        Nov 22 01:50:00 sshd[8148]: Disconnecting: Too many authentication failures for root [preauth]
        => root - -
        Nov 22 01:50:18 sshd[8148]: Connection closed by 198.51.100.35 [preauth]
        => root 198.51.100.35 - | name
        Nov 22 01:50:18 sshd[7148]: Connection closed by 198.51.100.35 [preauth]
        => - 198.51.100.35 -
        Nov 22 01:51:00 gw sshd[9]: Connection from 198.51.100.36 port 7 on 192.0.2.1 port 22
        => - 198.51.100.36 7
        Nov 22 01:51:03 gw sshd[9]: Disconnecting: Too many authentication failures for root [preauth]
        => root 198.51.100.36 7 | address,port",
    );
}

#[test]
fn a_session_of_openssh_9_2() {
    conversation(
        r#"2026-11-21T22:45:14.1+00:00 gw sshd[20657]: Connection from 192.0.2.7 port 59320 on 192.0.2.1 port 22 rdomain ""
        => - 192.0.2.7 59320
        2026-11-21T22:45:14.2+00:00 gw sshd[20657]: Accepted key ED25519 SHA256:abc found at /home/alice/.ssh/authorized_keys:1
        => - 192.0.2.7 59320 | address,port
        2026-11-21T22:45:14.2+00:00 gw sshd[20657]: Accepted publickey for alice from 192.0.2.7 port 59320 ssh2: ED25519 SHA256:abc
        => alice 192.0.2.7 59320
        2026-11-21T22:45:14.3+00:00 gw sshd[20657]: pam_unix(sshd:session): session opened for user alice(uid=4001) by (uid=0)
        => alice 192.0.2.7 59320 | address,port
        2026-11-21T22:45:14.3+00:00 gw sshd[20657]: pam_env(sshd:session): deprecated reading of user environment enabled
        => alice 192.0.2.7 59320 | address,port,name
        2026-11-21T22:45:14.4+00:00 gw sshd[20657]: User child is on pid 20674
        => alice 192.0.2.7 59320 | address,port,name
        2026-11-21T22:45:15.0+00:00 gw sshd[20674]: error: connect_to 127.0.0.1 port 9: failed.
        => alice 192.0.2.7 59320 | address,port,name
        2026-11-22T06:45:15.0+00:00 gw sshd[20674]: Disconnected from user alice 192.0.2.7 port 59320
        => alice 192.0.2.7 59320
        2026-11-22T06:45:15.1+00:00 gw sshd[20657]: pam_unix(sshd:session): session closed for user alice
        => alice 192.0.2.7 59320 | address,port
        2026-11-22T06:45:15.2+00:00 gw sshd[20657]: pam_systemd(sshd:session): Failed to release session: x
        => alice 192.0.2.7 59320 | address,port,name
        2026-11-22T06:45:26.0+00:00 gw sshd[20657]: error: kex_exchange_identification: Connection closed by remote host
        => - - -
        2026-11-22T06:45:26.0+00:00 gw sshd[20674]: error: kex_exchange_identification: Connection closed by remote host
        => - - -"#,
    );
}

#[test]
fn a_session_of_openssh_9_8() {
    conversation(
        "2026-11-22T06:00:00+00:00 gw sshd-session[901]: Failed password for root from 2001:db8::7 port 5 ssh2
        => root 2001:db8::7 5
        2026-11-22T06:00:01+00:00 gw sshd-session[901]: error: PAM: Authentication failure for root from 2001:db8::7
        => root 2001:db8::7 5 | port
        2026-11-22T06:00:02+00:00 gw sshd-session[901]: Postponed keyboard-interactive for root from 2001:db8::7 port 5 ssh2 [preauth]
        => root 2001:db8::7 5
        2026-11-22T06:00:02+00:00 gw sshd-session[901]: fatal: mm_request_receive: read: Connection reset by peer [preauth]
        => root 2001:db8::7 5 | address,port,name
        2026-11-22T06:00:03+00:00 gw sshd[900]: drop connection #0 from [2001:db8::7]:9 on [2001:db8::1]:22 penalty: failed authentication
        => - 2001:db8::7 9
        2026-11-22T06:00:04+00:00 gw sshd[900]: error: beginning MaxStartups throttling
        => - - -",
    );
}

/// What those who ban by the lines of one process look for. Each names no client.
#[test]
fn refusals_without_a_client() {
    conversation(
        "Nov 22 03:30:00 gw sshd[1]: Connection from 192.0.2.3 port 39678 on 192.0.2.9 port 22
        => - 192.0.2.3 39678
        Nov 22 03:30:01 gw sshd[1]: fatal: Unable to negotiate a key exchange method [preauth]
        => - 192.0.2.3 39678 | address,port
        Nov 22 03:30:02 gw sshd[1]: fatal: Unable to negotiate a key exchange method [preauth]
        => - 192.0.2.3 39678 | address,port
        Nov 22 03:31:00 gw sshd[2]: Connection from 192.0.2.4 port 31309
        => - 192.0.2.4 31309
        Nov 22 03:31:00 gw sshd[2]: fatal: no matching mac found: client hmac-x server hmac-y [preauth]
        => - 192.0.2.4 31309 | address,port
        Nov 22 03:32:00 gw sshd[3]: SSH: Server;Ltype: Version;Remote: 192.0.2.5-1780;Protocol: 2.0;Client: x;Name: root
        => - 192.0.2.5 1780
        Nov 22 03:32:01 gw sshd[3]: SSH: Server;Ltype: Authname;Remote: 192.0.2.5-1780;Name: root [preauth]
        => root 192.0.2.5 1780
        Nov 22 03:32:02 gw sshd[3]: fatal: Read from socket failed: Connection reset by peer [preauth]
        => root 192.0.2.5 1780 | address,port,name
        Nov 22 03:33:00 auth.info gw sshd[4]: Connection from 192.0.2.6 port 58614 on 192.0.2.9 port 22 rdomain \"\"
        => - 192.0.2.6 58614
        Nov 22 03:33:01 auth.err gw sshd[4]: error: kex_exchange_identification: Connection closed by remote host
        => - 192.0.2.6 58614 | address,port
        Nov 22 03:34:00 gw sshd[5]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root
        => root 192.0.2.7 -
        Nov 22 03:34:02 gw sshd[5]: Connection closed by 192.0.2.7 [preauth]
        => root 192.0.2.7 - | name
        Nov 22 03:35:00 gw sshd[6]: Failed publickey for git from 192.0.2.8 port 57910 ssh2: RSA SHA256:abc
        => git 192.0.2.8 57910
        Nov 22 03:35:01 gw sshd[6]: Disconnecting: Too many authentication failures for git [preauth]
        => git 192.0.2.8 57910 | address,port
        Nov 22 03:35:19 gw sshd[6]: Connection closed by 192.0.2.8 [preauth]
        => git 192.0.2.8 57910 | port,name",
    );
}

/// Who is served by a process is told by the number in the header, whoever else writes at the same time.
#[test]
fn processes_do_not_mix() {
    conversation(
        "Nov 22 06:00:00 a sshd[7]: Invalid user x from 192.0.2.1 port 11
        => x 192.0.2.1 11
        Nov 22 06:00:00 a sshd[8]: Invalid user y from 192.0.2.2 port 12
        => y 192.0.2.2 12
        Nov 22 06:00:00 b sshd[7]: Invalid user z from 192.0.2.3 port 13
        => z 192.0.2.3 13
        Nov 22 06:00:01 a sshd[7]: pam_unix(sshd:auth): check pass; user unknown
        => x 192.0.2.1 11 | address,port,name
        Nov 22 06:00:01 b sshd[7]: pam_unix(sshd:auth): check pass; user unknown
        => z 192.0.2.3 13 | address,port,name
        Nov 22 06:00:01 a sshd[8]: pam_unix(sshd:auth): check pass; user unknown
        => y 192.0.2.2 12 | address,port,name
        Nov 22 06:00:01 a cron[8]: pam_unix(cron:session): session opened for user root by (uid=0)
        => root - -
        Nov 22 06:00:01 a sshd[9]: pam_unix(sshd:auth): check pass; user unknown
        => - - -
        Nov 22 06:00:01 a sshd: pam_unix(sshd:auth): check pass; user unknown
        => - - -
        Connection closed by 192.0.2.1 port 11
        => - 192.0.2.1 11",
    );
}

#[test]
fn a_number_is_used_again() {
    conversation(
        "Nov 22 06:00:00 a sshd[7]: Failed password for root from 192.0.2.1 port 11 ssh2
        => root 192.0.2.1 11
        Nov 22 06:00:01 a sshd[7]: Connection from 192.0.2.1 port 11 on 192.0.2.9 port 22
        => - 192.0.2.1 11
        Nov 22 06:00:02 a sshd[7]: Failed password for bob from 192.0.2.1 port 11 ssh2
        => bob 192.0.2.1 11
        Nov 22 06:00:03 a sshd[7]: Received disconnect from 192.0.2.2: 11: Bye
        => - 192.0.2.2 -
        Nov 22 06:00:04 a sshd[7]: Failed none for root from 192.0.2.2 port 12 ssh2
        => root 192.0.2.2 12
        Nov 22 06:00:05 a sshd[7]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.2 
        => root 192.0.2.2 12 | port,name
        Nov 22 06:00:06 a sshd[7]: Connection closed by 192.0.2.2 port 13
        => - 192.0.2.2 13
        Nov 22 06:00:20 a sshd[7]: error: beginning MaxStartups throttling
        => - - -
        Nov 22 06:00:21 a sshd[7]: Failed password for root from 192.0.2.3 port 14 ssh2
        => root 192.0.2.3 14
        Nov 22 06:00:22 a sshd[7]: Server listening on 0.0.0.0 port 22.
        => - - -
        Nov 22 06:00:23 a sshd[7]: fatal: daemon() failed: x
        => - - -
        Nov 22 06:00:24 a sshd[7]: Failed password for root from 192.0.2.4 port 15 ssh2
        => root 192.0.2.4 15
        Nov 22 06:10:25 a sshd[7]: error: kex_exchange_identification: read: Connection reset by peer
        => - - -
        Nov 22 06:10:26 a sshd[7]: Accepted password for root from 192.0.2.5 port 16 ssh2
        => root 192.0.2.5 16
        Nov 22 18:10:27 a sshd[7]: error: kex_exchange_identification: read: Connection reset by peer
        => - - -",
    );
}

/// sshd does not let a client change his name. Where lines differ all the same, no name is given to others.
#[test]
fn a_user_is_joined_where_it_is_certain() {
    conversation(
        "Nov 22 06:00:00 a sshd[7]: Failed password for alice from 192.0.2.1 port 11 ssh2
        => alice 192.0.2.1 11
        Nov 22 06:00:01 a sshd[7]: Disconnecting authenticating user alice 192.0.2.1 port 11: Change of username or service not allowed: (alice,ssh-connection) -> (bob,ssh-connection) [preauth]
        => alice 192.0.2.1 11
        Nov 22 06:00:01 a sshd[7]: pam_unix(sshd:auth): check pass; user unknown
        => alice 192.0.2.1 11 | address,port,name
        Nov 22 06:00:02 a sshd[7]: Failed password for bob from 192.0.2.1 port 11 ssh2
        => bob 192.0.2.1 11
        Nov 22 06:00:03 a sshd[7]: Connection closed by 192.0.2.1 port 11 [preauth]
        => - 192.0.2.1 11",
    );
}

/// A client chooses his name, what he calls his program, what he offers and why he leaves.
#[test]
fn a_client_plants_nothing() {
    let texts = [
        "x from 9.9.9.9 port 1 ssh2",
        "x 9.9.9.9 port 1",
        "User child is on pid 8",
        "sshd[8]: Connection from 9.9.9.9 port 1",
    ];
    for text in texts {
        let mut reader = Reader::new();
        reader.read("Nov 22 06:00:00 a sshd[8]: Failed password for carol from 192.0.2.8 port 18 ssh2");
        reader.read("Nov 22 06:00:00 a sshd[7]: Connection from 192.0.2.7 port 17 on 192.0.2.1 port 22");
        for message in [
            format!("error: kex_exchange_identification: client sent invalid protocol identifier \"{text}\""),
            format!("userauth_pubkey: unsupported public key algorithm: {text} [preauth]"),
            format!("no matching cipher found: client {text} server aes128-ctr [preauth]"),
            format!("Invalid user {text} from 192.0.2.7 port 17"),
            format!("input_userauth_request: invalid user {text} [preauth]"),
            format!("Failed password for invalid user {text} from 192.0.2.7 port 17 ssh2"),
            format!("Bad protocol version identification '{text}' from 192.0.2.7 port 17"),
            format!("Received disconnect from 192.0.2.7 port 17:11: {text} [preauth]"),
            format!("Disconnected from invalid user {text} 192.0.2.7 port 17 [preauth]"),
        ] {
            let record = reader.read(&format!("Nov 22 06:00:01 a sshd[7]: {message}"));
            assert_eq!(
                (&record["source"]["ip"], &record["source"]["port"]),
                (&json!("192.0.2.7"), &json!(17)),
                "{message}"
            );
        }
        let other = reader.who("Nov 22 06:00:02 a sshd[8]: PAM service(sshd) ignoring max retries; 6 > 3");
        assert_eq!(other, "carol 192.0.2.8 18 | address,port,name", "{text}");
    }
}

/// Of a name that has two readings nothing is remembered.
#[test]
fn what_is_suspect_teaches_nothing() {
    let line = "Nov 22 06:00:00 a sshd[7]: Failed password for invalid user test from 9.9.9.9 port 58946 ssh2: from 192.0.2.1 port 5 ssh2";
    let mut reader = Reader::new();
    assert_eq!(reader.read(line)["waybill"]["suspect"], "ambiguous");
    assert_eq!(reader.who("Nov 22 06:00:00 a sshd[7]: pam_unix(sshd:auth): check pass; user unknown"), "- - -");
}

#[test]
fn containers_have_numbers_of_their_own() {
    conversation(
        "gate-1  | sshd[7]: Failed password for root from 192.0.2.1 port 11 ssh2
        => root 192.0.2.1 11
        gate-2  | sshd[7]: pam_unix(sshd:auth): check pass; user unknown
        => - - -",
    );
}

#[test]
fn files_that_were_handed_out_have_a_user() {
    conversation(
        r#"Nov 22 06:00:00 a internal-sftp[7]: session opened for local user alice from [192.0.2.1]
        => alice 192.0.2.1 -
        Nov 22 06:00:01 a internal-sftp[7]: open "/home/alice/x" flags READ mode 0666
        => alice 192.0.2.1 - | address,name
        Nov 22 06:00:02 a internal-sftp[7]: session closed for local user alice from [192.0.2.1]
        => alice 192.0.2.1 -
        Nov 22 06:00:13 a internal-sftp[7]: open "/home/alice/x" flags READ mode 0666
        => - - -"#,
    );
}

/// Guessers come by the thousand while a session is open.
#[test]
fn a_session_is_known_through_a_storm() {
    let mut reader = Reader::new();
    reader.read("Nov 22 06:00:00 a sshd[7]: Accepted password for alice from 192.0.2.1 port 11 ssh2");
    for pid in 100..20_000 {
        reader.read(&format!("Nov 22 06:00:01 a sshd[{pid}]: Failed password for root from 192.0.2.2 port 12 ssh2"));
    }
    let closed = "Nov 22 06:00:02 a sshd[7]: pam_unix(sshd:session): session closed for user alice";
    assert_eq!(reader.who(closed), "alice 192.0.2.1 11 | address,port");
    let first = "Nov 22 06:00:02 a sshd[100]: PAM service(sshd) ignoring max retries; 6 > 3";
    assert_eq!(reader.who(first), "- - -");
}

const TOLD: &str = "Nov 22 06:00:00 a sshd[7]: Failed password for root from 192.0.2.1 port 11 ssh2";
const ASKS: &str = "Nov 22 06:00:01 a sshd[7]: Disconnecting: Too many authentication failures [preauth]";

#[test]
fn what_was_said_before_a_restart_is_recalled() {
    let mut reader = Reader { seq: 1, ..Reader::new() };
    assert!(reader.encoder.reach(2) > 0);
    reader.encoder.recall_before(2);
    assert_eq!(reader.encoder.reach(2), 0);
    reader.encoder.recall(TOLD.as_bytes(), OBSERVED);
    assert_eq!(reader.who(ASKS), "root 192.0.2.1 11 | address,port,name");
}

#[test]
fn places_of_reading_do_not_mix() {
    let mut reader = Reader { seq: 1000, ..Reader::new() };
    reader.read(TOLD);
    reader.seq = 10;
    assert_eq!(reader.who(ASKS), "- - -");
    reader.seq = 1001;
    assert_eq!(reader.who(ASKS), "root 192.0.2.1 11 | address,port,name");
}

/// The lines that sshd 9.2 wrote: all that come from a process with a client say whose they are.
#[test]
fn genuine_lines_have_their_client() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/sshd-9.2p1/auth-iso.log");
    let text = std::fs::read_to_string(path).unwrap();
    let mut reader = Reader::new();
    let (mut joined, mut without) = (0, Vec::new());
    for line in text.lines() {
        let record = reader.read(line);
        joined += usize::from(record["waybill"]["sshd"]["joined"].is_array());
        if record["process"]["name"] == "sshd" && record["process"]["pid"].is_u64() && record["source"]["ip"].is_null()
        {
            without.push(record["message"].as_str().unwrap().to_owned());
        }
    }
    let is_listeners = |text: &String| {
        ["Server listening", "error: beginning", "exited Max", "Received signal"]
            .iter()
            .any(|own| text.starts_with(own))
    };
    without.retain(|text| !is_listeners(text));
    assert!(joined > 100 && without.is_empty(), "{joined} {without:#?}");
}
