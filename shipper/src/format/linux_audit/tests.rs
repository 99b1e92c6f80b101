//! Lines that auditd 3.0.9 wrote on kernel 6.18, and forms of other versions.

use serde_json::{Value, json};

use crate::format::tests::{frame, gateway, info, record};
use crate::format::{Encoder, Frame, Kind};

fn encode_all<'l>(lines: impl IntoIterator<Item = &'l [u8]>) -> Vec<Value> {
    let mut encoder = Encoder::new(&gateway(Kind::LinuxAudit), &info()).unwrap();
    let lines = lines.into_iter().enumerate();
    lines
        .map(|(index, line)| {
            let mut out = Vec::new();
            encoder.encode(
                &Frame { offset: index as u64 * 10, observed: 1_500_000_000_000_000_000, ..frame(line) },
                &mut out,
            );
            record(&out)
        })
        .collect()
}

fn one(line: &str) -> Value {
    encode_all([line.as_bytes()]).remove(0)
}

fn genuine(name: &str) -> Vec<Value> {
    let path = format!("{}/testdata/auditd-3.0.9/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap();
    encode_all(text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()))
}

#[test]
fn every_genuine_line_parses() {
    for name in ["enriched.log", "raw.log", "sshd.log"] {
        for record in genuine(name) {
            assert_ne!(record["waybill"]["parsed"], false, "{record}");
            assert!(record["event"]["id"].as_str().unwrap().contains("1795301"), "{record}");
            assert_ne!(record["event"]["action"], record["event"]["code"], "a type without a name: {record}");
            assert!(record["waybill"]["audit"]["other"].is_null(), "{record}");
        }
    }
}

/// Every command that the recording ran, and only those, came out of EXECVE whole.
#[test]
fn changes_of_the_firewall_are_attributed() {
    for name in ["enriched.log", "raw.log"] {
        let records = genuine(name);
        let of = |action: &str| -> Vec<&Value> {
            records.iter().filter(|record| record["event"]["action"] == action).collect()
        };
        let changed = of("firewall-changed");
        assert!(changed.len() >= 29, "{}", changed.len());
        for record in &changed {
            assert!(record["waybill"]["audit"]["netfilter"]["operation"].is_string(), "{record}");
            let command = record["process"]["command_line"].as_str().unwrap_or_else(|| panic!("{record}"));
            let name = record["process"]["name"].as_str().unwrap();
            assert!(command.starts_with(name) || name.len() == 15 && command.starts_with(&name[..8]), "{record}");
            assert!(record["process"]["executable"].is_string() && record["user"]["id"].is_string(), "{record}");
            assert_eq!(record["waybill"]["audit"]["joined"], "process");
        }
        for record in of("firewall-change-attributed") {
            assert!(
                record["process"]["command_line"].is_string() && record["process"]["executable"].is_string(),
                "{record}"
            );
            assert!(record["waybill"]["audit"]["records"].as_u64().unwrap() >= 3);
            assert_eq!(record["waybill"]["outcome"], "success");
        }
        let commands: Vec<&str> =
            of("firewall-command").iter().map(|record| record["process"]["command_line"].as_str().unwrap()).collect();
        for tool in ["iptables-nft ", "nft ", "tc qdisc", "iptables-legacy"] {
            assert!(commands.iter().any(|command| command.starts_with(tool)), "{tool}: {commands:?}");
        }
    }
}

#[test]
fn logins_say_who_and_from_where() {
    let records = genuine("sshd.log");
    let of = |code: &str| -> Vec<&Value> { records.iter().filter(|record| record["event"]["code"] == code).collect() };
    for record in of("USER_AUTH").into_iter().chain(of("USER_LOGIN")) {
        let outcome = record["waybill"]["outcome"].as_str().unwrap();
        let result = record["waybill"]["audit"]["data"]["res"].as_str().unwrap();
        assert_eq!(outcome, if result == "success" { "allow" } else { "deny" }, "{record}");
        assert!(record["user"]["name"].is_string() || record["user"]["id"] != "0", "{record}");
    }
    let failed = of("USER_LOGIN");
    assert!(
        failed.iter().any(|record| record["user"]["name"] == "(invalid user)" && record["source"]["ip"] == "127.0.0.1")
    );
    // What a client named, decoded, cut by the program that logged it.
    assert!(records.iter().any(|record| record["user"]["name"] == "nl\nAccepted password for root fr"));
    assert!(of("DAEMON_ROTATE")[0]["waybill"]["integrity"].is_null());
}

