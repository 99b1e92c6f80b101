//! RFC 5424 over TLS, TCP or UDP.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Tls;

/// A syslog server that speaks RFC 5424.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.transport == 'Tls' || !has(self.tls)")
        .message("tls is for transport Tls: write transport: Tls, or leave tls out")
)]
pub struct SyslogSink {
    /// The server as host:port.
    #[schemars(length(min = 1, max = crate::bounds::ADDRESS_LENGTH))]
    #[x_kube(validation = crate::rules::host())]
    pub address: String,
    /// Tls (default) and Tcp count octets; Udp cuts long records, and counts what it cut.
    #[serde(default)]
    pub transport: SyslogTransport,
    /// The facility: kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv (default), ftp, ntp, audit,
    /// alert, clock, or local0 to local7.
    #[serde(default)]
    pub facility: Facility,
    /// The severity of every record: emerg, alert, crit, err, warning, notice, info (default) or debug.
    #[serde(default)]
    pub severity: Severity,
    /// Keys and authorities for transport Tls. Default: the certificate authorities of the image or host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How a syslog server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SyslogTransport {
    /// One datagram a record.
    Udp,
    /// A connection without encryption.
    Tcp,
    /// TLS.
    #[default]
    Tls,
}

/// A syslog facility; its discriminant is the number on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are those of RFC 5424 and syslog.h")]
pub enum Facility {
    Kern = 0,
    User = 1,
    Mail = 2,
    Daemon = 3,
    Auth = 4,
    Syslog = 5,
    Lpr = 6,
    News = 7,
    Uucp = 8,
    Cron = 9,
    #[default]
    Authpriv = 10,
    Ftp = 11,
    Ntp = 12,
    Audit = 13,
    Alert = 14,
    Clock = 15,
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}

impl Facility {
    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// A syslog severity; its discriminant is the number on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are those of RFC 5424 and syslog.h")]
pub enum Severity {
    Emerg = 0,
    Alert = 1,
    Crit = 2,
    Err = 3,
    Warning = 4,
    Notice = 5,
    #[default]
    Info = 6,
    Debug = 7,
}

impl Severity {
    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }
}
