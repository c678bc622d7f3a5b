//! What the bodies of events hold, for the OpenAPI document. The catalog writes them (`store::Event::of`); a test reads
//! back what it wrote by these.

#![allow(dead_code, reason = "shapes of what the catalog writes; only their descriptions are used")]

use std::collections::BTreeMap;

use utoipa::ToSchema;

use crate::schema;

/// Kind `call`: a call began, or more is known of it, or it ended.
#[derive(ToSchema)]
pub(crate) struct CallEvent {
    /// When it began.
    #[schema(schema_with = schema::time)]
    started: String,
    /// When it ended; null while it goes on.
    #[schema(schema_with = schema::time_or_null, required)]
    ended: Option<String>,
    /// Segments that it has, as far as was said.
    total: u16,
}

/// Kind `segment`: a segment began, changed or ended.
#[derive(ToSchema)]
pub(crate) struct SegmentEvent {
    /// Its number in the call.
    number: u16,
    /// Segments that the call has, as far as was said.
    total: u16,
    /// Its state.
    #[schema(schema_with = schema::state)]
    state: String,
    /// Whether it has no end.
    live: bool,
    /// Why it ended, in words; null while it is live.
    #[schema(required)]
    end: Option<String>,
}

/// Kind `copy`: the state of a copy changed.
#[derive(ToSchema)]
pub(crate) struct CopyEvent {
    /// Where it lies: `node:0`, `archive:nas`.
    at: String,
    /// Its state.
    #[schema(schema_with = schema::state)]
    state: String,
}

/// Kind `tag`: a tag was given or taken away.
#[derive(ToSchema)]
pub(crate) struct TagEvent {
    /// The tag.
    #[schema(schema_with = schema::tag)]
    tag: String,
    /// Whether the call has it now.
    present: bool,
    /// Who did it.
    by: String,
}

/// Kind `metadata`: a value was put for a key, or taken away.
#[derive(ToSchema)]
pub(crate) struct MetadataEvent {
    /// The key.
    #[schema(schema_with = schema::key)]
    key: String,
    /// What it stands for; null: for nothing any more.
    #[schema(required)]
    value: Option<String>,
    /// Who did it.
    by: String,
}

/// Kind `joined`: another call turned out to be this one.
#[derive(ToSchema)]
pub(crate) struct JoinedEvent {
    /// The other, whose segments are this one's from now on. Its id still leads here.
    #[schema(schema_with = schema::id)]
    from: String,
    /// The numbers that its segments have in this one, by their ids.
    numbers: BTreeMap<String, u16>,
    /// Segments that the call has now, as far as was said.
    total: u16,
    /// By what it was found: `Session-ID`, `x-refci`.
    why: String,
}

/// Kind `sides`: somebody corrected who is agent and who is external.
#[derive(ToSchema)]
pub(crate) struct SidesEvent {
    /// What held before.
    #[schema(value_type = crate::sides::SidesBody)]
    from: String,
    /// What holds now.
    #[schema(value_type = crate::sides::SidesBody)]
    to: String,
    /// Who said it.
    by: String,
}

/// Kind `alarm`: something that a person should know happened, or was raised, counted again or cleared.
#[derive(ToSchema)]
pub(crate) struct AlarmEvent {
    /// What it is.
    #[schema(schema_with = schema::alarm_kind)]
    alarm: String,
    /// How bad it is.
    #[schema(schema_with = schema::severity)]
    severity: String,
    /// What it is about: `node:0`, `call:…`.
    subject: String,
    /// When it was raised, or happened.
    #[schema(schema_with = schema::time)]
    raised: String,
    /// When it was cleared; null for what lasts.
    #[schema(schema_with = schema::time_or_null, required)]
    cleared: Option<String>,
    /// How often it was told.
    count: u64,
    /// What happened and what to do, in a sentence.
    text: String,
}
