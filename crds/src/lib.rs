//! The `AuditPolicy` contract.
#![forbid(unsafe_code)]
