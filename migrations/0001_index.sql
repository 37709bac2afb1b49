-- The index: what the archive knows about its instances. Everything here can be rebuilt from the containers and
-- the journal (DESIGN.md, promise 6), tombstones included.
--
-- A row lock on `study` is the mutex of everything beneath it: series, hot instances, segments. Locks are taken in the
-- order patient, study; several of one kind in the order of their keys. Normalised columns are capped in length by
-- the archive so that every index entry fits a page; `attributes` keeps the full values as DICOM JSON.

create table patient (
    id bigint generated always as identity,
    patient_id text collate "C" not null,
    issuer_of_patient_id text collate "C" not null,
    -- Without a Patient ID every study is a patient of its own; this is that study, otherwise empty.
    only_study_instance_uid text collate "C" not null,
    patient_name_alphabetic text collate "C",
    patient_name_ideographic text collate "C",
    patient_name_phonetic text collate "C",
    patient_birth_date date,
    patient_sex text collate "C",
    -- Characters and pairs of characters of the three names, as numbers: for wild cards at the beginning of a key.
    name_grams integer[] not null default '{}',
    attributes text not null,
    constraint patient_key primary key (id),
    constraint patient_identity unique (patient_id, issuer_of_patient_id, only_study_instance_uid)
);
create index patient_name_alphabetic on patient (patient_name_alphabetic);
-- A name of one group is looked for in all three: each needs its index.
create index patient_name_ideographic on patient (patient_name_ideographic) where patient_name_ideographic is not null;
create index patient_name_phonetic on patient (patient_name_phonetic) where patient_name_phonetic is not null;
-- What was not yet merged into a GIN index is read whole by each search: little of it, merged often.
create index patient_name_grams on patient using gin (name_grams) with (gin_pending_list_limit = 256);
create index patient_birth_date on patient (patient_birth_date);

create table study (
    id bigint generated always as identity,
    patient bigint not null,
    study_instance_uid text collate "C" not null,
    study_date date,
    -- Microseconds since midnight.
    study_time bigint,
    -- Ascending rank is descending date, undated last: one index serves the order of all answers.
    date_rank integer generated always as (coalesce(date '0001-01-01' - study_date, 2147483647)) stored,
    accession_number text collate "C",
    study_id text collate "C",
    study_description text collate "C",
    referring_physician_alphabetic text collate "C",
    referring_physician_ideographic text collate "C",
    referring_physician_phonetic text collate "C",
    modalities text[] not null default '{}',
    attributes text not null,
    constraint study_key primary key (id),
    constraint study_identity unique (study_instance_uid),
    constraint study_patient foreign key (patient) references patient (id)
) with (fillfactor = 90);
create index study_order on study (date_rank, study_instance_uid);
create index study_of_patient on study (patient);
create index study_accession_number on study (accession_number);
create index study_study_id on study (study_id);
create index study_referring_physician_alphabetic on study (referring_physician_alphabetic);
create index study_referring_physician_ideographic on study (referring_physician_ideographic)
    where referring_physician_ideographic is not null;
create index study_referring_physician_phonetic on study (referring_physician_phonetic)
    where referring_physician_phonetic is not null;

-- The studies of each modality in the order of answers: a page costs the same whether one study in three or one in a
-- million has it. Not tied to `study`, whose rows decide; written and removed with them.
create table study_modality (
    modality text collate "C" not null,
    date_rank integer not null,
    study_instance_uid text collate "C" not null,
    study bigint not null,
    constraint study_modality_key primary key (modality, date_rank, study_instance_uid)
);

create table series (
    id bigint generated always as identity,
    study bigint not null,
    series_instance_uid text collate "C" not null,
    modality text collate "C",
    series_number bigint,
    series_description text collate "C",
    performed_procedure_step_start_date date,
    performed_procedure_step_start_time bigint,
    sop_class_uids text[] not null default '{}',
    instances bigint not null default 0,
    bytes bigint not null default 0,
    attributes text not null,
    constraint series_key primary key (id),
    constraint series_identity unique (study, series_instance_uid),
    constraint series_study foreign key (study) references study (id) on delete cascade
) with (fillfactor = 80);
create index series_series_instance_uid on series (series_instance_uid);
create index series_start_date on series (performed_procedure_step_start_date);

