//! From a path pattern to records.
//!
//! [`discover`] finds the files, [`identity`] says which stream a file is, [`stream`] reads it, [`decompress`] and [`envelope`]
//! take off what others put around the lines, and [`frame`] cuts them. [`digest`] and [`lease`] are what identity stands on.

pub mod archived;
pub mod decompress;
pub mod digest;
pub mod discover;
pub mod envelope;
pub mod examine;
pub mod frame;
pub mod identity;
pub mod kubernetes;
pub mod lease;
pub mod pattern;
pub mod receive;
pub mod root;
pub mod stream;
pub mod watch;
