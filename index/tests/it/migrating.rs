//! A database of an earlier release is brought up to date and keeps what it has.

use std::borrow::Cow;

use sqlx::migrate::Migrator;
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::*;

/// What 0001 and 0002 know of one instance that is not sealed yet.
const EARLIER: &str = "
    insert into patient (patient_id, issuer_of_patient_id, only_study_instance_uid, attributes)
    values ('P1', '', '', '{}');
    insert into study (patient, study_instance_uid, attributes) select id, '1.2.826.1', '{}' from patient;
    insert into series (study, series_instance_uid, instances, bytes, attributes)
    select id, '1.2.826.1.1', 1, 60001, '{}' from study;
    insert into instance_hot (series, sop_instance_uid, sop_class_uid, transfer_syntax_uid, instance_number, journal, lsn,
        head_bytes, payload_bytes, crc32c, large, received_millis, calling_ae, detail)
    select id, '1.2.826.1.1.1', '1.2.3', '1.2.840.10008.1.2.1', 1, '00000000-0000-0000-0000-000000000007', 100, 200, 60001, 5,
        false, 1700000000001, 'SCANNER', '{}' from series;";

#[tokio::test]
async fn instances_of_an_earlier_schema_stay_unsealed() {
    let f = fixture().await;
    let all = sqlx::migrate!("../migrations");
    let earlier: Vec<_> = all.migrations.iter().filter(|m| m.version <= 2).cloned().collect();
    assert_eq!(earlier.len(), 2);
    let mut connection = PgConnection::connect_with(&f.options).await.unwrap();
    connection.execute("drop schema public cascade; create schema public").await.unwrap();
    Migrator { migrations: Cow::Owned(earlier), ..Migrator::DEFAULT }.run(&mut connection).await.unwrap();
    sqlx::raw_sql(EARLIER).execute(&mut connection).await.unwrap();

    let index = Index::connect(f.options.clone(), 2).await.unwrap();
    let unsealed = index.unsealed_instances(&[uid("1.2.826.1")], &[], usize::MAX).await.unwrap();
    assert_eq!(unsealed.len(), 1);
    assert_eq!(
        (unsealed[0].journal, unsealed[0].record.lsn, unsealed[0].record.payload_bytes),
        (JOURNAL, Lsn(100), 60_001)
    );
    index.apply(JOURNAL, &[arrival(1, 1, 2)], Lsn(200)).await.unwrap();
    assert_eq!(index.counts().await.unwrap().instances_unsealed, 2);
    assert!(index.contradictions().await.unwrap().is_empty());
    let named_hot: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relname like '%hot%'
         union all select conname::text from pg_constraint where conname like '%hot%'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(named_hot, Vec::<String>::new());
    index.close().await;
}
