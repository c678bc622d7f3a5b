//! The habits of the house, as tests: what a reviewer would otherwise have to look for by eye.
//!
//! Each module checks one subject over the files of the checkout, holds its rules as data at its top, and
//! proves on samples that each rule fires: a check that cannot fail checks nothing. Files are read, never
//! changed, but for `docs/recording-states.md` under `UPDATE_EXPECT=1` (see [`states`]).
//!
//! `cargo test --workspace --test tidy` runs it; `./dev test` does so first, because it is quick.

#![cfg(test)]

mod decisions;
mod failpoints;
mod files;
mod headers;
mod imports;
mod invariants;
mod leftovers;
mod lexer;
mod licenses;
mod links;
mod paths;
mod purity;
mod sizes;
mod states;
