//! All sinks at once, each against a real server or a strict double: what they take of memory, how they leave each other alone, and
//! what `check --probe` says of typical mistakes.

mod dead;
mod mistakes;
mod secrets;
mod site;
mod together;
