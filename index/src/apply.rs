//! From the journal into the index: one transaction for a batch of instances and the position they reach.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use crate::arrival::{Applied, Arrival, ArrivalHead};
use crate::connection::Index;
use crate::error::Error;
use crate::instances::{INSTANCE_COLUMNS, InstanceRow, SeriesRef};
use crate::numbers::signed;
use crate::places::{InstanceRef, Located, Location};
use crate::tombstone;
use crate::upsert::{self, NewStudy};
use dicom_data::Attributes;
use dicom_data::Uid;
use journal::Lsn;

/// A batch that is applied and not yet committed.
#[derive(Debug)]
pub struct Prepared {
    tx: Transaction<'static, Postgres>,
    outcomes: Vec<Applied>,
}

impl Prepared {
    /// Returns what will have become of each arrival.
    pub fn outcomes(&self) -> &[Applied] {
        &self.outcomes
    }

    /// Makes it durable.
    pub async fn commit(self) -> Result<Vec<Applied>, Error> {
        self.tx.commit().await?;
        Ok(self.outcomes)
    }
}

/// Series row and SOP Instance UID: what makes two instances one.
type Identity = (i64, Uid);

impl Index {
    /// Applies a batch and moves the journal's position to `end`, all or nothing; the answer has one outcome for each
    /// arrival. Applying a record again changes nothing. Durable on return. A dropped call may or may not have
    /// committed.
    pub async fn apply(&self, journal: Uuid, arrivals: &[Arrival], end: Lsn) -> Result<Vec<Applied>, Error> {
        self.prepare(journal, arrivals, end).await?.commit().await
    }

    /// Does as `apply` up to the commit, so that the caller can act on outcomes before the position moves. Holds the
    /// studies' row locks until it is committed or dropped, which undoes it.
    pub async fn prepare(&self, journal: Uuid, arrivals: &[Arrival], end: Lsn) -> Result<Prepared, Error> {
        let mut tx = self.pool.begin().await?;
        let outcomes = self.apply_in(&mut tx, journal, arrivals).await?;
        sqlx::query(
            "insert into journal_position (journal, lsn) values ($1::uuid, $2)
             on conflict on constraint journal_position_key
             do update set lsn = greatest(journal_position.lsn, excluded.lsn)",
        )
        .bind(journal.to_string())
        .bind(signed(end.0))
        .execute(&mut *tx)
        .await?;
        Ok(Prepared { tx, outcomes })
    }

    async fn apply_in(
        &self,
        tx: &mut PgConnection,
        journal: Uuid,
        arrivals: &[Arrival],
    ) -> Result<Vec<Applied>, Error> {
        let studies = upsert::lock_studies(tx, &wanted_studies(arrivals)).await?;
        let tombstones = tombstones(tx, &studies).await?;
        let is_deleted = |head: &ArrivalHead| {
            let sop = head.sop_instance_uid.as_str();
            tombstones.get(&head.series_instance_uid).is_some_and(|sops| sops.contains("") || sops.contains(sop))
        };
        let mut outcomes: Vec<Option<Applied>> = Vec::with_capacity(arrivals.len());
        let mut wanted: BTreeMap<(i64, Uid), &Attributes> = BTreeMap::new();
        for arrival in arrivals {
            match studies.get(&arrival.head.study_instance_uid) {
                Some(study) if !is_deleted(&arrival.head) => {
                    let key = (*study, arrival.head.series_instance_uid.clone());
                    wanted.entry(key).or_insert(&arrival.series);
                    outcomes.push(None);
                }
                Some(_) | None => outcomes.push(Some(Applied::Deleted)),
            }
        }
        // Locking makes a study that is missing, also one of which everything that comes is deleted.
        let used: BTreeSet<i64> = wanted.keys().map(|(study, _)| *study).collect();
        let unused: Vec<i64> = studies.values().filter(|study| !used.contains(study)).copied().collect();
        if !unused.is_empty() {
            tombstone::remove_empty(tx, &unused).await?;
        }
        let series = upsert::series(tx, &wanted).await?;
        let identity = |head: &ArrivalHead| -> Option<Identity> {
            let study = *studies.get(&head.study_instance_uid)?;
            Some((*series.get(&(study, head.series_instance_uid.clone()))?, head.sop_instance_uid.clone()))
        };
        let identities: Vec<Option<Identity>> =
            arrivals.iter().zip(&outcomes).map(|(a, o)| if o.is_some() { None } else { identity(&a.head) }).collect();
        let mut there = self.existing(tx, arrivals, &identities).await?;
        let mut new: Vec<(i64, &Arrival)> = Vec::new();
        for ((arrival, identity), outcome) in arrivals.iter().zip(identities).zip(&mut outcomes) {
            let Some(identity) = identity else { continue };
            if let Some(known) = there.get(&identity) {
                *outcome = Some(Applied::beside(journal, arrival, known));
                continue;
            }
            *outcome = Some(Applied::New);
            new.push((identity.0, arrival));
            there.insert(identity, located(journal, arrival));
        }
        insert_unsealed(tx, journal, &new).await?;
        count(tx, &new).await?;
        Ok(outcomes.into_iter().map(|o| o.unwrap_or(Applied::Deleted)).collect())
    }

