use serde_json::{Value, json};

use crate::format::tests::{encode, gateway};
use crate::format::{Kind, Outcome, Verdict};

fn read(line: &str) -> (Verdict, Value) {
    let (verdict, record) = encode(&gateway(Kind::V2RayAccess), line.as_bytes());
    (verdict, record.unwrap())
}

fn at<'v>(record: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(record, |value, name| &value[name])
}

/// Lines, and what must be in their records.
const LINES: &[(&str, &[(&str, &str)])] = &[
    (
        "2026/08/24 05:21:16.437070 from 223.73.213.134:16587 accepted tcp:www.google-analytics.com:443 [HN-VLESS-XHTTP-REALITY -> blocked] email: 376",
        &[
            ("@timestamp", "2026-08-24T03:21:16.437070Z"),
            ("event.action", "accepted"),
            ("event.outcome", "failure"),
            ("waybill.outcome", "deny"),
            ("source.address", "223.73.213.134"),
            ("source.ip", "223.73.213.134"),
            ("destination.domain", "www.google-analytics.com"),
            ("network.transport", "tcp"),
            ("network.type", "ipv4"),
            ("user.name", "376"),
            ("observer.ingress.interface.alias", "HN-VLESS-XHTTP-REALITY"),
            ("observer.egress.interface.alias", "blocked"),
            ("waybill.v2ray.inbound", "HN-VLESS-XHTTP-REALITY"),
            ("waybill.v2ray.outbound", "blocked"),
            ("waybill.v2ray.route", "rule"),
        ],
    ),
    (
        "2026/08/24 05:21:11.619564 from [2409:8a55:2c62:b1a0::1]:56188 accepted tcp:157.211.225.76:37071 [in ==> WARP] email: 376",
        &[
            ("source.ip", "2409:8a55:2c62:b1a0::1"),
            ("destination.ip", "157.211.225.76"),
            ("network.type", "ipv6"),
            ("waybill.v2ray.route", "forced"),
            ("waybill.outcome", "allow"),
            ("event.outcome", "success"),
        ],
    ),
    (
        "2026/08/19 21:34:36.667557 from 130.49.146.10:46280 accepted www.youtube.com:443 [inbound-8444 >> direct] email: probe_monitor@nekovo.ru",
        &[
            ("destination.domain", "www.youtube.com"),
            ("waybill.v2ray.route", "default"),
            ("user.name", "probe_monitor@nekovo.ru"),
        ],
    ),
    (
        "2026/11/21 22:56:49 127.0.0.1:54350 accepted tcp:h2.ok.test:43145 [direct] email: dave [ops] -> x",
        &[("user.name", "dave [ops] -> x"), ("waybill.v2ray.outbound", "direct"), ("destination.domain", "h2.ok.test")],
    ),
    (
        "2019/09/18 11:56:53 tcp:127.0.0.1:5540 rejected  v2ray.com/core/proxy/socks: unknown Socks version: 67",
        &[
            ("event.reason", "v2ray.com/core/proxy/socks: unknown Socks version: 67"),
            ("waybill.outcome", "deny"),
            ("source.ip", "127.0.0.1"),
        ],
    ),
    (
        "2017/11/21 20:09:24 124.88.64.208:29864 rejected  Proxy|VMess|Encoding: invalid user",
        &[("waybill.outcome", "deny")],
    ),
    (
        "2018/9/15 08:01:02 1.2.3.4:5 accepted tcp:a.test:443 ",
        &[("@timestamp", "2018-09-15T06:01:02.000Z"), ("destination.domain", "a.test"), ("source.ip", "1.2.3.4")],
    ),
    // 4.21 to 4.33: no blank behind "email:", one at the end.
    (
        "2020/03/01 08:01:02 1.2.3.4:5 accepted tcp:a.test:443 [direct] email:bob@x.test ",
        &[("user.name", "bob@x.test"), ("waybill.v2ray.outbound", "direct"), ("destination.domain", "a.test")],
    ),
    (
        "2020/03/01 08:01:02 1.2.3.4:5 accepted tcp:a.test:443 email:bob@x.test ",
        &[("user.name", "bob@x.test"), ("destination.domain", "a.test")],
    ),
    (
        "2020/03/01 08:01:02 1.2.3.4:5 rejected  Insecure encryptionemail:bob ",
        &[("user.name", "bob"), ("event.reason", "Insecure encryption")],
    ),
    (
        "2026/03/01 08:01:02 1.2.3.4:5 rejected  Insecure encryption email: bob",
        &[("user.name", "bob"), ("event.reason", "Insecure encryption")],
    ),
    ("2026/11/21 22:57:08 from  accepted tcp:mux.test:443 [in >> direct]", &[("destination.domain", "mux.test")]),
    ("2026/11/21 22:57:08  accepted tcp:mux.test:443 [direct]", &[("destination.domain", "mux.test")]),
    (
        "2026/11/21 22:57:08 @ accepted tcp:h19.ok.test:41711 [direct] email: unix.user",
        &[("source.address", "@"), ("user.name", "unix.user")],
    ),
    (
        "2026/11/21 22:42:36.540027 from [Masked IPv4]:0 accepted tcp:[Masked IPv6]:58499 [in-ws -> blocked] email: alice@example.org",
        &[("source.address", "Masked IPv4"), ("destination.address", "Masked IPv6"), ("waybill.outcome", "deny")],
    ),
    (
        "2026/11/21 22:42:36.540027 from [11:45::/32]:443 accepted [Masked IPv4]:58499 [in >> direct]",
        &[
            ("source.address", "11:45::/32"),
            ("destination.address", "Masked IPv4"),
            ("waybill.v2ray.outbound", "direct"),
        ],
    ),
    (
        "2026/11/21 22:57:29.237762 from 127.0.0.1:45802 accepted http://user:secret@plain.ok.test:38111/with-userinfo?a=b [in-http >> direct]",
        &[
            ("url.original", "http://user:***@plain.ok.test:38111/with-userinfo?a=b"),
            ("url.path", "/with-userinfo"),
            ("url.query", "a=b"),
            ("url.scheme", "http"),
            ("destination.domain", "plain.ok.test"),
            (
                "event.original",
                "2026/11/21 22:57:29.237762 from 127.0.0.1:45802 accepted http://user:***@plain.ok.test:38111/with-userinfo?a=b [in-http >> direct]",
            ),
        ],
    ),
    (
        "2026/11/21 22:57:08 127.0.0.1:49308 accepted http://plain.ok.test:43145/a[1]?q=[in->out]&u=é%0a&e=email:x [direct]",
        &[("url.query", "q=[in->out]&u=é%0a&e=email:x"), ("waybill.v2ray.outbound", "direct")],
    ),
    (
        "2026/11/21 22:56:53 127.0.0.1:60066 accepted //connect.ok.test:43145 [direct]",
        &[("http.request.method", "CONNECT"), ("destination.domain", "connect.ok.test")],
    ),
    (
        "2026/11/21 22:57:00.634350 from 127.0.0.1:36980 rejected  proxy/vless/encoding: invalid request user id: b831381d-6324-4d53-ad4f-8cda48b30898",
        &[("event.reason", "proxy/vless/encoding: invalid request user id: ***")],
    ),
    (
        "Nov 21 22:57:00 gw xray[17]: 2026/11/21 22:57:08 1.2.3.4:5 accepted tcp:a.test:443 [direct]\r",
        &[("@timestamp", "2026-11-21T21:57:08.000Z"), ("source.ip", "1.2.3.4"), ("waybill.v2ray.outbound", "direct")],
    ),
    (
        "\u{1b}[32mxray  | \u{1b}[0m2026/11/21 22:57:08 1.2.3.4:5 accepted tcp:a.test:443 [direct]",
        &[("source.ip", "1.2.3.4"), ("waybill.v2ray.outbound", "direct")],
    ),
    (
        "2026/11/21 22:57:10.015806 UDP:127.0.0.1:45961 got answer: h15.nxdomain.example. -> [] 1.135947ms <rcode: 3>",
        &[
            ("event.dataset", "v2ray.dns"),
            ("dns.question.name", "h15.nxdomain.example"),
            ("dns.response_code", "NXDOMAIN"),
            ("waybill.outcome", "success"),
        ],
    ),
    (
        "2026/11/21 22:57:10.016537 TCPL//127.0.0.1:45961 got answer: h18.tcp.test. -> [127.0.0.1] 2.678649ms",
        &[
            ("network.transport", "tcp"),
            ("destination.ip", "127.0.0.1"),
            ("waybill.v2ray.server", "TCPL//127.0.0.1:45961"),
        ],
    ),
    (
        "2026/11/21 22:57:29 [Info] [2442613956] proxy/vless/inbound: fallback starts > proxy/vless/encoding: invalid request version",
        &[
            ("event.dataset", "v2ray.error"),
            ("log.level", "info"),
            ("log.logger", "proxy/vless/inbound"),
            ("error.message", "invalid request version"),
        ],
    ),
];

