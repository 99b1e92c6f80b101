//! What the integration tests start, write and count with.
#![forbid(unsafe_code)]
