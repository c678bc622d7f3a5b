//! How ids, times and names of `model` look in the OpenAPI document: `model` itself knows nothing of it.

use model::{AlarmKind, Direction, MediaKind, PartyRole, RecordingState, Severity, Side, Suite};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, Ref, RefOr, Schema};

/// Fewer than 2^63, so the first of 13 digits is at most 7.
const ID: &str = "^[0-7][0-9a-hjkmnp-tv-z]{12}$";

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn nullable(schema: ObjectBuilder) -> ObjectBuilder {
    schema.schema_type(SchemaType::from_iter([Type::String, Type::Null]))
}

/// An id.
pub(crate) fn id() -> ObjectBuilder {
    text()
        .description(Some("64 bits as 13 digits of Crockford's base 32, never a number"))
        .pattern(Some(ID))
        .examples([json!("06bkwdmr5s000")])
}

/// An id, or null.
pub(crate) fn id_or_null() -> ObjectBuilder {
    nullable(id())
}

/// A time.
pub(crate) fn time() -> ObjectBuilder {
    text()
        .description(Some("RFC 3339"))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples([json!("2026-11-20T09:15:00.000000Z")])
}

/// A time, or null.
pub(crate) fn time_or_null() -> ObjectBuilder {
    nullable(time())
}

fn names<T: Serialize>(all: impl IntoIterator<Item = T>) -> ObjectBuilder {
    text().enum_values(Some(all.into_iter().map(|v| json!(v)).collect::<Vec<Value>>()))
}

/// What is kept of a live call.
pub(crate) fn recording() -> ObjectBuilder {
    names(["on", "paused", "off"])
}

/// A cipher.
pub(crate) fn suite() -> ObjectBuilder {
    names(Suite::ALL.map(Suite::name))
}

/// How a process is.
pub(crate) fn health() -> ObjectBuilder {
    names(["ok", "degraded"])
}

/// How a catalog is.
pub(crate) fn catalog_health() -> ObjectBuilder {
    names(["ok", "away"])
}

/// A recording state.
pub(crate) fn state() -> ObjectBuilder {
    names(RecordingState::ALL).description(Some("Recording state; `docs/recording-states.md` draws them"))
}

/// Which way a call went.
pub(crate) fn direction() -> ObjectBuilder {
    names([Direction::Incoming, Direction::Outgoing, Direction::Unknown])
        .description(Some("Seen from the agent"))
}

/// Whose voice.
pub(crate) fn side() -> ObjectBuilder {
    names([Side::Agent, Side::External, Side::Mixed, Side::Unknown])
}

/// Sides of single streams.
pub(crate) fn sides_of_streams() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(Schema::from(side().build())))
        .property_names(Some(Schema::from(id().build())))
        .max_properties(Some(model::sides::STREAMS_MAX))
}

/// How bad an alarm is.
pub(crate) fn severity() -> ObjectBuilder {
    names([Severity::Notice, Severity::Warning, Severity::Critical])
}

/// What an alarm is about.
pub(crate) fn alarm_kind() -> ObjectBuilder {
    names(AlarmKind::all())
}

/// Who told of alarms.
pub(crate) fn alarm_source() -> ObjectBuilder {
    names(["catalog", "node"])
}

/// Who is heard where.
pub(crate) fn layout() -> ObjectBuilder {
    names(["stereo", "mix", "stream"])
}

/// Samples a second.
pub(crate) fn sample_rate() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([8_000, 16_000, 48_000]))
}

/// What a party is.
pub(crate) fn role() -> ObjectBuilder {
    names([PartyRole::Caller, PartyRole::Called, PartyRole::Participant])
}

/// What a stream carries.
pub(crate) fn media_kind() -> ObjectBuilder {
    names([MediaKind::Audio, MediaKind::Video, MediaKind::Other])
}

/// A tag: as `model::Tag` checks it.
pub(crate) fn tag() -> ObjectBuilder {
    const HIDDEN: &str = r"\x00-\x1f\x7f-\xa0\u2000-\u200f\u2028-\u202f\u205f-\u206f\ufeff/\\,";
    text()
        .description(Some("1 to 64 characters; no control characters, `/`, `\\` or `,`; no space or dot at the begin, no space at the end"))
        .min_length(Some(1))
        .max_length(Some(model::note::TAG_CHARS_MAX))
        .pattern(Some(format!("^[^{HIDDEN} .]([^{HIDDEN}]{{0,62}}[^{HIDDEN} ])?$")))
        .examples([json!("complaint")])
}

/// A key: as `model::NoteKey` checks it.
pub(crate) fn key() -> ObjectBuilder {
    text().pattern(Some("^[a-z0-9][a-z0-9._-]{0,63}$")).examples([json!("ticket")])
}

/// A value: as `model::NoteValue` checks it.
pub(crate) fn value() -> ObjectBuilder {
    text()
        .description(Some("1 to 1000 characters; no control characters but tab and line feed"))
        .min_length(Some(1))
        .max_length(Some(model::note::VALUE_CHARS_MAX))
        .pattern(Some(r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"))
        .examples([json!("T-4711")])
}

/// `key=value` of a search.
pub(crate) fn key_value() -> ObjectBuilder {
    text()
        .description(Some("A key and what it stands for: `ticket=T-4711`"))
        .pattern(Some("^[a-z0-9][A-Za-z0-9._-]{0,63}=[^\\x00-\\x1f\\x7f-\\x9f]{1,100}$"))
        .examples([json!("ticket=T-4711")])
}

/// A search text.
pub(crate) fn search() -> ObjectBuilder {
    text().max_length(Some(crate::query::TEXT_MAX))
}

/// The place in a list that the page before named.
pub(crate) fn cursor() -> ObjectBuilder {
    text().pattern(Some("^[0-9]{1,18}\\.[0-7][0-9a-hjkmnp-tv-z]{12}$"))
}

/// Which kinds of events.
pub(crate) fn event_kinds() -> ObjectBuilder {
    const KIND: &str = "(call|segment|copy|tag|metadata|joined|sides|alarm)";
    text()
        .description(Some(
            "Kinds, separated by commas: `call`, `segment`, `copy`, `tag`, `metadata`, `joined`, `sides`, `alarm`",
        ))
        .pattern(Some(format!("^{KIND}(,{KIND}){{0,7}}$")))
        .examples([json!("call,segment")])
}

/// What an event says, by its kind.
pub(crate) fn event_body() -> RefOr<Schema> {
    let bodies = [
        "CallEvent",
        "SegmentEvent",
        "CopyEvent",
        "TagEvent",
        "MetadataEvent",
        "JoinedEvent",
        "SidesEvent",
        "AlarmEvent",
    ];
    let any = bodies.into_iter().fold(AnyOfBuilder::new(), |any, name| any.item(Ref::from_schema_name(name)));
    any.description(Some("By the kind of the event; newer versions may add members")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_are_in_the_schema() {
        let value = serde_json::to_value(state().build()).unwrap();
        assert_eq!(value["enum"].as_array().unwrap().len(), RecordingState::ALL.len());
        assert!(value["enum"].as_array().unwrap().contains(&json!("partial-internal-error")));
    }
}