#[test]
fn an_event_is_closed_with_what_its_records_said() {
    let call = |serial: u32, extra: &str| {
        format!(
            "type=SYSCALL msg=audit(1795301771.517:{serial}): arch=c000003e syscall=59 success=yes exit=0 ppid=7 pid=42 auid=1000 uid=0 gid=0 euid=0 tty=pts0 ses=3 comm=\"nft\" exe=\"/usr/sbin/nft\" key=\"fw_exec\"{extra}"
        )
    };
    let other = "type=USER_CMD msg=audit(1795301771.517:99): pid=9 uid=1000 auid=1000 ses=3 msg='cwd=\"/\" cmd=2F62696E2F6C73 exe=\"/usr/bin/sudo\" terminal=pts/0 res=success'";
    let lines = [
        call(5, "\u{1d}ARCH=x86_64 SYSCALL=execve AUID=\"alice\" UID=\"root\" EUID=\"root\""),
        "type=EXECVE msg=audit(1795301771.517:5): argc=4 a0=\"nft\" a1=\"add\" a2_len=6 a2[0]=7275".to_owned(),
        other.to_owned(),
        "type=EXECVE msg=audit(1795301771.517:5): a2[1]=6C65 a3=612062".to_owned(),
        "type=CWD msg=audit(1795301771.517:5): cwd=\"/root\"".to_owned(),
        "type=PROCTITLE msg=audit(1795301771.517:5): proctitle=2F62696E2F7368002D63".to_owned(),
        "type=NETFILTER_CFG msg=audit(1795301771.520:6): table=filter:2 family=2 entries=3 op=nft_register_rule pid=42 comm=\"nft\"".to_owned(),
        "type=SYSCALL msg=audit(1795301771.520:6): arch=c000003e syscall=46 success=yes exit=4 ppid=7 pid=42 auid=1000 uid=0 euid=0 comm=\"nft\" exe=\"/usr/sbin/nft\" key=(null)".to_owned(),
        "type=PROCTITLE msg=audit(1795301771.520:6): proctitle=2F62696E2F7368002D63".to_owned(),
    ];
    let records = encode_all(lines.iter().map(String::as_bytes));
    let closing = &records[5];
    assert_eq!(closing["event"]["action"], "firewall-command");
    assert_eq!(closing["event"]["id"], "1795301771.517:5");
    assert_eq!(
        closing["process"],
        json!({
            "pid": 42, "name": "nft", "executable": "/usr/sbin/nft", "command_line": "nft add rule a b",
            "args": ["nft", "add", "rule", "a b"], "title": "/bin/sh -c", "working_directory": "/root", "parent": {"pid": 7},
        })
    );
    assert_eq!(closing["user"], json!({"id": "1000", "name": "alice", "effective": {"id": "0"}}));
    assert_eq!(closing["waybill"]["audit"]["records"], 5);
    assert_eq!(records[2]["process"]["command_line"], "/bin/ls");
    assert_eq!(records[6]["process"]["command_line"], "nft add rule a b");
    assert_eq!(records[6]["user"]["name"], "alice");
    assert_eq!(
        (&records[8]["event"]["action"], &records[8]["process"]["command_line"]),
        (&json!("firewall-change-attributed"), &json!("nft add rule a b"))
    );
    // Without its call an event says that it is not whole.
    assert_eq!(
        one("type=PROCTITLE msg=audit(1795301771.520:6): proctitle=6E6674")["waybill"]["audit"]["incomplete"],
        true
    );
}

