//! The genuine SoftEther VPN server, driven through its API in a namespace of its own: what was done is what the records say, from
//! its files and from what it sends by syslog.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::policy::{self, Policy};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::skip;
use waybill_tests::wait::await_true;

/// Set in the run that is inside of the namespace.
const INSIDE: &str = "WAYBILL_SOFTETHER_INSIDE";
/// A network with nothing but the loopback, processes that end with it, and places of its own for what the program keeps.
const ENTER: &str = "ip link set lo up && mount --make-rprivate / && mount -t tmpfs none /var/lib && mount -t tmpfs none /var/log \
    && mount -t tmpfs none /run && mkdir -p /run/softether /var/lib/softether /var/log/softether && exec \"$0\" --exact what_was_done_is_what_the_records_say --nocapture";
const SYSLOG: &str = "127.0.0.1:5514";
/// Files that the server switches away from.
const SWITCHES: usize = 5;

/// The server, as it is installed or as `scripts/tools` unpacked it.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = std::env::split_paths(&path).map(|folder| folder.join("../usr"));
    let places = beside.chain([PathBuf::from("/usr")]);
    places.map(|usr| usr.join("libexec/softether/vpnserver/vpnserver")).find(|file| file.exists())
}

/// A running server. Its child ends with the namespace.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // What is left of it ends with the namespace.
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Calls a method of the server's API.
fn call(password: &str, method: &str, parameters: &Value) -> Result<String> {
    let request = json!({"jsonrpc": "2.0", "id": "1", "method": method, "params": parameters}).to_string();
    let answer = Command::new("curl")
        .args(["-sk", "-m", "20", "-H", &format!("X-VPNADMIN-PASSWORD: {password}"), "-d", &request])
        .arg("https://127.0.0.1:5555/api/")
        .output()
        .context("failed to run curl")?;
    ensure!(answer.status.success(), "{method}: curl failed");
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

fn done(method: &str, parameters: &Value) -> Result<()> {
    let answer = call("adminpw", method, parameters)?;
    ensure!(answer.contains("\"result\""), "{method}: {answer}");
    Ok(())
}

/// The records that came, by source.
fn records(room: &Room) -> Result<Vec<Value>> {
    Ok(room.records()?.into_iter().filter(|record| record["waybill"]["softether"].is_object()).collect())
}

fn count(records: &[Value], source: &str, code: &str, hub: Option<&str>) -> usize {
    let is_one = |record: &&Value| {
        record["waybill"]["source"] == source
            && record["event"]["code"] == code
            && hub.is_none_or(|hub| record["waybill"]["softether"]["hub"] == hub)
    };
    records.iter().filter(is_one).count()
}

#[test]
fn what_was_done_is_what_the_records_say() -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return room::within("softether", inside);
    }
    let Some(_) = program() else {
        return skip::skip("softether", "the server is not there: scripts/tools fetches it");
    };
    if !skip::is_root() || !skip::has("curl") || !skip::has("unshare") {
        return skip::skip("softether", "this needs root, curl and unshare");
    }
    let status = Command::new("unshare")
        .args(["-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc", "sh", "-c", ENTER])
        .arg(std::env::current_exe()?)
        .env(INSIDE, "1")
        .status()?;
    ensure!(status.success(), "the test failed inside of its namespace");
    Ok(())
}

