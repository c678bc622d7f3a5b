//! `callspool states`: the recording states and what each becomes, as the code has them.

use std::io::{self, Write};

use model::RecordingState;
use model::state::{TRANSITIONS, markdown};
use serde_json::json;

use super::args::StatesArgs;
use super::{CliError, Outcome};

/// Prints them.
pub(super) fn run(args: &StatesArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let printed = match (args.markdown, args.json) {
        (true, _) => out.write_all(markdown().as_bytes()),
        (_, true) => writeln!(out, "{}", as_json()),
        _ => as_text(out),
    };
    printed.map(|()| Outcome::Ok).map_err(CliError::output)
}

fn as_text(out: &mut dyn Write) -> io::Result<()> {
    for state in RecordingState::ALL {
        writeln!(out, "{:>2} {state}", state.code())?;
        for (_, what, to) in TRANSITIONS.iter().filter(|(from, ..)| *from == state) {
            writeln!(out, "     {what}: {} {to}", to.code())?;
        }
    }
    Ok(())
}

fn as_json() -> serde_json::Value {
    let states: Vec<_> =
        RecordingState::ALL.iter().map(|s| json!({"code": s.code(), "name": s.name()})).collect();
    let transitions: Vec<_> = TRANSITIONS
        .iter()
        .map(|(from, what, to)| json!({"from": from.name(), "after": what.name(), "to": to.name()}))
        .collect();
    json!({"states": states, "transitions": transitions})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_tells_of_every_state_and_transition() {
        for (args, rows) in [
            (StatesArgs { markdown: false, json: false }, RecordingState::ALL.len() + TRANSITIONS.len()),
            (StatesArgs { markdown: false, json: true }, 1),
        ] {
            let mut out = Vec::new();
            run(&args, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.lines().count(), rows);
            assert!(RecordingState::ALL.iter().all(|s| text.contains(s.name())));
        }
        assert_eq!(as_json()["transitions"].as_array().unwrap().len(), TRANSITIONS.len());
    }
}