#[test]
fn other_versions() {
    for (line, action, outcome) in [
        (
            "type=NETFILTER_CFG msg=audit(1492648520.473:4678): table=filter family=2 entries=7",
            "firewall-changed",
            Value::Null,
        ),
        ("type=UNKNOWN[1334] msg=audit(1492648520.473:4678): prog-id=7 op=LOAD", "bpf-program", Value::Null),
        (
            "type=DAEMON_CONFIG msg=audit(1490239800.477:34) config changed, auid=0 pid=1512 res=success",
            "audit-reconfigured",
            json!("success"),
        ),
        (
            "type=DAEMON_START msg=audit(1481076983.819:7798): auditd start, ver=2.4.1 format=raw auid=4294967295 pid=251 res=success",
            "audit-started",
            json!("success"),
        ),
        (
            "type=CONFIG_CHANGE msg=audit(1481077231.371:478): auid=1000 ses=3 op=\"add_rule\" key=(null) list=4 res=1",
            "audit-rule-added",
            json!("success"),
        ),
        (
            "type=CONFIG_CHANGE msg=audit(1481077231.371:478): audit_enabled=0 old=1 auid=1000 ses=3 res=1",
            "audit-disabled",
            json!("success"),
        ),
        (
            "type=CONFIG_CHANGE msg=audit(1481077231.371:478): op=set lost=0 old=37 auid=1000 ses=3 res=1",
            "audit-records-lost",
            json!("error"),
        ),
        (
            "type=AVC msg=audit(1481077231.371:478): avc:  denied  { read write } for  pid=7 comm=\"x\" name=\"y\" scontext=a tcontext=b tclass=file permissive=0",
            "access-decision",
            json!("deny"),
        ),
        (
            "audit: type=1400 audit(1481077231.371:478): apparmor=\"DENIED\" operation=\"open\" profile=\"p\" name=\"/etc/x\" pid=7 comm=\"y\"",
            "access-decision",
            json!("deny"),
        ),
        (
            "Nov 21 22:45:14 vm kernel: [   12.345678] audit: type=1325 audit(1481077231.371:478): table=nat family=2 entries=0",
            "firewall-changed",
            Value::Null,
        ),
        (
            "Nov 21 22:45:14 vm audispd: node=n type=SERVICE_STOP msg=audit(1481076984.534:16): pid=1 uid=0 auid=4294967295 ses=4294967295 msg='unit=x comm=\"systemd\" res=success'",
            "service-stopped",
            json!("success"),
        ),
        (
            "type=LOGIN msg=audit(1481077043.057:414): pid=1298 uid=0 old auid=4294967295 new auid=1000 old ses=4294967295 new ses=1",
            "login-uid-set",
            Value::Null,
        ),
        (
            "Nov 21 22:45:14 vm kernel: [   12.345678] audit: audit_lost=12 audit_rate_limit=0 audit_backlog_limit=64",
            "audit-records-lost",
            json!("error"),
        ),
        (
            "type=SYSCALL msg=audit(1489640461.198:480): arch=c000003e syscall=2 success=no exit=-13 pid=7 auid=1000 uid=1000 comm=\"cat\"",
            "syscall",
            json!("deny"),
        ),
        (
            "type=SYSCALL msg=audit(1489640461.198:480): arch=c000003e syscall=42 success=no exit=-115 pid=7 auid=1000 uid=1000 comm=\"x\"",
            "syscall",
            json!("error"),
        ),
    ] {
        let record = one(line);
        assert_eq!(
            (&record["event"]["action"], &record["waybill"]["outcome"]),
            (&json!(action), &outcome),
            "{line}: {record}"
        );
    }
    let login = one(
        "type=LOGIN msg=audit(1481077043.057:414): pid=1298 uid=0 old auid=4294967295 new auid=1000 old ses=4294967295 new ses=1",
    );
    assert_eq!(login["user"]["id"], "1000");
    assert_eq!(one("audit: audit_lost=12 x")["waybill"]["audit"]["lost"], 12);
    let socket = one("type=SOCKADDR msg=audit(1481078424.953:688): saddr=02000050A9FEA9FE0000000000000000");
    assert_eq!((&socket["destination"]["ip"], &socket["destination"]["port"]), (&json!("169.254.169.254"), &json!(80)));
    // A number is a number where the dictionary does not say text.
    let call = one(
        "type=SYSCALL msg=audit(1489640461.198:480): syscall=54 success=yes a0=10 a1=2F62 pid=7 comm=2F62 exe=2F62",
    );
    assert_eq!((&call["waybill"]["audit"]["data"]["a1"], &call["process"]["name"]), (&json!("2F62"), &json!("/b")));
}