fn inside(room: &Room) -> Result<()> {
    let source = |name: &str, format: &str, path: &str| {
        policy::with(policy::source(name, path, format), "/timeZone", json!("UTC"))
    };
    let plan = Policy::new("softether")
        .source(source("server", "SoftEtherServer", "/var/log/softether/server_log/*.log"))
        .source(source("security", "SoftEtherSecurity", "/var/log/softether/security_log/{hub}/*.log"))
        .source(json!({
            "name": "sent", "type": "Syslog", "syslog": {"listen": SYSLOG}, "format": "SoftEtherServer", "timeZone": "UTC",
        }))
        .sink(policy::file("archive", &room.archive()));
    let mut scene = Scene::with(room, &plan)?;
    scene.start()?;
    let log = fs::File::create(room.path().join("vpnserver.log"))?;
    let program = program().context("no server")?;
    let _server = Server(
        Command::new(&program)
            .arg("execsvc")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("failed to start the server")?,
    );
    await_true("the server listens", SOON, || Ok(TcpStream::connect("127.0.0.1:5555").is_ok()))?;
    // A server without a password takes any.
    call("x", "SetServerPassword", &json!({"PlainTextPassword_str": "adminpw"}))?;
    for hub in ["CORP", "CAFE-2"] {
        let parameters = json!({
            "HubName_str": hub, "AdminPasswordPlainText_str": "hubpw", "Online_bool": true, "HubType_u32": 0,
        });
        done("CreateHub", &parameters)?;
        for user in ["alice", "qu\"ote,"] {
            let parameters = json!({
                "HubName_str": hub, "Name_str": user, "Realname_utf": "", "Note_utf": "", "AuthType_u32": 1,
                "Auth_Password_str": "pw",
            });
            call("adminpw", "CreateUser", &parameters)?;
        }
    }
    // From now on the server itself switches this hub's files every second.
    let switched = json!({
        "HubName_str": "CORP", "SaveSecurityLog_bool": true, "SecurityLogSwitchType_u32": 1,
        "SavePacketLog_bool": false, "PacketLogSwitchType_u32": 0, "PacketLogConfig_u32": vec![0; 8],
    });
    done("SetHubLog", &switched)?;
    let files = || fs::read_dir("/var/log/softether/security_log/CORP").map_or(0, Iterator::count);
    let second = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    for number in 0..SWITCHES {
        let parameters = json!({
            "HubName_str": "CORP", "Name_str": format!("switched{number}"), "Realname_utf": "", "Note_utf": "",
            "AuthType_u32": 1, "Auth_Password_str": "pw",
        });
        call("adminpw", "CreateUser", &parameters)?;
        // A file is named by its second.
        let written = second();
        await_true("another second begins", SOON, || Ok(second() > written + 1))?;
    }
    await_true("the server switches its files", SOON, || Ok(files() >= SWITCHES))?;
    for _ in 0..3 {
        ensure!(call("wrong", "EnumHub", &json!({}))?.contains("401"), "a wrong password was accepted");
    }
    // The server writes its files in the background.
    await_true("what is in the files has come", SOON, || {
        let records = records(room)?;
        let of = |hub| count(&records, "security", "LA_CREATE_USER", Some(hub));
        let users = of("CORP") > SWITCHES && of("CAFE-2") > 0;
        Ok(users && count(&records, "server", "LS_API_AUTH_ERROR", None) == 3)
    })?;
    // From now on nothing is written to files any more.
    done("SetSysLog", &json!({"SaveType_u32": 3, "Hostname_str": "127.0.0.1", "Port_u32": 5514}))?;
    for _ in 0..2 {
        ensure!(call("wrong", "EnumHub", &json!({}))?.contains("401"), "a wrong password was accepted");
    }
    done("DeleteUser", &json!({"HubName_str": "CORP", "Name_str": "alice"}))?;
    done("DeleteHub", &json!({"HubName_str": "CAFE-2"}))?;
    await_true("the last of it has come", SOON, || Ok(count(&records(room)?, "sent", "LA_DELETE_HUB", None) == 1))?;
    scene.stop()?;
    check(&records(room)?, Path::new("/var/log/softether"))
}

fn check(records: &[Value], files: &Path) -> Result<()> {
    let expected = [
        ("server", "LA_CREATE_HUB", None, 2),
        ("server", "LA_CREATE_USER", Some("CORP"), 1 + SWITCHES),
        ("server", "LA_CREATE_USER", Some("CAFE-2"), 1),
        ("security", "LA_CREATE_USER", Some("CORP"), 1 + SWITCHES),
        ("security", "LA_CREATE_USER", Some("CAFE-2"), 1),
        ("server", "LS_API_AUTH_ERROR", None, 3),
        ("sent", "LS_API_AUTH_ERROR", None, 2),
        ("sent", "LA_DELETE_USER", Some("CORP"), 1),
        ("sent", "LA_DELETE_HUB", None, 1),
    ];
    for (source, code, hub, wanted) in expected {
        // A name with a quote is refused by some editions.
        let found = count(records, source, code, hub);
        let more = code == "LA_CREATE_USER" && found == wanted + 1;
        ensure!(found == wanted || more, "{source} {code} {hub:?}: {found}, not {wanted}");
    }
    for record in records {
        ensure!(record["waybill"]["parsed"].is_null(), "not parsed: {record}");
        ensure!(record["event"]["code"].is_string(), "no key: {record}");
    }
    // A hub's event stands in both logs, and is the same one.
    let mut copies: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for record in records {
        if let (Some(id), Some(source)) = (record["event"]["id"].as_str(), record["waybill"]["source"].as_str()) {
            copies.entry(id).or_default().push(source);
        }
    }
    let pairs = copies.values().filter(|sources| sources.contains(&"server") && sources.contains(&"security")).count();
    ensure!(pairs >= 2, "{pairs} events of hubs stand in both logs");
    // Refused logins say from where.
    let refused: Vec<&Value> = records.iter().filter(|record| record["event"]["code"] == "LS_API_AUTH_ERROR").collect();
    ensure!(
        refused.iter().all(|record| record["waybill"]["outcome"] == "deny" && record["source"]["ip"] == "127.0.0.1")
    );
    // Every line of the files has come.
    let mut folders = vec![files.join("server_log")];
    for hub in fs::read_dir(files.join("security_log"))? {
        folders.push(hub?.path());
    }
    let mut lines = 0;
    for file in folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten() {
        let text = fs::read_to_string(file?.path())?;
        lines += text.lines().filter(|line| !line.is_empty()).count();
    }
    let came = records.iter().filter(|record| record["waybill"]["source"] != "sent").count();
    ensure!(came == lines, "{came} records of {lines} lines");
    println!("softether: {lines} lines of files and {} datagrams, all with their key", records.len() - came);
    Ok(())
}
