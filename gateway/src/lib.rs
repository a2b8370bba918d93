//! The gateway: an OpenID Provider towards portals, a relying party towards identity providers, and trust policy in
//! between. This is the only package with a listener and a disk.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`config`] | `gateway.toml`, checked as a whole |
//! | [`bundle`], [`activation`] | documents, signed archives of them, and which is in effect |
//! | [`catalog`] | what a bundle says, checked as a whole and indexed |
//! | [`admission`], [`roll`] | what portals register themselves under, and who did |
//! | [`active`] | bundle and roll together: what one step of a login works with |
//! | [`store`] | three verbs over two classes; the audit chain |
//! | [`keys`], [`seal`] | signing keys, and what leaves the process sealed |
//! | [`egress`] | the way out |
//! | [`http`], [`op`], [`pages`] | requests, endpoints, pages |
//! | [`app`] | what requests share |
//! | [`server`] | a running gateway, from start to end |

pub mod activation;
pub mod active;
pub mod admission;
pub mod app;
pub mod authority;
pub mod bundle;
pub mod catalog;
pub mod config;
pub mod control;
pub mod egress;
pub mod exports;
pub mod federation;
pub mod http;
pub mod keys;
pub mod limits;
pub mod links;
pub mod load;
pub mod notices;
pub mod op;
pub mod pages;
pub mod ports;
pub mod receipts;
pub mod roll;
pub mod seal;
pub mod server;
pub mod shared;
pub mod source;
pub mod store;
pub mod usage;
