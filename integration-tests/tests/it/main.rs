//! The gateway from outside. One binary, so that it links once.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]
#![expect(clippy::too_many_lines, reason = "tables of hostile input are long")]

mod attacks;
mod authorize;
mod bad_input;
mod browsers;
mod bundles;
mod by_reference;
mod callback;
mod check_session;
mod checklist;
mod ciba;
mod client_auth;
mod cluster;
mod consents;
mod details;
mod device;
mod direct;
mod exchange;
mod fapi;
mod flaws;
mod guangdong;
mod guangdong_account;
mod iam_smart;
mod iam_smart_cluster;
mod iam_smart_deliveries;
mod iam_smart_keys;
mod iam_smart_refusals;
mod iam_smart_waiting;
mod link;
mod login;
mod logout;
mod macao;
mod matrix;
mod mtls;
mod mutual_tls;
mod oidc;
mod outcome;
mod peers;
mod policy_flaws;
mod portals;
mod protected;
mod refresh;
mod register;
mod secrecy;
mod sectors;
mod session;
mod step_up;
mod tidy;
mod token;
mod tokens;
mod transport;
mod upstream;
mod upstream_logout;
mod userinfo;
