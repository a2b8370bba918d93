//! HTTP: what comes in, what goes out, and the route table.

pub mod body;
pub mod connections;
mod hello;
pub mod listener;
pub mod reply;
pub mod request;
pub mod routes;