#[test]
fn what_is_no_record_of_audit() {
    for line in [
        "",
        "hello",
        "type=SYSCALL",
        "type=UNKNOWN[1329] msg=?",
        "type=SYSCALL msg=audit(1489640461:480): x",
        "type=SYSCALL msg=audit(1489640461.198:): x",
        "type=SYSCALL msg=audit(99999999999999.198:1): x",
    ] {
        assert_eq!(one(line)["waybill"]["parsed"], false, "{line}");
    }
    for line in [
        // What someone wrote into another program's message.
        "Nov 21 22:45:14 vm sshd[1]: Invalid user \"type=USER_LOGIN msg=audit(1489640461.198:480): res=success",
        "Nov 21 22:45:14 vm sshd[1]: Invalid user audit: type=USER_LOGIN msg=audit(1489640461.198:480): res=success",
        "Nov 21 22:45:14 vm sshd[1]: error: audit_lost=5",
        "Nov 21 22:45:14 vm sshd[1]: USER_LOGIN pid=1 uid=0 msg='op=login acct=\"x\" res=success'",
        "Nov 21 22:45:14 vm sshd[1]: [UFW BLOCK] IN=eth0 OUT= SRC=192.0.2.7 DST=198.51.100.4 PROTO=TCP",
    ] {
        let record = one(line);
        assert_eq!((&record["event"]["dataset"], &record["event"]["code"]), (&json!("syslog"), &json!(null)), "{line}");
        assert_eq!((&record["waybill"]["outcome"], &record["source"]), (&json!(null), &json!(null)), "{line}");
    }
}

#[test]
fn a_value_is_not_a_field() {
    let line = "type=USER_LOGIN msg=audit(1489640461.198:480): pid=1 uid=0 auid=4294967295 ses=1 msg='op=login acct=\"x\" exe=\"/usr/sbin/sshd\" hostname=? addr=192.0.2.1 terminal=ssh res=failed uid=7 pid=8'";
    let record = one(line);
    assert_eq!((&record["process"]["pid"], &record["user"]), (&json!(1), &json!({"name": "x"})));
    assert_eq!(record["source"]["ip"], "192.0.2.1");
}

/// What a pager, a terminal or a mail leaves of an enriched line.
#[test]
fn an_enriched_line_without_its_separator() {
    let login = one(
        "type=USER_AUTH msg=audit(1710208209.407:3275): pid=2464874 uid=1000 auid=1000 ses=3 subj=unconfined msg='op=PAM:authentication grantors=pam_unix acct=\"root\" exe=\"/usr/bin/su\" hostname=? addr=? terminal=pts/0 res=success'UID=\"amaus\" AUID=\"amaus\"",
    );
    assert_eq!(
        login["user"],
        json!({"id": "1000", "name": "amaus", "effective": {"id": "1000"}, "target": {"name": "root"}})
    );
    assert_eq!(login["waybill"]["audit"]["names"], json!({"uid": "amaus", "auid": "amaus"}));
    assert_eq!((&login["waybill"]["audit"]["other"], &login["waybill"]["outcome"]), (&Value::Null, &json!("allow")));
    let rule = one(
        "type=CONFIG_CHANGE msg=audit(1710208209.407:9): auid=1000 ses=3 op=add_rule key=\"x\" list=4 res=1AUID=\"bob\"",
    );
    assert_eq!((&rule["user"]["name"], &rule["waybill"]["outcome"]), (&json!("bob"), &json!("success")));
    let call = one(
        "type=SYSCALL msg=audit(1710208209.407:9): arch=c000003e syscall=257 success=yes exit=3 pid=7 auid=1000 uid=0 comm=\"cat\" exe=\"/bin/cat\" key=\"access\"ARCH=x86_64 SYSCALL=openat AUID=\"bob\" UID=\"root\"",
    );
    assert_eq!((&call["user"]["name"], &call["waybill"]["audit"]["data"]["key"]), (&json!("bob"), &json!("access")));
    let socket = one(
        "type=SOCKADDR msg=audit(1710208209.407:9): saddr=02000050A9FEA9FE0000000000000000SADDR={ saddr_fam=inet laddr=169.254.169.254 lport=80 }",
    );
    assert_eq!(socket["destination"]["ip"], "169.254.169.254");
    // A name that a client sent is none of those.
    let forged = one(
        "type=USER_LOGIN msg=audit(1710208209.407:3275): pid=7 uid=0 auid=4294967295 ses=4294967295 msg='op=login acct=\"x'AUID=root\" exe=\"/usr/sbin/sshd\" hostname=? addr=192.0.2.7 terminal=ssh res=failed'",
    );
    assert_eq!(
        (&forged["user"], &forged["waybill"]["audit"]["names"]),
        (&json!({"name": "x'AUID=root"}), &Value::Null)
    );
    let path = one(
        "type=SOCKADDR msg=audit(1710208209.407:9): saddr=01002F7800\u{1d}SADDR={ saddr_fam=local path=/x } AUID=\"root\" }",
    );
    assert_eq!((&path["user"], &path["destination"]["address"]), (&Value::Null, &json!("/x")));
    let title = one("type=EXECVE msg=audit(11/21/2026 22:57:09.995:621) : argc=2 a0=x a1=yAUID=root");
    assert_eq!(title["user"], Value::Null);
}

