use super::*;

/// `action user uid address`, the outcome, and `waybill.pam`.
fn read(program: &str, message: &str) -> Option<(String, Option<Outcome>, serde_json::Value)> {
    let mut detail = Vec::new();
    let mut record = Record::new("sshd", "sshd");
    if !parse(&mut record, program.as_bytes(), message.as_bytes(), &mut detail) {
        return None;
    }
    let text = |field| record.get(field).map_or("-".into(), |text| String::from_utf8_lossy(text).into_owned());
    let fields = [Field::EventAction, Field::UserName, Field::UserId, Field::SourceAddress].map(text);
    let detail = String::from_utf8(detail).unwrap();
    let detail: serde_json::Value = serde_json::from_str(&format!("{{{}}}", &detail[1..])).unwrap();
    Some((fields.join("|"), record.outcome, detail["pam"].clone()))
}

#[test]
fn modules_of_every_age() {
    let deny = Some(Deny);
    for (program, message, expected, outcome) in [
        (
            "sshd",
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root",
            "pam-authentication|root|-|192.0.2.1",
            deny,
        ),
        (
            "sshd",
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1 ",
            "pam-authentication|-|-|192.0.2.1",
            deny,
        ),
        (
            "sshd",
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=a rhost=9.9.9.9",
            "pam-authentication|a rhost=9.9.9.9|-|192.0.2.1",
            deny,
        ),
        (
            "sshd(pam_unix)",
            "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=h.test  user=root",
            "pam-authentication|root|-|h.test",
            deny,
        ),
        (
            "sshd",
            "(pam_unix) authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1 user=root",
            "pam-authentication|root|-|192.0.2.1",
            deny,
        ),
        (
            "sshd",
            "PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=alice",
            "pam-authentication|alice|-|192.0.2.1",
            deny,
        ),
        (
            "sshd",
            "PAM 1 more authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1 ",
            "pam-authentication|-|-|192.0.2.1",
            deny,
        ),
        (
            "sshd",
            "pam_sss(sshd:auth): received for user alice: 7 (Authentication failure)",
            "pam-authentication|alice|-|-",
            deny,
        ),
        (
            "sshd",
            "pam_sss(sshd:auth): authentication success; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1 user=alice",
            "pam-authentication|alice|-|192.0.2.1",
            Some(Allow),
        ),
        ("sshd", "pam_unix(sshd:auth): check pass; user unknown", "pam-unknown-user|-|-|-", None),
        ("sshd", "pam_unix(sshd:auth): bad username [-x]", "pam-unknown-user|-x|-|-", deny),
        (
            "sudo",
            "pam_unix(sudo:auth): auth could not identify password for [carol]",
            "pam-authentication|carol|-|-",
            deny,
        ),
        ("sudo", "pam_unix(sudo:auth): conversation failed", "pam-conversation-failed|-|-|-", Some(Error)),
        (
            "sshd",
            "pam_unix(sshd:session): session opened for user alice(uid=4001) by (uid=0)",
            "session-opened|alice|4001|-",
            Some(Success),
        ),
        (
            "sshd",
            "pam_unix(sshd:session): session opened for user alice by (uid=0)",
            "session-opened|alice|-|-",
            Some(Success),
        ),
        ("sudo", "pam_unix(sudo:session): session closed for user root", "session-closed|root|-|-", Some(Success)),
        (
            "sshd",
            "pam_unix(sshd:account): expired password for user expired (password aged)",
            "pam-password-expired|expired|-|-",
            deny,
        ),
        ("sshd", "pam_unix(sshd:account): account bob has expired (account expired)", "pam-account|bob|-|-", deny),
        (
            "sshd",
            "pam_faillock(sshd:auth): Consecutive login failures for user bob account temporarily locked",
            "pam-locked|bob|-|-",
            deny,
        ),
        ("sshd", "pam_tally2(sshd:auth): user root (0) tally 5, deny 3", "pam-locked|root|-|-", deny),
        (
            "sshd",
            "pam_succeed_if(sshd:auth): requirement \"uid >= 1000\" not met by user \"root\"",
            "pam-requirement|root|-|-",
            deny,
        ),
        (
            "sshd",
            "pam_access(sshd:account): access denied for user `bob' from `192.0.2.1'",
            "pam-access-denied|bob|-|192.0.2.1",
            deny,
        ),
        ("sshd", "pam_winbind(sshd:auth): user 'bob' granted access", "pam-authentication|bob|-|-", Some(Allow)),
        ("passwd", "pam_unix(passwd:chauthtok): password changed for bob", "password-changed|bob|-|-", Some(Success)),
        (
            "sshd(pam_unix)",
            "2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root",
            "pam-authentication|root|-|192.0.2.1",
            deny,
        ),
        (
            "login",
            "pam_unix(login:auth): user [fira] has blank password; authenticated without it",
            "pam-authentication|fira|-|-",
            Some(Allow),
        ),
        ("su", "pam_wheel(su:auth): Access denied to 'bob' for 'root'", "pam-access-denied|bob|-|-", deny),
        ("su", "pam_wheel(su:auth): Access granted to 'bob' for 'root'", "pam-access-granted|bob|-|-", Some(Allow)),
        ("su", "pam_wheel(su:auth): Access refused to 'bob' for 'root'", "-|-|-|-", None),
        ("sshd", "pam_limits(sshd:session): Too many logins (max 2) for bob", "pam-too-many-logins|bob|-|-", deny),
        (
            "login",
            "pam_securetty(login:auth): access denied: tty 'pts/0' is not secure !",
            "pam-access-denied|-|-|-",
            deny,
        ),
        (
            "sshd",
            "pam_krb5[1234]: authentication fails for 'bob' (bob@X.TEST): User not known (Client 'a' (b))",
            "pam-authentication|bob|-|-",
            deny,
        ),
        (
            "sshd",
            "pam_krb5[1234]: authentication succeeds for 'bob' (bob@X.TEST)",
            "pam-authentication|bob|-|-",
            Some(Allow),
        ),
        (
            "sshd",
            "pam_systemd(sshd:session): Failed to connect to system bus: No such file or directory",
            "-|-|-|-",
            None,
        ),
        ("sshd", "pam_env(sshd:session): deprecated reading of user environment enabled", "-|-|-|-", None),
    ] {
        let (fields, found, _) = read(program, message).unwrap_or_else(|| panic!("{message}"));
        assert_eq!((fields.as_str(), found), (expected, outcome), "{message}");
    }
    for message in
        ["pam", "pam_unix", "PAM x", "hello", "pam_unix(sshd:auth) x", "PAM service(sshd) ignoring max retries; 6 > 3"]
    {
        assert!(read("sshd", message).is_none(), "{message}");
    }
}

