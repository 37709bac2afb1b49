//! Rows of patients, studies and series made where they are missing; studies locked.
//!
//! Upserts by constraint, in the order of keys, patients before studies: concurrent writers wait for each other and
//! neither fail nor deadlock. What is stored first stays (QR-066).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::PgConnection;

use crate::error::Error;
use crate::levels::{PatientRow, SeriesRow, StudyRow};
use dicom_data::Attributes;
use dicom_data::Uid;

/// What a new study would be made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewStudy<'a> {
    pub(crate) patient: &'a Attributes,
    pub(crate) study: &'a Attributes,
}

/// How often a study may vanish under us, deleted by another writer, before that is taken for a bug.
const ATTEMPTS_MAX: usize = 8;

/// Makes missing studies and locks all until the end of the transaction; deleted ones are not in the answer.
pub(crate) async fn lock_studies(
    tx: &mut PgConnection,
    wanted: &BTreeMap<Uid, NewStudy<'_>>,
) -> Result<HashMap<Uid, i64>, Error> {
    for _ in 0..ATTEMPTS_MAX {
        let deleted = deleted_studies(tx, wanted.keys()).await?;
        let live: Vec<(&Uid, NewStudy<'_>)> =
            wanted.iter().filter(|(uid, _)| !deleted.contains(uid.as_str())).map(|(u, n)| (u, *n)).collect();
        let uids: Vec<&str> = live.iter().map(|(uid, _)| uid.as_str()).collect();
        let there: Vec<String> =
            sqlx::query_scalar("select study_instance_uid from study where study_instance_uid = any($1)")
                .bind(&uids)
                .fetch_all(&mut *tx)
                .await?;
        let there: BTreeSet<String> = there.into_iter().collect();
        let missing: Vec<(&Uid, NewStudy<'_>)> =
            live.iter().filter(|(uid, _)| !there.contains(uid.as_str())).copied().collect();
        if !missing.is_empty() && !insert_studies(tx, &missing).await? {
            continue;
        }
        let locked: Vec<(String, i64)> = sqlx::query_as(
            "select study_instance_uid, id from study where study_instance_uid = any($1) \
             order by study_instance_uid for no key update",
        )
        .bind(&uids)
        .fetch_all(&mut *tx)
        .await?;
        let locked: HashMap<String, i64> = locked.into_iter().collect();
        let found: HashMap<Uid, i64> =
            live.iter().filter_map(|(uid, _)| Some(((*uid).clone(), *locked.get(uid.as_str())?))).collect();
        if found.len() == live.len() {
            return Ok(found);
        }
    }
    Err(Error::Damaged { what: "study" })
}

/// Makes missing series of locked studies; the answer has the row of each by study row and UID.
pub(crate) async fn series(
    tx: &mut PgConnection,
    wanted: &BTreeMap<(i64, Uid), &Attributes>,
) -> Result<HashMap<(i64, Uid), i64>, Error> {
    let mut found = find_series(tx, wanted).await?;
    let missing: Vec<(i64, &Uid, SeriesRow)> = wanted
        .iter()
        .filter(|((study, uid), _)| !found.contains_key(&(*study, uid.clone())))
        .map(|((study, uid), attributes)| (*study, uid, SeriesRow::new(attributes)))
        .collect();
    if !missing.is_empty() {
        insert_series(tx, &missing).await?;
        found = find_series(tx, wanted).await?;
        insert_requests(tx, &missing, &found).await?;
        let studies: BTreeSet<i64> = missing.iter().map(|(study, ..)| *study).collect();
        set_modalities(tx, &studies.into_iter().collect::<Vec<_>>()).await?;
    }
    Ok(found)
}

/// Sets Modalities in Study from the series that are there. Removing one is `forget_modalities` first.
pub(crate) async fn set_modalities(tx: &mut PgConnection, studies: &[i64]) -> Result<(), Error> {
    sqlx::query(
        "with changed as (
             update study t set modalities = array(\
                 select distinct s.modality from series s where s.study = t.id and s.modality is not null order by 1)
             where t.id = any($1)
             returning t.id, t.date_rank, t.study_instance_uid, t.modalities)
         insert into study_modality (modality, date_rank, study_instance_uid, study)
         select m, c.date_rank, c.study_instance_uid, c.id from changed c, unnest(c.modalities) as m
         on conflict on constraint study_modality_key do update set study = excluded.study
             where study_modality.study <> excluded.study",
    )
    .bind(studies)
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes studies out of the lists of their modalities, before they, or series of theirs, are removed.
pub(crate) async fn forget_modalities(tx: &mut PgConnection, studies: &[i64]) -> Result<(), Error> {
    sqlx::query(
        "delete from study_modality x using study t, unnest(t.modalities) as m
         where t.id = any($1) and x.modality = m
             and x.date_rank = t.date_rank and x.study_instance_uid = t.study_instance_uid",
    )
    .bind(studies)
    .execute(tx)
    .await?;
    Ok(())
}

async fn deleted_studies(tx: &mut PgConnection, uids: impl Iterator<Item = &Uid>) -> Result<BTreeSet<String>, Error> {
    let uids: Vec<&str> = uids.map(Uid::as_str).collect();
    let deleted: Vec<String> = sqlx::query_scalar(
        "select study_instance_uid from tombstone where study_instance_uid = any($1) and series_instance_uid = ''",
    )
    .bind(uids)
    .fetch_all(tx)
    .await?;
    Ok(deleted.into_iter().collect())
}

/// Tells whether all could be made; a patient that another writer just removed is made by the next attempt.
async fn insert_studies(tx: &mut PgConnection, missing: &[(&Uid, NewStudy<'_>)]) -> Result<bool, Error> {
    let patients: Vec<PatientRow> = missing.iter().map(|(uid, new)| PatientRow::new(uid, new.patient)).collect();
    let ids = lock_patients(tx, &patients).await?;
    let Some(found) = patients.iter().map(|p| ids.get(&p.identity).copied()).collect::<Option<Vec<_>>>() else {
        return Ok(false);
    };
    let (patient_ids, name_bits): (Vec<i64>, Vec<i64>) = found.into_iter().unzip();
    let rows: Vec<StudyRow> = missing.iter().map(|(_, new)| StudyRow::new(new.study)).collect();
    sqlx::query(
        "insert into study (patient, study_instance_uid, study_date, study_time, accession_number, study_id, \
             study_description, referring_physician_alphabetic, referring_physician_ideographic, \
             referring_physician_phonetic, attributes, name_bits)
         select n.patient, n.uid, n.day::date, n.time, n.accession, n.study_id, n.description, n.a, n.i, n.p, \
             n.attributes, n.bits
         from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], \
             $9::text[], $10::text[], $11::text[], $12::bigint[])
             as n (patient, uid, day, time, accession, study_id, description, a, i, p, attributes, bits)
         order by n.uid collate \"C\"
         on conflict on constraint study_identity do nothing",
    )
    .bind(patient_ids)
    .bind(missing.iter().map(|(uid, _)| uid.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.date.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.time).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.accession_number.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.study_id.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.description.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.referring[0].as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.referring[1].as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.referring[2].as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.attributes.as_str()).collect::<Vec<_>>())
    .bind(name_bits)
    .execute(tx)
    .await?;
    Ok(true)
}

/// A patient's row, and the bits of the name that it has there (`text::gram_bits`): the first that was stored, which
/// another study's may differ from.
type Patient = (i64, i64);

/// Makes missing patients and keeps all from being removed until the end of the transaction.
async fn lock_patients(
    tx: &mut PgConnection,
    patients: &[PatientRow],
) -> Result<HashMap<(String, String, String), Patient>, Error> {
    let mut firsts: BTreeMap<&(String, String, String), &PatientRow> = BTreeMap::new();
    for patient in patients {
        firsts.entry(&patient.identity).or_insert(patient);
    }
    let rows: Vec<&PatientRow> = firsts.into_values().collect();
    let ids: Vec<&str> = rows.iter().map(|r| r.identity.0.as_str()).collect();
    let issuers: Vec<&str> = rows.iter().map(|r| r.identity.1.as_str()).collect();
    let studies: Vec<&str> = rows.iter().map(|r| r.identity.2.as_str()).collect();
    sqlx::query(
        "insert into patient (patient_id, issuer_of_patient_id, only_study_instance_uid, patient_name_alphabetic, \
             patient_name_ideographic, patient_name_phonetic, patient_birth_date, patient_sex, attributes, name_grams)
         select n.id, n.issuer, n.study, n.a, n.i, n.p, n.day::date, n.sex, n.attributes, \
             string_to_array(n.grams, ',')::integer[]
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
             $9::text[], $10::text[]) as n (id, issuer, study, a, i, p, day, sex, attributes, grams)
         order by n.id collate \"C\", n.issuer collate \"C\", n.study collate \"C\"
         on conflict on constraint patient_identity do nothing",
    )
    .bind(&ids)
    .bind(&issuers)
    .bind(&studies)
    .bind(rows.iter().map(|r| r.name[0].as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.name[1].as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.name[2].as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.birth_date.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.sex.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.attributes.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.name_grams.as_str()).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    let locked: Vec<(String, String, String, i64, i64)> = sqlx::query_as(
        "select p.patient_id, p.issuer_of_patient_id, p.only_study_instance_uid, p.id, (
             select coalesce(bit_or(1::bigint << ((gram & 31) + case when gram < 0 then 32 else 0 end)), 0)
             from unnest(p.name_grams) as gram)
         from patient p
         join unnest($1::text[], $2::text[], $3::text[]) as n (id, issuer, study)
             on p.patient_id = n.id and p.issuer_of_patient_id = n.issuer and p.only_study_instance_uid = n.study
         order by p.patient_id, p.issuer_of_patient_id, p.only_study_instance_uid
         for key share of p",
    )
    .bind(&ids)
    .bind(&issuers)
    .bind(&studies)
    .fetch_all(tx)
    .await?;
    Ok(locked.into_iter().map(|(id, issuer, study, row, bits)| ((id, issuer, study), (row, bits))).collect())
}

