//! Leases: of all who want to do something, one may, until a time that the database's clock says.
//!
//! ```text
//!  name      holder    epoch  until
//!  node:7    a#31          4  12:00:10     acquired ─► renewed ─► … ─► released, or over and taken by another: epoch 5
//! ```
//!
//! Who holds one may pause at any moment, for any time: it never knows by its own clock alone that it still holds it. So
//! what it writes is written together with a look at the lease ([`Catalog::apply_guarded`](crate::Catalog)), and
//! refused when there is a newer epoch. An epoch is never given twice.

use model::NodeNumber;

/// Something that one at a time may do, as it was acquired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// What for: `node:7`, `gather`.
    pub name: String,
    /// Who: distinguishes processes, and a process that is started again from the one before where that matters.
    pub holder: String,
    /// How often it changed hands.
    pub epoch: i64,
}

/// The lease by which a node claims its number: two nodes of one number would give the same ids.
#[must_use]
pub fn node_lease(number: NodeNumber) -> String {
    format!("node:{}", number.get())
}

/// What became of changes that count only while a lease is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guarded {
    /// They are written.
    Written,
    /// The lease is over, or somebody else's: nothing was written.
    Stale,
}
