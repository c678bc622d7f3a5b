//! SIPREC metadata of the clients in use: what is read of them, whatever form it has.

#![allow(clippy::unwrap_used, reason = "a test tells what is wrong by panicking")]

mod any_form;
mod clients;
mod forms;
mod over_time;
mod picture;