async fn find_series(
    tx: &mut PgConnection,
    wanted: &BTreeMap<(i64, Uid), &Attributes>,
) -> Result<HashMap<(i64, Uid), i64>, Error> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "select n.no, s.id
         from unnest($1::bigint[], $2::text[]) with ordinality as n (study, uid, no)
         join series s on s.study = n.study and s.series_instance_uid = n.uid",
    )
    .bind(wanted.keys().map(|(study, _)| *study).collect::<Vec<_>>())
    .bind(wanted.keys().map(|(_, uid)| uid.as_str()).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    let keys: Vec<&(i64, Uid)> = wanted.keys().collect();
    let key = |no: i64| usize::try_from(no - 1).ok().and_then(|no| keys.get(no));
    Ok(rows.into_iter().filter_map(|(no, id)| Some(((*key(no)?).clone(), id))).collect())
}

async fn insert_series(tx: &mut PgConnection, missing: &[(i64, &Uid, SeriesRow)]) -> Result<(), Error> {
    sqlx::query(
        "insert into series (study, series_instance_uid, modality, series_number, series_description, \
             performed_procedure_step_start_date, performed_procedure_step_start_time, attributes)
         select n.study, n.uid, n.modality, n.number, n.description, n.day::date, n.time, n.attributes
         from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::text[])
             as n (study, uid, modality, number, description, day, time, attributes)
         on conflict on constraint series_identity do nothing",
    )
    .bind(missing.iter().map(|(study, ..)| *study).collect::<Vec<_>>())
    .bind(missing.iter().map(|(_, uid, _)| uid.as_str()).collect::<Vec<_>>())
    .bind(missing.iter().map(|(.., r)| r.modality.as_deref()).collect::<Vec<_>>())
    .bind(missing.iter().map(|(.., r)| r.number).collect::<Vec<_>>())
    .bind(missing.iter().map(|(.., r)| r.description.as_deref()).collect::<Vec<_>>())
    .bind(missing.iter().map(|(.., r)| r.start_date.as_deref()).collect::<Vec<_>>())
    .bind(missing.iter().map(|(.., r)| r.start_time).collect::<Vec<_>>())
    .bind(missing.iter().map(|(.., r)| r.attributes.as_str()).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_requests(
    tx: &mut PgConnection,
    missing: &[(i64, &Uid, SeriesRow)],
    ids: &HashMap<(i64, Uid), i64>,
) -> Result<(), Error> {
    let rows: Vec<(i64, Option<&str>, Option<&str>)> = missing
        .iter()
        .filter_map(|(study, uid, row)| Some((*ids.get(&(*study, (*uid).clone()))?, row)))
        .flat_map(|(id, row)| row.requests.iter().map(move |(s, r)| (id, s.as_deref(), r.as_deref())))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into series_request (series, scheduled_procedure_step_id, requested_procedure_id)
         select * from unnest($1::bigint[], $2::text[], $3::text[])",
    )
    .bind(rows.iter().map(|r| r.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.1).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
