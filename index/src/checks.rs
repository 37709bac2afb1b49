//! What recovery and verification ask of the index.

use uuid::Uuid;

use super::{Error, Index, unsigned};

/// SOP Instance UIDs that a check names at most.
const NAMED_MAX: i64 = 1_000;

impl Index {
    /// Tells whether Postgres answers.
    pub async fn answers(&self) -> bool {
        sqlx::query("select 1").execute(&self.pool).await.is_ok()
    }

    /// Returns the positions of all journal records that are not yet sealed.
    pub async fn unsealed_lsns(&self, journal: Uuid) -> Result<Vec<u64>, Error> {
        let rows: Vec<i64> = sqlx::query_scalar("select lsn from instance_unsealed where journal = $1::uuid")
            .bind(journal.to_string())
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(|lsn| unsigned(lsn, "unsealed instance")).collect()
    }

    /// Returns series whose kept counts differ from their rows and manifests, and series, studies and patients that
    /// exist twice; constraints forbid all of it, so an answer means damage.
    pub async fn contradictions(&self) -> Result<Vec<String>, Error> {
        let rows: Vec<String> = sqlx::query_scalar(
            "select s.series_instance_uid
             from series s
             left join (select series, count(*) as n from instance_unsealed group by series) h on h.series = s.id
             left join (select series, sum(instances - cardinality(dead)) as n from series_segment group by series) g
                 on g.series = s.id
             where s.instances <> coalesce(h.n, 0) + coalesce(g.n, 0)
             limit $1",
        )
        .bind(NAMED_MAX)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }
}
