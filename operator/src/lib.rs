//! The Waybill operator: turns each `AuditPolicy` into the agents that carry it out.
//!
//! [`caches`] watch the API server and tell the [`queue`] which policies to look at; the [`controller`] looks at each. A look
//! ([`reconcile`]) goes through phases, one module each:
//!
//! - [`dereference`] gathers what there is, from the caches alone.
//! - [`validate`] judges the policy by what this operator allows. Pure.
//! - [`build`] makes the objects: a DaemonSet, a `ConfigMap`, a `ServiceAccount` and a `NetworkPolicy`. Pure.
//! - [`apply`] writes those that are not yet as they should be; [`orphans`] removes what no policy wants.
//! - [`status`] says how the policy is. Pure, but for the write that follows it.
//!
//! The agents are told their kill switches and asked how they are by the [`fleet`], which outlives a look. Of several replicas
//! one acts: [`lease`]. In an unchanged world nothing is written but the Lease.
//!
//! Names are given in [`names`], arguments are read in [`settings`], [`policy`] is a policy as the cluster holds it, and [`run`]
//! wires it all.
#![forbid(unsafe_code)]

pub mod admin;
pub mod apply;
pub mod build;
pub mod caches;
pub mod controller;
pub mod definition;
pub mod dereference;
pub mod events;
pub mod fleet;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod orphans;
pub mod policy;
pub mod queue;
pub mod reconcile;
pub mod run;
pub mod settings;
pub mod status;
pub mod validate;

#[cfg(test)]
mod made_up;
