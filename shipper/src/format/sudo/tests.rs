use super::*;
use crate::format::settings::Outcome;

/// `action by becomes folder program command reason`, the outcome, whether it is suspect.
fn read(message: &str, su: bool) -> Option<(String, Option<Outcome>, bool)> {
    let mut detail = Vec::new();
    let mut record = Record::new("sudo", "sudo");
    let message = message.as_bytes();
    if !(if su { parse_su(&mut record, message, &mut detail) } else { parse(&mut record, message, &mut detail) }) {
        return None;
    }
    let text = |field| record.get(field).map_or("-".into(), |text| String::from_utf8_lossy(text).into_owned());
    let fields = [
        Field::EventAction,
        Field::UserName,
        Field::UserEffectiveName,
        Field::ProcessWorkingDirectory,
        Field::ProcessExecutable,
        Field::ProcessCommandLine,
        Field::EventReason,
    ];
    Some((fields.map(text).join("|"), record.outcome, record.suspect.is_some()))
}

#[test]
fn every_form() {
    let (allow, deny) = (Some(Allow), Some(Deny));
    for (message, expected, outcome) in [
        (
            "    alice : TTY=pts/4 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/tail -f /x",
            "sudo-command|alice|root|/home/alice|/usr/bin/tail|/usr/bin/tail -f /x|-",
            allow,
        ),
        (
            "bob : PWD=/tmp ; USER=root ; ENV=FOO=bar ; COMMAND=/usr/bin/id",
            "sudo-command|bob|root|/tmp|/usr/bin/id|/usr/bin/id|-",
            allow,
        ),
        (
            "carol : command not allowed ; TTY=pts/0 ; PWD=/tmp ; USER=root ; COMMAND=/usr/bin/id -n",
            "sudo-refused|carol|root|/tmp|/usr/bin/id|/usr/bin/id -n|command not allowed",
            deny,
        ),
        (
            "alice : 3 incorrect password attempts ; PWD=/tmp ; USER=root ; COMMAND=/usr/bin/id",
            "sudo-refused|alice|root|/tmp|/usr/bin/id|/usr/bin/id|3 incorrect password attempts",
            deny,
        ),
        (
            "nologin : user NOT in sudoers ; PWD=/tmp ; USER=root ; COMMAND=/usr/bin/id",
            "sudo-refused|nologin|root|/tmp|/usr/bin/id|/usr/bin/id|user NOT in sudoers",
            deny,
        ),
        (
            "x : unable to open /run/sudo/ts/x: Permission denied ; PWD=/ ; USER=root ; COMMAND=list",
            "sudo-refused|x|root|/|-|list|unable to open /run/sudo/ts/x: Permission denied",
            Some(Error),
        ),
        (
            "opty : TTY=pts/12 ; PWD=/home ; USER=root ; COMMAND=/bin/bash -c 'a && b' ; EXIT=0",
            "sudo-command-ended|opty|root|/home|/bin/bash|/bin/bash -c 'a && b'|-",
            allow,
        ),
        (
            "opty : PWD=/ ; USER=root ; COMMAND=/bin/x ; SIGNAL=TERM ; EXIT=143",
            "sudo-command-ended|opty|root|/|/bin/x|/bin/x|-",
            allow,
        ),
        (
            "CORP\\a b : PWD=/ ; USER=root ; COMMAND=/opt/my\\ app x",
            "sudo-command|CORP\\a b|root|/|/opt/my\\ app|/opt/my\\ app x|-",
            allow,
        ),
        (
            ": alice : HOST=h : TTY=x ; PWD=/ ; USER=root ; COMMAND=/bin/x",
            "sudo-command|alice|root|/|/bin/x|/bin/x|-",
            allow,
        ),
        ("bob : (command continued) yyy", "sudo-command-continued|bob|-|-|-|yyy|-", None),
        (
            "alice :  PWD=/ ; USER=root ; COMMAND=/usr/bin/ls",
            "sudo-command|alice|root|/|/usr/bin/ls|/usr/bin/ls|-",
            allow,
        ),
        (
            "alice : no tty present and no askpass program specified",
            "sudo-refused|alice|-|-|-|-|no tty present and no askpass program specified",
            deny,
        ),
    ] {
        let (fields, found, suspect) = read(message, false).unwrap_or_else(|| panic!("{message}"));
        assert_eq!((fields.as_str(), found, suspect), (expected, outcome, false), "{message}");
    }
    for message in ["", "hello", "unable to resolve host x: y", "pam_unix(sudo:auth): x", " : "] {
        assert!(read(message, false).is_none(), "{message}");
    }
}

#[test]
fn a_command_is_not_a_key() {
    let (fields, _, suspect) =
        read("eve : PWD=/ ; USER=root ; COMMAND=/bin/echo x ; USER=bob ; COMMAND=/bin/true", false).unwrap();
    assert_eq!(fields, "sudo-command|eve|root|/|/bin/echo|/bin/echo x ; USER=bob ; COMMAND=/bin/true|-");
    assert!(suspect);
    // A folder with the words of sudo in its name.
    let (_, _, suspect) = read("eve : PWD=/tmp/a ; USER=bob ; USER=root ; COMMAND=/bin/sh", false).unwrap();
    assert!(suspect);
    let (_, _, suspect) = read("eve : PWD=/tmp/a ; b ; USER=root ; COMMAND=/bin/sh", false).unwrap();
    assert!(suspect);
}

#[test]
fn su_and_doas() {
    let (success, deny) = (Some(Success), Some(Deny));
    for (message, expected, outcome) in [
        ("(to bob) alice on none", "su|alice|bob|-|-|-|-", success),
        ("FAILED SU (to root) alice on pts/1", "su-refused|alice|root|-|-|-|-", deny),
        ("Successful su for root by alice", "su|alice|root|-|-|-|-", success),
        ("FAILED su for root by alice", "su-refused|alice|root|-|-|-|-", deny),
        ("+ pts/0 alice:root", "su|alice|root|-|-|-|-", success),
        ("- ??? alice:root", "su-refused|alice|root|-|-|-|-", deny),
        ("alice to root on /dev/pts/0", "su|alice|root|-|-|-|-", success),
        ("BAD SU alice to root on /dev/ttyp0", "su-refused|alice|root|-|-|-|-", deny),
        ("alice ran command ls -l as root from /home/a", "su|alice|root|/home/a|-|ls -l|-", success),
        ("failed auth for alice", "su-refused|alice|-|-|-|-|-", deny),
        ("command not permitted for alice: ls", "su-refused|alice|-|-|-|ls|-", deny),
        ("failed command for alice: ls", "su-refused|alice|-|-|-|ls|-", deny),
        ("alice ran command as bob: ls -l", "su|alice|bob|-|-|ls -l|-", success),
        ("failed: ttyq4 changing from ldap to root", "su-refused|ldap|root|-|-|-|-", deny),
        ("succeeded: ttyq4 changing from ldap to root", "su|ldap|root|-|-|-|-", success),
    ] {
        let (fields, found, suspect) = read(message, true).unwrap_or_else(|| panic!("{message}"));
        assert_eq!((fields.as_str(), found, suspect), (expected, outcome, false), "{message}");
    }
    // A command, or a folder, that is called like what doas says.
    for message in [
        "alice ran command as bob: x as root from /",
        "alice ran command ls as root from /tmp/x as bob",
        "alice ran command x as bob from / as root from /",
    ] {
        assert!(read(message, true).is_some_and(|(_, _, suspect)| suspect), "{message}");
    }
    assert!(read("hello", true).is_none());
}
