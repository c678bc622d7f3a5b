//! `callspool volumes`: where recordings lie, how much room there is, and how long it lasts.
//!
//! It looks at the disks itself; what is being recorded it sees by the markers of live segments.

use std::io::{self, Write};
use std::time::Duration;

use model::{CallId, VolumeName};
use nix::sys::statvfs::statvfs;
use serde_json::json;

use super::args::VolumesArgs;
use super::table::{self, Column};
use super::{CliError, Outcome, file_error, text};
use crate::config::Config;
use crate::patience::{ANSWER, within};
use crate::repository::{Place, Repository};
use crate::volumes::identity::{self, Memory, Remembered};
use crate::volumes::{VolumeSpec, declared, free_of};

const COLUMNS: [Column; 6] = [
    Column { title: "name", cut: false },
    Column { title: "state", cut: false },
    Column { title: "free", cut: false },
    Column { title: "days left", cut: false },
    Column { title: "live", cut: false },
    Column { title: "path", cut: true },
];

/// Days of recording that the estimate of what is left goes by.
const RECENT: Duration = Duration::from_secs(7 * 86_400);
/// How long it may take to see how much was recorded; an estimate is not worth more.
const COUNT: Duration = Duration::from_secs(30);
/// Calls that it looks at: enough for an estimate, and few enough to be quick.
const CALLS_MAX: usize = 2_000;

/// A volume as it is.
struct Seen {
    spec: VolumeSpec,
    state: &'static str,
    free: u64,
    days_left: Option<u64>,
    live: usize,
}

/// Lists the volumes, or accepts what is in the place of one.
pub(super) fn run(config: &Config, args: &VolumesArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let memory = Memory::new(&config.node.data_dir);
    if let Some(name) = &args.accept {
        return accept(config, &memory, name, out);
    }
    let known = memory.read().map_err(|e| file_error("cannot read what is known of the volumes", &e))?;
    // All are asked at once: one that does not answer holds up no other.
    let asked: Vec<_> = declared(config)
        .into_iter()
        .map(|spec| {
            let known = known.get(&spec.name).cloned();
            std::thread::spawn(move || look_in_time(spec, known))
        })
        .collect();
    let seen: Vec<Seen> = asked.into_iter().filter_map(|asked| asked.join().ok()).collect();
    let printed = if args.json { as_json(out, &seen) } else { as_table(out, &seen) };
    printed.map_err(CliError::output)?;
    Ok(if seen.iter().all(|v| ["ready", "only read"].contains(&v.state)) {
        Outcome::Ok
    } else {
        Outcome::Failed
    })
}

/// Forgets what was known: the server looks again within a second, and takes what it finds.
fn accept(
    config: &Config,
    memory: &Memory,
    name: &VolumeName,
    out: &mut dyn Write,
) -> Result<Outcome, CliError> {
    let what = format!("cannot accept what is in the place of volume {name}");
    if !declared(config).iter().any(|spec| spec.name == *name) {
        return Err(CliError::usage(what, "there is no such volume", "see `callspool volumes`"));
    }
    let was_known = memory.forget(name).map_err(|e| file_error(&what, &e))?;
    let told = match was_known {
        true => writeln!(out, "what is in the place of volume {name} is taken for it from now on"),
        false => writeln!(out, "volume {name} was not known yet; what is in its place is taken for it"),
    };
    told.map(|()| Outcome::Ok).map_err(CliError::output)
}

/// Looks at a volume as long as it answers.
fn look_in_time(spec: VolumeSpec, known: Option<Remembered>) -> Seen {
    let silent = Seen { state: "stalled", free: 0, days_left: None, live: 0, spec: spec.clone() };
    let Some(seen) = within(ANSWER, move || look(spec, known.as_ref())) else { return silent };
    if seen.state == "away" {
        return seen;
    }
    let room = seen.free.saturating_sub(seen.spec.min_free);
    let place = Place::new(seen.spec.name.clone(), &seen.spec.path);
    let counted = within(COUNT, move || {
        let repository = Repository::of(vec![place]);
        (repository.live_markers().map_or(0, |m| m.markers.len()), days_left(&repository, room))
    });
    match counted {
        Some((live, days_left)) => Seen { live, days_left, ..seen },
        None => Seen { state: "stalled", ..seen },
    }
}

fn look(spec: VolumeSpec, known: Option<&Remembered>) -> Seen {
    let mut seen = Seen { state: "away", free: 0, days_left: None, live: 0, spec };
    let is_it = match (identity::read(&seen.spec.path), known) {
        (Ok(Some(found)), Some(known)) => found == known.id,
        (Ok(None), Some(_)) | (Err(_), _) => false,
        (Ok(_), None) => seen.spec.path.is_dir(),
    };
    let room = free_of(&seen.spec.path).and_then(|free| Ok((free, statvfs(&seen.spec.path)?)));
    let (true, Ok((free, fs))) = (is_it, room) else { return seen };
    seen.free = free;
    let is_read_only = fs.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY);
    seen.state = match seen.spec.weight {
        _ if is_read_only => "read-only",
        _ if seen.free < seen.spec.min_free => "full",
        0 => "only read",
        _ => "ready",
    };
    seen
}

/// How many days the room lasts if it goes on as in the last ones. None when too little was recorded to say.
fn days_left(repository: &Repository, room: u64) -> Option<u64> {
    let now = crate::clock::now().wall;
    let (mut octets, mut oldest) = (0_u64, now);
    for directory in repository.call_directories().map_while(Result::ok).take(CALLS_MAX) {
        let made_at = directory.rsplit('/').next()?.parse::<CallId>().ok()?.made_at();
        if now.since(made_at) > RECENT {
            break;
        }
        oldest = oldest.min(made_at);
        octets +=
            spool::Files::list(repository, &directory).unwrap_or_default().iter().fold(0, |sum, name| {
                sum + spool::Files::len(repository, &format!("{directory}/{name}")).unwrap_or(0)
            });
    }
    let seconds = now.since(oldest).as_secs();
    // An hour at least: what came within less says little about a day.
    let per_day = (seconds >= 3_600).then(|| u128::from(octets) * 86_400 / u128::from(seconds))?;
    u64::try_from(u128::from(room) / per_day.max(1)).ok().filter(|_| octets > 0)
}

fn as_json(out: &mut dyn Write, seen: &[Seen]) -> io::Result<()> {
    seen.iter().try_for_each(|v| {
        let object = json!({"name": v.spec.name, "path": v.spec.path, "state": v.state, "free": v.free,
            "min_free": v.spec.min_free, "weight": v.spec.weight, "days_left": v.days_left, "live": v.live});
        writeln!(out, "{object}")
    })
}

fn as_table(out: &mut dyn Write, seen: &[Seen]) -> io::Result<()> {
    let row = |v: &Seen| {
        vec![
            v.spec.name.to_string(),
            v.state.to_owned(),
            text::octets(v.free),
            v.days_left.map_or_else(|| "-".to_owned(), |d| d.to_string()),
            v.live.to_string(),
            v.spec.path.display().to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = seen.iter().map(row).collect();
    table::print(out, &COLUMNS, &rows, table::terminal_width())
}
