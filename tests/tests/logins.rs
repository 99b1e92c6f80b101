//! Genuine sshd, PAM, sudo and rsyslog, driven in namespaces of their own: logins, wrong passwords and keys, names that an attacker
//! chose, commands that were allowed and refused. What was done is what the records say, under either header.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::jars::succeed;
use waybill_tests::policy::{self, Policy};
use waybill_tests::room::{self, Room};
use waybill_tests::skip;
use waybill_tests::wait::await_true;

/// Set in the run that is inside of the namespaces: the folder of unpacked programs, or nothing.
const INSIDE: &str = "WAYBILL_LOGINS_INSIDE";
const SOON: Duration = Duration::from_secs(30);
const PORT: u16 = 2222;
/// A network with nothing but the loopback, processes that end with it, and `/etc`, `/dev` and `/run` of its own. Programs that are not
/// installed are laid over `/usr`, so that they find their own parts.
const ENTER: &str = r#"set -e
ip link set lo up
mount --make-rprivate /
place=$(mktemp -d)
mount -t tmpfs none "$place"
mkdir "$place/etc" "$place/work" "$place/dev"
if [ -n "$WAYBILL_LOGINS_INSIDE" ]; then
    mount -t overlay none -o "lowerdir=$WAYBILL_LOGINS_INSIDE/usr:/usr" /usr
    below="/etc:$WAYBILL_LOGINS_INSIDE/etc"
else
    below=/etc
fi
mount -t overlay none -o "lowerdir=$below,upperdir=$place/etc,workdir=$place/work" /etc
mount -t tmpfs -o mode=755 none "$place/dev"
for device in null zero full random urandom tty; do cp -a "/dev/$device" "$place/dev/"; done
mkdir "$place/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 none "$place/dev/pts"
ln -s pts/ptmx "$place/dev/ptmx"
ln -s /proc/self/fd "$place/dev/fd"
mount --move "$place/dev" /dev
mount -t tmpfs -o mode=755 none /run
mkdir /run/sshd /run/homes
exec "$0" --exact what_was_done_is_what_the_records_say --nocapture"#;

const SSHD: &str = "
ListenAddress 127.0.0.1
HostKey /run/host-key
PidFile none
UsePAM yes
LogLevel VERBOSE
MaxStartups 50
PermitRootLogin no
DenyUsers dave
KbdInteractiveAuthentication no
";

const RSYSLOG: &str = r#"
module(load="imuxsock" SysSock.Name="/dev/log" SysSock.RateLimit.Interval="0")
*.* action(type="omfile" file="LOGS/auth.log" template="RSYSLOG_TraditionalFileFormat")
*.* action(type="omfile" file="LOGS/iso.log" template="RSYSLOG_FileFormat")
"#;

// sudo breaks the lines of its own file unless it is told not to.
const SUDOERS: &str = "
Defaults loglinelen=0, !lecture
alice ALL=(ALL) ALL
bob ALL=(root) NOPASSWD: /usr/bin/id
";

/// Users: name and number. Each one's password is his name behind `pw-`.
const USERS: [(&str, u32); 4] = [("alice", 4001), ("bob", 4002), ("carol", 4003), ("dave", 4004)];

/// What an attacker calls himself.
const HOSTILE: [&str; 3] = ["nosuch", "test from 10.10.1.2 port 55555 ssh2", "ünï"];

/// The folder of programs that were unpacked instead of installed: `ROOT/bin` is where commands are looked for, `ROOT/usr` what is in them.
fn unpacked() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter_map(|folder| Some(folder.parent()?.to_owned()))
        .find(|root| ["usr/sbin/sshd", "usr/bin/sudo", "usr/sbin/rsyslogd"].iter().any(|file| root.join(file).exists()))
        .filter(|root| root != Path::new("/"))
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

