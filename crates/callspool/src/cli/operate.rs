//! `callspool status`, `reload`, `drain` and `stop`, and orders to calls: what is asked of the process that serves on
//! this machine.
//!
//! It is found by its data directory, which the configuration names, and asked over its control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use api::port::LiveOrder;
use model::{CallId, TenantId};

use super::args::{AskArgs, DrainArgs, JoinArgs, OrderArgs, PauseArgs, StopArgs};
use super::{CliError, Outcome, file_error};
use crate::config::Config;
use crate::control::{self, AlarmsStand, Answer, Ask};
use crate::gathering::{CallStands, Wish};

/// How long an answer may take. A reload looks names up; nothing else takes more than a moment.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for what is shown without it too: alarms, how gathering stands.
const PATIENCE_FOR_ALARMS: Duration = Duration::from_secs(5);
/// The longest answer, 4 MiB: a thousand alarms with texts of 500 characters, or all settings by name.
const ANSWER_MAX: u64 = 4 << 20;

/// `callspool status` and `callspool reload`.
pub(super) fn ask(
    config: &Config,
    ask: Ask,
    args: &AskArgs,
    out: &mut dyn Write,
) -> Result<Outcome, CliError> {
    let (answer, _) = asked(&config.node.data_dir, &ask)?;
    tell(&answer, args.json, out)
}

/// `callspool drain`.
pub(super) fn drain(config: &Config, args: &DrainArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let (answer, _) = asked(&config.node.data_dir, &if args.off { Ask::Undrain } else { Ask::Drain })?;
    tell(&answer, args.json, out)
}

/// `callspool stop`, which comes back when the process has ended.
pub(super) fn stop(config: &Config, args: &StopArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let what = match args.call {
        Some(call) => return order(config, LiveOrder::Stop, call, args.tenant.as_ref(), args.json, out),
        None if args.when_idle => Ask::StopWhenIdle,
        None if args.node => Ask::Stop,
        // A script whose variable is empty must not end every call.
        None => {
            let (why, todo) = ("neither a call nor the node is named", "name a call's id, or say --node");
            return Err(CliError::usage("nothing is stopped", why, todo));
        }
    };
    let (answer, mut connection) = asked(&config.node.data_dir, &what)?;
    let outcome = tell(&answer, args.json, out)?;
    out.flush().map_err(CliError::output)?;
    if answer.done && !args.no_wait {
        let waited = connection.get_ref().set_read_timeout(None).and_then(|()| {
            // The end of the connection is the end of the process.
            io::copy(&mut connection, &mut io::sink())
        });
        if let Err(e) = waited
            && e.kind() != io::ErrorKind::ConnectionReset
        {
            return Err(file_error("cannot wait for the end of callspool", &e));
        }
    }
    Ok(outcome)
}

/// `callspool start`.
pub(super) fn start(config: &Config, args: &OrderArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    order(config, LiveOrder::Start, args.call, args.tenant.as_ref(), args.json, out)
}

/// `callspool pause`.
pub(super) fn pause(config: &Config, args: &PauseArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let order_pause = LiveOrder::Pause { timeout: args.timeout };
    order(config, order_pause, args.call, args.tenant.as_ref(), args.json, out)
}

/// `callspool resume`.
pub(super) fn resume(config: &Config, args: &OrderArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    order(config, LiveOrder::Resume, args.call, args.tenant.as_ref(), args.json, out)
}

/// `callspool join`.
pub(super) fn join(config: &Config, args: &JoinArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let tenant = args.tenant.as_ref().unwrap_or(&config.recording.tenant).clone();
    let ask = Ask::Join { tenant, calls: [args.call, args.other] };
    ask_of_call(config, &ask, args.call, "callspool ls", args.json, out)
}

/// Orders something of a call.
fn order(
    config: &Config,
    order: LiveOrder,
    call: CallId,
    tenant: Option<&TenantId>,
    json: bool,
    out: &mut dyn Write,
) -> Result<Outcome, CliError> {
    let tenant = tenant.unwrap_or(&config.recording.tenant).clone();
    ask_of_call(config, &Ask::Live { order, tenant, call }, call, "callspool ls --live", json, out)
}

/// Asks for something of a call; `see` is a command that shows what calls there are.
pub(super) fn ask_of_call(
    config: &Config,
    ask: &Ask,
    call: CallId,
    see: &str,
    json: bool,
    out: &mut dyn Write,
) -> Result<Outcome, CliError> {
    let (answer, _) = asked(&config.node.data_dir, ask)?;
    match answer.done || json {
        true => tell(&answer, json, out),
        false => Err(CliError::failed(
            format!("call {call} stays as it is"),
            answer.text.join("; "),
            format!("see `{see}`"),
        )),
    }
}

/// How the gathering of a call stands, by the process that serves in this data directory; none when there is none, it does
/// not answer, or nothing is left to be done.
pub(super) fn gathering(data_dir: &Path, tenant: &TenantId, call: CallId) -> Option<CallStands> {
    let ask = Ask::Gather { wish: Wish::Know, call: Some((tenant.clone(), call)) };
    let (answer, _) = asked_within(data_dir, &ask, PATIENCE_FOR_ALARMS).ok()?;
    answer.gathering?.into_iter().next()
}

fn tell(answer: &Answer, as_json: bool, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let written = match as_json {
        true => serde_json::to_string(answer).map_err(Into::into).and_then(|text| writeln!(out, "{text}")),
        false => answer.text.iter().try_for_each(|line| writeln!(out, "{line}")),
    };
    written.map_err(CliError::output)?;
    Ok(if answer.done { Outcome::Ok } else { Outcome::Failed })
}

/// What the process that serves in this data directory has in memory of alarms; none when there is none, or it does
/// not answer.
pub(super) fn alarms(data_dir: &Path) -> Option<AlarmsStand> {
    asked_within(data_dir, &Ask::Alarms, PATIENCE_FOR_ALARMS).ok().and_then(|(answer, _)| answer.alarms)
}

pub(super) fn asked(data_dir: &Path, ask: &Ask) -> Result<(Answer, BufReader<UnixStream>), CliError> {
    asked_within(data_dir, ask, PATIENCE)
}

pub(super) fn asked_within(
    data_dir: &Path,
    ask: &Ask,
    patience: Duration,
) -> Result<(Answer, BufReader<UnixStream>), CliError> {
    let path = control::path(data_dir);
    let failed = |e: io::Error| file_error(format!("cannot ask callspool at {}", path.display()), &e);
    let mut stream = UnixStream::connect(&path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CliError::failed(
            format!("callspool does not serve in {}", data_dir.display()),
            "nobody listens to its control socket",
            "start it, or name the configuration that it uses with --config",
        ),
        _ => failed(e),
    })?;
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    stream.write_all(format!("{ask}\n").as_bytes()).map_err(failed)?;
    let mut reading = BufReader::new(stream);
    let mut line = String::new();
    reading.by_ref().take(ANSWER_MAX).read_line(&mut line).map_err(failed)?;
    let answer = serde_json::from_str(&line).map_err(|e| {
        CliError::failed("callspool did not answer", e, "look at its log; it may have ended just now")
    })?;
    Ok((answer, reading))
}
