-- "Hot" names a tier of pools only. An instance that is not sealed yet is unsealed. Renaming touches the catalogue only, so
-- this takes milliseconds at any size.

alter table instance_hot rename to instance_unsealed;
alter table instance_unsealed rename constraint instance_hot_key to instance_unsealed_key;
alter table instance_unsealed rename constraint instance_hot_series to instance_unsealed_series;
alter index instance_hot_sop_instance_uid rename to instance_unsealed_sop_instance_uid;
alter index instance_hot_lsn rename to instance_unsealed_lsn;
