//! HTTP/1.1 as far as it is needed, with or without TLS.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Cluster, cluster, lock};

/// A request, its body decompressed.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// Status and body of an answer.
pub(super) type Answer = (u16, serde_json::Value);

pub(super) fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    cluster: Arc<Mutex<Cluster>>,
    stop: Arc<AtomicBool>,
) {
    thread::spawn(move || {
        for peer in listener.incoming() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let Ok(peer) = peer else { continue };
            let (tls, cluster) = (tls.clone(), Arc::clone(&cluster));
            thread::spawn(move || {
                // A peer that hangs up, or that does not want this certificate, is the client's affair.
                let _ended = connection(peer, tls, &cluster);
            });
        }
    });
}

fn connection(peer: TcpStream, tls: Option<Arc<ServerConfig>>, cluster: &Mutex<Cluster>) -> Result<()> {
    peer.set_read_timeout(Some(Duration::from_secs(30)))?;
    peer.set_nodelay(true)?;
    match tls {
        Some(tls) => exchanges(StreamOwned::new(ServerConnection::new(tls)?, peer), cluster),
        None => exchanges(peer, cluster),
    }
}

fn exchanges(mut peer: impl Read + Write, cluster: &Mutex<Cluster>) -> Result<()> {
    let mut held = Vec::new();
    loop {
        let request = match read(&mut peer, &mut held) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) => {
                peer.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
                return Err(error);
            }
        };
        let (status, body) = cluster::answer(&mut lock(cluster), &request);
        let text = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} Answer\r\nX-Elastic-Product: Elasticsearch\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        peer.write_all(&[head.as_bytes(), text.as_bytes()].concat())?;
        peer.flush()?;
    }
}

/// Reads a request; what follows it stays in `held`.
fn read(peer: &mut impl Read, held: &mut Vec<u8>) -> Result<Option<Request>> {
    let end = loop {
        if let Some(at) = held.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if !more(peer, held)? {
            return Ok(None);
        }
        // What speaks TLS here, or anything else, is told at once.
        ensure!(held.first().is_some_and(u8::is_ascii_uppercase), "no HTTP");
    };
    let head = String::from_utf8(held[..end].to_vec())?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().context("no method")?.to_owned(), words.next().context("no path")?.to_owned());
    let mut headers = HashMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize = headers.get("content-length").map_or(Ok(0), |n| n.parse())?;
    while held.len() < end + length {
        ensure!(more(peer, held)?, "the request was cut");
    }
    let mut body: Vec<u8> = held.drain(..end + length).skip(end).collect();
    if headers.get("content-encoding").is_some_and(|how| how == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(body.as_slice()).read_to_end(&mut plain)?;
        body = plain;
    }
    Ok(Some(Request { method, path, headers, body }))
}

fn more(peer: &mut impl Read, held: &mut Vec<u8>) -> Result<bool> {
    let mut block = vec![0; 1 << 16];
    let read = peer.read(&mut block)?;
    held.extend_from_slice(&block[..read]);
    Ok(read > 0)
}
