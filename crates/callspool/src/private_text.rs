//! Files with secrets: read only where nobody else can read them or write to them.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// 4 KiB: a handful of lines.
const FILE_MAX: u64 = 4_096;
/// Others than owner and group; and writing by the group.
const FORBIDDEN_MODE: u32 = 0o027;

/// What is wrong, and what to do.
pub(crate) type Wrong = (String, String);

/// The text of a file that nobody else may read.
pub(crate) fn private_text(path: &Path) -> Result<String, Wrong> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => {
            ("there is no such file".to_owned(), "make it, or leave it out".to_owned())
        }
        io::ErrorKind::PermissionDenied => (e.to_string(), "let this user read it".to_owned()),
        _ => (e.to_string(), "name a text file".to_owned()),
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & FORBIDDEN_MODE != 0 {
        let why = format!("others can read it or write to it (mode {mode:04o})");
        return Err((why, "chmod 600 it, or 640".to_owned()));
    }
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
