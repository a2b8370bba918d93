//! What the gateway *means*: nouns, protocol checks and the stages of a login.
//!
//! Pure and synchronous. Invariant: nothing in this crate reads a clock, draws randomness, opens a file or a socket;
//! `now` and fresh bytes are arguments. Everything that arrives from outside is parsed here, once, into a type that
//! cannot hold the wrong thing.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`document`] | TOML documents read with every problem named by file and line |
//! | [`params`] | request parameters: size, encoding and repetition rules |
//! | [`authorize`] | the authorization request and the visible list of its checks |
//! | [`interaction`] | the login transaction and its one dispatcher |
//! | [`token`] | the token request, the code grant, and what each token says |
//! | [`circumstances`] | what policy knows of a person, a place and a moment: closed words, no personal data |
//! | [`papers`] | numbers of identity documents, parsed and kept secret |
//! | [`names`] | names as written, and whether two may be the same |
//! | [`audit`] | what a login leaves behind, and the hash that chains one record to the next |

pub mod assertion;
pub mod assurance;
pub mod audit;
pub mod authorization_request;
pub mod authorize;
pub mod ciba;
pub mod circumstances;
pub mod claims;
mod claims_parameter;
pub mod client;
pub mod consent;
pub mod credential;
pub mod details;
pub mod digest;
pub mod discovery;
pub mod document;
pub mod error;
pub mod federation;
pub mod ids;
pub mod interaction;
pub mod jurisdiction;
pub mod link;
pub mod locale;
pub mod logout;
pub mod names;
pub mod papers;
pub mod params;
pub mod pkce;
pub mod profile;
pub mod redirect;
pub mod registration;
pub mod request_object;
pub mod responses;
pub mod secret;
pub mod subject;
pub mod time;
pub mod token;
mod token_request;
pub mod verified;