    /// Returns those of the arrivals that are there, unsealed or sealed.
    async fn existing(
        &self,
        tx: &mut PgConnection,
        arrivals: &[Arrival],
        identities: &[Option<Identity>],
    ) -> Result<HashMap<Identity, Located>, Error> {
        let pairs: Vec<(&Identity, &ArrivalHead)> =
            identities.iter().zip(arrivals).filter_map(|(i, a)| Some((i.as_ref()?, &a.head))).collect();
        let refs: BTreeMap<i64, SeriesRef> = pairs
            .iter()
            .map(|((id, _), head)| {
                let (study, series) = (head.study_instance_uid.clone(), head.series_instance_uid.clone());
                (*id, SeriesRef { id: *id, study, series })
            })
            .collect();
        let mut found = HashMap::new();
        let mut query = sqlx::QueryBuilder::new("select ");
        query
            .push(INSTANCE_COLUMNS)
            .push(" from unnest(")
            .push_bind(pairs.iter().map(|((id, _), _)| *id).collect::<Vec<_>>())
            .push("::bigint[], ")
            .push_bind(pairs.iter().map(|((_, sop), _)| sop.as_str()).collect::<Vec<_>>())
            .push("::text[]) as n (series, sop) ")
            .push("join instance_unsealed h on h.series = n.series and h.sop_instance_uid = n.sop");
        let unsealed: Vec<InstanceRow> = query.build_query_as().fetch_all(&mut *tx).await?;
        for row in unsealed {
            let Some(series) = refs.get(&row.series) else {
                continue;
            };
            let located = row.located(series)?;
            found.insert((row.series, located.instance.sop_instance_uid.clone()), located);
        }
        let rows: Vec<i64> = refs.keys().copied().collect();
        let segments = self.segments_of(tx, &rows).await?;
        for ((id, sop), _) in pairs {
            for (_, segment) in segments.iter().filter(|(series, _)| series == id) {
                if let Some(place) = segment.locate(sop)? {
                    found.insert((*id, sop.clone()), place);
                }
            }
        }
        Ok(found)
    }
}

fn wanted_studies(arrivals: &[Arrival]) -> BTreeMap<Uid, NewStudy<'_>> {
    let mut wanted = BTreeMap::new();
    for arrival in arrivals {
        let new = NewStudy { patient: &arrival.patient, study: &arrival.study };
        wanted.entry(arrival.head.study_instance_uid.clone()).or_insert(new);
    }
    wanted
}

/// Returns what is deleted in locked studies: SOP Instance UIDs by series, empty for the whole series.
async fn tombstones(
    tx: &mut PgConnection,
    studies: &HashMap<Uid, i64>,
) -> Result<HashMap<Uid, BTreeSet<String>>, Error> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select series_instance_uid, sop_instance_uid from tombstone
         where study_instance_uid = any($1) and series_instance_uid <> ''",
    )
    .bind(studies.keys().map(Uid::as_str).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    let mut found: HashMap<Uid, BTreeSet<String>> = HashMap::new();
    for (series, sop) in rows {
        let series = series.parse().map_err(|_| Error::Damaged { what: "tombstone" })?;
        found.entry(series).or_default().insert(sop);
    }
    Ok(found)
}

