//! Evidence that a connection through V2Ray or Xray breaks a usage policy: `waybill.usage`.
//!
//! Neither program prints which protocol it sniffed, and both see BitTorrent's TCP handshake only. What is left is evidence of
//! different worth: the outbound that a routing rule chose, the name, port and path of a tracker, and how many addresses a user
//! connects to in a minute. Weak evidence counts only in pairs. What looks alike and is not is left out: Windows shares its
//! updates with strangers on tcp/7680, and names such as `tracker.…` on the ports of the web are mostly of other trackers.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::object::Object;
use super::record::{Field, Record};
use super::settings::{self, Outcome};

/// Ports that trackers and clients of BitTorrent use by default.
const PORTS: [u16; 15] = [6881, 6882, 6883, 6884, 6885, 6886, 6887, 6888, 6889, 6969, 1337, 2710, 451, 51413, 8999];
/// Ports of services that talk to many addresses: STUN and TURN, push services, tunnels, and Windows' updates.
const BUSY: [u16; 12] = [1194, 3478, 3479, 5222, 5223, 5228, 5349, 7680, 8080, 8443, 19302, 51820];
/// Users that are watched at once.
const USERS: usize = 4096;
const MINUTE: i64 = 60_000_000_000;

/// How sure the evidence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Weak,
    Strong,
}

/// The addresses that users connected to in their last minute.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    users: HashMap<u64, Minute>,
}

/// One user's minute: one bit for some addresses (linear counting).
#[derive(Debug, Clone, Copy)]
struct Minute {
    number: i64,
    seen: [u64; 4],
}

/// What counts as evidence: the lists of this module and what the source adds to them.
#[derive(Debug)]
pub(super) struct Usage {
    forbidden: Vec<Vec<u8>>,
    outbounds: Vec<Vec<u8>>,
    ports: Vec<u16>,
    /// Different addresses on high ports in a minute that are too many for anything else.
    many: u32,
    except_ports: Vec<u16>,
    except_hosts: Vec<Vec<u8>>,
}

impl Usage {
    pub(super) fn new(settings: &settings::Usage) -> Self {
        let texts = |list: &[String]| list.iter().map(|text| text.as_bytes().to_vec()).collect();
        Self {
            forbidden: texts(&settings.hosts),
            outbounds: texts(&settings.outbounds),
            ports: PORTS.iter().chain(&settings.ports).copied().collect(),
            many: if settings.fan_out == 0 { u32::MAX } else { settings.fan_out },
            except_ports: BUSY.iter().chain(&settings.except_ports).copied().collect(),
            except_hosts: texts(&settings.except_hosts),
        }
    }

    /// Adds what a record is evidence of.
    pub(super) fn check(&self, record: &Record<'_>, fan_out: &mut FanOut, detail: &mut Vec<u8>) {
        if record.get(Field::EventAction) != Some(b"accepted") {
            return;
        }
        let host = record.get(Field::DestinationDomain).unwrap_or_default();
        if self.except_hosts.iter().any(|name| is_below(host, name)) {
            return;
        }
        if self.forbidden.iter().any(|name| is_below(host, name)) {
            let mut usage = Object::member_after(detail, "usage");
            usage.text("category", b"forbidden-host");
            usage.text("confidence", b"high");
            usage.texts("reasons", [&b"host"[..]].into_iter());
            return;
        }
        self.torrent(record, fan_out, host, detail);
    }

    fn torrent(&self, record: &Record<'_>, fan_out: &mut FanOut, host: &[u8], detail: &mut Vec<u8>) {
        let mut reasons = [""; 6];
        let mut count = 0;
        let mut worth = 0;
        let mut add = |reason: &'static str, value: Worth| {
            reasons[count] = reason;
            count += 1;
            worth += if value == Worth::Strong { 2 } else { 1 };
        };
        let outbound = record.get(Field::ObserverEgress).unwrap_or_default();
        if contains(outbound, b"torrent")
            || matches!(outbound, b"bt" | b"BT" | b"block-bt" | b"block_bt")
            || self.outbounds.iter().any(|tag| tag == outbound)
        {
            add("outbound", Worth::Strong);
        }
        match tracker(host) {
            Some(Worth::Strong) => add("torrent-host", Worth::Strong),
            Some(Worth::Weak) => add("tracker-host", Worth::Weak),
            None => {}
        }
        let port = record.get(Field::DestinationPort).and_then(number).unwrap_or_default();
        if self.ports.contains(&port) && !self.except_ports.contains(&port) {
            add("torrent-port", Worth::Weak);
        }
        if announces(record) {
            add("announce", Worth::Strong);
        }
        let addresses = fan_out.count(record, port, &self.except_ports);
        if addresses >= self.many {
            add("fan-out", Worth::Weak);
            // So many peers on a port of BitTorrent are no coincidence; so many at all are worth a look.
            worth += 1;
        }
        let refused = record.outcome == Some(Outcome::Deny);
        let torrent = worth >= 2;
        if !torrent && !refused {
            return;
        }
        let mut usage = Object::member_after(detail, "usage");
        if torrent {
            usage.text("category", b"bittorrent");
            usage.text("confidence", if worth > 2 || reasons[..count] != ["fan-out"] { b"high" } else { b"low" });
            usage.texts("reasons", reasons[..count].iter().map(|reason| reason.as_bytes()));
            if addresses >= self.many {
                usage.value("addresses").extend_from_slice(itoa::Buffer::new().format(addresses).as_bytes());
            }
        } else {
            usage.text("category", b"refused-destination");
            usage.text("confidence", b"high");
            usage.texts("reasons", [&b"outbound"[..]].into_iter());
        }
    }
}

