//! What a webhook is to be told next.
//!
//! ```text
//!  outbox (catalog) ──► what is wanted ──► one event at a time, in the order of ids
//!  alarms in memory ──┘  only while the catalog is away, and ahead of what waits in its journal
//! ```
//!
//! Each node tells of its own events, also where several share the outbox: one that is down tells of them when it is back.
//!
//! That the catalog is away is itself an alarm: it is not told by way of the catalog.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use model::NodeNumber;
use store::{Catalog, Event, Handle};

use super::place::Place;
use super::target::Target;
use crate::alarms::Told;

/// Events that are read at once.
const PAGE: usize = 100;
/// How long the catalog may take to answer before it is taken to be away.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the events are.
#[derive(Clone)]
pub(super) struct Sources {
    /// Whose events are told, where several nodes share the outbox.
    pub(super) node: Option<NodeNumber>,
    pub(super) catalog: Arc<Catalog>,
    /// Knows whether the catalog takes what it is told.
    pub(super) writer: Handle,
    pub(super) told: Told,
}

/// Where an event was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    Outbox,
    Memory,
}

/// See the module.
pub(super) struct Feed {
    sources: Sources,
    pub(super) place: Place,
    page: VecDeque<Event>,
}

impl Feed {
    pub(super) const fn new(sources: Sources, place: Place) -> Self {
        Self { sources, place, page: VecDeque::new() }
    }

    /// The next event that is wanted, if there is one now. It is given again until it is [done](Self::done) with.
    pub(super) async fn next(&mut self, target: &Target) -> Option<(Event, Origin)> {
        loop {
            let asked = match self.page.is_empty() {
                true => self.read().await,
                false => Asked::Answered { is_full: true },
            };
            while let Some(event) = self.page.front() {
                if self.sources.node.is_some_and(|node| event.id.node() != node) {
                    self.place.pass_other(event.id);
                } else if !self.place.was_told_ahead(event.id) && target.wants(event) {
                    return Some((event.clone(), Origin::Outbox));
                } else {
                    self.place.pass(event.id);
                }
                self.page.pop_front();
            }
            match asked {
                Asked::Answered { is_full: true } => {}
                Asked::Answered { is_full: false } if self.sources.writer.status().away_for.is_none() => {
                    return None;
                }
                Asked::Answered { .. } | Asked::Away => return self.remembered(target),
            }
        }
    }

    /// An event was told, or given up.
    pub(super) fn done(&mut self, event: &Event, from: Origin) {
        match from {
            Origin::Memory => self.place.told_ahead(event.id),
            Origin::Outbox => {
                self.page.pop_front();
                self.place.pass(event.id);
            }
        }
    }

    async fn read(&mut self) -> Asked {
        let asked = self.sources.catalog.events(self.place.after(), PAGE);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(page)) => {
                let is_full = page.len() >= PAGE;
                self.page = page.into();
                Asked::Answered { is_full }
            }
            _ => Asked::Away,
        }
    }

    fn remembered(&self, target: &Target) -> Option<(Event, Origin)> {
        let recent = self.sources.told.recent_after(self.place.own());
        let mut wanted = recent.into_iter().filter(|e| !self.place.is_done(e.id) && target.wants(e));
        wanted.next().map(|event| (event, Origin::Memory))
    }
}

/// What came of asking the outbox.
enum Asked {
    /// A page; a full one has perhaps another behind it.
    Answered {
        is_full: bool,
    },
    Away,
}
