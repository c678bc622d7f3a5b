//! `callspool gather`: what is left to be gathered, or that it is gathered now.
//!
//! It is asked of the process that serves, and asked again until nothing is under way any more: whoever gathers goes on
//! whether or not somebody waits here.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use model::CallId;

use super::args::GatherArgs;
use super::operate::asked;
use super::{CliError, Outcome};
use crate::config::Config;
use crate::control::{Answer, Ask};
use crate::gathering::{CallStands, Wish};

/// How often it is asked how it stands.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long nothing may be under way before it is taken to wait for something: nodes are asked first what they have.
const STILL_MAX: Duration = Duration::from_secs(5);

/// Lists or gathers, and tells how it goes.
pub(super) fn run(config: &Config, args: &GatherArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let tenant = args.tenant.as_ref().unwrap_or(&config.recording.tenant).clone();
    let call = args.call.map(|call| (tenant, call));
    let wish = if call.is_some() || args.all { Wish::Gather } else { Wish::Know };
    let ask = |wish| Ok(asked(&config.node.data_dir, &Ask::Gather { wish, call: call.clone() })?.0);
    let mut answer: Answer = ask(wish)?;
    if wish == Wish::Gather && answer.done && !args.no_wait {
        let mut told = Told::default();
        let mut still = Duration::ZERO;
        loop {
            if !args.json {
                told.tell(&answer, out)?;
            }
            let calls = answer.gathering.as_deref().unwrap_or_default();
            still =
                if calls.iter().any(CallStands::is_under_way) { Duration::ZERO } else { still + ASK_EVERY };
            if calls.iter().all(is_over) || still > STILL_MAX {
                break;
            }
            std::thread::sleep(ASK_EVERY);
            answer = ask(Wish::Know)?;
            if !answer.done {
                break;
            }
        }
    }
    tell(&answer, wish, args.json, out)
}

/// Whether all segments of a call are where they are to be.
fn is_over(stands: &CallStands) -> bool {
    matches!(stands.stage.as_str(), "done" | "gathered")
}

fn tell(answer: &Answer, wish: Wish, as_json: bool, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let written = match as_json {
        true => serde_json::to_string(answer).map_err(Into::into).and_then(|text| writeln!(out, "{text}")),
        false => answer.text.iter().try_for_each(|line| writeln!(out, "{line}")),
    };
    written.map_err(CliError::output)?;
    let calls = answer.gathering.as_deref().unwrap_or_default();
    let is_as_asked = answer.done && (wish == Wish::Know || calls.iter().all(is_over));
    Ok(if is_as_asked { Outcome::Ok } else { Outcome::Failed })
}

/// Progress: each call once for each stage.
#[derive(Default)]
struct Told(BTreeSet<(CallId, String)>);

impl Told {
    fn tell(&mut self, answer: &Answer, out: &mut dyn Write) -> Result<(), CliError> {
        for stands in answer.gathering.iter().flatten().filter(|stands| stands.is_under_way()) {
            if self.0.insert((stands.call, stands.stage.clone())) {
                writeln!(out, "call {}: {}", stands.call, stands.describe()).map_err(CliError::output)?;
            }
        }
        out.flush().map_err(CliError::output)
    }
}