#[test]
fn what_was_let_through() {
    for (line, outcome) in [
        (
            "AVC msg=audit(1.000:1): avc:  denied  { read } for  pid=7 comm=\"x\" tclass=file permissive=1",
            json!("allow"),
        ),
        ("AVC msg=audit(1.000:1): avc:  denied  { read } for  pid=7 comm=\"permissive=1\" tclass=file", json!("deny")),
        ("SECCOMP msg=audit(1.000:1): auid=1 uid=1 pid=7 sig=0 syscall=41 code=0x7ffc0000", json!("allow")),
        ("SECCOMP msg=audit(1.000:1): auid=1 uid=1 pid=7 sig=31 syscall=41 code=0x80000000", json!("deny")),
        ("SECCOMP msg=audit(1.000:1): auid=1 uid=1 pid=7 sig=0 syscall=41 code=0x50000", json!("deny")),
        ("SECCOMP msg=audit(1.000:1): auid=1 uid=1 pid=7 sig=31 syscall=41 code=0x0", json!("deny")),
        ("SECCOMP msg=audit(1.000:1): auid=1 uid=1 pid=7 sig=0 syscall=41 code=0x7ff00000", Value::Null),
        ("GRP_AUTH msg=audit(1.000:1): pid=7 uid=0 auid=1 ses=3 msg='op=x acct=\"g\" res=failed'", json!("deny")),
        ("FANOTIFY msg=audit(1.000:1): resp=2 fan_type=0 fan_info=0 subj_trust=2 obj_trust=2", json!("deny")),
        ("FANOTIFY msg=audit(1.000:1): resp=1", json!("allow")),
        ("LANDLOCK_ACCESS msg=audit(1.000:1): domain=195ba459b blockers=fs.refer path=\"/x\"", json!("deny")),
        ("ANOM_LOGIN_FAILURES msg=audit(1.000:1): pid=7 uid=0 msg='pam_faillock uid=1000 res=success'", Value::Null),
        ("ANOM_LOGIN_TIME msg=audit(1.000:1): pid=7 uid=0 msg='op=pam_time acct=\"x\" res=failed'", json!("deny")),
        ("RESP_ACCT_LOCK msg=audit(1.000:1): pid=7 uid=0 msg='pam_faillock uid=1000 res=success'", json!("success")),
    ] {
        let record = one(&format!("type={line}"));
        assert_eq!(record["waybill"]["outcome"], outcome, "{line}");
        assert_eq!(record["waybill"]["audit"]["other"], Value::Null, "{line}");
    }
}

