//! A small file system in memory, which can be filled, made read-only, hidden, and made writable again.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::program::run;

/// Mounted as long as it lives.
pub struct Volume {
    path: TempDir,
    hidden: bool,
    mounted: bool,
}

impl Volume {
    /// Mounts a tmpfs of so many KiB at a directory of its own.
    pub fn mount(kib: u32) -> Self {
        let path = tempfile::Builder::new().prefix("callspool-disk-").tempdir().expect("a directory");
        mount(&["-t", "tmpfs", "-o", &format!("size={kib}k,mode=700"), "tmpfs"], path.path());
        Self { path, hidden: false, mounted: true }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.path.path()
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).expect("a file to fill the disk");
        for size in [64 << 10, 4 << 10, 1] {
            let piece = vec![0x55; size];
            while file.write_all(&piece).is_ok() {}
        }
    }

    /// Takes away what `fill` wrote.
    pub fn empty(&self) {
        let _ = std::fs::remove_file(self.path().join("filler"));
    }

    /// Puts an empty read-only file system over it: what is open stays open, nothing can be opened or made.
    pub fn hide(&mut self) {
        mount(&["-t", "tmpfs", "-o", "ro,size=64k", "tmpfs"], self.path());
        self.hidden = true;
    }

    /// Puts an empty directory over it that could be written to: as if its disk were not mounted.
    pub fn cover(&mut self) {
        mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], self.path());
        self.hidden = true;
    }

    /// Unmounts it lazily: what is open goes on, everybody else finds an empty directory, and when nothing is open
    /// any more all that was written is gone.
    pub fn pull(&mut self) {
        unmount(self.path());
        self.mounted = false;
    }

    /// Takes that away again.
    pub fn show(&mut self) {
        unmount(self.path());
        self.hidden = false;
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        for _ in 0..usize::from(self.mounted) + usize::from(self.hidden) {
            unmount(self.path());
        }
    }
}

fn mount(arguments: &[&str], path: &Path) {
    let mut command = Command::new("mount");
    command.args(arguments).arg(path);
    let done = run(command, PATIENCE);
    assert!(
        done.code == Some(0),
        "this test mounts a small tmpfs, which needs root (and CAP_SYS_ADMIN in a container): mount {arguments:?} {}: {}",
        path.display(),
        done.err.trim()
    );
}

/// Lazily: whatever still has it open does not hold up the end of the test.
fn unmount(path: &Path) {
    let _ = Command::new("umount").arg("-l").arg(path).status();
}
