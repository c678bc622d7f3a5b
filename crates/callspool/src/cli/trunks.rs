//! `callspool trunks`: who may send calls, and their passwords.

use std::io::Write;

use sip::auth::{Algorithm, Users};

use super::args::{DigestAlgorithm, PasswordArgs, TrunksArgs, TrunksCommand};
use super::{CliError, Outcome, file_error};
use crate::config::Config;
use crate::password;
use crate::users::{Change, change};

pub(super) fn run(config: &Config, args: &TrunksArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    match &args.command {
        TrunksCommand::Password(args) => set_password(config, args, out),
    }
}

fn set_password(config: &Config, args: &PasswordArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let user = &args.user;
    let what = format!("cannot set the password of {user}");
    let Some(trunk) = config.tables.trunk.get(&args.trunk) else {
        let known: Vec<&str> = config.tables.trunk.keys().map(String::as_str).collect();
        let todo = match known.is_empty() {
            true => format!("write [trunk.{}] into the configuration", args.trunk),
            false => format!("name one of: {}", known.join(", ")),
        };
        return Err(CliError::usage(what, format!("there is no trunk {}", args.trunk), todo));
    };
    let path = &trunk.users_file;
    if path.as_os_str().is_empty() {
        let todo = format!("write users_file into [trunk.{}]", args.trunk);
        return Err(CliError::usage(what, "the trunk has no file of users", todo));
    }
    if !Users::is_name(user) {
        return Err(CliError::usage(what, "this cannot be a name", "leave out ':' and control characters"));
    }
    let algorithms: Vec<Algorithm> = match args.algorithm.as_slice() {
        [] => Algorithm::ALL.to_vec(),
        some => Algorithm::ALL.into_iter().filter(|a| some.iter().any(|named| of(*named) == *a)).collect(),
    };
    let password = if args.remove { None } else { Some(password::ask(user)?) };
    let wanted = match &password {
        Some(password) => Change::Password(password, &algorithms),
        None => Change::Removed,
    };
    let was_there = change(path, user, &trunk.realm, &wanted)
        .map_err(|e| file_error(format!("cannot change {}", path.display()), &e))?;
    let (told, outcome) = match (args.remove, was_there) {
        (true, true) => ("is no user any more", Outcome::Ok),
        (true, false) => ("was no user", Outcome::Failed),
        (false, true) => ("has another password", Outcome::Ok),
        (false, false) => ("is a new user", Outcome::Ok),
    };
    writeln!(out, "{user} {told} of {}; `callspool reload` has a running callspool know", trunk.realm)
        .map_err(CliError::output)?;
    Ok(outcome)
}

const fn of(named: DigestAlgorithm) -> Algorithm {
    match named {
        DigestAlgorithm::Sha256 => Algorithm::Sha256,
        DigestAlgorithm::Md5 => Algorithm::Md5,
    }
}