#[test]
fn what_was_done_is_what_the_records_say() -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return room::within("logins", inside);
    }
    let needed = ["sshd", "ssh", "ssh-keygen", "sudo", "rsyslogd", "openssl", "unshare", "setpriv"];
    if let Some(missing) = needed.iter().find(|program| !is_there(program)) {
        return skip::skip("logins", &format!("{missing} is not there"));
    }
    if !skip::is_root() {
        return skip::skip("logins", "this needs root, for users and mounts of its own");
    }
    let status = Command::new("unshare")
        .args(["-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc", "sh", "-c", ENTER])
        .arg(std::env::current_exe()?)
        .env(INSIDE, unpacked().unwrap_or_default())
        .status()?;
    ensure!(status.success(), "the test failed inside of its namespaces");
    Ok(())
}

/// What lines said before the agent was stopped is known to those that come after its start: they are read again, and not sent again.
#[test]
fn whose_a_process_is_outlives_the_agent() -> Result<()> {
    room::within("logins-restart", |room| {
        let log = room.logs().join("auth.log").display().to_string();
        let plan = Policy::new("logins")
            .source(policy::source("auth", &log, "Sshd"))
            .sink(policy::file("archive", &room.archive()));
        let mut agent = room.agent(&plan)?;
        let come = |count: usize| await_true("the records come", SOON, || Ok(records(room)?.len() == count));
        append(&log, "2026-11-22T06:00:00+00:00 gw sshd[7]: Failed password for root from 192.0.2.1 port 11 ssh2\n")?;
        agent.start()?;
        come(1)?;
        agent.stop()?;
        append(&log, "2026-11-22T06:00:01+00:00 gw sshd[7]: PAM service(sshd) ignoring max retries; 6 > 3\n")?;
        append(&log, "2026-11-22T06:00:01+00:00 gw sshd[8]: PAM service(sshd) ignoring max retries; 6 > 3\n")?;
        agent.start()?;
        come(3)?;
        agent.stop()?;
        let records = records(room)?;
        let of = |pid: u64| records.iter().rfind(|record| record["process"]["pid"] == pid).context("a line is missing");
        let (known, unknown) = (of(7)?, of(8)?);
        ensure!(known["source"]["ip"] == "192.0.2.1" && known["user"]["name"] == "root", "{known}");
        ensure!(known["waybill"]["sshd"]["joined"] == json!(["source.address", "source.port", "user.name"]), "{known}");
        ensure!(unknown["source"].is_null() && unknown["user"].is_null(), "{unknown}");
        Ok(())
    })
}

/// A running daemon. What it leaves ends with the namespace.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn append(path: &str, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path).with_context(|| path.to_owned())?;
    Ok(file.write_all(text.as_bytes())?)
}

