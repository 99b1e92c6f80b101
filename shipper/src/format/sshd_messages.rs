//! Messages of sshd that are told by how they begin. Few of them name an address: then it is the last `ADDRESS port N`.

use super::settings::Outcome::{self, Deny, Error, Success};

/// What a message of such a beginning means.
#[derive(Debug)]
pub(super) struct Simple {
    begins: &'static [u8],
    pub(super) action: &'static str,
    pub(super) outcome: Option<Outcome>,
    pub(super) category: &'static str,
}

const AUTHENTICATION: &str = "\"authentication\"";
const CONFIGURATION: &str = "\"configuration\"";
const NETWORK: &str = "\"network\"";
const PROCESS: &str = "\"process\"";
const SESSION: &str = "\"session\"";

const fn row(begins: &'static str, action: &'static str, outcome: Option<Outcome>, category: &'static str) -> Simple {
    Simple { begins: begins.as_bytes(), action, outcome, category }
}

const ROWS: &[Simple] = &[
    row("Received signal ", "stopped", Some(Success), PROCESS),
    row("Received SIGHUP", "restarted", Some(Success), PROCESS),
    row("Exiting on signal ", "stopped", Some(Success), PROCESS),
    row("User child is on pid ", "session-process", None, SESSION),
    row("Transferred: sent ", "session-bytes", None, SESSION),
    row("Closing connection to ", "disconnected", Some(Success), NETWORK),
    row("Local disconnected: ", "disconnecting", Some(Error), NETWORK),
    row("Too many authentication failures", "max-authentication-attempts", Some(Deny), AUTHENTICATION),
    row("PAM service(sshd) ignoring max retries", "max-authentication-attempts", Some(Deny), AUTHENTICATION),
    row("Root login accepted for forced command", "forced-command", Some(Success), AUTHENTICATION),
    row("Authentication refused: ", "authentication-refused", Some(Deny), AUTHENTICATION),
    row("Authentication key ", "key-revoked", Some(Deny), AUTHENTICATION),
    row("Certificate invalid: ", "certificate-refused", Some(Deny), AUTHENTICATION),
    row("Refusing certificate ID ", "certificate-refused", Some(Deny), AUTHENTICATION),
    row("Refused by key options", "key-not-permitted", Some(Deny), AUTHENTICATION),
    row("cert: ", "certificate-refused", Some(Deny), AUTHENTICATION),
    row("key_cert_check_authority: ", "certificate-refused", Some(Deny), AUTHENTICATION),
    row("Login restricted for ", "user-not-allowed", Some(Deny), AUTHENTICATION),
    row("Password change required", "password-expired", Some(Deny), AUTHENTICATION),
    row("Account has expired", "account-refused", Some(Deny), AUTHENTICATION),
    row("Your account has expired", "account-refused", Some(Deny), AUTHENTICATION),
    row("userauth_pubkey: ", "key-algorithm-refused", Some(Deny), AUTHENTICATION),
    row("userauth_hostbased: ", "key-algorithm-refused", Some(Deny), AUTHENTICATION),
    row("userauth_hostbased mismatch", "key-algorithm-refused", Some(Deny), AUTHENTICATION),
    row("Could not get shadow information for ", "shadow-unreadable", Some(Error), AUTHENTICATION),
    row("Could not open authorized keys", "keys-unreadable", Some(Error), AUTHENTICATION),
    row("Could not open user ", "keys-unreadable", Some(Error), AUTHENTICATION),
    row("Could not stat Authorized", "keys-unreadable", Some(Error), AUTHENTICATION),
    row("Unsafe Authorized", "keys-unreadable", Some(Error), AUTHENTICATION),
    row("AuthorizedPrincipalsCommand ", "keys-unreadable", Some(Error), AUTHENTICATION),
    row("AuthorizedKeysCommand ", "keys-unreadable", Some(Error), AUTHENTICATION),
    row("no matching ", "negotiation-failed", Some(Error), NETWORK),
    row("Unable to negotiate a ", "negotiation-failed", Some(Error), NETWORK),
    row("Protocol major versions differ", "negotiation-failed", Some(Error), NETWORK),
    row("kex_exchange_identification: ", "bad-identification", Some(Error), NETWORK),
    row("ssh_exchange_identification: ", "bad-identification", Some(Error), NETWORK),
    row("Bad remote protocol version identification", "bad-identification", Some(Error), NETWORK),
    row("Bad protocol version identification", "bad-identification", Some(Error), NETWORK),
    row("kex_protocol_error: ", "protocol-error", Some(Error), NETWORK),
    row("kex protocol error: ", "protocol-error", Some(Error), NETWORK),
    row("ssh_dispatch_run_fatal: ", "protocol-error", Some(Error), NETWORK),
    row("dispatch_protocol_error: ", "protocol-error", Some(Error), NETWORK),
    row("banner exchange: ", "bad-identification", Some(Error), NETWORK),
    row("Corrupted MAC on input", "protocol-error", Some(Error), NETWORK),
    row("Corrupted padlen ", "protocol-error", Some(Error), NETWORK),
    row("Bad packet length ", "protocol-error", Some(Error), NETWORK),
    row("Packet corrupt", "protocol-error", Some(Error), NETWORK),
    row("packet_", "connection-failed", Some(Error), NETWORK),
    row("ssh_packet_", "connection-failed", Some(Error), NETWORK),
    row("padding error: ", "protocol-error", Some(Error), NETWORK),
    row("message authentication code incorrect", "protocol-error", Some(Error), NETWORK),
    row("buffer_get_", "protocol-error", Some(Error), NETWORK),
    row("Read from socket failed: ", "connection-failed", Some(Error), NETWORK),
    row("Write failed: ", "connection-failed", Some(Error), NETWORK),
    row("Read error from remote host", "connection-failed", Some(Error), NETWORK),
    row("Connection timed out", "connection-timeout", Some(Error), NETWORK),
    row("Timeout, client not responding", "connection-timeout", Some(Error), NETWORK),
    row("beginning MaxStartups throttling", "throttling-begins", Some(Error), NETWORK),
    row("exited MaxStartups throttling", "throttling-ends", Some(Success), NETWORK),
    row("Bind to port ", "listen-failed", Some(Error), NETWORK),
    row("Cannot bind any address", "listen-failed", Some(Error), NETWORK),
    row("accept: ", "accept-failed", Some(Error), NETWORK),
    row("fork: ", "accept-failed", Some(Error), PROCESS),
    row("connect_to ", "forward-failed", Some(Error), NETWORK),
    row("channel_setup_", "forward-failed", Some(Error), NETWORK),
    row("bind: ", "forward-failed", Some(Error), NETWORK),
    row("Received request from ", "forward-refused", Some(Deny), NETWORK),
    row("refused local port forward", "forward-refused", Some(Deny), NETWORK),
    row("refused remote port forward", "forward-refused", Some(Deny), NETWORK),
    row("Received request to connect to ", "forward-refused", Some(Deny), NETWORK),
    row("rexec line ", "configuration-problem", None, CONFIGURATION),
    row("reprocess config line ", "configuration-problem", None, CONFIGURATION),
    row("reexec socketpair", "accept-failed", Some(Error), PROCESS),
    row("Unsupported option ", "configuration-problem", Some(Error), CONFIGURATION),
    row("Bad configuration option", "configuration-problem", Some(Error), CONFIGURATION),
    row("Deprecated option ", "configuration-problem", None, CONFIGURATION),
    row("Could not load host ", "host-key-unreadable", Some(Error), CONFIGURATION),
    row("Unable to load host key", "host-key-unreadable", Some(Error), CONFIGURATION),
    row("No supported key exchange algorithms", "negotiation-failed", Some(Error), NETWORK),
    row("No hostkey alg", "negotiation-failed", Some(Error), NETWORK),
    row("sshd: no hostkeys available", "host-key-unreadable", Some(Error), CONFIGURATION),
    row("Missing privilege separation directory", "configuration-problem", Some(Error), CONFIGURATION),
    row("Privilege separation user ", "configuration-problem", Some(Error), CONFIGURATION),
    row("Attempt to write login records by non-root user", "session-problem", Some(Error), SESSION),
    row("syslogin_perform_logout: ", "session-problem", Some(Error), SESSION),
    row("lastlog_", "session-problem", Some(Error), SESSION),
    row("chroot(", "session-problem", Some(Error), SESSION),
    row("bad ownership or modes for chroot", "session-problem", Some(Error), SESSION),
    row("Could not chdir to home directory", "session-problem", Some(Error), SESSION),
    row("Changed root directory to ", "session-root", Some(Success), SESSION),
    row("mm_", "monitor-problem", Some(Error), PROCESS),
    row("monitor_read: ", "monitor-problem", Some(Error), PROCESS),
    row("ssh_msg_send: ", "monitor-problem", Some(Error), PROCESS),
    row("ssh_sandbox_violation: ", "sandbox-violation", Some(Error), PROCESS),
    row("privsep_preauth: ", "monitor-problem", Some(Error), PROCESS),
    row("login_get_lastlog: ", "session-problem", Some(Error), SESSION),
    row("session_pty_req: ", "session-problem", Some(Error), SESSION),
    row("openpty: ", "session-problem", Some(Error), SESSION),
    row("no more sessions", "session-problem", Some(Error), SESSION),
    row("Failed to allocate internet-domain X11 display socket", "forward-failed", Some(Error), NETWORK),
    row("bind [", "forward-failed", Some(Error), NETWORK),
    row("Allocated port ", "forward-listening", Some(Success), NETWORK),
    row("Authorized to ", "principal-authorized", Some(Success), AUTHENTICATION),
    row("Login attempt for nonexistent user", "invalid-user", Some(Deny), AUTHENTICATION),
    row("Unsupported KEX algorithm", "negotiation-failed", Some(Error), NETWORK),
    row("Hm, kex protocol error", "protocol-error", Some(Error), NETWORK),
    row("bad ssh packet length", "protocol-error", Some(Error), NETWORK),
    row("userauth_finish: ", "connection-failed", Some(Error), NETWORK),
    row("PAM: pam_", "pam-problem", Some(Error), SESSION),
    row("main: sshd: ", "configuration-problem", None, CONFIGURATION),
    row("/etc/ssh/sshd_config", "configuration-problem", None, CONFIGURATION),
];

/// The row of a message.
pub(super) fn simple(text: &[u8]) -> Option<&'static Simple> {
    ROWS.iter().find(|row| text.starts_with(row.begins))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_hides_another() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(
                ROWS[..index].iter().all(|earlier| !row.begins.starts_with(earlier.begins)),
                "{}",
                String::from_utf8_lossy(row.begins)
            );
        }
    }
}
