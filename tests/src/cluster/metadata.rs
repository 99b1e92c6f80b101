//! A double of the metadata service that an Amazon instance has: it gives pods their credentials.
//!
//! It stands at the link-local address that every client asks, and takes part in version 2 of the protocol only: a token first.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, ensure};
use serde_json::json;

const HOST: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const ROLE: &str = "waybill-tests";
const TOKEN: &str = "a-token-of-the-double";

/// The service. Ended when dropped.
#[derive(Debug)]
pub struct Metadata {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Metadata {
    /// Why its address can't be had here; `None` if it can.
    pub fn missing() -> Option<String> {
        let devices = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
        (!devices.contains("br0:")).then(|| "not inside of the network of `make test-cluster`".to_owned())
    }

    /// Serves at its address inside of the cluster, and gives out this access key.
    pub fn serve(access_key: &'static str) -> Result<Self> {
        // Here `ip` acts on the cluster's own network.
        let address = format!("{HOST}/32");
        let done = Command::new("ip").args(["address", "replace", &address, "dev", "br0"]).output()?;
        ensure!(done.status.success(), "ip address: {}", String::from_utf8_lossy(&done.stderr));
        let listener = TcpListener::bind((HOST, 80)).context("failed to listen as the metadata service")?;
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = thread::spawn(move || {
            for peer in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(peer) = peer {
                    // A connection that ends is no concern of the double's.
                    thread::spawn(move || answer(&peer, access_key).is_ok());
                }
            }
        });
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(SocketAddr::from((HOST, 80))));
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            println!("the double of the metadata service panicked");
        }
    }
}

fn answer(mut peer: &TcpStream, access_key: &str) -> Result<()> {
    let mut lines = BufReader::new(peer.try_clone()?).lines();
    let request = lines.next().context("no request")??;
    let mut known = false;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        known |= line.to_ascii_lowercase().starts_with("x-aws-ec2-metadata-token:") && line.ends_with(TOKEN);
    }
    let roles = "/latest/meta-data/iam/security-credentials/";
    let words: Vec<&str> = request.split(' ').collect();
    let (status, body) = match (words[0], words.get(1).copied().unwrap_or_default()) {
        ("PUT", "/latest/api/token") => ("200 OK", TOKEN.to_owned()),
        ("GET", _) if !known => ("401 Unauthorized", String::new()),
        ("GET", path) if path == roles => ("200 OK", ROLE.to_owned()),
        ("GET", path) if path.strip_prefix(roles) == Some(ROLE) => {
            let keys = json!({"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
                "AccessKeyId": access_key, "SecretAccessKey": "never-to-be-seen", "Token": "none",
                "Expiration": "2099-01-01T00:00:00Z"});
            ("200 OK", keys.to_string())
        }
        _ => ("404 Not Found", String::new()),
    };
    write!(
        peer,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\
        Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}