fn set_up(room: &Room) -> Result<()> {
    append("/etc/passwd", "sshd:x:199:65534::/run/sshd:/usr/sbin/nologin\n")?;
    for (name, id) in USERS {
        let hash = Command::new("openssl").args(["passwd", "-6", &format!("pw-{name}")]).output()?;
        let hash = String::from_utf8(hash.stdout)?;
        let home = format!("/run/homes/{name}");
        append("/etc/passwd", &format!("{name}:x:{id}:{id}::{home}:/bin/sh\n"))?;
        append("/etc/shadow", &format!("{name}:{}:19000:0:99999:7:::\n", hash.trim()))?;
        append("/etc/group", &format!("{name}:x:{id}:\n"))?;
        fs::create_dir_all(format!("{home}/.ssh"))?;
        for folder in [home.clone(), format!("{home}/.ssh")] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
            chown(&folder, Some(id), Some(id))?;
        }
    }
    for key in ["host-key", "bob-key", "other-key"] {
        succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(format!("/run/{key}")))?;
    }
    fs::copy("/run/bob-key.pub", "/run/homes/bob/.ssh/authorized_keys")?;
    chown("/run/homes/bob/.ssh/authorized_keys", Some(4002), Some(4002))?;
    fs::write("/run/sshd_config", format!("Port {PORT}{SSHD}"))?;
    fs::write("/run/rsyslog.conf", RSYSLOG.replace("LOGS", &room.logs().display().to_string()))?;
    let logfile = format!("Defaults logfile={}\n", room.logs().join("sudo.log").display());
    fs::write("/etc/sudoers", format!("{logfile}{SUDOERS}"))?;
    fs::set_permissions("/etc/sudoers", fs::Permissions::from_mode(0o440))?;
    fs::write("/run/ask", "#!/bin/sh\nprintf '%s\\n' \"$WAYBILL_PASSWORD\"\n")?;
    fs::set_permissions("/run/ask", fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// One login, by password or by key.
fn ssh(user: &str, password: Option<&str>, key: &str) -> Result<()> {
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-p", &PORT.to_string(), "-l", user]);
    for option in [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "ConnectTimeout=10",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "NumberOfPasswordPrompts=1",
    ] {
        command.args(["-o", option]);
    }
    match password {
        Some(password) => {
            command.args(["-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password"]);
            command
                .env("SSH_ASKPASS", "/run/ask")
                .env("SSH_ASKPASS_REQUIRE", "force")
                .env("WAYBILL_PASSWORD", password);
        }
        None => {
            command.args(["-o", "BatchMode=yes", "-i", key]);
        }
    }
    // Whether it is let in is what the records are asked for.
    command.args(["127.0.0.1", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    Ok(())
}

/// Runs sudo as a user, with what he types.
fn sudo(user: u32, typed: &str, arguments: &[&str]) -> Result<()> {
    let mut child = Command::new("setpriv")
        .args(["--reuid", &user.to_string(), "--regid", &user.to_string(), "--clear-groups"])
        .args(["env", "-i", "PATH=/usr/bin:/bin:/usr/sbin", "sudo", "-S", "-k"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // It may not ask at all.
    let _typed = child.stdin.take().context("no input")?.write_all(typed.as_bytes());
    child.wait()?;
    Ok(())
}

/// Outcome, method or reason, and what else tells deeds of one user apart: how often.
type Deeds = BTreeMap<String, usize>;

fn add(deeds: &mut Deeds, words: &[&str], times: usize) {
    *deeds.entry(words.join("|")).or_default() += times;
}

/// Everything that is done, all at once: PAM takes two seconds for each refusal.
fn act() -> Result<(Deeds, Deeds)> {
    let (mut logins, mut commands) = (Deeds::new(), Deeds::new());
    std::thread::scope(|scope| -> Result<()> {
        let mut deeds = Vec::new();
        deeds.push(scope.spawn(|| ssh("alice", Some("pw-alice"), "")));
        add(&mut logins, &["alice", "allow", "password", "false"], 1);
        deeds.push(scope.spawn(|| ssh("bob", None, "/run/bob-key")));
        add(&mut logins, &["bob", "allow", "publickey", "false"], 1);
        deeds.push(scope.spawn(|| ssh("bob", None, "/run/other-key")));
        add(&mut logins, &["bob", "deny", "publickey", "false"], 1);
        for _ in 0..3 {
            deeds.push(scope.spawn(|| ssh("alice", Some("wrong"), "")));
        }
        add(&mut logins, &["alice", "deny", "password", "false"], 3);
        for name in HOSTILE {
            deeds.push(scope.spawn(move || ssh(name, Some("wrong"), "")));
            add(&mut logins, &[name, "deny", "password", "true"], 1);
        }
        deeds.push(scope.spawn(|| ssh("root", Some("wrong"), "")));
        add(&mut logins, &["root", "deny", "password", "false"], 1);
        deeds.push(scope.spawn(|| ssh("dave", Some("pw-dave"), "")));
        add(&mut logins, &["dave", "deny", "password", "true"], 1);
        deeds.push(scope.spawn(|| -> Result<()> {
            let mut peer = TcpStream::connect(("127.0.0.1", PORT))?;
            Ok(peer.write_all(b"GET / HTTP/1.1\r\n\r\n")?)
        }));
        deeds.push(scope.spawn(|| sudo(4001, "pw-alice\n", &["id"])));
        add(&mut commands, &["alice", "allow", "-", "root", "/usr/bin/id"], 1);
        deeds.push(scope.spawn(|| sudo(4001, "pw-alice\n", &["-u", "bob", "id", "-u", "a;b"])));
        add(&mut commands, &["alice", "allow", "-", "bob", "/usr/bin/id -u a;b"], 1);
        deeds.push(scope.spawn(|| sudo(4001, "x\nx\nx\n", &["whoami"])));
        add(&mut commands, &["alice", "deny", "3 incorrect password attempts", "root", "/usr/bin/whoami"], 1);
        deeds.push(scope.spawn(|| sudo(4002, "", &["id"])));
        add(&mut commands, &["bob", "allow", "-", "root", "/usr/bin/id"], 1);
        deeds.push(scope.spawn(|| sudo(4002, "pw-bob\n", &["whoami"])));
        add(&mut commands, &["bob", "deny", "command not allowed", "root", "/usr/bin/whoami"], 1);
        deeds.push(scope.spawn(|| sudo(4003, "pw-carol\n", &["id"])));
        add(&mut commands, &["carol", "deny", "user NOT in sudoers", "root", "/usr/bin/id"], 1);
        for deed in deeds {
            deed.join().map_err(|_| anyhow::anyhow!("a deed panicked"))??;
        }
        Ok(())
    })?;
    Ok((logins, commands))
}

fn inside(room: &Room) -> Result<()> {
    set_up(room)?;
    let utc = |name: &str, format: &str| {
        let source = policy::source(name, &format!("{}/{name}.log", room.logs().display()), format);
        policy::with(source, "/timeZone", json!("UTC"))
    };
    let plan = Policy::new("logins")
        .source(utc("auth", "Sshd"))
        .source(utc("iso", "Sshd"))
        .source(utc("sudo", "Sudo"))
        .sink(policy::file("archive", &room.archive()));
    let mut agent = room.agent(&plan)?;
    agent.start()?;
    let start = |program: &str, arguments: &[&str]| -> Result<Daemon> {
        let said = fs::File::create(room.path().join(program))?;
        let path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .chain([PathBuf::from("/usr/sbin")])
            .map(|folder| folder.join(program))
            .find(|file| file.starts_with("/usr") && file.exists())
            .with_context(|| format!("no {program} below /usr"))?;
        let mut command = Command::new(path);
        command.args(arguments).env("TZ", "UTC").stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        Ok(Daemon(command.spawn().with_context(|| format!("failed to start {program}"))?))
    };
    let _rsyslog = start("rsyslogd", &["-n", "-f", "/run/rsyslog.conf", "-i", "/run/rsyslog.pid"])?;
    await_true("rsyslog listens", SOON, || Ok(Path::new("/dev/log").exists()))?;
    let _sshd = start("sshd", &["-D", "-f", "/run/sshd_config"])?;
    await_true("sshd listens", SOON, || Ok(TcpStream::connect(("127.0.0.1", PORT)).is_ok()))?;
    let (logins, commands) = act()?;
    let text = |name: &str| -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(room.logs().join(format!("{name}.log"))).unwrap_or_default()).into_owned())
    };
    await_true("everything is in the records", SOON, || {
        agent.check_alive()?;
        let records = records(room)?;
        let counted = ["auth", "iso", "sudo"].iter().try_fold(true, |all, name| -> Result<bool> {
            Ok(all && of(&records, name).count() == text(name)?.lines().count())
        })?;
        let done = |deeds: &Deeds| deeds.values().sum::<usize>();
        let all = ["auth", "iso"].iter().all(|name| {
            done(&logins_of(&records, name)) >= done(&logins) && done(&commands_of(&records, name)) >= done(&commands)
        });
        Ok(counted && all)
    })?;
    agent.stop()?;
    let records = records(room)?;
    for record in &records {
        ensure!(record["event"]["kind"] != "pipeline_error", "a line was not understood: {record}");
    }
    for name in ["auth", "iso"] {
        ensure!(logins_of(&records, name) == logins, "{name}: {:#?}, not {logins:#?}", logins_of(&records, name));
        let scanned = of(&records, name).any(|record| record["event"]["action"] == "bad-identification");
        ensure!(scanned, "{name}: nothing of the scanner");
        let refused = of(&records, name)
            .any(|record| record["event"]["action"] == "user-not-allowed" && record["user"]["name"] == "dave");
        ensure!(refused, "{name}: nothing of DenyUsers");
        for record in of(&records, name).filter(|record| is_served(record)) {
            let by = &record["waybill"]["sshd"]["joined"];
            ensure!(record["source"]["ip"] == "127.0.0.1", "{name}: whose line is it? {record}");
            ensure!(record["event"]["action"] != "session-closed" || by[0] == "source.address", "{name}: {record}");
        }
        for record in of(&records, name).filter(|record| record["event"]["action"] == "ssh_login") {
            ensure!(record["source"]["ip"] == "127.0.0.1" && record["source"]["port"].is_u64(), "{record}");
        }
    }
    let print = Command::new("ssh-keygen").args(["-l", "-f", "/run/bob-key"]).output()?;
    let print = String::from_utf8(print.stdout)?;
    let keyed = of(&records, "iso").any(|record| {
        let key = record["waybill"]["sshd"]["fingerprint"].as_str();
        record["waybill"]["outcome"] == "allow" && key.is_some_and(|key| print.contains(key))
    });
    ensure!(keyed, "bob's key is not told by its fingerprint: {print}");
    for name in ["auth", "iso", "sudo"] {
        ensure!(
            commands_of(&records, name) == commands,
            "{name}: {:#?}, not {commands:#?}",
            commands_of(&records, name)
        );
    }
    Ok(())
}

/// The records of lines that came.
fn records(room: &Room) -> Result<Vec<Value>> {
    Ok(room.records()?.into_iter().filter(|record| record["event"]["original"].is_string()).collect())
}

fn of<'r>(records: &'r [Value], source: &'r str) -> impl Iterator<Item = &'r Value> {
    records.iter().filter(move |record| record["waybill"]["source"] == source)
}

/// Whether a line is of a process of sshd that has a client. PAM's lines of a session end with it.
fn is_served(record: &Value) -> bool {
    let is_sshd = record["process"]["name"].as_str().is_some_and(|name| name.starts_with("sshd"));
    let of_listener = ["listening", "throttling-begins", "stopped"].iter().any(|own| record["event"]["action"] == *own);
    is_sshd && record["process"]["pid"].is_u64() && !of_listener
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn logins_of(records: &[Value], source: &str) -> Deeds {
    let mut deeds = Deeds::new();
    for record in of(records, source).filter(|record| record["event"]["action"] == "ssh_login") {
        let said = &record["waybill"];
        let invalid = if said["sshd"]["invalid_user"] == true { "true" } else { "false" };
        let words = [word(&record["user"]["name"]), word(&said["outcome"]), word(&said["sshd"]["method"]), invalid];
        let repeated = said["syslog"]["repeated"].as_u64().unwrap_or(1);
        add(&mut deeds, &words, usize::try_from(repeated).unwrap_or(1));
    }
    deeds
}

fn commands_of(records: &[Value], source: &str) -> Deeds {
    let mut deeds = Deeds::new();
    let sudo = |record: &&Value| ["sudo-command", "sudo-refused"].contains(&word(&record["event"]["action"]));
    for record in of(records, source).filter(sudo) {
        let words = [
            word(&record["user"]["name"]),
            word(&record["waybill"]["outcome"]),
            word(&record["event"]["reason"]),
            word(&record["user"]["effective"]["name"]),
            word(&record["process"]["command_line"]),
        ];
        add(&mut deeds, &words, 1);
    }
    deeds
}
