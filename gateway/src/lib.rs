//! The gateway: an OpenID Provider towards portals, a relying party towards identity providers, and trust policy in
//! between. This is the only package with a listener and a disk.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`config`] | `gateway.toml`, checked as a whole |
//! | [`catalog`] | the bundle: clients, services, providers, words |
//! | [`store`] | three verbs over two classes; the audit chain |
//! | [`keys`], [`seal`] | signing keys, and what leaves the process sealed |
//! | [`egress`] | the way out |
//! | [`http`], [`op`], [`pages`] | requests, endpoints, pages |
//! | [`app`] | what requests share |
//! | [`server`] | a running gateway, from start to end |

pub mod app;
pub mod authority;
pub mod catalog;
pub mod config;
pub mod egress;
pub mod http;
pub mod keys;
pub mod links;
pub mod op;
pub mod pages;
pub mod ports;
pub mod seal;
pub mod server;
pub mod shared;
pub mod store;