#[test]
fn the_helper_that_checks_passwords() {
    let read = |message: &str| {
        let (mut detail, mut record) = (Vec::new(), Record::new("sshd", "sshd"));
        helper(&mut record, message.as_bytes(), &mut detail).then(|| {
            let text = |field| record.get(field).map_or("-", |text| std::str::from_utf8(text).unwrap());
            (format!("{}|{}", text(Field::EventAction), text(Field::UserName)), record.outcome)
        })
    };
    for (message, fields, outcome) in [
        ("password check failed for user (testuser)", "pam-authentication|testuser", Some(Deny)),
        ("password check failed for user (a) b)", "pam-authentication|a) b", Some(Deny)),
        ("check pass; user unknown", "pam-unknown-user|-", None),
        ("inappropriate use of Unix helper binary [UID=1000]", "pam-helper-misused|-", Some(Deny)),
    ] {
        assert_eq!(read(message), Some((fields.to_owned(), outcome)), "{message}");
    }
    assert_eq!(read("session opened for user root"), None);
}

#[test]
fn details() {
    let (_, _, detail) =
        read("sudo", "pam_unix(sudo:session): session opened for user root(uid=0) by alice(uid=4001)").unwrap();
    assert_eq!(
        detail,
        serde_json::json!({"module": "pam_unix", "service": "sudo", "type": "session", "by": "alice", "by_uid": "4001"})
    );
    let (_, _, detail) =
        read("sshd", "PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser=x rhost=192.0.2.1 ")
            .unwrap();
    assert_eq!(detail, serde_json::json!({"failures": 2, "uid": "0", "tty": "ssh", "ruser": "x"}));
}
