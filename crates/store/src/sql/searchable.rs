//! The rows that searches use: parties, key-values, and the text of a call.
//!
//! They follow from the call data and from what people noted. What is as it was is not written again.

use std::collections::BTreeMap;

use model::CallData;
use sqlx::FromRow;

use super::bulk;
use super::engine::Connection;
use crate::error::CatalogError;
use crate::rows;

/// Characters of names, numbers and values that a text search sees. 32 parties with long names fit; what is
/// beyond is still found by number or key.
const SEARCH_CHARS_MAX: usize = 4_096;
/// Characters of a number or key that are searched for: nobody types more, and an entry of an index has an end.
const NAME_CHARS_MAX: usize = 256;

#[derive(FromRow, PartialEq)]
struct PartyRow {
    call: i64,
    position: i64,
    role: String,
    side: String,
    uri: Option<String>,
    number: Option<String>,
    name: Option<String>,
    participant: Option<String>,
}

/// A key-value of the call data.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct DataRow {
    call: i64,
    key: String,
    position: i64,
    value: String,
    started: i64,
}

/// Something that people noted.
struct Noted {
    /// None when it was taken away again.
    value: Option<String>,
    /// When the call began, where the row says so.
    started: Option<i64>,
    changed: i64,
}

/// What there is of calls.
pub(crate) struct Found {
    parties: BTreeMap<i64, Vec<PartyRow>>,
    data: BTreeMap<i64, Vec<DataRow>>,
    noted: BTreeMap<i64, Vec<Noted>>,
}

#[derive(FromRow)]
struct ValueRow {
    call: i64,
    origin: String,
    key: String,
    position: i64,
    value: String,
    started: i64,
    changed: i64,
    present: i64,
}

impl Found {
    /// Of some calls; parties of some of them only.
    pub(crate) async fn of(
        db: &mut Connection,
        calls: &[i64],
        with_parties: &[i64],
    ) -> Result<Self, CatalogError> {
        let parties: Vec<PartyRow> = bulk::select(
            db,
            "SELECT call, position, role, side, uri, number, name, participant FROM parties WHERE call IN",
            with_parties,
            " ORDER BY call, position",
        )
        .await?;
        let values: Vec<ValueRow> = bulk::select(
            db,
            "SELECT call, origin, key, position, value, started, changed, present FROM metadata WHERE call IN",
            calls,
            " ORDER BY call, origin, key, position",
        )
        .await?;
        let tags: Vec<(i64, String, i64, i64)> = bulk::select(
            db,
            "SELECT call, tag, present, changed FROM tags WHERE call IN",
            calls,
            " ORDER BY call, tag",
        )
        .await?;
        let mut found =
            Self { parties: rows::by(parties, |p| p.call), data: BTreeMap::new(), noted: BTreeMap::new() };
        for ValueRow { call, origin, key, position, value, started, changed, present } in values {
            if origin == "added" {
                let (value, started) = ((present == 1).then_some(value), Some(started));
                found.noted.entry(call).or_default().push(Noted { value, started, changed });
            } else {
                found.data.entry(call).or_default().push(DataRow { call, key, position, value, started });
            }
        }
        // As databases sort text otherwise, where they are told to.
        found.data.values_mut().for_each(|rows| rows.sort());
        for (call, tag, present, changed) in tags {
            let value = (present == 1).then_some(tag);
            found.noted.entry(call).or_default().push(Noted { value, started: None, changed });
        }
        Ok(found)
    }

    /// The newest change by which people noted something of a call.
    pub(crate) fn noted_last(&self, call: i64) -> i64 {
        self.noted.get(&call).into_iter().flatten().map(|n| n.changed).max().unwrap_or(0)
    }
}

/// What is to be written anew.
#[derive(Default)]
pub(crate) struct Rewritten {
    parties_of: Vec<i64>,
    parties: Vec<PartyRow>,
    data_of: Vec<i64>,
    data: Vec<DataRow>,
    /// Calls that began at another time than their added values say.
    moved: Vec<(i64, i64)>,
}

