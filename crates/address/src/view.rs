//! What can be seen of service addresses from outside: who holds each, what was counted, and what happened.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Who holds an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// This node.
    Here,
    /// Whoever is known by this address.
    Elsewhere(IpAddr),
    /// Nobody was heard yet, or whoever held it has let go.
    Unknown,
}

/// Since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// How often this node took the address.
    pub taken: u64,
    /// How often it let go of it.
    pub let_go: u64,
    /// Advertisements that were sent.
    pub sent: u64,
    /// Those that could not be sent.
    pub not_sent: u64,
    /// Those of other nodes that came.
    pub received: u64,
    /// Packets that were not for this address, or of nobody who may say so.
    pub refused: u64,
}

/// An address as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// What it is called.
    pub name: String,
    /// The address.
    pub address: IpAddr,
    /// Who holds it.
    pub holder: Holder,
    /// Why this node cannot hold it, or should not, if so.
    pub unwell: Option<String>,
    /// What was counted.
    pub counts: Counts,
}

/// All of them, as of a moment ago. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct View(Arc<Mutex<Vec<Shown>>>);

impl View {
    /// In the order of the settings.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn show(&self, shown: Vec<Shown>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

/// What happened to an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happened {
    /// This node holds it now.
    Taken {
        /// What it is called.
        name: String,
        /// Who was heard last to hold it.
        from: Option<IpAddr>,
    },
    /// It does not any more.
    LetGo {
        /// What it is called.
        name: String,
        /// Who is better.
        to: Option<IpAddr>,
        /// What is wrong here, if so.
        why: Option<String>,
    },
    /// This node cannot hold it, or should not.
    Unwell {
        /// What it is called.
        name: String,
        /// Why.
        why: String,
    },
    /// Now it can.
    Well {
        /// What it is called.
        name: String,
    },
}