/// Whether a host is of that name, or lies below it.
fn is_below(host: &[u8], name: &[u8]) -> bool {
    let Some(at) = host.len().checked_sub(name.len()) else { return false };
    !name.is_empty() && host[at..].eq_ignore_ascii_case(name) && (at == 0 || host[at - 1] == b'.')
}

fn number(digits: &[u8]) -> Option<u16> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a text holds a word, in whatever case.
fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// What a name says: of BitTorrent's own names each is enough, "tracker" alone is not.
fn tracker(host: &[u8]) -> Option<Worth> {
    // A name has 255 bytes at most.
    let host = &host[..host.len().min(255)];
    if contains(host, b"torrent") || contains(host, b"opentrackr") || contains(host, b"openbittor") {
        return Some(Worth::Strong);
    }
    let mut labels = host.split(|byte| *byte == b'.');
    let first = labels.next()?;
    let first = first.strip_suffix(b"v6").or_else(|| first.strip_suffix(b"v4")).unwrap_or(first);
    let digits = first.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let name = &first[..first.len() - digits];
    let known: [&[u8]; 6] = [b"tracker", b"opentracker", b"announce", b"bttracker", b"bt", b"udp-tracker"];
    known.iter().any(|word| name.eq_ignore_ascii_case(word)).then_some(Worth::Weak)
}

/// What a client of BitTorrent asks a tracker for: `/announce?info_hash=…`.
fn announces(record: &Record<'_>) -> bool {
    let path = record.get(Field::UrlPath).unwrap_or_default();
    let query = record.get(Field::UrlQuery).unwrap_or_default();
    let asks = [&b"/announce"[..], b"/announce.php", b"/scrape", b"/scrape.php"].iter().any(|end| path.ends_with(end));
    asks && memchr::memmem::find(query, b"info_hash=").is_some()
}

impl FanOut {
    /// How many addresses the record's user has connected to in the record's minute; 0 if this one does not count.
    fn count(&mut self, record: &Record<'_>, port: u16, except: &[u16]) -> u32 {
        let (Some(address), Some(time)) = (record.get(Field::DestinationIp), record.time) else { return 0 };
        if port < 1024 || except.contains(&port) {
            return 0;
        }
        let Some(user) = record.get(Field::UserName).or_else(|| record.get(Field::SourceAddress)) else { return 0 };
        let minute = time.div_euclid(MINUTE);
        let user = xxh3_64(user);
        if self.users.len() >= USERS && !self.users.contains_key(&user) {
            self.users.retain(|_, seen| seen.number == minute);
            if self.users.len() >= USERS {
                return 0;
            }
        }
        let entry = self.users.entry(user).or_insert(Minute { number: minute, seen: [0; 4] });
        if entry.number != minute {
            *entry = Minute { number: minute, seen: [0; 4] };
        }
        let bit = xxh3_64(address) % 256;
        entry.seen[(bit / 64) as usize] |= 1 << (bit % 64);
        entry.estimate()
    }
}

