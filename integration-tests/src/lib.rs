//! The gateway seen from outside: everything a test needs to be a portal, a person with a browser, an attacker or an
//! operator. Panics where something that a test rests on is not there.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test set-up panics where it fails"
)]

pub mod browser;
pub mod federation;
pub mod keyed;
pub mod office;
pub mod peers;
pub mod rp;
pub mod servers;
pub mod world;

pub use browser::{Browser, Reply};
pub use keyed::Keyed;
pub use rp::Rp;
pub use world::World;
