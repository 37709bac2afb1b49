//! Where each background job stands, so that it goes on from there after a restart.

use crate::connection::Index;
use crate::error::Error;

impl Index {
    /// Stores the state of a job; replaces the state before. Durable on return.
    pub async fn put_job(&self, name: &str, state: &str, changed_millis: i64) -> Result<(), Error> {
        sqlx::query(
            "insert into job (name, state, changed_millis)
             values ($1, $2, $3)
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

    /// Returns the stored state of a job and when it was stored, in milliseconds since 1970.
    pub async fn job(&self, name: &str) -> Result<Option<(String, i64)>, Error> {
        Ok(sqlx::query_as("select state, changed_millis from job where name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?)
    }
}
