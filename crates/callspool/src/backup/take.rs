//! Taking a backup, beside a server that goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use faults::{Operation, Share, before};
use spool::digest::Digester;
use store::Catalog;

use super::{
    CATALOG, CONFIGURATION, Entry, FILE_MAX, FILES_MAX, FORMAT, JOURNAL, MANIFEST, Manifest, named_files,
};
use crate::cli::{CliError, file_error};
use crate::config::Loaded;

/// A file that will be in the archive.
struct Source {
    entry: Entry,
    from: PathBuf,
}

/// Writes a backup to a file, which must not exist. Its name appears when it is whole and durable.
pub(crate) async fn take(loaded: &Loaded, to: &Path) -> Result<Manifest, CliError> {
    let what = || format!("cannot write the backup {}", to.display());
    if to.exists() {
        return Err(CliError::failed(what(), "it exists", "name another file, or remove that one"));
    }
    let work = Work::beside(to).map_err(|e| file_error(what(), &e))?;
    let mut sources = Vec::new();
    let config = &loaded.config;
    // The journal before the catalog: see the module.
    let journal = work.path("journal");
    copy_whole_lines(&config.catalog.journal, &journal).map_err(|e| {
        file_error(format!("cannot read the journal {}", config.catalog.journal.display()), &e)
    })?;
    let snapshot = work.path("catalog");
    // One on a server is saved by the server's own means.
    if !config.catalog.url.is_given() && config.catalog.path.exists() {
        snapshot_of(&config.catalog.path, &snapshot).await?;
        sources.push(
            source("catalog.db", CATALOG, &config.catalog.path, snapshot)
                .map_err(|e| file_error(what(), &e))?,
        );
    }
    sources.push(
        source("catalog.journal", JOURNAL, &config.catalog.journal, journal)
            .map_err(|e| file_error(what(), &e))?,
    );
    let named = named_files(config)
        .into_iter()
        .filter(|(setting, _)| ![CATALOG, JOURNAL].contains(&setting.as_str()));
    let configuration = loaded.file.iter().map(|file| (CONFIGURATION.to_owned(), file.clone()));
    for (setting, path) in named.chain(configuration) {
        if sources.len() < FILES_MAX && path.is_file() {
            let name = match setting.as_str() {
                CONFIGURATION => "callspool.toml".to_owned(),
                _ => format!("file-{}", sources.len()),
            };
            let read = source(&name, &setting, &path, path.clone());
            sources.push(read.map_err(|e| file_error(format!("cannot read {}", path.display()), &e))?);
        }
    }
    let manifest = Manifest {
        format: FORMAT,
        callspool: env!("CARGO_PKG_VERSION").to_owned(),
        made: crate::clock::wall().to_string(),
        node: config.node.number.get(),
        files: sources.iter().map(|s| s.entry.clone()).collect(),
    };
    write(&work.path("tar"), &manifest, &sources)
        .and_then(|()| work.publish("tar", to))
        .map_err(|e| file_error(what(), &e))?;
    Ok(manifest)
}

async fn snapshot_of(path: &Path, to: &Path) -> Result<(), CliError> {
    let catalog = Catalog::reader(path);
    let done = catalog.snapshot(to).await;
    catalog.close().await;
    done.map_err(|e| {
        CliError::failed(
            format!("cannot copy the catalog {}", path.display()),
            e,
            "free space beside the backup, or try again; `callspool doctor` looks at the catalog",
        )
    })
}

/// What stands in the journal, without a line that is being written. Nothing, when there is none.
fn copy_whole_lines(journal: &Path, to: &Path) -> io::Result<()> {
    let bytes = match std::fs::read(journal) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let (mut file, share) = private(to)?;
    share.write(bytes.get(..whole).unwrap_or_default(), |bytes| file.write_all(bytes))
}

fn source(name: &str, setting: &str, path: &Path, from: PathBuf) -> io::Result<Source> {
    let mut file = File::open(&from)?;
    if from == path && file.metadata()?.len() > FILE_MAX {
        return Err(io::Error::other(format!(
            "more than {FILE_MAX} octets, which is no key and no certificate"
        )));
    }
    let mut digester = Digester::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        digester.update(buffer.get(..count).unwrap_or_default());
    }
    let digest = digester.finish();
    let entry = Entry {
        name: name.to_owned(),
        setting: setting.to_owned(),
        path: path.to_owned(),
        octets: digest.bytes,
        sha256: digest.sha256,
    };
    Ok(Source { entry, from })
}

fn write(to: &Path, manifest: &Manifest, sources: &[Source]) -> io::Result<()> {
    let (file, share) = private(to)?;
    let mut archive = tar::Builder::new(BufWriter::new(file));
    let text = serde_json::to_vec_pretty(manifest)?;
    archive.append_data(&mut header(text.len() as u64), MANIFEST, text.as_slice())?;
    if share == Share::Half {
        return archive.into_inner().map(drop).and(Err(faults::torn()));
    }
    for Source { entry, from } in sources {
        archive.append_data(&mut header(entry.octets), &entry.name, File::open(from)?.take(entry.octets))?;
    }
    let file = archive.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

fn header(octets: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(octets);
    header.set_mode(0o600);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

fn private(path: &Path) -> io::Result<(File, Share)> {
    let share = before(Operation::BackupWrite, path)?;
    Ok((OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?, share))
}

/// A directory beside the backup, for what it is made of; it goes when this goes.
struct Work(PathBuf);

impl Work {
    fn beside(to: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let mut name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let path = to.with_file_name(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Never over a file that is there.
    fn publish(&self, name: &str, to: &Path) -> io::Result<()> {
        before(Operation::BackupPublish, to)?;
        std::fs::hard_link(self.path(name), to)?;
        let directory = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
