//! The types of audit records (`lib/audit-records.h` and `include/uapi/linux/audit.h`): their numbers, which the kernel prints
//! where no daemon listens, their names, and what they mean.

/// What a type means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) number: u16,
    pub(super) name: &'static str,
    pub(super) action: &'static str,
    pub(super) category: &'static str,
    pub(super) types: &'static str,
    /// A success lets someone in, a failure refuses him.
    pub(super) decides: bool,
}

impl Type {
    /// Whether `id=` in it is a user's, and that of the one who was dealt with.
    pub(super) fn is_about_user(&self) -> bool {
        self.category == IAM && !matches!(self.number, 1116 | 1117 | 1119 | 1132 | 1133)
    }
}

const AUTHENTICATION: &str = "\"authentication\"";
const CONFIGURATION: &str = "\"configuration\"";
const FIREWALL: &str = "\"configuration\",\"network\"";
const FILE: &str = "\"file\"";
const HOST: &str = "\"host\"";
const IAM: &str = "\"iam\"";
const NETWORK: &str = "\"network\"";
const PROCESS: &str = "\"process\"";
const SESSION: &str = "\"session\"";
const DRIVER: &str = "\"driver\"";
const INTRUSION: &str = "\"intrusion_detection\"";
const PACKAGE: &str = "\"package\"";
const NONE: &str = "";
const INFO: &str = "\"info\"";
const START: &str = "\"start\"";
const END: &str = "\"end\"";
const CHANGE: &str = "\"change\"";

const fn of(
    number: u16,
    name: &'static str,
    action: &'static str,
    category: &'static str,
    types: &'static str,
) -> Type {
    Type { number, name, action, category, types, decides: false }
}

const fn deciding(number: u16, name: &'static str, action: &'static str, category: &'static str) -> Type {
    Type { number, name, action, category, types: START, decides: true }
}