#[test]
fn lines_of_every_version() {
    for (line, expected) in LINES {
        let (verdict, record) = read(line);
        assert!(verdict.parsed, "{line}");
        for (path, value) in *expected {
            assert_eq!(at(&record, path), value, "{path} of {line}");
        }
        assert_eq!(at(&record, "waybill.suspect"), &Value::Null, "{line}");
    }
}

#[test]
fn ports_are_numbers_and_lists_are_lists() {
    let (_, record) =
        read("2026/11/21 22:57:10 UDP:127.0.0.1:45961 cache HIT: a.test. -> [192.0.2.1, 2001:db8::1, [Masked IPv4]]");
    assert_eq!(record["dns"]["resolved_ip"], json!(["192.0.2.1", "2001:db8::1"]));
    assert_eq!(record["destination"]["port"], 45961);
    let (_, record) = read("2026/11/21 22:57:10 203.0.113.77:0 accepted tcp:a.test:443 [blocked]");
    assert_eq!((&record["source"]["port"], &record["destination"]["port"]), (&json!(0), &json!(443)));
    assert_eq!(record["event"]["category"], json!(["network"]));
    assert_eq!(record["event"]["type"], json!(["connection", "denied"]));
}

#[test]
fn a_refused_credential_is_a_denied_authentication() {
    for reason in [
        "common/drain: common/drain: unable to drain connection > read tcp 127.0.0.1:1->127.0.0.1:2: i/o timeout > proxy/vmess/encoding: invalid user > user do not exist",
        "v2ray.com/core/proxy/vmess/encoding: failed to drain connection DrainSize = 2180 1 0 > v2ray.com/core/proxy/vmess/encoding: invalid user > v2ray.com/core/proxy/vmess: Not Found",
        "proxy/socks: invalid username or password",
        "proxy/trojan: not a valid user",
        "proxy/vless/encoding: invalid request user id",
        "common/drain: common/drain: unable to drain connection > EOF > proxy/shadowsocks: failed to match an user > proxy/shadowsocks: Not Found",
    ] {
        let (verdict, record) = read(&format!("2026/11/21 22:57:10 127.0.0.1:1 rejected  {reason}"));
        assert_eq!(verdict.outcome, Some(Outcome::Deny));
        assert_eq!(record["event"]["category"], json!(["authentication", "network"]), "{reason}");
    }
    let (_, record) = read("2026/11/21 22:57:10 127.0.0.1:1 rejected  proxy/vless/encoding: invalid request version");
    assert_eq!(record["event"]["category"], json!(["network"]));
}