-- One row for each item of Request Attributes Sequence (0040,0275).
create table series_request (
    series bigint not null,
    scheduled_procedure_step_id text collate "C",
    requested_procedure_id text collate "C",
    constraint series_request_series foreign key (series) references series (id) on delete cascade
);
create index series_request_of_series on series_request (series);
create index series_request_step on series_request (scheduled_procedure_step_id);
create index series_request_procedure on series_request (requested_procedure_id);

-- One row for each instance that is not yet sealed.
create table instance_hot (
    series bigint not null,
    sop_instance_uid text collate "C" not null,
    sop_class_uid text collate "C" not null,
    transfer_syntax_uid text collate "C" not null,
    instance_number integer,
    journal uuid not null,
    lsn bigint not null,
    head_bytes bigint not null,
    payload_bytes bigint not null,
    crc32c bigint not null,
    large boolean not null,
    received_millis bigint not null,
    calling_ae text not null,
    detail bytea not null,
    constraint instance_hot_key primary key (series, sop_instance_uid),
    constraint instance_hot_series foreign key (series) references series (id) on delete cascade
);
create index instance_hot_sop_instance_uid on instance_hot (sop_instance_uid);
create index instance_hot_lsn on instance_hot (journal, lsn);

create table container (
    id uuid not null,
    -- Order of arrival, for the filters: newest first.
    arrival bigint generated always as identity,
    generation bigint not null,
    pool text not null,
    tier text not null,
    -- First day of the month of study date whose studies it holds.
    month date,
    data_shards smallint not null,
    parity_shards smallint not null,
    bytes bigint not null,
    stored_bytes bigint not null,
    instances bigint not null,
    sealed_millis bigint not null,
    filter bytea not null,
    constraint container_key primary key (id)
);
create index container_arrival on container (arrival);

create table shard (
    container uuid not null,
    number smallint not null,
    device uuid not null,
    constraint shard_key primary key (container, number),
    constraint shard_container foreign key (container) references container (id) on delete cascade
);
create index shard_of_device on shard (device);

-- One packed manifest for each part of a series in a container.
create table series_segment (
    id bigint generated always as identity,
    series bigint not null,
    container uuid not null,
    instances integer not null,
    metadata_offset bigint not null,
    metadata_bytes bigint not null,
    metadata_crc32c bigint not null,
    -- Positions in the manifest that are no longer served: deleted, or known from another segment.
    dead integer[] not null default '{}',
    manifest bytea not null,
    constraint series_segment_key primary key (id),
    constraint series_segment_identity unique (series, container),
    constraint series_segment_series foreign key (series) references series (id) on delete cascade,
    constraint series_segment_container foreign key (container) references container (id)
);
create index series_segment_of_container on series_segment (container);

-- What was deleted; an empty UID stands for everything beneath.
create table tombstone (
    study_instance_uid text collate "C" not null,
    series_instance_uid text collate "C" not null,
    sop_instance_uid text collate "C" not null,
    deleted_millis bigint not null,
    constraint tombstone_key primary key (study_instance_uid, series_instance_uid, sop_instance_uid)
);
create index tombstone_series on tombstone (series_instance_uid);
create index tombstone_sop on tombstone (sop_instance_uid);

-- How far each journal is applied.
create table journal_position (
    journal uuid not null,
    lsn bigint not null,
    constraint journal_position_key primary key (journal)
);

-- Storage Commitment requests that wait for their containers (PS3.4 §J).
create table commitment (
    transaction_uid text collate "C" not null,
    calling_ae text not null,
    requested_millis bigint not null,
    request text not null,
    constraint commitment_key primary key (transaction_uid, calling_ae)
);

-- What long-running jobs need to go on after a restart.
create table job (
    name text not null,
    state text not null,
    changed_millis bigint not null,
    constraint job_key primary key (name)
);
