//! Changes become rows: idempotent, in any order, in one transaction with their events.
//!
//! Each kind of row remembers the newest change that wrote it (`changed`, `told`) and is not written by an
//! older one. What follows from several rows (a call's state, total, liveness) is not kept up to date here but
//! derived anew for each call that was touched (`joins`, `derive`), so the order of arrival leaves no trace.
//!
//! A batch is looked through first: of several changes that tell of the same row the newest writes it. Then rows are
//! written many at a time ([`bulk`](super::bulk)). Every change has its event.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Alarm, CallId, CallRecord, Change, ChangeKind, Copy, CopyOf, Correction, EventId, Join, Location, Note,
    TenantId,
};

use super::bulk;
use super::engine::Connection;
use super::joins;
use super::outbox;
use super::people;
use super::segments::{self, CopyKey, CopyTold, SegmentTold};
use crate::concerned::concerned;
use crate::error::CatalogError;
use crate::rows;
use crate::view::Event;

/// Whether the call data of a touched call changed, so that parties and key-values are to be looked through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Touch {
    StateOnly,
    Data,
}

/// Calls of which something was written.
#[derive(Default)]
pub(crate) struct Touched(BTreeMap<CallId, Touch>);

impl Touched {
    pub(crate) fn add(&mut self, call: CallId, touch: Touch) {
        let entry = self.0.entry(call).or_insert(touch);
        *entry = (*entry).max(touch);
    }

    /// All of them, each with what was touched.
    pub(crate) fn into_calls(self) -> BTreeMap<CallId, Touch> {
        self.0
    }

    pub(crate) fn add_row(&mut self, call: i64) -> Result<(), CatalogError> {
        self.add(CallId::from_u64(rows::from_id(call)?), Touch::Data);
        Ok(())
    }
}

/// Applies changes within the transaction that `db` is in.
pub(crate) async fn apply(db: &mut Connection, changes: &[Change]) -> Result<(), CatalogError> {
    let mut batch = Batch::new(owners(db, changes).await?);
    changes.iter().for_each(|change| batch.take(change));
    let touched = batch.write(db).await?;
    joins::derive_all(db, touched.into_calls()).await
}

/// What is known of a call before it is written.
struct Owner<'a> {
    /// None: there is no row of it yet.
    known: Option<KnownCall>,
    tenant: Option<&'a TenantId>,
    /// The newest that was told of the call itself.
    told: Option<(EventId, &'a CallRecord)>,
}

struct KnownCall {
    tenant: String,
    told: i64,
}

/// The calls that changes name.
async fn owners<'a>(
    db: &mut Connection,
    changes: &[Change],
) -> Result<BTreeMap<CallId, Owner<'a>>, CatalogError> {
    let named: BTreeSet<CallId> = changes.iter().flat_map(concerned).collect();
    let ids: Vec<i64> = named.iter().map(|call| rows::id(call.as_u64())).collect();
    let found: Vec<(i64, String, i64)> =
        bulk::select(db, "SELECT id, tenant, told FROM calls WHERE id IN", &ids, "").await?;
    let mut owners: BTreeMap<CallId, Owner<'a>> =
        named.into_iter().map(|call| (call, Owner { known: None, tenant: None, told: None })).collect();
    for (id, tenant, told) in found {
        if let Some(owner) = owners.get_mut(&CallId::from_u64(rows::from_id(id)?)) {
            owner.known = Some(KnownCall { tenant, told });
        }
    }
    Ok(owners)
}

