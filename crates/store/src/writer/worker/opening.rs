//! How the worker gets a catalog that it can write to: it opens it, sees that it is still the one that it was, and moves
//! files away that must not be opened.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::Report;
use super::{BATCH, Worker, apply};
use crate::catalog::Catalog;
use crate::error::{CatalogError, OpenError};
use crate::place::Place;
use crate::postgres;
use crate::sqlite::file::{Aside, Identity, set_aside};

impl Worker {
    pub(super) fn failed(&mut self, error: &CatalogError, report: &mut impl FnMut(Report)) {
        self.failing = true;
        if let CatalogError::Damaged(_) | CatalogError::Open(OpenError::Damaged { .. }) = error {
            self.damaged = Some(error.to_string());
        }
        self.note_away(&error.to_string(), report);
    }

    pub(super) fn note_away(&self, why: &str, report: &mut impl FnMut(Report)) {
        if self.shared.away(why) {
            tracing::warn!(why, "the catalog is not up to date; changes go to the journal");
            report(Report::Away { why: why.to_owned() });
        }
    }

    /// Whether the catalog is open and the one at the path; opens it when not.
    pub(super) async fn ensure_open(&mut self, report: &mut impl FnMut(Report)) -> bool {
        if let Some(catalog) = self.catalog.take() {
            if !self.failing && catalog.is_current().await {
                self.catalog = Some(catalog);
                self.note_back(report);
                return true;
            }
            self.last = catalog.identity().await;
            self.while_spilling(catalog.close(), report).await;
        }
        if let Place::File(path) = self.config.place.clone()
            && let Err(source) = self.make_way(&path).await
        {
            self.failed(&CatalogError::Open(OpenError::File { path, source }), report);
            return false;
        }
        match self.open(report).await {
            Ok(catalog) => {
                self.last = catalog.identity().await;
                self.catalog = Some(catalog);
                self.failing = false;
                self.replay_at = 0;
                if let Some((why, set_aside)) = self.rebuilding.take() {
                    tracing::info!(why, "the catalog is a new one: the repository is to be reindexed");
                    report(Report::Rebuilt { why, set_aside });
                }
                true
            }
            Err(error) => {
                self.failed(&error, report);
                false
            }
        }
    }

    async fn open(&mut self, report: &mut impl FnMut(Report)) -> Result<Catalog, CatalogError> {
        let place = self.config.place.clone();
        let catalog = self.while_spilling(Catalog::open(place), report).await?;
        if let Some(server) = catalog.server().await {
            let compared = self.compare(&catalog, &server, report).await;
            if let Err(error) = compared {
                self.while_spilling(catalog.close(), report).await;
                return Err(error);
            }
            self.server = Some(server);
        }
        Ok(catalog)
    }

    /// A server may be another one than before: a standby that took over lacks what it had not received, and what was put
    /// back from a backup lacks more. What is remembered of what was written is written again, and where that does not
    /// reach far enough a reindex is wanted.
    async fn compare(
        &mut self,
        catalog: &Catalog,
        server: &postgres::Identity,
        report: &mut impl FnMut(Report),
    ) -> Result<(), CatalogError> {
        let why = match &self.server {
            _ if server.is_new => "there was none",
            Some(last) if last.made != server.made => "it is another one on the server now",
            Some(last) if last.timeline != server.timeline => {
                // What is written is received in order: who has the first of these has all before it.
                let reaches = match self.recent.first() {
                    Some(first) => catalog.has_event(first).await?,
                    None => true,
                };
                let again = self.recent.all();
                tracing::warn!(changes = again.len(), reaches, "another server took over the catalog");
                for piece in again.chunks(BATCH) {
                    self.while_spilling(apply(catalog, piece), report).await?;
                }
                if reaches {
                    return Ok(());
                }
                "the server that took over lacks what was written to the one before"
            }
            _ => return Ok(()),
        };
        self.shared.want_reindex(why);
        self.rebuilding.get_or_insert((why.to_owned(), Vec::new()));
        Ok(())
    }

    /// Before the catalog is opened: moves away what must not be opened, and notes that a reindex is wanted when
    /// there will be a new one. A kill between the two must not make an empty catalog look complete.
    async fn make_way(&mut self, path: &Path) -> io::Result<()> {
        let at = path.to_owned();
        let looking = move || Ok((Identity::of(&at)?, fs::metadata(&at).map_or(0, |m| m.len())));
        let (now, octets) = self.disk.ask(looking).await?;
        let was_open = self.last.main.is_some();
        let (why, moved) = if was_open && now.main != self.last.main {
            let moved = self.aside(path, Aside::Leftovers(self.last)).await;
            self.last = Identity::default();
            self.damaged = None;
            let why = if now.main.is_some() { "it was replaced by another file" } else { "it was deleted" };
            (why.to_owned(), moved)
        } else if let Some(damage) = self.damaged.take() {
            (damage, self.aside(path, Aside::All).await)
        } else if self.rebuilding.is_none() && octets == 0 {
            ("there was none".to_owned(), Vec::new())
        } else {
            return Ok(());
        };
        self.shared.want_reindex(&why);
        let (_, set_aside) = self.rebuilding.get_or_insert((why, Vec::new()));
        set_aside.extend(moved);
        Ok(())
    }

    async fn aside(&self, path: &Path, what: Aside) -> Vec<PathBuf> {
        let path = path.to_owned();
        self.disk.ask(move || set_aside(&path, what)).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a damaged catalog cannot be set aside");
            Vec::new()
        })
    }

    /// The catalog is open; it is back when the journal is replayed too.
    fn note_back(&mut self, report: &mut impl FnMut(Report)) {
        if !self.journal_waits() && self.shared.back() {
            report(Report::Back { replayed: std::mem::take(&mut self.replayed) });
        }
    }
}
