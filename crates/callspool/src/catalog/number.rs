//! The number of this node, claimed by a lease where several nodes share a catalog: two of one number would give the same
//! ids.
//!
//! ```text
//!  start: nobody has it, or this node had it ──► held, renewed each 10 s
//!         another node has it ─────────────────► no start
//!         the catalog does not answer ─────────► recording begins all the same; claimed when it does
//!  later: lost while the catalog was away, and another node has it by now ──► alarm `number-taken`
//! ```
//!
//! What is recorded is never given up for it: who holds the number is told, and people decide.

use std::time::{Duration, Instant};

use model::alarm::Seen;
use model::{Condition, TenantId};
use store::{Catalog, Lease, Place, node_lease};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::cli::CliError;
use crate::config::Config;
use crate::recorder::Teller;

/// How long it is held without being renewed.
const LASTS: Duration = Duration::from_secs(30);
/// How often it is renewed: twice may fail.
const RENEWED: Duration = Duration::from_secs(10);
/// How long a catalog that is away may delay the start.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether what this machine held before it was started again is over.
const LOOK: Duration = Duration::from_millis(500);
/// How long giving it back may take.
const LEAVE: Duration = Duration::from_secs(1);

/// The claim of this node to its number.
pub(crate) struct Claim {
    place: Place,
    /// Opened as soon as it answers.
    catalog: Option<Catalog>,
    name: String,
    holder: String,
    lease: Option<Lease>,
    /// Another process had it after this one.
    was_taken: bool,
    tenant: TenantId,
}

/// How a try came out.
enum Tried {
    Held,
    /// By whom.
    Taken(String),
    Away(String),
}

impl Claim {
    /// Claims the number, if there is a catalog on a server.
    pub(crate) async fn make(config: &Config, place: &Place) -> Result<Option<Self>, CliError> {
        if matches!(place, Place::File(_)) {
            return Ok(None);
        }
        let number = config.node.number;
        let (node, boot) = (whose(config), boot());
        let mut claim = Self {
            place: place.clone(),
            catalog: None,
            name: node_lease(number),
            holder: format!("{node}#{boot}"),
            lease: None,
            was_taken: false,
            tenant: config.recording.tenant.clone(),
        };
        let begun = Instant::now();
        loop {
            match claim.attempt().await {
                Tried::Held => return Ok(Some(claim)),
                Tried::Away(why) => {
                    tracing::warn!(
                        "whether another node has number {} is not known yet: {why}",
                        number.get()
                    );
                    return Ok(Some(claim));
                }
                // Its machine was started again, and what it held before is not over.
                Tried::Taken(by) if node_of(&by) == node && begun.elapsed() < LASTS + RENEWED => {
                    sleep(LOOK).await;
                }
                Tried::Taken(by) => {
                    let why = format!("node.number {} is that of {}", number.get(), node_of(&by));
                    let todo = "give each node another number; one that was just moved has to be stopped";
                    return Err(CliError::failed("cannot share the catalog", why, todo));
                }
            }
        }
    }

    async fn attempt(&mut self) -> Tried {
        match timeout(PATIENCE, self.acquire()).await {
            Ok(Ok(None)) => Tried::Held,
            Ok(Ok(Some(by))) => Tried::Taken(by),
            Ok(Err(why)) => Tried::Away(why),
            Err(_) => Tried::Away("the catalog does not answer".to_owned()),
        }
    }

    /// Takes or renews it; says who has it else.
    async fn acquire(&mut self) -> Result<Option<String>, String> {
        let catalog = match &mut self.catalog {
            Some(catalog) => catalog,
            none => none.insert(Catalog::open(&self.place).await.map_err(|e| e.to_string())?),
        };
        let said = |e: store::CatalogError| e.to_string();
        if let Some(lease) = &self.lease {
            if catalog.renew(lease, LASTS).await.map_err(said)? {
                return Ok(None);
            }
            // It is renewed as long as nobody else took it, so somebody did: perhaps one that says the same of itself, a copy
            // of this configuration on this machine.
            self.lease = None;
            self.was_taken = true;
        }
        if self.was_taken
            && let Some(by) = catalog.lease_holder(&self.name).await.map_err(said)?
        {
            return Ok(Some(by));
        }
        self.was_taken = false;
        self.lease = catalog.acquire(&self.name, &self.holder, LASTS).await.map_err(said)?;
        if self.lease.is_some() {
            return Ok(None);
        }
        // Over meanwhile: it is asked again.
        let by = catalog.lease_holder(&self.name).await.map_err(said)?;
        by.map(Some).ok_or_else(|| "it changes hands".to_owned())
    }

    /// Holds it until this process stops.
    pub(crate) async fn keep(mut self, teller: Teller, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = sleep(RENEWED) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            let seen = match self.attempt().await {
                Tried::Held => Seen::Good,
                Tried::Taken(by) => Seen::Bad(format!(
                    "{} has the number of this node by now: give each node another node.number and start it again, or \
                     both give the same ids",
                    node_of(&by)
                )),
                // Told as `catalog-away`.
                Tried::Away(_) => continue,
            };
            teller.observe_node(Condition::NumberTaken, &self.tenant, seen);
        }
        if let (Some(catalog), Some(lease)) = (&self.catalog, &self.lease)
            && !matches!(timeout(LEAVE, catalog.release(lease)).await, Ok(Ok(true)))
        {
            tracing::info!("the number of this node is free again in {} s", LASTS.as_secs());
        }
    }
}

/// This node, as an operator knows it.
fn whose(config: &Config) -> String {
    // Divides it from the boot.
    format!("{}:{}", config.node.name, config.node.data_dir.display()).replace('#', "_")
}

fn node_of(holder: &str) -> &str {
    holder.split('#').next().unwrap_or(holder)
}

/// Tells a machine from one that was copied from it, and is another after each boot. Without it, both are taken for one.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
