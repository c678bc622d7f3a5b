//! `callspool trunks`: who may send calls, which trunk takes a request, and passwords.
//!
//! It reads the configuration, not a running process: after a change it tells what a reload will bring.

use std::io::{self, Write};
use std::net::IpAddr;

use call::{Origin, Trunk, Trunks};
use serde_json::{Value, json};
use sip::auth::{Algorithm, Users};

use super::args::{DigestAlgorithm, PasswordArgs, TrunksArgs, TrunksCommand};
use super::table::{self, Column};
use super::{CliError, Outcome, file_error};
use crate::config::Config;
use crate::config::declare::Setting;
use crate::config::values::AgentIs;
use crate::users::{Change, change};
use crate::{password, trunks, users};

const COLUMNS: [Column; 5] = [
    Column { title: "name", cut: false },
    Column { title: "tenant", cut: false },
    Column { title: "takes calls", cut: true },
    Column { title: "users", cut: false },
    Column { title: "calls", cut: false },
];

const VERDICT: [Column; 2] = [Column { title: "name", cut: false }, Column { title: "verdict", cut: true }];

pub(super) fn run(config: &Config, args: &TrunksArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    if let Some(TrunksCommand::Password(args)) = &args.command {
        return set_password(config, args, out);
    }
    let trunks = trunks::of(config, &users::load(config).map_err(CliError::of_problems)?);
    if let Some(ip) = args.from {
        return judge(&trunks, ip, args, out);
    }
    let printed = if args.json { list_as_json(config, &trunks, out) } else { list(config, &trunks, out) };
    printed.map(|()| Outcome::Ok).map_err(CliError::output)
}

fn list(config: &Config, trunks: &Trunks, out: &mut dyn Write) -> io::Result<()> {
    let max = |max: Option<usize>| max.map_or_else(|| "-".to_owned(), |max| max.to_string());
    let row = |trunk: &Trunk| {
        vec![
            trunk.name.to_string(),
            tenant(config, trunk),
            takes(trunk),
            trunk.digest.as_ref().map_or_else(|| "-".to_owned(), |digest| digest.users.len().to_string()),
            max(trunk.calls_max),
        ]
    };
    let rows: Vec<Vec<String>> = trunks.iter().map(|trunk| row(trunk)).collect();
    table::print(out, &COLUMNS, &rows, table::terminal_width())
}

/// The owner, as people call it where that is written.
fn tenant(config: &Config, trunk: &Trunk) -> String {
    let name = trunk.tenant.as_str();
    match config.tables.tenant.get(name).map(|tenant| tenant.display_name.as_str()) {
        Some(display) if !display.is_empty() => format!("{name} ({display})"),
        _ => name.to_owned(),
    }
}

/// What a request must be like.
fn takes(trunk: &Trunk) -> String {
    let from: Vec<String> = trunk.from.iter().map(ToString::to_string).collect();
    let transports: Vec<String> =
        trunk.transports.iter().map(|t| format!("{t:?}").to_ascii_lowercase()).collect();
    let parts: Vec<String> = [
        ("from", from),
        ("certificate", trunk.tls_names.clone()),
        ("by", transports),
        ("to", trunk.domains.clone()),
    ]
    .into_iter()
    .filter(|(_, values)| !values.is_empty())
    .map(|(what, values)| format!("{what} {}", values.join(", ")))
    .collect();
    if parts.is_empty() { "all that no other takes".to_owned() } else { parts.join("; ") }
}

fn list_as_json(config: &Config, trunks: &Trunks, out: &mut dyn Write) -> io::Result<()> {
    let object = |trunk: &Trunk| -> Value {
        let display = config.tables.tenant.get(trunk.tenant.as_str()).map(|tenant| &tenant.display_name);
        let codecs: Vec<&str> = trunk.ask_for.iter().map(|codec| codec.name()).collect();
        let agent = AgentIs(trunk.agent_side.clone()).to_toml();
        json!({
            "name": &*trunk.name,
            "tenant": trunk.tenant,
            "tenant_display_name": display.filter(|name| !name.is_empty()),
            "from": trunk.from.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "tls_names": trunk.tls_names,
            "transports": trunk.transports.iter().map(|t| format!("{t:?}").to_ascii_lowercase()).collect::<Vec<_>>(),
            "domains": trunk.domains,
            "max_calls": trunk.calls_max,
            "max_calls_per_second": trunk.rate_max,
            "agent_side": agent.trim_matches('"'),
            "ask_for": codecs,
            "retention": trunk.retention,
            "realm": trunk.digest.as_ref().map(|digest| &*digest.realm),
            "users": trunk.digest.as_ref().map(|digest| digest.users.len()),
        })
    };
    trunks.iter().try_for_each(|trunk| writeln!(out, "{}", object(trunk)))
}

/// Which trunk takes such a request, and why the others do not.
fn judge(trunks: &Trunks, ip: IpAddr, args: &TrunksArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let host = args.to.as_deref().unwrap_or_default().to_ascii_lowercase();
    let origin =
        Origin { ip, transport: args.transport.sip(), names: &args.tls_name, domains: [&host, &host] };
    let taken = trunks.find(&origin);
    let verdict = |trunk: &Trunk| match trunk.judge(&origin) {
        _ if taken.is_some_and(|taken| taken.name == trunk.name) => match &trunk.digest {
            Some(digest) => format!("takes it, with credentials for {}", digest.realm),
            None => "takes it".to_owned(),
        },
        Ok(_) => "would take it, but another says more exactly who sends it".to_owned(),
        Err(why) => format!("does not: {why}"),
    };
    let printed = if args.json {
        trunks.iter().try_for_each(|trunk| {
            let takes = taken.is_some_and(|taken| taken.name == trunk.name);
            let object = json!({"name": &*trunk.name, "takes": takes, "verdict": verdict(trunk)});
            writeln!(out, "{object}")
        })
    } else {
        let rows: Vec<Vec<String>> =
            trunks.iter().map(|trunk| vec![trunk.name.to_string(), verdict(trunk)]).collect();
        table::print(out, &VERDICT, &rows, table::terminal_width()).and_then(|()| match taken {
            Some(_) => Ok(()),
            None => writeln!(out, "no trunk takes it: it is answered 403"),
        })
    };
    printed.map_err(CliError::output)?;
    Ok(if taken.is_some() { Outcome::Ok } else { Outcome::Failed })
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
