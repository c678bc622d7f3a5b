//! `callspool sides`: who of a call is the agent and who is external.
//!
//! It asks the process that serves on this machine, which writes the call's log and tells the catalog.

use std::io::Write;

use model::{Side, Sides, StreamId};

use super::args::SidesArgs;
use super::operate::ask_of_call;
use super::{CliError, Outcome};
use crate::config::Config;
use crate::control::Ask;

/// Says it.
pub(super) fn run(config: &Config, args: &SidesArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    if !args.swap && !args.as_recorded && args.stream.is_empty() {
        let (why, todo) = ("it is not said how", "say --swap, --stream ID=SIDE or --as-recorded");
        return Err(CliError::usage("nothing is corrected", why, todo));
    }
    let to = Sides { swapped: args.swap, streams: args.stream.iter().copied().collect() };
    let tenant = args.tenant.as_ref().unwrap_or(&config.recording.tenant).clone();
    let ask = Ask::Sides { tenant, call: args.call, to };
    ask_of_call(config, &ask, args.call, "callspool show", args.json, out)
}

/// Reads `06jv3kq4g2n01=agent`.
pub(super) fn stream(text: &str) -> Result<(StreamId, Side), String> {
    let (id, side) = text.split_once('=').ok_or("it is written ID=SIDE, such as 06jv3kq4g2n01=agent")?;
    let side = match side {
        "agent" => Side::Agent,
        "external" => Side::External,
        "mixed" => Side::Mixed,
        "unknown" => Side::Unknown,
        _ => return Err(format!("'{side}' is no side: agent, external, mixed or unknown")),
    };
    Ok((id.parse().map_err(|e: model::IdParseError| e.to_string())?, side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_of_streams_are_read_or_refused() {
        let id = StreamId::from_u64(77);
        assert_eq!(stream(&format!("{id}=external")), Ok((id, Side::External)));
        for bad in ["", "agent", "x=agent", &format!("{id}=left"), &format!("{id}:agent")] {
            assert!(stream(bad).is_err(), "{bad}");
        }
    }
}
