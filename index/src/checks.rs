//! What recovery and verification ask of the index.

use journal::Lsn;
use uuid::Uuid;

use crate::connection::Index;
use crate::error::Error;
use crate::numbers::unsigned;

/// SOP Instance UIDs that a check names at most.
const NAMED_MAX: i64 = 1_000;

impl Index {
    /// Returns the position up to which a journal is applied.
    pub async fn applied(&self, journal: Uuid) -> Result<Option<Lsn>, Error> {
        let lsn: Option<i64> = sqlx::query_scalar("select lsn from journal_position where journal = $1::uuid")
            .bind(journal.to_string())
            .fetch_optional(&self.pool)
            .await?;
        lsn.map(|lsn| unsigned(lsn, "journal position").map(Lsn)).transpose()
    }

    /// Forgets everything, tombstones included, before a rebuild; the schema stays, and so do commitments and jobs. Row
    /// numbers go on: they name what caches hold.
    pub async fn clear(&self) -> Result<(), Error> {
        sqlx::query(
            "truncate patient, study, study_modality, series, series_request, instance_unsealed, container, shard, series_segment, \
             tombstone, journal_position",
        )
        .execute(&self.pool)
        .await?;
        self.segments.clear();
        self.filters.clear();
        Ok(())
    }

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