#[test]
fn the_panels_polling_is_dropped() {
    for line in [
        "2026/11/21 22:57:29.268451 from 127.0.0.1:40818 accepted tcp:127.0.0.1:47225 [in-api -> api]",
        "2026/11/21 22:57:29 127.0.0.1:44438 accepted tcp:127.0.0.1:0 [api]",
    ] {
        let (verdict, record) = encode(&gateway(Kind::V2RayAccess), line.as_bytes());
        assert!(verdict.dropped && verdict.parsed && record.is_none());
    }
}

#[test]
fn the_resolvers_own_connections_have_no_source() {
    let (_, record) = read("2026/11/21 22:57:10 from DNS accepted https://8.8.8.8/dns-query [xray.system.1 -> direct]");
    assert_eq!(record["source"], Value::Null);
    assert_eq!(record["waybill"]["v2ray"]["internal"], true);
    assert_eq!(record["destination"]["ip"], "8.8.8.8");
}

#[test]
fn a_name_that_a_client_chose_cannot_pass_for_detour_and_user() {
    let (_, record) = read(
        "2026/11/21 22:57:10 1.2.3.4:5 accepted tcp:x [in >> direct] email: root:443 [in -> blocked] email: alice",
    );
    assert_eq!((&record["user"]["name"], &record["waybill"]["outcome"]), (&json!("alice"), &json!("deny")));
    assert_eq!(record["waybill"]["suspect"], "ambiguous");
    let (_, record) =
        read("2026/11/21 22:57:10 1.2.3.4:5 accepted tcp:x [in >> direct] email: root:443 [in -> blocked]");
    assert_eq!(record["waybill"]["suspect"], "ambiguous");
    let (_, record) = read(
        "2026/11/21 22:57:08 tcp:127.0.0.1:4 rejected  proxy/socks: x > common/protocol: invalid domain name: a b [x] email: y",
    );
    assert_eq!((&record["user"], &record["observer"]), (&Value::Null, &Value::Null));
}

#[test]
fn what_is_no_line_of_the_program_ships_raw() {
    for line in [
        "",
        " ",
        "hello",
        "2026/13/45 22:57:10 1.2.3.4:5 accepted tcp:x:1",
        "2026/01/01 Masked IPv6 from [Masked IPv4]:1 accepted tcp:a:443",
        "2026/11/21 22:57:10 something accepted by policy",
        "2026/11/21 22:57:10 1.2.3.4:5 opened tcp:a.test:443",
    ] {
        let (verdict, record) = read(line);
        assert!(!verdict.parsed, "{line}");
        assert_eq!(record["event"]["original"], line);
        assert_eq!((&record["event"]["kind"], &record["waybill"]["parsed"]), (&json!("pipeline_error"), &json!(false)));
    }
}