impl Minute {
    /// The number of addresses: `-m ln(zeros / m)` for `m` bits (Whang, "A linear-time probabilistic counting algorithm").
    fn estimate(&self) -> u32 {
        let zeros = 256 - self.seen.iter().map(|word| word.count_ones()).sum::<u32>();
        (-256.0 * (f64::from(zeros.max(1)) / 256.0).ln()).round() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::{encode, frame, gateway, info, record as read};
    use crate::format::{Encoder, Frame, Kind};
    use serde_json::{Value, json};

    fn usage(rest: &str) -> Value {
        let line = format!("2026/11/21 22:57:08 192.0.2.1:5 accepted {rest}");
        encode(&gateway(Kind::V2RayAccess), line.as_bytes()).1.unwrap()["waybill"]["usage"].clone()
    }

    #[test]
    fn evidence_is_named() {
        for (rest, reasons) in [
            ("tcp:peer.example:443 [torrent-block] email: a", json!(["outbound"])),
            ("tcp:peer.example:443 [in -> BitTorrent] email: a", json!(["outbound"])),
            ("udp:tracker.opentrackr.org:1337 [direct]", json!(["torrent-host", "torrent-port"])),
            ("udp:open.tracker.example:6969 [direct]", Value::Null),
            ("udp:tracker2.example:6969 [direct]", json!(["tracker-host", "torrent-port"])),
            ("tcp:router.bittorrent.com:6881 [direct]", json!(["torrent-host", "torrent-port"])),
            ("http://t.example/announce?info_hash=%aa&port=6881 [direct]", json!(["announce"])),
            // Evidence that is not enough.
            ("tcp:tracker.example:443 [direct]", Value::Null),
            ("tcp:198.51.100.7:6881 [direct]", Value::Null),
            ("http://shop.example/announce [direct]", Value::Null),
            ("tcp:198.51.100.7:7680 [direct]", Value::Null),
            ("tcp:a.test:443 [in >> direct]", Value::Null),
        ] {
            let usage = usage(rest);
            assert_eq!(usage["reasons"], reasons, "{rest}");
            assert!(reasons.is_null() || usage["category"] == "bittorrent");
        }
        let refused = usage("tcp:ads.test:443 [in -> blocked] email: a");
        assert_eq!(refused, json!({"category": "refused-destination", "confidence": "high", "reasons": ["outbound"]}));
    }

    #[test]
    fn a_source_says_what_counts() {
        let line = |rest: &str| {
            let mut settings = gateway(Kind::V2RayAccess);
            settings.usage = settings::Usage {
                hosts: vec!["casino.example".to_owned()],
                outbounds: vec!["p2p".to_owned()],
                ports: vec![12345],
                except_ports: vec![6881],
                except_hosts: vec!["tracker.linux.example".to_owned()],
                ..settings::Usage::default()
            };
            let line = format!("2026/11/21 22:57:08 192.0.2.1:5 accepted {rest}");
            encode(&settings, line.as_bytes()).1.unwrap()["waybill"]["usage"].clone()
        };
        let forbidden = json!({"category": "forbidden-host", "confidence": "high", "reasons": ["host"]});
        assert_eq!(line("tcp:www.CASINO.example:443 [direct]"), forbidden);
        assert_eq!(line("tcp:notcasino.example:443 [direct]"), Value::Null);
        assert_eq!(line("tcp:a.test:443 [p2p]")["reasons"], json!(["outbound"]));
        assert_eq!(line("udp:tracker.example:12345 [direct]")["reasons"], json!(["tracker-host", "torrent-port"]));
        assert_eq!(line("udp:tracker.example:6881 [direct]"), Value::Null);
        assert_eq!(line("http://tracker.linux.example/announce?info_hash=%aa [direct]"), Value::Null);
    }

    fn fan_out(port: u16, seconds: usize) -> Vec<Value> {
        let mut encoder = Encoder::new(&gateway(Kind::V2RayAccess), &info()).unwrap();
        (0..60)
            .map(|number| {
                let second = number * seconds / 60;
                let line = format!(
                    "2026/11/21 22:{:02}:{:02} 192.0.2.1:5 accepted udp:203.0.113.{number}:{port} [direct] email: a",
                    second / 60,
                    second % 60
                );
                let mut out = Vec::new();
                encoder.encode(&Frame { seq: number as u64 + 1, ..frame(line.as_bytes()) }, &mut out);
                read(&out)["waybill"]["usage"].clone()
            })
            .collect()
    }

    #[test]
    fn many_addresses_in_a_minute() {
        let found = fan_out(23456, 60);
        assert_eq!(found[20], Value::Null);
        assert_eq!((&found[59]["reasons"], &found[59]["confidence"]), (&json!(["fan-out"]), &json!("low")));
        assert!((45..75).contains(&found[59]["addresses"].as_u64().unwrap()), "{}", found[59]);
        assert_eq!(fan_out(51413, 60)[59]["confidence"], "high");
        assert!(fan_out(23456, 600).iter().all(Value::is_null));
        assert!(fan_out(7680, 60).iter().all(Value::is_null));
        assert!(fan_out(443, 60).iter().all(Value::is_null));
    }

    #[test]
    fn users_are_bounded() {
        let mut fan_out = FanOut::default();
        for number in 0..3 * USERS {
            let user = number.to_string();
            let mut record = Record::new("v2ray", "");
            record.set(Field::UserName, user.as_bytes());
            record.set(Field::DestinationIp, b"198.51.100.7");
            record.time = Some(number as i64 * MINUTE / 10_000);
            fan_out.count(&record, 23456, &[]);
        }
        assert!(fan_out.users.len() <= USERS);
    }
}
