//! Synchronizers of several nodes, in virtual time: a network that loses, doubles, delays and reorders, disks that fail
//! and forget what was not synced, processes that are killed after any step.

mod disk;
mod left;
mod properties;
mod stories;
mod twins;
mod world;