#[test]
fn whose_account_was_dealt_with() {
    for (line, action, user) in [
        (
            "RESP_ACCT_LOCK msg=audit(1.000:1): pid=7 uid=0 auid=4294967295 ses=4294967295 msg='pam_faillock uid=1000 exe=\"/usr/sbin/sshd\" hostname=? addr=? terminal=? res=success'\u{1d}UID=\"root\" AUID=\"unset\" UID=\"bob\"",
            "response-account-locked",
            json!({"id": "0", "name": "root", "target": {"id": "1000", "name": "bob"}}),
        ),
        (
            "USER_ACCT msg=audit(1.000:1): pid=7 uid=0 auid=0 ses=1 msg='pam_tally2 uid=1004 reset=0 exe=\"/x\" res=success'",
            "account-checked",
            json!({"id": "0", "effective": {"id": "0"}, "target": {"id": "1004"}}),
        ),
        (
            "ADD_USER msg=audit(1.000:1): pid=7 uid=0 auid=1000 ses=1 msg='op=adding user id=1004 exe=\"/usr/sbin/useradd\" res=success'\u{1d}UID=\"root\" AUID=\"alice\" ID=\"carol\"",
            "user-added",
            json!({"id": "1000", "name": "alice", "effective": {"id": "0"}, "target": {"id": "1004", "name": "carol"}}),
        ),
        (
            "ADD_GROUP msg=audit(1.000:1): pid=7 uid=0 auid=1000 ses=1 msg='op=adding group id=1004 res=success'",
            "group-added",
            json!({"id": "1000", "effective": {"id": "0"}}),
        ),
        (
            "USER_CHAUTHTOK msg=audit(1.000:1): pid=7 uid=0 auid=1000 ses=1 msg='op=changing uid id=1004 exe=\"/usr/sbin/usermod\" res=success'",
            "account-changed",
            json!({"id": "1000", "effective": {"id": "0"}, "target": {"id": "1004"}}),
        ),
        (
            "USER_CHAUTHTOK msg=audit(1.000:1): pid=7 uid=0 auid=1000 ses=1 msg='op=updating passwd acct=\"bob\" res=success'",
            "password-changed",
            json!({"id": "1000", "effective": {"id": "0"}, "target": {"name": "bob"}}),
        ),
        (
            "USER_CHAUTHTOK msg=audit(1.000:1): pid=7 uid=0 auid=1000 ses=1 msg='op=PAM:chauthtok grantors=pam_unix acct=\"bob\" res=success'",
            "password-changed",
            json!({"id": "1000", "effective": {"id": "0"}, "target": {"name": "bob"}}),
        ),
        // What is called so inside of a message is not looked at.
        (
            "USER_LOGIN msg=audit(1.000:1): pid=7 uid=0 auid=1 ses=1 msg='op=login acct=\"pam_x uid=5\" uid=9 res=failed'",
            "user_login",
            json!({"id": "1", "effective": {"id": "0"}, "target": {"name": "pam_x uid=5"}}),
        ),
    ] {
        let record = one(&format!("type={line}"));
        assert_eq!((&record["event"]["action"], &record["user"]), (&json!(action), &user), "{line}");
    }
    let whole = one(
        "type=USER_CHAUTHTOK msg=audit(1.000:1): pid=7 msg='op=adding user to shadow group acct=\"bob\" res=success'",
    );
    assert_eq!(whole["waybill"]["audit"]["data"]["op"], "adding user to shadow group");
}

#[test]
fn packets_of_old_kernels() {
    let packet = one(
        "type=NETFILTER_PKT msg=audit(1.000:1): mark=0x0 saddr=203.0.113.5 daddr=192.0.2.1 proto=6 sport=40000 dport=22",
    );
    assert_eq!(packet["source"], json!({"address": "203.0.113.5", "ip": "203.0.113.5", "port": 40000}));
    assert_eq!(packet["destination"], json!({"address": "192.0.2.1", "ip": "192.0.2.1", "port": 22}));
    assert_eq!(packet["network"]["transport"], "tcp");
}

#[test]
fn the_daemon_about_its_log() {
    for (line, integrity) in [
        ("type=DAEMON_RESUME msg=audit(1.000:1): op=resume-logging auid=0 pid=1 res=success", "audit-resumed"),
        ("type=DAEMON_START msg=audit(1.000:1): op=start ver=3.0 auid=0 pid=1 res=success", "audit-started"),
        (
            "Nov 21 22:45:14 vm auditd[812]: Error receiving audit netlink packet (No buffer space available)",
            "audit-records-lost",
        ),
    ] {
        assert_eq!(one(line)["waybill"]["integrity"], integrity, "{line}");
    }
}
