//! The gateway from outside. One binary, so that it links once.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]
#![expect(clippy::too_many_lines, reason = "tables of hostile input are long")]

mod authorize;
mod browsers;
mod callback;
mod client_auth;
mod cluster;
mod flaws;
mod iam_smart;
mod link;
mod login;
mod mutual_tls;
mod peers;
mod secrecy;
mod session;
mod tidy;
mod token;
mod upstream;
mod userinfo;
