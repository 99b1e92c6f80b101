//! Debian's rsyslogd and logrotate as Debian sets them up, in a folder of their own: every message that rsyslogd wrote comes once,
//! though the agent is killed between rotations and during them.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use waybill_tests::agent::Agent;
use waybill_tests::face;
use waybill_tests::policy::{self, Policy};
use waybill_tests::rng::Rng;
use waybill_tests::room::{self, Room};
use waybill_tests::scene::SOON;
use waybill_tests::skip;
use waybill_tests::syslog::{Program, modules};
use waybill_tests::wait::await_true;

/// Rotations; the oldest file goes at the fifth.
const ROTATIONS: usize = 12;
/// Messages between two of them.
const MESSAGES: u64 = 400;

/// rsyslogd with a socket and a log of its own; ended when dropped.
struct Daemon {
    child: Child,
    socket: UnixDatagram,
    pid: PathBuf,
    sent: u64,
}

impl Daemon {
    fn start(room: &Room) -> Result<Self> {
        let (path, pid) = (room.path().join("log.sock"), room.path().join("rsyslogd.pid"));
        let config = room.path().join("rsyslog.conf");
        let (work, log) = (room.elsewhere(), log(room));
        fs::create_dir_all(log.parent().context("a log has a folder")?)?;
        // The lines of Debian's own file that matter here, with other places.
        fs::write(
            &config,
            format!(
                "module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"{}\")\n\
                 $ActionFileDefaultTemplate RSYSLOG_TraditionalFileFormat\n$FileCreateMode 0640\n$Umask 0022\n\
                 $WorkDirectory {}\nauth,authpriv.* {}\n",
                path.display(),
                work.display(),
                log.display()
            ),
        )?;
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(&config).arg("-i").arg(&pid);
        modules(Program::Rsyslog).into_iter().for_each(|folder| _ = command.arg("-M").arg(folder));
        let out = fs::File::create(room.path().join("rsyslogd.log"))?;
        let child = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?;
        let socket = UnixDatagram::unbound()?;
        let daemon = Self { child, socket, pid, sent: 0 };
        await_true("rsyslogd listens", SOON, || Ok(daemon.socket.connect(&path).is_ok() && daemon.pid.exists()))?;
        Ok(daemon)
    }

    /// Logs a login as sshd does.
    fn login(&mut self) -> Result<()> {
        self.sent += 1;
        let text =
            format!("<86>sshd[{}]: Accepted publickey for user{} from 203.0.113.7 port 4711 ssh2", 1000, self.sent);
        self.socket.send(text.as_bytes())?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            println!("failed to end rsyslogd: {error}");
        }
    }
}

fn log(room: &Room) -> PathBuf {
    room.logs().join("auth.log")
}

/// Debian's own rule for rsyslog's files, with another place for them; without systemd the signal goes to the process itself.
fn rule(room: &Room, daemon: &Daemon) -> Result<Option<PathBuf>> {
    let beside = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("../etc"))
        .chain([PathBuf::from("/etc")])
        .map(|etc| etc.join("logrotate.d/rsyslog"))
        .find(|path| path.exists());
    let Some(genuine) = beside else { return Ok(None) };
    let text = fs::read_to_string(&genuine)?;
    let signal = format!("kill -HUP $(cat {})", daemon.pid.display());
    let text = text
        .replace("/var/log/", &format!("{}/", room.logs().display()))
        .replace("/usr/lib/rsyslog/rsyslog-rotate", &signal);
    ensure!(text.contains(&signal) && text.contains("auth.log"), "{} is not as it was", genuine.display());
    let path = room.path().join("logrotate.conf");
    // What Debian's logrotate.conf says for all.
    fs::write(&path, format!("weekly\nrotate 4\ncreate\n{text}"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    Ok(Some(path))
}

fn rotate(rule: &Path, room: &Room) -> Result<()> {
    let done =
        Command::new("logrotate").args(["-f", "-s"]).arg(room.path().join("logrotate.state")).arg(rule).output()?;
    ensure!(done.status.success(), "logrotate failed: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// How often each message came, each id counted once.
fn came(room: &Room) -> Result<HashMap<u64, u32>> {
    let (output, mut ids, mut seen) = (room.output()?, std::collections::HashSet::new(), HashMap::new());
    for record in output.records.iter().filter(|record| ids.insert(record.id)) {
        let text = String::from_utf8_lossy(record.text.bytes()).into_owned();
        let number =
            text.split(" for user").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|n| n.parse().ok());
        // rsyslogd says itself that it was sent a signal.
        if let Some(number) = number {
            *seen.entry(number).or_default() += 1;
        }
    }
    Ok(seen)
}

#[test]
fn logrotate_in_the_place_of_rename_for_rsyslog() -> Result<()> {
    if !skip::has("logrotate") || !Program::Rsyslog.is_there() {
        return skip::skip("logrotate for rsyslog", "logrotate or rsyslogd is not installed");
    }
    room::within("host-rotation", |room| {
        let mut rng = Rng::from_env("host-rotation");
        let mut daemon = Daemon::start(room)?;
        let Some(rule) = rule(room, &daemon)? else {
            return skip::skip("logrotate for rsyslog", "Debian's rule for rsyslog's files is not there");
        };
        let source = policy::source("auth", &format!("{}*", log(room).display()), "Sshd");
        let mut agent: Agent =
            room.agent(&Policy::new("host").source(source).sink(policy::file("archive", &room.archive())))?;
        agent.start()?;
        for round in 0..ROTATIONS {
            let killed = rng.within(0..MESSAGES);
            for number in 0..MESSAGES {
                daemon.login()?;
                // In every other round it is dead when the file is rotated.
                if number == killed {
                    agent.kill()?;
                    if round % 2 == 0 {
                        agent.start()?;
                    }
                }
            }
            rotate(&rule, room)?;
            if round % 2 == 1 {
                agent.start()?;
            }
            // What logrotate removes has to be delivered by then: it keeps four.
            await_true("all that was logged has come", SOON, || {
                agent.check_alive()?;
                Ok(came(room)?.len() as u64 == daemon.sent)
            })?;
        }
        await_true("nothing is owed", SOON, || {
            Ok(agent.asker().lanes()?.iter().all(|lane| lane.term("pending").bytes == 0))
        })?;
        agent.stop()?;
        let seen = came(room)?;
        ensure!(seen.len() as u64 == daemon.sent && seen.values().all(|n| *n == 1), "a message came under two ids");
        ensure!(room.output()?.losses().count() == 0, "a loss was entered");
        for lane in face::lanes(&agent.inspect()?)? {
            lane.balance()?;
        }
        let left = fs::read_dir(room.logs())?.count();
        ensure!(left == 5, "logrotate left {left} files");
        println!("{} messages over {ROTATIONS} rotations by logrotate, {ROTATIONS} kills", daemon.sent);
        Ok(())
    })
}
