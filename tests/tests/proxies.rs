//! Genuine V2Ray and Xray, driven through every protocol that both speak: what was done is what the records say.
//!
//! Two processes of the same program stand behind each other, a client and a server; nothing leaves the machine, because both outbounds
//! of the server lead nowhere.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::policy::{self, Policy};
use waybill_tests::room::{self, Room};
use waybill_tests::skip;
use waybill_tests::wait::await_true;
use waybill_tests::{v2ray, xray};

const SOON: Duration = Duration::from_secs(20);

/// A way to the server: a client's protocol with its credential.
struct Way {
    name: &'static str,
    /// Where the client takes requests.
    port: u16,
    /// What the server calls its user; `None` if it must refuse him.
    user: Option<&'static str>,
    /// The package that says so.
    package: &'static str,
}

/// A program of the family, as server or client.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            println!("failed to end a proxy: {error}");
        }
    }
}

impl Program {
    fn start(command: &[PathBuf], folder: &Path, name: &str, config: &Value) -> Result<Self> {
        let path = folder.join(format!("{name}.json"));
        fs::write(&path, format!("{config:#}\n"))?;
        let said = File::create(folder.join(format!("{name}.out")))?;
        let (program, arguments) = command.split_first().context("no program")?;
        let child = Command::new(program)
            .args(arguments)
            .arg(&path)
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()
            .with_context(|| format!("failed to start {}", program.display()))?;
        Ok(Self(child))
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

const ALICE: &str = "b831381d-6324-4d53-ad4f-8cda48b30811";
const CAROL: &str = "b831381d-6324-4d53-ad4f-8cda48b30812";
const STRANGER: &str = "b831381d-6324-4d53-ad4f-8cda48b30899";

/// The server's inbounds, the client's outbounds, and the ways from one to the other.
struct Site {
    inbounds: Vec<Value>,
    clients: Vec<Value>,
    outbounds: Vec<Value>,
    rules: Vec<Value>,
    ways: Vec<Way>,
    socks: u16,
    http: u16,
}

impl Site {
    fn inbound(&mut self, tag: &str, protocol: &str, settings: &Value, stream: &Value) -> Result<u16> {
        let port = free_port()?;
        self.inbounds.push(json!({
            "tag": tag, "listen": "127.0.0.1", "port": port, "protocol": protocol, "settings": settings, "streamSettings": stream,
        }));
        Ok(port)
    }

    fn way(
        &mut self,
        way: (&'static str, Option<&'static str>, &'static str),
        protocol: &str,
        settings: &Value,
        stream: &Value,
    ) -> Result<()> {
        let (name, user, package) = way;
        let port = free_port()?;
        self.clients
            .push(json!({"tag": format!("i-{name}"), "listen": "127.0.0.1", "port": port, "protocol": "socks"}));
        self.outbounds.push(json!({
            "tag": format!("o-{name}"), "protocol": protocol, "settings": settings, "streamSettings": stream,
        }));
        self.rules
            .push(json!({"type": "field", "inboundTag": [format!("i-{name}")], "outboundTag": format!("o-{name}")}));
        self.ways.push(Way { name, port, user, package });
        Ok(())
    }

    fn new() -> Result<Self> {
        let empty = Vec::new;
        let mut site = Self {
            inbounds: empty(),
            clients: empty(),
            outbounds: empty(),
            rules: empty(),
            ways: Vec::new(),
            socks: 0,
            http: 0,
        };
        let plain = json!({"network": "tcp"});
        let web = json!({"network": "ws", "wsSettings": {"path": "/ws"}});
        let members = json!({"clients": [
            {"id": ALICE, "email": "alice@example.org", "alterId": 0},
            {"id": CAROL, "email": "Carol Doe 2.carol", "alterId": 0},
        ]});
        let toward = |port: u16, id: &str| json!({"vnext": [{"address": "127.0.0.1", "port": port, "users": [{"id": id, "alterId": 0, "encryption": "none"}]}]});
        let vmess_user = |port: u16, id: &str| json!({"vnext": [{"address": "127.0.0.1", "port": port, "users": [{"id": id, "alterId": 0}]}]});
        let vmess = site.inbound("in-vmess", "vmess", &members, &plain)?;
        site.way(("vmess", Some("alice@example.org"), ""), "vmess", &vmess_user(vmess, ALICE), &plain)?;
        site.way(("vmess2", Some("Carol Doe 2.carol"), ""), "vmess", &vmess_user(vmess, CAROL), &plain)?;
        site.way(("vmess-bad", None, "proxy/vmess"), "vmess", &vmess_user(vmess, STRANGER), &plain)?;
        let port = site.inbound("in-ws", "vmess", &members, &web)?;
        site.way(("ws", Some("alice@example.org"), ""), "vmess", &vmess_user(port, ALICE), &web)?;
        let users = json!({"clients": [{"id": ALICE, "email": "376"}], "decryption": "none"});
        let vless = site.inbound("in-vless", "vless", &users, &plain)?;
        site.way(("vless", Some("376"), ""), "vless", &toward(vless, ALICE), &plain)?;
        site.way(("vless-bad", None, "proxy/vless"), "vless", &toward(vless, STRANGER), &plain)?;
        let users = json!({"clients": [{"password": "tp", "email": "trojan.user@example.org"}]});
        let port = site.inbound("in-trojan", "trojan", &users, &plain)?;
        let toward = |port: u16, password: &str| json!({"servers": [{"address": "127.0.0.1", "port": port, "password": password}]});
        site.way(("trojan", Some("trojan.user@example.org"), ""), "trojan", &toward(port, "tp"), &plain)?;
        site.way(("trojan-bad", None, "proxy/trojan"), "trojan", &toward(port, "no"), &plain)?;
        let users =
            json!({"method": "aes-256-gcm", "password": "sp", "email": "ss-user@example.org", "network": "tcp"});
        let port = site.inbound("in-ss", "shadowsocks", &users, &plain)?;
        let toward = |port: u16, password: &str| json!({"servers": [{"address": "127.0.0.1", "port": port, "method": "aes-256-gcm", "password": password}]});
        site.way(("ss", Some("ss-user@example.org"), ""), "shadowsocks", &toward(port, "sp"), &plain)?;
        site.way(("ss-bad", None, "proxy/shadowsocks"), "shadowsocks", &toward(port, "no"), &plain)?;
        let accounts = json!({"auth": "password", "accounts": [{"user": "sam", "pass": "x"}]});
        site.socks = site.inbound("in-socks", "socks", &accounts, &plain)?;
        site.http = site.inbound("in-http", "http", &json!({}), &plain)?;
        Ok(site)
    }

    fn server(&self, folder: &Path) -> Value {
        json!({
            "log": {"access": folder.join("access.log"), "error": folder.join("error.log"), "loglevel": "info"},
            "policy": {"levels": {"0": {"handshake": 2, "connIdle": 10}}},
            "inbounds": self.inbounds,
            "outbounds": [{"tag": "direct", "protocol": "blackhole"}, {"tag": "blocked", "protocol": "blackhole"}],
            "routing": {"domainStrategy": "AsIs", "rules": [
                {"type": "field", "domain": ["domain:blocked.test"], "outboundTag": "blocked"},
            ]},
        })
    }

    fn client(&self, folder: &Path) -> Value {
        json!({
            "log": {"access": "none", "error": folder.join("client-errors.txt"), "loglevel": "warning"},
            "inbounds": self.clients, "outbounds": self.outbounds,
            "routing": {"domainStrategy": "AsIs", "rules": self.rules},
        })
    }
}

fn connect(port: u16) -> Result<TcpStream> {
    let peer = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("failed to reach a proxy")?;
    peer.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(peer)
}

/// Asks a SOCKS inbound for a host and sends something there. What becomes of it is the server's to log.
fn request(port: u16, login: Option<(&str, &str)>, host: &[u8]) -> Result<()> {
    let mut peer = connect(port)?;
    peer.write_all(&[5, 1, if login.is_some() { 2 } else { 0 }])?;
    peer.read_exact(&mut [0; 2])?;
    if let Some((user, password)) = login {
        let mut said = vec![1, user.len() as u8];
        said.extend_from_slice(user.as_bytes());
        said.push(password.len() as u8);
        said.extend_from_slice(password.as_bytes());
        peer.write_all(&said)?;
        let mut answer = [0; 2];
        peer.read_exact(&mut answer)?;
        if answer[1] != 0 {
            return Ok(());
        }
    }
    let mut command = vec![5, 1, 0, 3, host.len() as u8];
    command.extend_from_slice(host);
    command.extend_from_slice(&443_u16.to_be_bytes());
    peer.write_all(&command)?;
    // It may hang up at once: it leads nowhere.
    let _answered = peer.read(&mut [0; 10]);
    let _sent = peer.write_all(b"GET / HTTP/1.0\r\n\r\n");
    let _closed = peer.read(&mut [0; 10]);
    Ok(())
}

fn send(port: u16, bytes: &[u8]) -> Result<()> {
    let mut peer = connect(port)?;
    peer.write_all(bytes)?;
    let _closed = peer.read(&mut [0; 10]);
    Ok(())
}

/// The records of a source that came.
fn records(room: &Room, source: &str) -> Result<Vec<Value>> {
    Ok(room
        .records()?
        .into_iter()
        .filter(|record| record["waybill"]["source"] == source && record["event"]["original"].is_string())
        .collect())
}

/// What must be said of a connection: outcome, user, outbound.
type Expected = (&'static str, Option<&'static str>, &'static str);

fn driven(name: &str, command: &[PathBuf], routes: bool) -> Result<()> {
    room::within(name, |room| {
        let folder = room.logs().join("proxy");
        fs::create_dir_all(&folder)?;
        let site = Site::new()?;
        let utc = |name: &str, format: &str| {
            let source = policy::source(name, &format!("{}/{name}.log", folder.display()), format);
            policy::with(source, "/timeZone", json!("UTC"))
        };
        let plan = Policy::new(name)
            .source(utc("access", "V2RayAccess"))
            .source(utc("error", "V2RayError"))
            .sink(policy::file("archive", &room.archive()));
        let mut agent = room.agent(&plan)?;
        agent.start()?;
        let _server = Program::start(command, &folder, "server", &site.server(&folder))?;
        let _client = Program::start(command, &folder, "client", &site.client(&folder))?;
        let ports = site.ways.iter().map(|way| way.port).chain([site.socks, site.http]);
        let ports: Vec<u16> =
            ports.chain(site.inbounds.iter().filter_map(|inbound| inbound["port"].as_u64()?.try_into().ok())).collect();
        await_true("the proxies listen", SOON, || {
            Ok(ports.iter().all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok()))
        })?;
        let mut expected: BTreeMap<String, Expected> = BTreeMap::new();
        for way in &site.ways {
            let Some(user) = way.user else {
                request(way.port, None, format!("x.{}.ok.test", way.name).as_bytes())?;
                continue;
            };
            for number in 0..3 {
                let host = format!("h{number}.{}.ok.test", way.name);
                request(way.port, None, host.as_bytes())?;
                expected.insert(host, ("allow", Some(user), "direct"));
            }
            let host = format!("ad.{}.blocked.test", way.name);
            request(way.port, None, host.as_bytes())?;
            expected.insert(host, ("deny", Some(user), "blocked"));
        }
        request(site.socks, Some(("sam", "x")), b"socks.ok.test")?;
        expected.insert("socks.ok.test".to_owned(), ("allow", None, "direct"));
        request(site.socks, Some(("sam", "wrong")), b"never.ok.test")?;
        // A name with a newline in it: the second line is the client's.
        let forged = b"evil.test\n2026/01/01 00:00:00 from 192.0.2.9:1 accepted tcp:forged.test:443 [in-socks >> direct] email: forged@example.org";
        request(site.socks, Some(("sam", "x")), forged)?;
        send(site.socks, b"\x04\x01\x00\x50\x7f\x00\x00\x01u\x00")?;
        send(site.http, b"CONNECT connect.ok.test:443 HTTP/1.1\r\nHost: connect.ok.test\r\n\r\n")?;
        expected.insert("connect.ok.test".to_owned(), ("allow", None, "direct"));
        send(site.http, b"GET http://user:geheim@plain.ok.test:8080/a[1]?q=[in->out]&e=email:x HTTP/1.1\r\nHost: plain.ok.test\r\n\r\n")?;
        expected.insert("plain.ok.test".to_owned(), ("allow", None, "direct"));
        let refusals: Vec<&str> =
            site.ways.iter().filter(|way| way.user.is_none()).map(|way| way.package).chain(["proxy/socks"]).collect();
        let written =
            |name: &str| -> Result<String> { Ok(String::from_utf8_lossy(&fs::read(folder.join(name))?).into_owned()) };
        await_true("the program has logged everything", SOON, || {
            let log = written("access.log")?;
            Ok(expected.keys().all(|host| log.contains(host.as_str()))
                && refusals
                    .iter()
                    .all(|package| log.lines().any(|line| line.contains(" rejected ") && line.contains(package))))
        })?;
        await_true("every line has come", SOON, || {
            agent.check_alive()?;
            let lines =
                |name: &str| -> Result<usize> { Ok(written(name)?.lines().filter(|line| !line.is_empty()).count()) };
            Ok(records(room, "access")?.len() == lines("access.log")?
                && records(room, "error")?.len() == lines("error.log")?)
        })?;
        agent.stop()?;
        judge(room, &expected, &refusals, routes)
    })
}

fn judge(room: &Room, expected: &BTreeMap<String, Expected>, refusals: &[&str], routes: bool) -> Result<()> {
    let access = records(room, "access")?;
    for record in access.iter().chain(&records(room, "error")?) {
        ensure!(record["event"]["kind"] != "pipeline_error", "a line was not understood: {record}");
    }
    for (host, (outcome, user, outbound)) in expected {
        let found: Vec<&Value> = access.iter().filter(|record| record["destination"]["address"] == **host).collect();
        let [record] = found[..] else { anyhow::bail!("{host}: {} records", found.len()) };
        let said = &record["waybill"];
        ensure!(said["outcome"] == *outcome, "{host}: {record}");
        ensure!(record["user"]["name"].as_str() == *user, "{host}: {record}");
        ensure!(said["v2ray"]["outbound"] == *outbound, "{host}: {record}");
        ensure!(record["source"]["ip"] == "127.0.0.1" && record["source"]["port"].is_u64(), "{host}: {record}");
        let route = if *outbound == "blocked" { "rule" } else { "default" };
        ensure!(said["v2ray"]["route"].as_str() == routes.then_some(route), "{host}: {record}");
        ensure!(said["suspect"].is_null() || said["suspect"] == "after-refused-name", "{host}: {record}");
    }
    for package in refusals {
        let refused = access.iter().any(|record| {
            record["event"]["action"] == "rejected"
                && record["waybill"]["outcome"] == "deny"
                && record["event"]["category"][0] == "authentication"
                && record["source"]["ip"] == "127.0.0.1"
                && record["event"]["reason"].as_str().is_some_and(|reason| reason.contains(package))
        });
        ensure!(refused, "{package}: no refused credential");
    }
    let forged: Vec<&Value> = access.iter().filter(|record| record["user"]["name"] == "forged@example.org").collect();
    ensure!(!forged.is_empty(), "the program no longer prints a name with its newline");
    for record in forged {
        ensure!(record["waybill"]["suspect"] == "time-out-of-order", "a forged line is believed: {record}");
    }
    let known = |record: &Value| {
        let host = record["destination"]["address"].as_str().unwrap_or_default();
        expected.contains_key(host) || host == "forged.test" || record["event"]["action"] != "accepted"
    };
    let strange = access.iter().find(|record| !known(record));
    ensure!(strange.is_none(), "nobody did this: {strange:?}");
    let text = fs::read_to_string(room.archive())?;
    ensure!(!text.contains("geheim") && !text.contains("8cda48b30899"), "a secret was shipped");
    Ok(())
}

#[test]
fn v2ray_is_understood() -> Result<()> {
    if !v2ray::is_installed() {
        return skip::skip("proxies-v2ray", "v2ray is not installed");
    }
    driven("v2ray", &["v2ray".into(), "-config".into()], false)
}

#[test]
fn xray_is_understood() -> Result<()> {
    if let Some(why) = xray::missing() {
        return skip::skip("proxies-xray", &why);
    }
    driven("xray", &[xray::program()?, "run".into(), "-c".into()], true)
}
