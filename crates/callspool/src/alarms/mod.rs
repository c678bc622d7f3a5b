//! The alarms of this process: a thread that lets time pass for them, and clears what an earlier process raised.
//!
//! Alarms are decided by [`model::alarm::Alarms`], inside the [`Teller`], where they are told. Nothing here is
//! waited for by anybody.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use model::{ChangeKind, NodeNumber, TenantId, WallTime};
use store::{AlarmQuery, Catalog, LIST_MAX};

use crate::catalog::CatalogLink;
use crate::cli::CliError;
use crate::clock::{mono, wall};
use crate::config::Config;
use crate::recorder::Teller;

/// How often it is looked at least: alarms are told to people, who do not notice a second.
const LOOK: Duration = Duration::from_secs(1);

/// The running thread.
pub(crate) struct AlarmClock {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl AlarmClock {
    /// Starts the thread, and has alarms of an earlier process cleared as soon as the catalog answers.
    pub(crate) fn start(config: &Config, catalog: &CatalogLink, teller: &Teller) -> Result<Self, CliError> {
        let (stop, stopped) = bounded(1);
        let to_tick = teller.clone();
        let thread = std::thread::Builder::new().name("alarms".to_owned());
        let thread = thread.spawn(move || run(&to_tick, &stopped)).map_err(|e| {
            CliError::failed("cannot watch for alarms", e, "check the limit of threads (ulimit -u)")
        })?;
        let (reader, teller) = (Arc::clone(&catalog.reader), teller.clone());
        let (tenant, node, started) = (config.recording.tenant.clone(), config.node.number, wall());
        tokio::spawn(async move {
            while !clear_former(&reader, &teller, &tenant, node, started).await {
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(Self { stop, thread })
    }

    /// Ends the thread.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the alarms did not end as it should");
        }
    }
}

fn run(teller: &Teller, stopped: &Receiver<()>) {
    crate::priority::step_back();
    loop {
        let wait = teller.tick().map_or(LOOK, |at| at.since(mono()).min(LOOK));
        match stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Conditions that a process before this one raised and did not clear are over with it; what is still the case is
/// raised anew. False: the catalog does not answer yet.
async fn clear_former(
    catalog: &Catalog,
    teller: &Teller,
    tenant: &TenantId,
    node: NodeNumber,
    started: WallTime,
) -> bool {
    let query =
        AlarmQuery { tenant: tenant.clone(), active: true, limit: Some(LIST_MAX), ..AlarmQuery::default() };
    let Ok(rows) = catalog.alarms(&query).await else { return false };
    let is_full = rows.len() >= LIST_MAX;
    let former = rows.into_iter().filter(|r| r.node == node && r.alarm.raised < started);
    let mut cleared = 0;
    for mut row in former {
        cleared += 1;
        row.alarm.cleared = Some(wall());
        teller.tell(row.tenant, ChangeKind::Alarm(Box::new(row.alarm)));
    }
    // A page at a time; the next one when these are written.
    !(is_full && cleared > 0)
}
