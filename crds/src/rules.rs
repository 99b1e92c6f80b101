//! Rules of the `CustomResourceDefinition` that several fields share, in CEL.
//!
//! The API server judges by them what [`crate::validate`] judges in Rust: a rule may let through what its language has no words for,
//! and never refuses what the validation takes. Tests hold the one against the other.

use kube::core::Rule;

/// A port from 1 to 65535, as a regular expression.
const PORT: &str = "0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
/// A host's name, or an address of IPv6 in brackets.
const HOST: &str = r"(([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?[.])*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?[.]?|\[[0-9A-Fa-f:.]+\])";
/// An address to listen on.
const LISTEN: &str = r"([0-9]{1,3}([.][0-9]{1,3}){3}|\[[0-9A-Fa-f:.%]+\])";
/// A URL's path, without query and fragment.
const URL_PATH: &str = r"(/[!$-;=@-\[\]-~]*)?";
/// A dotted name of a field.
const FIELD: &str = "^[A-Za-z0-9_@-]+([.][A-Za-z0-9_@-]+)*$";
/// A path into a JSON line.
const JSON_PATH: &str = r"^[$]([.][^.\[\]]+|\[[0-9]{1,9}\])+$";

/// An expression as a raw string of CEL.
fn raw(expression: &str) -> String {
    format!("r'{expression}'")
}

fn matches(expression: &str) -> String {
    format!("matches({})", raw(expression))
}

/// A condition on a path: absolute, with no component that is empty or goes anywhere, and with nothing that ends it early.
fn straight(path: &str) -> String {
    format!("{path}.startsWith('/') && !{path}.contains('//') && !{path}.{}", matches(r"/[.][.]?(/|$)|[\x00\n]"))
}

fn host_and_port(text: &str) -> String {
    format!("{text}.{}", matches(&format!("^{HOST}:{PORT}$")))
}

fn http_url(text: &str) -> String {
    format!("{text}.{}", matches(&format!("^https?://{HOST}(:{PORT})?{URL_PATH}$")))
}

/// A list of path patterns.
pub(crate) fn patterns() -> Rule {
    let deep = matches("[^/][*][*]|[*][*][^/]|[*][*]$");
    Rule::new(format!("self.all(path, {} && !path.endsWith('/') && !path.{deep})", straight("path"))).message(
        "write absolute paths that name files, such as /var/log/v2ray/*.log: begin each with a slash, end it with a file's name, \
        leave out . and .. and doubled slashes, and write ** only between two slashes",
    )
}

/// The path of one file.
pub(crate) fn file() -> Rule {
    Rule::new(format!("{} && !self.endsWith('/') && !self.{}", straight("self"), matches(r"[*?{}\[\]]"))).message(
        "write the absolute path of one file, such as /var/lib/waybill/gateways/archive/audit.log: without wildcards, . and .. and \
        doubled slashes",
    )
}

/// The path of a file or a folder; empty for the default.
pub(crate) fn folder() -> Rule {
    Rule::new(format!("self == '' || ({} && !self.{})", straight("self"), matches(r"[*?{}\[\]]"))).message(
        "write the absolute path of one folder or program, such as /var/lib/waybill/gateways/archive: without wildcards, . and .. \
        and doubled slashes",
    )
}

/// A list of hosts with ports.
pub(crate) fn hosts() -> Rule {
    Rule::new(format!("self.all(host, {})", host_and_port("host")))
        .message("write each as host:port, such as kafka-0:9093")
}

/// A host with a port.
pub(crate) fn host() -> Rule {
    Rule::new(host_and_port("self")).message("write host:port, such as siem:6514")
}

/// An address to listen on.
pub(crate) fn listen() -> Rule {
    Rule::new(format!("self.{}", matches(&format!("^{LISTEN}:{PORT}$"))))
        .message("write an address with its port, such as 0.0.0.0:5514 or [::]:5514")
}

/// A list of URLs.
pub(crate) fn urls() -> Rule {
    Rule::new(format!("self.all(url, {})", http_url("url")))
        .message("write each as a URL such as https://es-0:9200, without user, query or fragment")
}

/// A URL; empty for the default.
pub(crate) fn url() -> Rule {
    Rule::new(format!("self == '' || {}", http_url("self")))
        .message("write a URL such as https://logs.example, without user, query or fragment, or leave it out")
}

/// A text of certain characters.
pub(crate) fn text(expression: &str, message: &str) -> Rule {
    Rule::new(format!("self.{}", matches(expression))).message(message)
}

/// A dotted name of a field.
pub(crate) fn field() -> Rule {
    text(FIELD, "write a dotted name such as source.ip")
}

/// A path into a JSON line.
pub(crate) fn json_path() -> Rule {
    text(JSON_PATH, "write a path such as $.user.name or $.items[0]")
}

/// Fields with their paths in a JSON line.
pub(crate) fn json_fields() -> Rule {
    Rule::new(format!("self.all(name, name.{} && self[name].{})", matches(FIELD), matches(JSON_PATH)))
        .message("write dotted names with a path each, such as user.name: $.who")
}

/// Names of hosts.
pub(crate) fn host_names() -> Rule {
    Rule::new(format!("self.all(host, !host.{} && !host.{})", matches("^[.*]"), matches("[/: ]")))
        .message("write names alone, such as example.com; what lies below a name is meant too")
}

/// A size in bounds, both as a quantity of Kubernetes.
pub(crate) fn size(least: &str, most: &str) -> Rule {
    let compare = |bound: &str| format!("quantity(string(self)).compareTo(quantity('{bound}'))");
    // What is no quantity is refused by its pattern.
    Rule::new(format!("!isQuantity(string(self)) || ({} >= 0 && {} <= 0)", compare(least), compare(most)))
        .message(format!("write a size from {least} to {most}").as_str())
}
