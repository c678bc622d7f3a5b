//! What may stand behind the `?` of the list of calls.

use std::time::Duration;

use serde::Deserialize;
use serde::de::value::{Error as NameError, StrDeserializer};
use store::{CallQuery, LIST_MAX};
use utoipa::IntoParams;

use crate::problem::Problem;
use crate::schema;

/// Characters of a search text: longer than any number, name or address that it could be part of.
pub(crate) const TEXT_MAX: usize = 200;
/// A year. Calls do not last longer.
const DURATION_MAX_S: u32 = 366 * 86_400;

/// Filters of the list. Another name is an error: a misspelled filter must not show all.
#[derive(Deserialize, Default, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParameters {
    /// Calls that began then or later.
    #[param(schema_with = schema::time)]
    from: Option<String>,
    /// Calls that began before.
    #[param(schema_with = schema::time)]
    until: Option<String>,
    /// Calls in this state.
    #[param(schema_with = schema::state)]
    state: Option<String>,
    /// Calls with or without a live segment.
    #[param(value_type = Option<bool>)]
    live: Option<String>,
    /// A part of a name, number, address, tag or value, whatever its case.
    #[param(schema_with = schema::search)]
    q: Option<String>,
    /// The beginning of a party's number.
    #[param(schema_with = schema::search)]
    number: Option<String>,
    /// Calls with this tag.
    #[param(schema_with = schema::tag)]
    tag: Option<String>,
    /// Calls with this value for this key: from the call's data, or added later.
    #[param(schema_with = schema::key_value)]
    metadata: Option<String>,
    /// Which way the call went.
    #[param(schema_with = schema::direction)]
    direction: Option<String>,
    /// Calls that are over and took so many seconds or more.
    #[param(value_type = Option<u32>, maximum = 31_622_400)]
    duration_min_s: Option<String>,
    /// Calls that are over and took so many seconds or less.
    #[param(value_type = Option<u32>, maximum = 31_622_400)]
    duration_max_s: Option<String>,
    /// The `next` of the page before.
    #[param(schema_with = schema::cursor)]
    after: Option<String>,
    /// Calls on a page; 100 when not said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, example = 100)]
    limit: Option<String>,
}

impl ListParameters {
    pub(crate) fn read(self) -> Result<CallQuery, Problem> {
        Ok(CallQuery {
            from: parsed("from", self.from)?,
            until: parsed("until", self.until)?,
            state: parsed("state", self.state)?,
            live: parsed("live", self.live)?,
            text: short("q", self.q)?,
            number: short("number", self.number)?,
            tag: parsed::<model::Tag>("tag", self.tag)?.map(String::from),
            metadata: bounded("metadata", self.metadata)?.map(|text| key_value(&text)).transpose()?,
            direction: bounded("direction", self.direction)?.map(|text| direction(&text)).transpose()?,
            duration_min: duration("duration_min_s", self.duration_min_s)?,
            duration_max: duration("duration_max_s", self.duration_max_s)?,
            after: parsed("after", self.after)?,
            limit: limit(self.limit)?,
            ..CallQuery::default()
        })
    }
}

/// How many rows a page has.
pub(crate) fn limit(text: Option<String>) -> Result<Option<usize>, Problem> {
    let limit = parsed("limit", text)?;
    match limit {
        Some(n) if !(1..=LIST_MAX).contains(&n) => {
            Err(Problem::bad_parameter("limit", format!("{n} is not between 1 and {LIST_MAX}")))
        }
        other => Ok(other),
    }
}

fn duration(name: &str, text: Option<String>) -> Result<Option<Duration>, Problem> {
    match parsed::<u32>(name, text)? {
        Some(seconds) if seconds > DURATION_MAX_S => {
            Err(Problem::bad_parameter(name, format!("{seconds} is more than {DURATION_MAX_S} seconds")))
        }
        seconds => Ok(seconds.map(|s| Duration::from_secs(s.into()))),
    }
}

fn key_value(text: &str) -> Result<(String, String), Problem> {
    let pair = text.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty());
    let (key, value) =
        pair.ok_or_else(|| Problem::bad_parameter("metadata", "write a key and its value: ticket=T-4711"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn direction(text: &str) -> Result<model::Direction, Problem> {
    model::Direction::deserialize(StrDeserializer::<NameError>::new(text))
        .map_err(|e| Problem::bad_parameter("direction", e))
}

/// A parameter that is read by its type.
pub(crate) fn parsed<T>(name: &str, text: Option<String>) -> Result<Option<T>, Problem>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match bounded(name, text)? {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(e) => Err(Problem::bad_parameter(name, e)),
        },
    }
}

/// A text to look for. Empty is as if it were not there: everything has it.
fn short(name: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    Ok(bounded(name, text)?.filter(|text| !text.is_empty()))
}

fn bounded(name: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.chars().count() > TEXT_MAX => {
            Err(Problem::bad_parameter(name, format!("more than {TEXT_MAX} characters")))
        }
        other => Ok(other),
    }
}
