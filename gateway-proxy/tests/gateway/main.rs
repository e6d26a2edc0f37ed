//! The gateway at its HTTP boundary: a real client, a real server, and an upstream and a collector that do as the test says.

mod bad_input;
mod disconnects;
mod forwarding;
mod models;
mod records;
mod streams;
mod support;
mod timeouts;