const TYPES: &[Type] = &[
    of(1300, "SYSCALL", "syscall", PROCESS, INFO),
    of(1302, "PATH", "path", FILE, INFO),
    of(1307, "CWD", "working-directory", FILE, INFO),
    of(1309, "EXECVE", "execve-arguments", PROCESS, INFO),
    of(1327, "PROCTITLE", "event-closed", PROCESS, INFO),
    of(1320, "EOE", "event-closed", NONE, INFO),
    of(1306, "SOCKADDR", "socket-address", NETWORK, INFO),
    of(1321, "BPRM_FCAPS", "file-capabilities", PROCESS, INFO),
    of(1325, "NETFILTER_CFG", "firewall-changed", FIREWALL, CHANGE),
    of(1324, "NETFILTER_PKT", "packet", NETWORK, INFO),
    of(1305, "CONFIG_CHANGE", "audit-configured", CONFIGURATION, CHANGE),
    of(1006, "LOGIN", "login-uid-set", SESSION, START),
    deciding(1100, "USER_AUTH", "user_authentication", AUTHENTICATION),
    deciding(1101, "USER_ACCT", "account-checked", AUTHENTICATION),
    of(1102, "USER_MGMT", "user-managed", IAM, CHANGE),
    of(1103, "CRED_ACQ", "credentials-acquired", SESSION, INFO),
    of(1104, "CRED_DISP", "credentials-disposed", SESSION, INFO),
    of(1105, "USER_START", "session-started", SESSION, START),
    of(1106, "USER_END", "session-ended", SESSION, END),
    of(1107, "USER_AVC", "access-decision", INTRUSION, INFO),
    of(1108, "USER_CHAUTHTOK", "password-changed", IAM, CHANGE),
    deciding(1109, "USER_ERR", "user-error", AUTHENTICATION),
    of(1110, "CRED_REFR", "credentials-refreshed", SESSION, INFO),
    of(1111, "USYS_CONFIG", "system-configured", CONFIGURATION, CHANGE),
    deciding(1112, "USER_LOGIN", "user_login", AUTHENTICATION),
    of(1113, "USER_LOGOUT", "user_logout", SESSION, END),
    of(1114, "ADD_USER", "user-added", IAM, "\"user\",\"creation\""),
    of(1115, "DEL_USER", "user-deleted", IAM, "\"user\",\"deletion\""),
    of(1116, "ADD_GROUP", "group-added", IAM, "\"group\",\"creation\""),
    of(1117, "DEL_GROUP", "group-deleted", IAM, "\"group\",\"deletion\""),
    of(1118, "DAC_CHECK", "access-checked", AUTHENTICATION, INFO),
    of(1119, "CHGRP_ID", "group-changed", IAM, CHANGE),
    of(1120, "TEST", "test", NONE, INFO),
    of(1121, "TRUSTED_APP", "trusted-application", PROCESS, INFO),
    of(1122, "USER_SELINUX_ERR", "selinux-error", HOST, INFO),
    deciding(1123, "USER_CMD", "user-command", PROCESS),
    of(1124, "USER_TTY", "terminal-input", PROCESS, INFO),
    of(1125, "CHUSER_ID", "user-changed", IAM, CHANGE),
    deciding(1126, "GRP_AUTH", "group-authentication", AUTHENTICATION),
    of(1127, "SYSTEM_BOOT", "booted", HOST, START),
    of(1128, "SYSTEM_SHUTDOWN", "shut-down", HOST, END),
    of(1129, "SYSTEM_RUNLEVEL", "runlevel-changed", HOST, CHANGE),
    of(1130, "SERVICE_START", "service-started", PROCESS, START),
    of(1131, "SERVICE_STOP", "service-stopped", PROCESS, END),
    of(1132, "GRP_MGMT", "group-managed", IAM, CHANGE),
    of(1133, "GRP_CHAUTHTOK", "group-password-changed", IAM, CHANGE),
    of(1134, "MAC_CHECK", "access-checked", AUTHENTICATION, INFO),
    of(1135, "ACCT_LOCK", "account-locked", IAM, CHANGE),
    of(1136, "ACCT_UNLOCK", "account-unlocked", IAM, CHANGE),
    of(1137, "USER_DEVICE", "device-changed", HOST, CHANGE),
    of(1138, "SOFTWARE_UPDATE", "software-updated", PACKAGE, CHANGE),
    of(1005, "USER", "message", NONE, INFO),
    of(1200, "DAEMON_START", "audit-started", CONFIGURATION, START),
    of(1201, "DAEMON_END", "audit-stopped", CONFIGURATION, END),
    of(1202, "DAEMON_ABORT", "audit-aborted", CONFIGURATION, END),
    of(1203, "DAEMON_CONFIG", "audit-reconfigured", CONFIGURATION, CHANGE),
    of(1204, "DAEMON_RECONFIG", "audit-reconfigured", CONFIGURATION, CHANGE),
    of(1205, "DAEMON_ROTATE", "audit-rotated", CONFIGURATION, INFO),
    of(1206, "DAEMON_RESUME", "audit-resumed", CONFIGURATION, START),
    of(1207, "DAEMON_ACCEPT", "audit-peer-accepted", CONFIGURATION, INFO),
    of(1208, "DAEMON_CLOSE", "audit-peer-closed", CONFIGURATION, INFO),
    of(1209, "DAEMON_ERR", "audit-error", CONFIGURATION, INFO),
    of(1303, "IPC", "ipc", PROCESS, INFO),
    of(1304, "SOCKETCALL", "socket-call", NETWORK, INFO),
    of(1308, "IPC_SET_PERM", "ipc-permissions", PROCESS, CHANGE),
    of(1311, "MQ_OPEN", "message-queue", PROCESS, INFO),
    of(1312, "MQ_SENDRECV", "message-queue", PROCESS, INFO),
    of(1313, "MQ_NOTIFY", "message-queue", PROCESS, INFO),
    of(1314, "MQ_GETSETATTR", "message-queue", PROCESS, INFO),
    of(1315, "KERNEL_OTHER", "message", NONE, INFO),
    of(1316, "FD_PAIR", "descriptors", PROCESS, INFO),
    of(1317, "OBJ_PID", "signalled-process", PROCESS, INFO),
    of(1318, "TTY", "terminal-input", PROCESS, INFO),
    of(1322, "CAPSET", "capabilities-set", PROCESS, CHANGE),
    of(1323, "MMAP", "memory-mapped", PROCESS, INFO),
    of(1326, "SECCOMP", "seccomp", PROCESS, INFO),
    of(1328, "FEATURE_CHANGE", "audit-configured", CONFIGURATION, CHANGE),
    of(1329, "REPLACE", "audit-daemon-replaced", CONFIGURATION, CHANGE),
    of(1330, "KERN_MODULE", "kernel-module", DRIVER, INFO),
    of(1331, "FANOTIFY", "file-access-decision", FILE, INFO),
    of(1332, "TIME_INJOFFSET", "time-changed", HOST, CHANGE),
    of(1333, "TIME_ADJNTPVAL", "time-changed", HOST, CHANGE),
    of(1334, "BPF", "bpf-program", DRIVER, INFO),
    of(1335, "EVENT_LISTENER", "audit-listener", CONFIGURATION, INFO),
    of(1336, "URINGOP", "io-uring", PROCESS, INFO),
    of(1337, "OPENAT2", "open-how", FILE, INFO),
    of(1338, "DM_CTRL", "device-mapper", HOST, CHANGE),
    of(1339, "DM_EVENT", "device-mapper", HOST, INFO),
    of(1400, "AVC", "access-decision", INTRUSION, INFO),
    of(1401, "SELINUX_ERR", "selinux-error", HOST, INFO),
    of(1402, "AVC_PATH", "path", FILE, INFO),
    of(1403, "MAC_POLICY_LOAD", "access-policy-loaded", CONFIGURATION, CHANGE),
    of(1404, "MAC_STATUS", "access-control-switched", CONFIGURATION, CHANGE),
    of(1405, "MAC_CONFIG_CHANGE", "access-policy-changed", CONFIGURATION, CHANGE),
    of(1406, "MAC_UNLBL_ALLOW", "access-policy-changed", CONFIGURATION, CHANGE),
    of(1407, "MAC_CIPSOV4_ADD", "labelling-changed", CONFIGURATION, CHANGE),
    of(1408, "MAC_CIPSOV4_DEL", "labelling-changed", CONFIGURATION, CHANGE),
    of(1409, "MAC_MAP_ADD", "labelling-changed", CONFIGURATION, CHANGE),
    of(1410, "MAC_MAP_DEL", "labelling-changed", CONFIGURATION, CHANGE),
    of(1415, "MAC_IPSEC_EVENT", "ipsec-changed", FIREWALL, CHANGE),
    of(1416, "MAC_UNLBL_STCADD", "labelling-changed", CONFIGURATION, CHANGE),
    of(1417, "MAC_UNLBL_STCDEL", "labelling-changed", CONFIGURATION, CHANGE),
    of(1418, "MAC_CALIPSO_ADD", "labelling-changed", CONFIGURATION, CHANGE),
    of(1419, "MAC_CALIPSO_DEL", "labelling-changed", CONFIGURATION, CHANGE),
    of(1420, "MAC_TASK_CONTEXTS", "contexts", PROCESS, INFO),
    of(1421, "MAC_OBJ_CONTEXTS", "contexts", FILE, INFO),
    of(1423, "LANDLOCK_ACCESS", "access-decision", INTRUSION, INFO),
    of(1424, "LANDLOCK_DOMAIN", "landlock-domain", PROCESS, INFO),
    of(1500, "AA", "access-decision", INTRUSION, INFO),
    of(1501, "APPARMOR_AUDIT", "access-decision", INTRUSION, INFO),
    of(1502, "APPARMOR_ALLOWED", "access-decision", INTRUSION, INFO),
    of(1503, "APPARMOR_DENIED", "access-decision", INTRUSION, INFO),
    of(1504, "APPARMOR_HINT", "access-decision", INTRUSION, INFO),
    of(1505, "APPARMOR_STATUS", "access-policy-changed", CONFIGURATION, CHANGE),
    of(1506, "APPARMOR_ERROR", "access-policy-error", HOST, INFO),
    of(1507, "APPARMOR_KILL", "access-decision", INTRUSION, INFO),
    of(1700, "ANOM_PROMISCUOUS", "interface-promiscuous", NETWORK, CHANGE),
    of(1701, "ANOM_ABEND", "process-crashed", PROCESS, END),
    of(1702, "ANOM_LINK", "suspicious-link", FILE, INFO),
    of(1703, "ANOM_CREAT", "suspicious-creation", FILE, INFO),
    of(1800, "INTEGRITY_DATA", "integrity", FILE, INFO),
    of(1801, "INTEGRITY_METADATA", "integrity", FILE, INFO),
    of(1802, "INTEGRITY_STATUS", "integrity", HOST, INFO),
    of(1803, "INTEGRITY_HASH", "integrity", FILE, INFO),
    of(1804, "INTEGRITY_PCR", "integrity", HOST, INFO),
    of(1805, "INTEGRITY_RULE", "integrity", FILE, INFO),
    of(1806, "INTEGRITY_EVM_XATTR", "integrity", FILE, INFO),
    of(1807, "INTEGRITY_POLICY_RULE", "integrity", CONFIGURATION, INFO),
    of(2000, "KERNEL", "audit-initialised", CONFIGURATION, INFO),
    of(2100, "ANOM_LOGIN_FAILURES", "too-many-failed-logins", INTRUSION, INFO),
    of(2101, "ANOM_LOGIN_TIME", "login-at-forbidden-time", INTRUSION, INFO),
    of(2102, "ANOM_LOGIN_SESSIONS", "too-many-sessions", INTRUSION, INFO),
    of(2103, "ANOM_LOGIN_ACCT", "login-to-watched-account", INTRUSION, INFO),
    of(2104, "ANOM_LOGIN_LOCATION", "login-from-forbidden-location", INTRUSION, INFO),
    of(2105, "ANOM_MAX_DAC", "too-many-access-failures", INTRUSION, INFO),
    of(2106, "ANOM_MAX_MAC", "too-many-access-failures", INTRUSION, INFO),
    of(2107, "ANOM_AMTU_FAIL", "self-test-failed", HOST, INFO),
    of(2108, "ANOM_RBAC_FAIL", "self-test-failed", HOST, INFO),
    of(2109, "ANOM_RBAC_INTEGRITY_FAIL", "self-test-failed", HOST, INFO),
    of(2110, "ANOM_CRYPTO_FAIL", "self-test-failed", HOST, INFO),
    of(2111, "ANOM_ACCESS_FS", "file-access", INTRUSION, INFO),
    of(2112, "ANOM_EXEC", "suspicious-execution", INTRUSION, INFO),
    of(2113, "ANOM_MK_EXEC", "suspicious-executable", INTRUSION, INFO),
    of(2114, "ANOM_ADD_ACCT", "suspicious-account", INTRUSION, INFO),
    of(2115, "ANOM_DEL_ACCT", "suspicious-account", INTRUSION, INFO),
    of(2116, "ANOM_MOD_ACCT", "suspicious-account", INTRUSION, INFO),
    of(2117, "ANOM_ROOT_TRANS", "became-root", INTRUSION, INFO),
    of(2118, "ANOM_LOGIN_SERVICE", "login-to-service-account", INTRUSION, INFO),
    of(2200, "RESP_ANOMALY", "response", INTRUSION, INFO),
    of(2201, "RESP_ALERT", "response-alert", INTRUSION, INFO),
    of(2202, "RESP_KILL_PROC", "response-process-killed", INTRUSION, INFO),
    of(2203, "RESP_TERM_ACCESS", "response-session-terminated", INTRUSION, INFO),
    of(2204, "RESP_ACCT_REMOTE", "response-account-remote-locked", INTRUSION, INFO),
    of(2205, "RESP_ACCT_LOCK_TIMED", "response-account-locked", INTRUSION, INFO),
    of(2206, "RESP_ACCT_UNLOCK_TIMED", "response-account-unlocked", INTRUSION, INFO),
    of(2207, "RESP_ACCT_LOCK", "response-account-locked", INTRUSION, INFO),
    of(2208, "RESP_TERM_LOCK", "response-terminal-locked", INTRUSION, INFO),
    of(2209, "RESP_SEBOOL", "response-selinux", INTRUSION, INFO),
    of(2210, "RESP_EXEC", "response-executed", INTRUSION, INFO),
    of(2211, "RESP_SINGLE", "response-single-user", INTRUSION, INFO),
    of(2212, "RESP_HALT", "response-halted", INTRUSION, INFO),
    of(2213, "RESP_ORIGIN_BLOCK", "response-source-blocked", INTRUSION, INFO),
    of(2214, "RESP_ORIGIN_BLOCK_TIMED", "response-source-blocked", INTRUSION, INFO),
    of(2300, "USER_ROLE_CHANGE", "role-changed", SESSION, CHANGE),
    of(2301, "ROLE_ASSIGN", "role-assigned", IAM, CHANGE),
    of(2302, "ROLE_REMOVE", "role-removed", IAM, CHANGE),
    of(2308, "LABEL_LEVEL_CHANGE", "label-changed", CONFIGURATION, CHANGE),
    of(2309, "USER_MAC_POLICY_LOAD", "access-policy-loaded", CONFIGURATION, CHANGE),
    of(2310, "USER_MAC_STATUS", "access-control-switched", CONFIGURATION, CHANGE),
    of(2400, "CRYPTO_TEST_USER", "crypto", NETWORK, INFO),
    of(2401, "CRYPTO_PARAM_CHANGE_USER", "crypto", CONFIGURATION, CHANGE),
    of(2402, "CRYPTO_LOGIN", "crypto", SESSION, START),
    of(2403, "CRYPTO_LOGOUT", "crypto", SESSION, END),
    of(2404, "CRYPTO_KEY_USER", "crypto-key", NETWORK, INFO),
    of(2405, "CRYPTO_FAILURE_USER", "crypto-failed", NETWORK, INFO),
    of(2406, "CRYPTO_REPLAY_USER", "crypto-replay", NETWORK, INFO),
    of(2407, "CRYPTO_SESSION", "crypto-session", NETWORK, START),
    of(2408, "CRYPTO_IKE_SA", "ike", NETWORK, INFO),
    of(2409, "CRYPTO_IPSEC_SA", "ipsec", NETWORK, INFO),
    of(2500, "VIRT_CONTROL", "machine-controlled", HOST, CHANGE),
    of(2501, "VIRT_RESOURCE", "machine-resource", HOST, CHANGE),
    of(2502, "VIRT_MACHINE_ID", "machine-labelled", HOST, INFO),
];

/// The type of a name, `UNKNOWN[1337]` or `1337`.
pub(super) fn find(text: &[u8]) -> Option<&'static Type> {
    let digits = text.strip_prefix(b"UNKNOWN[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(text);
    if digits.first()?.is_ascii_digit() {
        let number: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        return TYPES.iter().find(|known| known.number == number);
    }
    TYPES.iter().find(|known| known.name.len() == text.len() && known.name.as_bytes() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_unique() {
        for (index, kind) in TYPES.iter().enumerate() {
            assert!(
                TYPES[..index].iter().all(|other| other.number != kind.number && other.name != kind.name),
                "{}",
                kind.name
            );
            assert_eq!(find(kind.name.as_bytes()), Some(kind));
            assert_eq!(find(format!("UNKNOWN[{}]", kind.number).as_bytes()), Some(kind));
        }
        assert_eq!(find(b"1325").map(|kind| kind.name), Some("NETFILTER_CFG"));
        assert!([&b""[..], b"x", b"99999999", b"UNKNOWN[]", b"1"].iter().all(|text| find(text).is_none()));
    }
}
