//! Failures on order: the file that a debug build of callspool looks into at each file operation.

use std::path::{Path, PathBuf};

use crate::support::server::Server;
use crate::support::{PATIENCE, wait_until};

/// The file of the rules.
pub struct Orders {
    path: PathBuf,
}

impl Orders {
    /// With no rule yet.
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join("faults") }
    }

    /// With no rule yet, for this server from its next start on.
    pub fn of(server: &mut Server) -> Self {
        let orders = Self::new(server.directory());
        server.set("DEBUG_FAULTS", orders.path.to_str().expect("a path"));
        orders
    }

    /// Fails unless the server has carried out this rule: what never happened was not tried.
    pub fn expect_obeyed(&self, server: &Server, rule: &str) {
        wait_until(&format!("{rule} to happen"), PATIENCE, || {
            let log = server.log();
            if log.contains(&format!("on order: {rule} (")) { Ok(()) } else { Err("it never did".to_owned()) }
        });
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// These rules from now on, one a line: `append~06bq:fail@3`.
    pub fn give(&self, rules: &str) {
        let beside = self.path.with_extension("new");
        std::fs::write(&beside, rules).expect("rules");
        std::fs::rename(beside, &self.path).expect("rules");
    }

    /// None any more.
    pub fn withdraw(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