fn located(journal: Uuid, arrival: &Arrival) -> Located {
    let head = &arrival.head;
    Located {
        instance: InstanceRef {
            study_instance_uid: head.study_instance_uid.clone(),
            series_instance_uid: head.series_instance_uid.clone(),
            sop_instance_uid: head.sop_instance_uid.clone(),
            sop_class_uid: head.sop_class_uid.clone(),
            transfer_syntax_uid: head.transfer_syntax_uid.clone(),
            bytes: arrival.record.payload_bytes,
            location: Location::Journal(arrival.record.clone()),
        },
        journal: Some(journal),
        instance_number: arrival.instance_number,
        received_millis: head.received_millis,
    }
}

/// Plan: function scan on unnest, insert, one look-up in each of three indexes a row.
async fn insert_unsealed(tx: &mut PgConnection, journal: Uuid, new: &[(i64, &Arrival)]) -> Result<(), Error> {
    if new.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into instance_unsealed (series, sop_instance_uid, sop_class_uid, transfer_syntax_uid, instance_number, \
             lsn, head_bytes, payload_bytes, crc32c, large, received_millis, calling_ae, detail, journal)
         select n.*, $14::uuid from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bigint[], \
             $7::bigint[], $8::bigint[], $9::bigint[], $10::bool[], $11::bigint[], $12::text[], $13::bytea[]) as n",
    )
    .bind(new.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| a.head.sop_instance_uid.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| a.head.sop_class_uid.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| a.head.transfer_syntax_uid.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| a.instance_number).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| signed(a.record.lsn.0)).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| i64::from(a.record.head_bytes)).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| signed(a.record.payload_bytes)).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| i64::from(a.record.crc32c)).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| a.record.large).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| a.head.received_millis).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| a.head.calling_ae.replace('\0', "")).collect::<Vec<_>>())
    .bind(new.iter().map(|(_, a)| a.detail.as_ref()).collect::<Vec<_>>())
    .bind(journal.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

async fn count(tx: &mut PgConnection, new: &[(i64, &Arrival)]) -> Result<(), Error> {
    let mut added: BTreeMap<i64, Added> = BTreeMap::new();
    for (series, arrival) in new {
        let entry = added.entry(*series).or_default();
        entry.instances += 1;
        entry.bytes += signed(arrival.record.payload_bytes);
        entry.sop_classes.insert(arrival.head.sop_class_uid.as_str().to_owned());
    }
    add(tx, &added).await
}

/// What comes to a series.
#[derive(Debug, Default)]
pub(super) struct Added {
    pub(super) instances: i64,
    pub(super) bytes: i64,
    pub(super) sop_classes: BTreeSet<String>,
}

/// Adds to the counts and SOP classes of series rows whose studies are locked. Rows that stay the same, as those of
/// what was unsealed and is sealed now, are not written.
pub(super) async fn add(tx: &mut PgConnection, added: &BTreeMap<i64, Added>) -> Result<(), Error> {
    if added.is_empty() {
        return Ok(());
    }
    let classes = |a: &Added| a.sop_classes.iter().map(String::as_str).collect::<Vec<_>>().join("\\");
    sqlx::query(
        "update series s
         set instances = s.instances + n.instances,
             bytes = s.bytes + n.bytes,
             sop_class_uids = array(\
                 select distinct c from unnest(s.sop_class_uids || string_to_array(n.classes, '\\')) as c order by c)
         from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) as n (id, instances, bytes, classes)
         where s.id = n.id
             and (n.instances <> 0 or n.bytes <> 0 or not s.sop_class_uids @> string_to_array(n.classes, '\\'))",
    )
    .bind(added.keys().copied().collect::<Vec<_>>())
    .bind(added.values().map(|a| a.instances).collect::<Vec<_>>())
    .bind(added.values().map(|a| a.bytes).collect::<Vec<_>>())
    .bind(added.values().map(classes).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