/// What changes come to.
struct Batch<'a> {
    calls: BTreeMap<CallId, Owner<'a>>,
    touched: Touched,
    segments: segments::Told<'a>,
    copies: segments::Copies,
    joins: Vec<(EventId, &'a Join)>,
    notes: Vec<(EventId, CallId, &'a Note)>,
    sides: Vec<(EventId, CallId, &'a Correction)>,
    alarms: Vec<(&'a Change, &'a Alarm)>,
    events: Vec<Event>,
}

impl<'a> Batch<'a> {
    fn new(calls: BTreeMap<CallId, Owner<'a>>) -> Self {
        Self {
            calls,
            touched: Touched::default(),
            segments: BTreeMap::new(),
            copies: BTreeMap::new(),
            joins: Vec::new(),
            notes: Vec::new(),
            sides: Vec::new(),
            alarms: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Whether a call is, or becomes, this tenant's.
    fn is_of(&mut self, tenant: &'a TenantId, call: CallId) -> bool {
        let Some(owner) = self.calls.get_mut(&call) else { return false };
        match &owner.known {
            Some(known) => known.tenant == tenant.as_str(),
            None => owner.tenant.get_or_insert(tenant) == &tenant,
        }
    }

    fn take(&mut self, change: &'a Change) {
        let (event, tenant) = (change.id, &change.tenant);
        if let Some(call) = change.kind.call()
            && !matches!(change.kind, ChangeKind::Alarm(_))
        {
            if !self.is_of(tenant, call) {
                tracing::error!(%call, %tenant, %event,
                    "a change names another tenant than the call has; it is not applied");
                return;
            }
            self.touched.add(call, Touch::StateOnly);
        }
        match &change.kind {
            ChangeKind::Call(record) => {
                self.touched.add(record.id, Touch::Data);
                if let Some(owner) = self.calls.get_mut(&record.id)
                    && owner.told.is_none_or(|(newest, _)| newest < event)
                {
                    owner.told = Some((event, record));
                }
            }
            ChangeKind::Segment { record, directory } => {
                self.touched.add(record.call, Touch::Data);
                let told = SegmentTold { event, record, directory };
                let newest = self.segments.entry((record.id, record.node)).or_insert(told);
                if newest.event < event {
                    *newest = told;
                }
                let of = CopyOf::Segment(record.id);
                let copy = Copy { of, at: Location::Node(record.node), state: record.state };
                self.copy(event, record.call, &copy);
            }
            ChangeKind::Copy { call, copy } => self.copy(event, *call, copy),
            ChangeKind::Noted { call, note, .. } => {
                self.touched.add(*call, Touch::Data);
                self.notes.push((event, *call, note));
            }
            ChangeKind::Joined(join) => {
                let possible = join.is_sound() && join.from.tenant == *tenant;
                if !possible || !self.is_of(tenant, join.from.call) {
                    tracing::error!(into = %join.into.call, from = %join.from.call, %event,
                        "two calls cannot be one; the change is not applied");
                    return;
                }
                self.touched.add(join.from.call, Touch::Data);
                self.joins.push((event, join));
            }
            ChangeKind::Sides(correction) => {
                for call in &correction.calls {
                    if self.is_of(tenant, *call) {
                        self.touched.add(*call, Touch::Data);
                        self.sides.push((event, *call, correction));
                    }
                }
            }
            ChangeKind::Alarm(alarm) => self.alarms.push((change, alarm)),
        }
        self.events.push(Event::of(change));
    }

    fn copy(&mut self, event: EventId, call: CallId, copy: &Copy) {
        let told = CopyTold { event, call, state: copy.state };
        let newest = self.copies.entry(CopyKey::of(copy)).or_insert(told);
        if newest.event < event {
            *newest = told;
        }
    }

    async fn write(mut self, db: &mut Connection) -> Result<Touched, CatalogError> {
        calls(db, &self.calls).await?;
        segments::write(db, &mut self.touched, &self.segments, &self.copies).await?;
        for (event, join) in self.joins {
            joins::write(db, event, join).await?;
        }
        for (event, call, note) in self.notes {
            people::noted(db, event, call, note).await?;
        }
        for (event, call, correction) in self.sides {
            people::sides(db, event, call, correction).await?;
        }
        for (change, alarm) in self.alarms {
            super::alarms::write(db, change, alarm).await?;
        }
        outbox::write(db, &self.events).await?;
        Ok(self.touched)
    }
}

/// Makes the rows of calls that there are none of yet, and writes what was told of them.
async fn calls(db: &mut Connection, owners: &BTreeMap<CallId, Owner<'_>>) -> Result<(), CatalogError> {
    struct Row<'a> {
        id: i64,
        tenant: &'a str,
        told: i64,
        total: i64,
        data: String,
        started: i64,
        ended: Option<i64>,
    }
    let (mut tenants, mut calls) = (BTreeSet::new(), Vec::new());
    for (call, owner) in owners {
        let (tenant, known) = match (&owner.known, owner.tenant) {
            (Some(known), _) => (known.tenant.as_str(), known.told),
            (None, Some(tenant)) => {
                tenants.insert(tenant.as_str());
                (tenant.as_str(), -1)
            }
            (None, None) => continue,
        };
        let newer = owner.told.map(|(event, record)| (rows::id(event.as_u64()), record));
        let newer = newer.filter(|(event, _)| *event > known);
        let id = rows::id(call.as_u64());
        match newer {
            Some((told, record)) => calls.push(Row {
                id,
                tenant,
                told,
                total: record.total.into(),
                data: rows::to_json(&record.data)?,
                started: record.started.0,
                ended: record.ended.map(|t| t.0),
            }),
            None if owner.known.is_none() => calls.push(Row {
                id,
                tenant,
                told: 0,
                total: 0,
                data: "{}".to_owned(),
                started: call.made_at().0,
                ended: None,
            }),
            None => {}
        }
    }
    let tenants: Vec<&str> = tenants.into_iter().collect();
    let bind = |values: &mut bulk::Values<'_>, tenant: &&str| {
        values.push_bind(*tenant);
    };
    bulk::insert(db, "INSERT INTO tenants (name) ", &tenants, bind, " ON CONFLICT (name) DO NOTHING").await?;
    bulk::insert(
        db,
        "INSERT INTO calls (id, tenant, told, told_total, data, started, ended, total, segments, state, live, \
         changed, search) ",
        &calls,
        |values, row| {
            values.push_bind(row.id).push_bind(row.tenant).push_bind(row.told).push_bind(row.total);
            values.push_bind(row.data.as_str()).push_bind(row.started).push_bind(row.ended);
            values.push("0, 0, 0, 0, 0, ''");
        },
        " ON CONFLICT (id) DO UPDATE SET told = excluded.told, told_total = excluded.told_total, \
         data = excluded.data, started = excluded.started, ended = excluded.ended, told_data = NULL, \
         told_started = NULL, told_ended = NULL WHERE calls.told < excluded.told",
    )
    .await?;
    Ok(())
}
