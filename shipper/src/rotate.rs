//! How live files become archives, and how long archives stay.
//!
//! What can be decided without a file is decided without one: [`cycle`] knows calendars and names, [`collapse`] where a file may be cut
//! and what a crash left of a cut, [`retain`] what may go. [`piece`] writes archives, [`fiemap`] asks where a block lies, and
//! [`worker`] does all that takes long in a thread of its own, in the order that the engine's phase of the same name gives.
//!
//! No step is taken before the one before it is durable, so that a crash at any of them leaves either the bytes in the live file or
//! a whole archive of them, and never neither: archive complete, fsynced, entered, renamed, its folder fsynced; the intent to cut entered
//! with the physical address and the hash of the block that will be the first; the cut; the live file fsynced; the new base entered.

pub mod collapse;
pub mod cycle;
pub mod fault;
pub mod fiemap;
pub mod header;
pub mod immutable;
pub mod piece;
pub mod reopen;
pub mod retain;
pub mod suit;
pub mod worker;
