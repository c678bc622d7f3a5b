//! Failures on order: the file that a debug build of callspool looks into at each file operation.

use std::path::{Path, PathBuf};

/// The file of the rules.
pub struct Orders {
    path: PathBuf,
}

impl Orders {
    /// With no rule yet.
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join("faults") }
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
