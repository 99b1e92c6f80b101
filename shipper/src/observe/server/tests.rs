use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::listener::{CONNECTIONS, REQUEST};
use super::super::made_up;
use super::*;
use crate::engine::report::Report;

const SHORT: Duration = Duration::from_millis(300);

async fn start(source: impl Fn() -> Option<Box<Report>> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_within(listener, Arc::new(source), std::future::pending(), SHORT));
    address
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get_page(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn every_page_answers() {
    let address = start(|| Some(Box::new(made_up::report()))).await;
    for path in ["/healthz", "/readyz", "/report", "/metrics", "/status"] {
        assert_eq!(get_page(address, path).await.0, 200, "{path}");
    }
    let status: Report = serde_json::from_str(&get_page(address, "/status").await.1).unwrap();
    assert_eq!((status.lanes[0].seen.bytes, status.switches[0].requested_by.as_str()), (1000, made_up::PERSON));
    let report: Value = serde_json::from_str(&get_page(address, "/report").await.1).unwrap();
    assert_eq!(report["lanes"][0]["pendingBytes"], 100);
    assert!(get_page(address, "/metrics").await.1.contains("waybill_lane_seen_bytes_total{lane=\"archive\"} 1000\n"));
    assert_eq!(get_page(address, "/else").await.0, 404);
    let posted = ask(address, "POST /status HTTP/1.0\r\nContent-Length: 0\r\n\r\n").await;
    assert!(posted.starts_with("HTTP/1.0 405"), "{posted}");
}

#[tokio::test]
async fn not_ready_before_the_first_scan_or_without_a_policy() {
    let address = start(|| Some(Box::new(Report { ready: false, ..made_up::report() }))).await;
    assert_eq!(get_page(address, "/readyz").await, (503, "the first scan is not done\n".to_owned()));
    let address = start(|| Some(Box::new(Report { digest: String::new(), ..made_up::report() }))).await;
    assert_eq!(get_page(address, "/readyz").await, (503, "no policy is in force\n".to_owned()));
}

#[tokio::test]
async fn an_engine_that_is_silent_for_a_moment_is_healthy_but_has_no_report() {
    let address = start(|| None).await;
    assert_eq!(get_page(address, "/healthz").await.0, 200);
    for path in ["/readyz", "/report", "/metrics", "/status"] {
        assert_eq!(get_page(address, path).await.0, 503, "{path}");
    }
}

#[tokio::test]
async fn a_browser_led_here_under_a_strangers_name_does_not_get_the_status() {
    let address = start(|| Some(Box::new(made_up::report()))).await;
    let answer = ask(address, "GET /status HTTP/1.0\r\nHost: evil.example:9464\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 403") && !answer.contains(made_up::PATH), "{answer}");
}

#[test]
fn the_status_is_for_this_machine() {
    let local = |peer: &str, host: Option<&str>| is_local(peer.parse().unwrap(), host).is_ok();
    for peer in ["127.0.0.1:5", "127.8.8.8:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
        assert!(local(peer, None), "{peer}");
    }
    for peer in ["10.0.0.1:5", "[::ffff:10.0.0.1]:5", "[fe80::1]:5", "0.0.0.0:5"] {
        assert!(!local(peer, None), "{peer}");
    }
    for host in ["localhost", "localhost:9464", "127.0.0.1", "127.0.0.1:9464", "[::1]", "[::1]:9464"] {
        assert!(local("127.0.0.1:5", Some(host)), "{host}");
    }
    for host in ["", "a.example", "localhost.a.example", "10.0.0.1:9464", "127.0.0.1.a.example:80"] {
        assert!(!local("127.0.0.1:5", Some(host)), "{host}");
    }
}

#[tokio::test]
async fn peers_that_say_nothing_keep_no_place() {
    let address = start(|| Some(Box::default())).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let asked = Instant::now();
    assert_eq!(get_page(address, "/healthz").await.0, 200);
    assert!(asked.elapsed() >= SHORT / 2, "the places were taken");
    assert_eq!(silent[0].read(&mut [0; 9]).await.unwrap_or(0), 0, "it was cut off");
}

#[tokio::test]
async fn a_request_without_end_is_cut_off() {
    let address = start(|| Some(Box::default())).await;
    let mut peer = TcpStream::connect(address).await.unwrap();
    let line = format!("X-Long: {}\r\n", "x".repeat(1000));
    let mut sent = 0;
    peer.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    while peer.write_all(line.as_bytes()).await.is_ok() {
        sent += line.len();
        assert!(sent < 1000 * REQUEST, "nobody stopped it");
        tokio::task::yield_now().await;
    }
}
