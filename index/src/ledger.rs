//! What must be remembered across restarts beside the instances: requests of Storage Commitment and states of jobs.

use super::{Error, Index};
use dicom_data::Uid;

/// A request of Storage Commitment that is not yet answered (PS3.4 §J.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    /// Transaction UID (0008,1195).
    pub transaction_uid: Uid,
    /// AE title that asked and is to be told.
    pub calling_ae: String,
    /// When it asked, in milliseconds since 1970.
    pub requested_millis: i64,
    /// What it asked for, in the form that the commitment service chose.
    pub request: String,
}

impl Index {
    /// Remembers a request until it is settled; the same transaction of the same AE again replaces it. Durable on return.
    pub async fn put_commitment(&self, commitment: &Commitment) -> Result<(), Error> {
        sqlx::query(
            "insert into commitment (transaction_uid, calling_ae, requested_millis, request) values ($1, $2, $3, $4)
             on conflict on constraint commitment_key do update set request = excluded.request",
        )
        .bind(commitment.transaction_uid.as_str())
        .bind(&commitment.calling_ae)
        .bind(commitment.requested_millis)
        .bind(&commitment.request)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Returns the requests that are not yet settled, the oldest first.
    pub async fn commitments(&self) -> Result<Vec<Commitment>, Error> {
        let rows: Vec<(String, String, i64, String)> = sqlx::query_as(
            "select transaction_uid, calling_ae, requested_millis, request from commitment
             order by requested_millis, transaction_uid, calling_ae",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(uid, calling_ae, requested_millis, request)| {
                let transaction_uid = uid.parse().map_err(|_| Error::Damaged { what: "commitment" })?;
                Ok(Commitment { transaction_uid, calling_ae, requested_millis, request })
            })
            .collect()
    }

    /// Forgets a request that was answered.
    pub async fn settle_commitment(&self, commitment: &Commitment) -> Result<(), Error> {
        sqlx::query("delete from commitment where transaction_uid = $1 and calling_ae = $2")
            .bind(commitment.transaction_uid.as_str())
            .bind(&commitment.calling_ae)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Remembers where a job stands. Durable on return.
    pub async fn put_job(&self, name: &str, state: &str, changed_millis: i64) -> Result<(), Error> {
        sqlx::query(
            "insert into job (name, state, changed_millis) values ($1, $2, $3)
             on conflict on constraint job_key
             do update set state = excluded.state, changed_millis = excluded.changed_millis",
        )
        .bind(name)
        .bind(state)
        .bind(changed_millis)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Returns where a job stands and since when.
    pub async fn job(&self, name: &str) -> Result<Option<(String, i64)>, Error> {
        Ok(sqlx::query_as("select state, changed_millis from job where name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?)
    }
}
