//! How much of everything a policy may hold.
//!
//! The schema, the reader and the validation use these same numbers. They also bound what the API server has to walk to
//! evaluate a rule.

/// Sources of a policy.
pub const SOURCES: usize = 64;
/// Sinks of a policy.
pub const SINKS: usize = 16;
/// Path patterns of a source, and as many exclusions.
pub const PATHS: usize = 32;
/// Characters of a path or a path pattern.
pub const PATH_LENGTH: usize = 512;
/// Characters of the name of a policy, a source or a sink: part of names of objects and folders.
pub const NAME_LENGTH: usize = 40;
/// Characters of any other name.
pub const OTHER_NAME_LENGTH: usize = 63;
/// Characters of a sentence that a person writes.
pub const REASON_LENGTH: usize = 512;
/// Characters of `requestedBy`, a user's name.
pub const USER_LENGTH: usize = 253;
/// Characters of a host name with a port, or of an address to listen on.
pub const ADDRESS_LENGTH: usize = 260;
/// Characters of a URL.
pub const URL_LENGTH: usize = 512;
/// Brokers or endpoints of a sink.
pub const ENDPOINTS: usize = 16;
/// Entries of small lists and maps: drop rules, outbounds, mapped fields, tolerations, labels, annotations.
pub const ENTRIES: usize = 32;
/// Characters of a value that is compared or looked up: a drop rule's text, a field path, an annotation's value.
pub const VALUE_LENGTH: usize = 256;
/// Nodes that a status names as lost.
pub const LOST_NODES: usize = 64;
/// Bytes of a document.
pub const DOCUMENT_BYTES: usize = 1024 * 1024;

/// The pattern of the names of sources and sinks.
pub(crate) const NAME_PATTERN: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
/// The pattern of the names of Secrets.
pub(crate) const SECRET_NAME_PATTERN: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
/// The pattern of the keys of Secrets. It lets no path through.
pub(crate) const SECRET_KEY_PATTERN: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$";
