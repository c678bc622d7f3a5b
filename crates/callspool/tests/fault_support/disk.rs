//! A disk of the test's own: a file system in a file, by a loop device. It can be unmounted under its writers,
//! mounted again with all that they wrote, and frozen, so that whoever writes stands still in the kernel.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::program::{Done, run};

/// 32 MiB: ext4 takes some of it, calls of a test little.
const OCTETS: u64 = 32 << 20;

/// Mounted as long as it lives.
pub struct Disk {
    image: TempDir,
    path: TempDir,
    device: String,
}

impl Disk {
    /// Makes and mounts one; none where there are no loop devices, which is so in most containers.
    pub fn mount() -> Option<Self> {
        let image = tempfile::Builder::new().prefix("callspool-image-").tempdir().expect("a directory");
        let file = image.path().join("disk");
        std::fs::File::create(&file).and_then(|f| f.set_len(OCTETS)).expect("an image");
        let file = file.to_str().unwrap();
        tool("mkfs.ext4", &["-q", "-F", file]).expect_ok("mkfs.ext4");
        let found = tool("losetup", &["--find", "--show", file]);
        if found.code != Some(0) {
            println!("NOT TRIED: there is no loop device here: {}", found.err.trim());
            return None;
        }
        let device = found.text().trim().to_owned();
        let path = tempfile::Builder::new().prefix("callspool-disk-").tempdir().expect("a directory");
        let disk = Self { image, path, device };
        disk.plug();
        Some(disk)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.path.path()
    }

    /// Unmounts it lazily: what is open goes on, everybody else finds an empty directory.
    pub fn pull(&self) {
        tool("umount", &["-l", self.text()]).expect_ok("umount");
    }

    /// Mounts it again.
    pub fn plug(&self) {
        tool("mount", &[self.device.as_str(), self.text()]).expect_ok("mount, which needs root");
    }

    /// Whoever writes to it stands still from now on, until [`Frozen`] goes.
    pub fn freeze(&self) -> Frozen<'_> {
        tool("fsfreeze", &["--freeze", self.text()]).expect_ok("fsfreeze");
        Frozen(self)
    }

    fn text(&self) -> &str {
        self.path().to_str().unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = tool("umount", &["-l", self.text()]);
        // What is open still keeps it; the kernel lets go of it then.
        let _ = tool("losetup", &["--detach", &self.device]);
        let _ = self.image.path();
    }
}

/// A disk that stands still as long as this lives.
pub struct Frozen<'a>(&'a Disk);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = tool("fsfreeze", &["--unfreeze", self.0.text()]);
    }
}

fn tool(name: &str, arguments: &[&str]) -> Done {
    let mut command = Command::new(name);
    command.args(arguments);
    run(command, PATIENCE)
}
