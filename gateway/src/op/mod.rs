//! The OpenID Provider: one file an endpoint, each parse → decide → commit → render.
//!
//! | file | endpoint or duty |
//! | --- | --- |
//! | [`authorize`] | `/authorize` |
//! | [`login`] | the chooser, leaving for a provider, giving up |
//! | [`callback`] | `/callback/{provider}` |
//! | [`account`] | a person's ledger, and signing out |
//! | [`logout`] | `/logout`, and telling portals |
//! | [`check_session`] | a frame that portals ask whether a session changed |
//! | [`upstream_logout`] | a provider's word that somebody signed out there |
//! | [`direct`] | sign-ins that began at the provider |
//! | [`link`] | linking another account in the middle of a sign-in |
//! | [`matching`] | an authority's word that two accounts are one person's |
//! | [`waiting`] | waiting for a provider's delivery, and taking it |
//! | [`device`], `collected` | `/device_authorization`, `/device`: terminals that ask, and answers that wait for whoever asked |
//! | [`ciba`], [`requests`] | `/bc-authorize`, `/requests`: people who are asked where they are |
//! | [`consent`] | the consent page and its answer |
//! | `flow`, `judge` | carry out what the dispatcher says; put a login to policy |
//! | `issue`, `mint` | the only places that mint codes and tokens; take a `Permit`, and for tokens a taken grant |
//! | [`pushed`], `request_object`, `sector` | `/par`; requests that their client signed; whose sector lists where they lead |
//! | [`register`], [`checklist`] | `/register`: portals that register themselves, and what they have to show |
//! | [`federation`], `joining` | who we are in federations; portals that one vouches for |
//! | [`logo`] | the pictures of portals |
//! | `client_keys`, `dpop` | what a client signed; proofs that it holds a key |
//! | `protect` | what a client is sent signed and encrypted |
//! | `back_end`, `exchange` | clients that act for themselves; tokens exchanged for narrower ones |
//! | `access` | what a token stands for now |
//! | [`introspect`], [`revoke`] | `/introspect`, `/revoke` |
//! | [`token`], `refresh`, [`userinfo`], [`discovery`] | the endpoints for portals' back ends |

mod access;
pub mod account;
pub mod authorize;
mod back_end;
pub mod callback;
pub mod check_session;
pub mod checklist;
pub mod ciba;
pub mod client_auth;
pub mod client_keys;
mod collected;
pub mod consent;
pub mod device;
pub mod direct;
pub mod discovery;
mod dpop;
mod exchange;
pub mod federation;
mod flow;
pub mod introspect;
mod issue;
pub mod joining;
mod judge;
pub mod link;
pub mod login;
pub mod logo;
pub mod logout;
pub mod matching;
mod mint;
mod person;
pub mod protect;
pub mod pushed;
mod refresh;
pub mod register;
mod request_object;
pub mod requests;
pub mod revoke;
mod sector;
mod session;
pub mod token;
mod transaction;
pub mod upstream_logout;
pub mod userinfo;
mod visit;
pub mod waiting;

pub use visit::Visit;
