//! `callspool cert`: a private authority, and certificates of the nodes that trust it.
//!
//! Keys go into files that only their owner may read, and nowhere else. Nothing is ever written over: a certificate
//! that is in use would be lost with it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use peers::authority::{AuthorityError, Pem, authority, node};
use zeroize::Zeroizing;

use super::args::{CertArgs, CertAuthorityArgs, CertCommand, CertNodeArgs};
use super::{CliError, Outcome, file_error};
use crate::serve::make_private_dir;

/// What the authority is called in its certificate.
const AUTHORITY_NAME: &str = "callspool cluster";
const CA: &str = "ca";
/// Octets of a file that is read: a certificate has some 1,000.
const FILE_OCTETS_MAX: u64 = 1 << 20;

pub(super) fn run(args: &CertArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    crate::dumps::forbid();
    make(args, out)
}

fn make(args: &CertArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    match &args.command {
        CertCommand::Authority(args) => make_authority(args, out),
        CertCommand::Node(args) => make_node(args, out),
    }
}

fn make_authority(args: &CertAuthorityArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let pem = authority(AUTHORITY_NAME, args.days).map_err(|error| wrong("an authority", &error))?;
    make_private_dir(&args.directory)?;
    write(&args.directory, CA, &pem)?;
    let at = |name: &str| args.directory.join(name).display().to_string();
    let lines = [
        format!("{}: the authority; copy it to each node (cluster.ca)", at("ca.pem")),
        format!("{}: its key; keep it where no node is: whoever has it can make nodes", at("ca.key")),
    ];
    tell(&lines, out)
}

fn make_node(args: &CertNodeArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let what = format!("a certificate for {}", args.name);
    let ca = Pem {
        certificate: read(&args.directory.join("ca.pem"))?.to_string(),
        key: read(&args.directory.join("ca.key"))?,
    };
    let pem = node(&ca, &args.name, &args.address, args.days).map_err(|error| wrong(&what, &error))?;
    write(&args.directory, args.name.as_str(), &pem)?;
    let at = |end: &str| args.directory.join(format!("{}.{end}", args.name)).display().to_string();
    let lines = [
        format!("{}: the certificate of {} (cluster.certificate)", at("pem"), args.name),
        format!("{}: its key (cluster.key)", at("key")),
        "move both to the node, with a copy of ca.pem, to where only callspool may read them".to_owned(),
    ];
    tell(&lines, out)
}

fn tell(lines: &[String], out: &mut dyn Write) -> Result<Outcome, CliError> {
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(CliError::output)?;
    Ok(Outcome::Ok)
}

fn wrong(what: &str, error: &AuthorityError) -> CliError {
    let what = format!("cannot make {what}");
    match error {
        AuthorityError::Authority(_) => {
            CliError::failed(what, error, "name the directory that `callspool cert authority` wrote to")
        }
        AuthorityError::Making(_) => CliError::failed(what, error, "report this"),
        _ => CliError::usage(what, error, "see `callspool cert node --help`"),
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::with_capacity(4_096));
    let read = fs::File::open(path).and_then(|file| file.take(FILE_OCTETS_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CliError::failed(
            format!("cannot read {}", path.display()),
            error,
            "make an authority there first: `callspool cert authority`",
        )),
        Err(error) => Err(file_error(format!("cannot read {}", path.display()), &error)),
    }
}

/// Writes both files of that name, or none of them.
fn write(directory: &Path, name: &str, pem: &Pem) -> Result<(), CliError> {
    let (key, certificate) = (directory.join(format!("{name}.key")), directory.join(format!("{name}.pem")));
    write_new(&key, &pem.key)?;
    write_new(&certificate, &pem.certificate).inspect_err(|_| {
        let _ = fs::remove_file(&key);
    })
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let what = format!("cannot write {}", path.display());
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let todo = "name another directory, or move it away if nothing uses it any more";
            return Err(CliError::failed(what, "there is one already", todo));
        }
        Err(error) => return Err(file_error(what, &error)),
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        let _ = fs::remove_file(path);
        file_error(what, &error)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use peers::Credentials;

    use super::*;

    fn authority_args(directory: &Path) -> CertArgs {
        let command = CertCommand::Authority(CertAuthorityArgs { directory: directory.to_owned(), days: 10 });
        CertArgs { command }
    }

    fn node_args(directory: &Path, name: &str) -> CertArgs {
        let (directory, name) = (directory.to_owned(), name.parse().unwrap());
        let address = vec!["192.0.2.11".to_owned(), "rec-1.example.com".to_owned()];
        CertArgs { command: CertCommand::Node(CertNodeArgs { directory, name, address, days: 10 }) }
    }

    fn said(args: &CertArgs) -> Result<String, String> {
        let mut out = Vec::new();
        make(args, &mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_made_can_be_used_and_is_read_by_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let cluster = directory.path().join("cluster");
        assert!(said(&authority_args(&cluster)).unwrap().contains("cluster.ca"));
        assert!(said(&node_args(&cluster, "rec-1")).unwrap().contains("cluster.certificate"));
        let at = |name: &str| cluster.join(name);
        let loaded = Credentials::load(&at("ca.pem"), &at("rec-1.pem"), &at("rec-1.key")).unwrap();
        assert_eq!(loaded.name().as_str(), "rec-1");
        for name in ["ca.pem", "ca.key", "rec-1.pem", "rec-1.key"] {
            assert_eq!(fs::metadata(at(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let directory = tempfile::tempdir().unwrap();
        said(&authority_args(directory.path())).unwrap();
        said(&node_args(directory.path(), "rec-1")).unwrap();
        let all = || -> Vec<String> {
            let names = ["ca.pem", "ca.key", "rec-1.pem", "rec-1.key"];
            names.iter().map(|name| fs::read_to_string(directory.path().join(name)).unwrap()).collect()
        };
        let before = all();
        for args in [
            authority_args(directory.path()),
            node_args(directory.path(), "rec-1"),
            node_args(directory.path(), "ca"),
        ] {
            let error = said(&args).unwrap_err();
            assert!(error.contains("there is one already"), "{error}");
        }
        assert_eq!(all(), before);
        fs::remove_file(directory.path().join("rec-1.key")).unwrap();
        said(&node_args(directory.path(), "rec-1")).unwrap_err();
        assert!(!directory.path().join("rec-1.key").exists(), "half of a pair stays");
    }

    #[test]
    fn without_an_authority_there_is_no_certificate_and_it_is_said_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let error = said(&node_args(directory.path(), "rec-1")).unwrap_err();
        assert!(error.contains("callspool cert authority"), "{error}");
        said(&authority_args(directory.path())).unwrap();
        fs::write(directory.path().join("ca.pem"), "nothing").unwrap();
        let error = said(&node_args(directory.path(), "rec-1")).unwrap_err();
        assert!(error.contains("the authority cannot be used"), "{error}");
        let error = said(&node_args(directory.path(), "7")).unwrap_err();
        assert!(error.contains("cannot be in a certificate"), "{error}");
    }
}