impl Rewritten {
    /// Compares what there is of a call with what follows from its data and from those of calls that it took in, by
    /// which it is found too. Returns the text for searches.
    pub(crate) fn compare(
        &mut self,
        found: &Found,
        call: i64,
        data: &CallData,
        started: i64,
        taken_in: &[CallData],
    ) -> String {
        let mut text = SearchText::default();
        let parties = parties(call, data);
        for party in &parties {
            [&party.name, &party.number, &party.uri].into_iter().flatten().for_each(|field| text.add(field));
        }
        if found.parties.get(&call).map(Vec::as_slice).unwrap_or_default() != parties {
            self.parties_of.push(call);
            self.parties.extend(parties);
        }
        let known: Vec<&CallData> = std::iter::once(data).chain(taken_in).collect();
        let values = key_values(&known);
        values.iter().for_each(|(_, _, value)| text.add(value));
        let values = values.into_iter().map(|(key, position, value)| DataRow {
            call,
            key,
            position,
            value: rows::text(value).into_owned(),
            started,
        });
        let mut values: Vec<DataRow> = values.collect();
        values.sort();
        if found.data.get(&call).map(Vec::as_slice).unwrap_or_default() != values {
            self.data_of.push(call);
            self.data.extend(values);
        }
        let noted = found.noted.get(&call).map(Vec::as_slice).unwrap_or_default();
        noted.iter().filter_map(|n| n.value.as_deref()).for_each(|value| text.add(value));
        if noted.iter().filter_map(|n| n.started).any(|at| at != started) {
            self.moved.push((call, started));
        }
        text.0
    }

    pub(crate) async fn write(self, db: &mut Connection) -> Result<(), CatalogError> {
        bulk::delete(db, "DELETE FROM parties WHERE call IN", &self.parties_of).await?;
        bulk::insert(
            db,
            "INSERT INTO parties (call, position, role, side, uri, number, name, participant) ",
            &self.parties,
            |values, party| {
                values.push_bind(party.call).push_bind(party.position).push_bind(party.role.as_str());
                values.push_bind(party.side.as_str()).push_bind(party.uri.as_deref());
                values.push_bind(party.number.as_deref()).push_bind(party.name.as_deref());
                values.push_bind(party.participant.as_deref());
            },
            "",
        )
        .await?;
        bulk::delete(db, "DELETE FROM metadata WHERE origin = 'data' AND call IN", &self.data_of).await?;
        bulk::insert(
            db,
            "INSERT INTO metadata (call, origin, key, position, value, started, changed) ",
            &self.data,
            |values, row| {
                values.push_bind(row.call).push("'data'").push_bind(row.key.as_str());
                values.push_bind(row.position).push_bind(row.value.as_str()).push_bind(row.started);
                // They follow from the call's data, which say how new they are.
                values.push("0");
            },
            "",
        )
        .await?;
        for (call, started) in self.moved {
            sqlx::query("UPDATE metadata SET started = $2 WHERE call = $1 AND origin = 'added'")
                .bind(call)
                .bind(started)
                .execute(&mut *db)
                .await?;
        }
        Ok(())
    }
}

fn parties(call: i64, data: &CallData) -> Vec<PartyRow> {
    let text = |text: &Option<String>| text.as_deref().map(|t| rows::text(t).into_owned());
    let row = |(position, party): (i64, &model::Party)| PartyRow {
        call,
        position,
        role: rows::name(&party.role),
        side: rows::name(&party.side),
        uri: text(&party.uri),
        number: text(&party.number).map(|n| beginning(&n)),
        name: text(&party.name),
        participant: text(&party.participant),
    };
    (0..).zip(&data.parties).map(row).collect()
}

/// Call data as key-values, with a position each among those of the same key. What several say is there once.
fn key_values<'a>(known: &[&'a CallData]) -> Vec<(String, i64, &'a str)> {
    let mut seen: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut all = Vec::new();
    for data in known {
        let single = [("dn", &data.dn), ("device", &data.device)]
            .into_iter()
            .filter_map(|(key, value)| value.as_deref().map(|v| (key, v)));
        let ids = data.sip_call_ids.iter().map(|v| ("sip-call-id", v.as_str()));
        let maps = data.correlation.iter().chain(&data.extra).map(|(k, v)| (k.as_str(), v.as_str()));
        for (key, value) in single.chain(ids).chain(maps) {
            let key = beginning(&rows::text(key));
            let values = seen.entry(key.clone()).or_default();
            if !values.contains(&value) {
                all.push((key, rows::count(values.len() as u64), value));
                values.push(value);
            }
        }
    }
    all
}

fn beginning(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).collect()
}

#[derive(Default)]
struct SearchText(String);

impl SearchText {
    fn add(&mut self, field: &str) {
        let room = SEARCH_CHARS_MAX.saturating_sub(self.0.chars().count());
        if room > 0 && !field.is_empty() {
            self.0.extend(rows::text(field).to_lowercase().chars().take(room));
            self.0.push('\n');
        }
    }
}
