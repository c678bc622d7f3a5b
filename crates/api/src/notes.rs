//! Notes of people: tags and key-values. They are read from and written to the call's log by a port; the catalog
//! learns of them afterwards and finds calls by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use model::{CallId, Note, NoteKey, NoteValue, Tag, WallTime};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::document::{LogRefusals, NoteRefusals};
use crate::path::{CallPath, KeyPath, TagPath};
use crate::port::{CallNotes, Changed, NoteError, NotedBy, Notes};
use crate::problem::Problem;
use crate::schema;
use crate::state::{ApiState, BY};

/// The tags of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = TagList)]
pub(crate) struct TagsJson {
    /// In order of the alphabet.
    tags: Vec<TagJson>,
    /// Whether the request changed anything; false when only read.
    changed: bool,
}

/// A tag.
#[derive(Serialize, ToSchema)]
#[schema(as = Tag)]
struct TagJson {
    /// The tag.
    #[schema(schema_with = schema::tag)]
    tag: Tag,
    /// When it was given.
    #[schema(schema_with = schema::time)]
    at: WallTime,
    /// Who gave it.
    by: String,
}

/// The key-values that were added to a call.
#[derive(Serialize, ToSchema)]
#[schema(as = MetadataList)]
pub(crate) struct ValuesJson {
    /// By their keys.
    #[schema(value_type = BTreeMap<String, ValueJson>)]
    metadata: BTreeMap<NoteKey, ValueJson>,
    /// Whether the request changed anything; false when only read.
    changed: bool,
}

/// A value that was added.
#[derive(Serialize, ToSchema)]
#[schema(as = MetadataValue)]
struct ValueJson {
    /// What the key stands for.
    #[schema(schema_with = schema::value)]
    value: NoteValue,
    /// When it was put.
    #[schema(schema_with = schema::time)]
    at: WallTime,
    /// Who put it.
    by: String,
}

/// What a key is to stand for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MetadataPut)]
pub(crate) struct PutBody {
    /// The value.
    #[schema(schema_with = schema::value)]
    value: String,
}

impl TagsJson {
    fn new(notes: CallNotes, changed: Changed) -> Json<Self> {
        let tags = notes.tags.into_iter().map(|(tag, NotedBy { at, by })| TagJson { tag, at, by }).collect();
        Json(Self { tags, changed: changed == Changed::Yes })
    }
}

impl ValuesJson {
    fn new(notes: CallNotes, changed: Changed) -> Json<Self> {
        let value = |(key, (value, NotedBy { at, by }))| (key, ValueJson { value, at, by });
        let metadata = notes.values.into_iter().map(value).collect();
        Json(Self { metadata, changed: changed == Changed::Yes })
    }
}

/// The tags of a call.
#[utoipa::path(get, path = "/calls/{id}/tags", operation_id = "list_tags", tag = "notes",
    params(CallPath),
    responses((status = 200, description = "Its tags", body = TagsJson), LogRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn tags(
    State(state): State<ApiState>,
    path: Path<CallPath>,
) -> Result<Json<TagsJson>, Problem> {
    Ok(TagsJson::new(read(&state, CallPath::read(&path)?).await?, Changed::No))
}

/// Gives a call a tag. One that it has is left as it is.
#[utoipa::path(put, path = "/calls/{id}/tags/{tag}", operation_id = "put_tag", tag = "notes",
    params(TagPath),
    responses((status = 200, description = "Its tags now", body = TagsJson), NoteRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn put_tag(
    State(state): State<ApiState>,
    path: Path<TagPath>,
) -> Result<Json<TagsJson>, Problem> {
    let (call, tag) = TagPath::read(&path)?;
    let (notes, changed) = note(&state, call, Note::Tagged { tag }).await?;
    Ok(TagsJson::new(notes, changed))
}

/// Takes a tag from a call. That it has none such is no error.
#[utoipa::path(delete, path = "/calls/{id}/tags/{tag}", operation_id = "delete_tag", tag = "notes",
    params(TagPath),
    responses((status = 200, description = "Its tags now", body = TagsJson), NoteRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn delete_tag(
    State(state): State<ApiState>,
    path: Path<TagPath>,
) -> Result<Json<TagsJson>, Problem> {
    let (call, tag) = TagPath::read(&path)?;
    let (notes, changed) = note(&state, call, Note::Untagged { tag }).await?;
    Ok(TagsJson::new(notes, changed))
}

/// The key-values that were added to a call. Those that came with it are in the call's `extra`.
#[utoipa::path(get, path = "/calls/{id}/metadata", operation_id = "list_metadata", tag = "notes",
    params(CallPath),
    responses((status = 200, description = "What was added", body = ValuesJson), LogRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn metadata(
    State(state): State<ApiState>,
    path: Path<CallPath>,
) -> Result<Json<ValuesJson>, Problem> {
    Ok(ValuesJson::new(read(&state, CallPath::read(&path)?).await?, Changed::No))
}

/// Puts a value for a key of a call; it wins over one that came with the call.
#[utoipa::path(put, path = "/calls/{id}/metadata/{key}", operation_id = "put_metadata", tag = "notes",
    params(KeyPath),
    request_body = PutBody,
    responses((status = 200, description = "What was added, now", body = ValuesJson), NoteRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn put_metadata(
    State(state): State<ApiState>,
    path: Path<KeyPath>,
    request: Request,
) -> Result<Json<ValuesJson>, Problem> {
    let (call, key) = KeyPath::read(&path)?;
    let Json(body) = Json::<PutBody>::from_request(request, &()).await?;
    let value =
        body.value.parse().map_err(|e: model::NoteParseError| Problem::unfit("/value", e.to_string()))?;
    let (notes, changed) = note(&state, call, Note::Put { key, value }).await?;
    Ok(ValuesJson::new(notes, changed))
}

/// Takes away what was put for a key; what came with the call counts again.
#[utoipa::path(delete, path = "/calls/{id}/metadata/{key}", operation_id = "delete_metadata", tag = "notes",
    params(KeyPath),
    responses((status = 200, description = "What was added, now", body = ValuesJson), NoteRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn delete_metadata(
    State(state): State<ApiState>,
    path: Path<KeyPath>,
) -> Result<Json<ValuesJson>, Problem> {
    let (call, key) = KeyPath::read(&path)?;
    let (notes, changed) = note(&state, call, Note::Removed { key }).await?;
    Ok(ValuesJson::new(notes, changed))
}

async fn read(state: &ApiState, call: CallId) -> Result<CallNotes, Problem> {
    let tenant = state.0.config.tenant.clone();
    on_disk(state, move |notes| notes.read(&tenant, call)).await
}

async fn note(state: &ApiState, call: CallId, note: Note) -> Result<(CallNotes, Changed), Problem> {
    let tenant = state.0.config.tenant.clone();
    on_disk(state, move |notes| notes.note(&tenant, call, note, BY)).await
}

/// Does something that may block on a disk. A disk that hangs keeps few threads, and the rest is refused.
pub(crate) async fn on_disk<T: Send + 'static>(
    state: &ApiState,
    work: impl FnOnce(&dyn Notes) -> Result<T, NoteError> + Send + 'static,
) -> Result<T, Problem> {
    let Ok(permit) = state.0.note_takers.clone().try_acquire_owned() else {
        return Err(Problem::busy("8 notes are being read or made"));
    };
    let notes = Arc::clone(&state.0.notes);
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work(&*notes)
    });
    Ok(done.await.map_err(|e| Problem::internal(e.to_string()))??)
}
