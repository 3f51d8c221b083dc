//! The forms of statements, and the tables that they are about.

/// The tables, with rows. `t` refers to `parent_key` and is referred to by `child`; `pt` has partitions, `inh_parent` a
/// table that inherits from it.
pub(super) const FIXTURE: &str = "
create schema other;
create type mood as enum ('a', 'b');
create type pair as (x int, y int);
create domain positive as int check (value > 0);
create table parent_key (id int primary key, code int not null unique, note text);
create table t (
    id int primary key, a int, b int not null default 0, c varchar(10), d numeric(10, 2), e text, ts timestamp,
    ref int constraint t_ref_fkey references parent_key (id), g int not null, i int
);
insert into parent_key select n, n, 'x' from generate_series(1, 50) n;
insert into t select n, n, n, 'c', 1.5, '7', now(), n, n, n from generate_series(1, 50) n;
create index t_a on t (a);
create unique index t_g on t (g);
create unique index t_i on t (i);
alter table t add constraint t_a_check check (a > 0) not valid, add constraint t_b_check check (b >= 0),
    add constraint t_i_fkey foreign key (i) references parent_key (code) not valid;
create table child (id int primary key, t_id int references t (id));
insert into child select n, n from generate_series(1, 50) n;
create table lonely (id int, x text, y int);
insert into lonely select n, 'x', n from generate_series(1, 50) n;
create table unlogged_one (id int);
alter table unlogged_one set unlogged;
insert into unlogged_one values (1);
create table inh_parent (x int, y text);
create table inh_child () inherits (inh_parent);
create table inh_new (x int, y text);
insert into inh_parent values (1, '1');
insert into inh_child values (2, '2');
create table pt (id int, k int not null, v text, r int) partition by range (k);
create table pt_1 partition of pt for values from (0) to (100);
create table pt_2 partition of pt for values from (100) to (200);
create table pt_default partition of pt default;
create table pt_new (id int, k int not null, v text, r int);
insert into pt select n, n, 'v', n % 50 + 1 from generate_series(1, 300) n;
insert into pt_new values (1, 1000, 'v');
create index pt_k on pt (k);
create index pt_new_k on pt_new (k);
create index pt_only on only pt (id);
create index pt_1_id on pt_1 (id);
create table plain_parted (id int, k int) partition by list (k);
create table plain_parted_1 partition of plain_parted for values in (1);
insert into plain_parted values (1, 1);
create view v as select id, a from t;
create view vv as select id from v;
create view v_lonely as select id from lonely;
create materialized view mv as select id, a from t;
create unique index mv_id on mv (id);
create sequence s;
create function f() returns trigger language plpgsql as 'begin return new; end';
create function app_code() returns int language sql as 'select 1';
create trigger t_trigger before insert on t for each row execute function f();
create trigger pt_trigger before insert on pt for each row execute function f();
create rule lonely_rule as on update to lonely do also nothing;
create policy t_policy on t using (true);
create statistics t_statistics on a, b from t;
create table published (id int primary key);
create publication pub for table published;
comment on table lonely is 'x';
analyze;
";

/// The forms that run in a transaction, each with the first major version that has it (0: every one).
pub(super) const FORMS: &[(u32, &str)] = &[
    // Columns.
    (0, "ALTER TABLE t ADD COLUMN n int"),
    (0, "ALTER TABLE t ADD COLUMN n int DEFAULT 7"),
    (0, "ALTER TABLE t ADD COLUMN n int NOT NULL DEFAULT 7"),
    (0, "ALTER TABLE t ADD COLUMN n timestamptz DEFAULT now()"),
    (0, "ALTER TABLE t ADD COLUMN n timestamptz DEFAULT clock_timestamp()"),
    (0, "ALTER TABLE t ADD COLUMN n uuid DEFAULT gen_random_uuid()"),
    (0, "ALTER TABLE t ADD COLUMN n float8 DEFAULT random() NOT NULL"),
    (0, "ALTER TABLE t ADD COLUMN n int DEFAULT app_code()"),
    (0, "ALTER TABLE t ADD COLUMN n serial"),
    (0, "ALTER TABLE t ADD COLUMN n int GENERATED ALWAYS AS IDENTITY"),
    (0, "ALTER TABLE t ADD COLUMN n int GENERATED ALWAYS AS (a * 2) STORED"),
    (18, "ALTER TABLE t ADD COLUMN n int GENERATED ALWAYS AS (a * 2)"),
    (0, "ALTER TABLE t ADD COLUMN n int CHECK (n > 0)"),
    (0, "ALTER TABLE t ADD COLUMN n int DEFAULT 7 CHECK (n > 0)"),
    (0, "ALTER TABLE t ADD COLUMN n int REFERENCES parent_key"),
    (0, "ALTER TABLE t ADD COLUMN n int DEFAULT 1 REFERENCES parent_key"),
    (0, "ALTER TABLE t ADD COLUMN n int UNIQUE"),
    (0, "ALTER TABLE t ADD COLUMN n mood"),
    (0, "ALTER TABLE t ADD COLUMN n positive"),
    (0, "ALTER TABLE t ADD COLUMN IF NOT EXISTS n int, ADD COLUMN m text"),
    (0, "ALTER TABLE inh_parent ADD COLUMN n int"),
    (0, "ALTER TABLE pt ADD COLUMN n int DEFAULT 3"),
    (0, "ALTER TABLE lonely DROP COLUMN y"),
    (0, "ALTER TABLE t DROP COLUMN ref"),
    (0, "ALTER TABLE t DROP COLUMN a CASCADE"),
    (0, "ALTER TABLE t DROP COLUMN IF EXISTS nothing_like_it"),
    (0, "ALTER TABLE pt DROP COLUMN v"),
    (0, "ALTER TABLE t ALTER COLUMN b TYPE bigint"),
    (0, "ALTER TABLE t ALTER COLUMN b SET DATA TYPE smallint"),
    (0, "ALTER TABLE t ALTER COLUMN c TYPE varchar(20)"),
    (0, "ALTER TABLE t ALTER COLUMN c TYPE varchar(5)"),
    (0, "ALTER TABLE t ALTER COLUMN c TYPE text"),
    (0, "ALTER TABLE t ALTER COLUMN d TYPE numeric(12, 2)"),
    (0, "ALTER TABLE t ALTER COLUMN d TYPE numeric(12, 4)"),
    (0, "ALTER TABLE t ALTER COLUMN e TYPE int USING e::int"),
    (0, "ALTER TABLE t ALTER COLUMN ts TYPE date"),
    (0, "ALTER TABLE t ALTER COLUMN ref TYPE bigint"),
    (0, "ALTER TABLE parent_key ALTER COLUMN id TYPE bigint"),
    (0, "ALTER TABLE inh_parent ALTER COLUMN x TYPE bigint"),
    (0, "ALTER TABLE t ALTER COLUMN a SET NOT NULL"),
    (0, "ALTER TABLE t ALTER COLUMN b SET NOT NULL"),
    (0, "ALTER TABLE t ALTER COLUMN b DROP NOT NULL"),
    (0, "ALTER TABLE inh_parent ALTER COLUMN x SET NOT NULL"),
    (0, "ALTER TABLE t ALTER COLUMN a SET DEFAULT 3"),
    (0, "ALTER TABLE t ALTER COLUMN b DROP DEFAULT"),
    (0, "ALTER TABLE t ALTER COLUMN a SET STATISTICS 500"),
    (0, "ALTER TABLE inh_parent ALTER COLUMN x SET STATISTICS 500"),
    (0, "ALTER TABLE t ALTER COLUMN a SET (n_distinct = 5)"),
    (0, "ALTER TABLE t ALTER COLUMN a RESET (n_distinct)"),
    (0, "ALTER TABLE t ALTER COLUMN e SET STORAGE external"),
    (0, "ALTER TABLE t ALTER COLUMN e SET COMPRESSION pglz"),
    (0, "ALTER TABLE t ALTER COLUMN b DROP DEFAULT, ALTER COLUMN b ADD GENERATED BY DEFAULT AS IDENTITY"),
    (0, "ALTER TABLE t RENAME COLUMN e TO ee"),
    (0, "ALTER TABLE inh_parent RENAME COLUMN y TO yy"),
    // Constraints.
    (0, "ALTER TABLE t ADD CONSTRAINT n CHECK (a > 0)"),
    (0, "ALTER TABLE t ADD CONSTRAINT n CHECK (a > 0) NOT VALID"),
    (0, "ALTER TABLE pt ADD CONSTRAINT n CHECK (k < 1000)"),
    (0, "ALTER TABLE t ADD CONSTRAINT n FOREIGN KEY (a) REFERENCES parent_key (id)"),
    (0, "ALTER TABLE t ADD CONSTRAINT n FOREIGN KEY (a) REFERENCES parent_key (id) NOT VALID"),
    (0, "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES t (id)"),
    (0, "ALTER TABLE pt ADD FOREIGN KEY (r) REFERENCES t (id) ON DELETE CASCADE"),
    (0, "ALTER TABLE t ADD UNIQUE (a)"),
    (0, "ALTER TABLE lonely ADD PRIMARY KEY (id)"),
    (0, "ALTER TABLE pt ADD UNIQUE (k)"),
    (0, "ALTER TABLE pt ADD PRIMARY KEY (k)"),
    (0, "ALTER TABLE t ADD CONSTRAINT n UNIQUE USING INDEX t_g"),
    (0, "ALTER TABLE t DROP CONSTRAINT t_pkey CASCADE, ADD PRIMARY KEY USING INDEX t_i"),
    (0, "ALTER TABLE lonely ADD EXCLUDE USING btree (id WITH =)"),
    (0, "ALTER TABLE t VALIDATE CONSTRAINT t_a_check"),
    (0, "ALTER TABLE t VALIDATE CONSTRAINT t_b_check"),
    (0, "ALTER TABLE t VALIDATE CONSTRAINT t_ref_fkey"),
    (0, "ALTER TABLE t VALIDATE CONSTRAINT t_i_fkey"),
    (0, "ALTER TABLE t DROP CONSTRAINT t_b_check"),
    (0, "ALTER TABLE t DROP CONSTRAINT t_ref_fkey"),
    (0, "ALTER TABLE t DROP CONSTRAINT IF EXISTS nothing_like_it"),
    (0, "ALTER TABLE parent_key DROP CONSTRAINT parent_key_pkey CASCADE"),
    (0, "ALTER TABLE t ALTER CONSTRAINT t_ref_fkey DEFERRABLE"),
    (0, "ALTER TABLE t RENAME CONSTRAINT t_b_check TO n"),
    (18, "ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID"),
    // Tables.
    (0, "ALTER TABLE t RENAME TO t_renamed"),
    (0, "ALTER TABLE lonely SET SCHEMA other"),
    (0, "ALTER TABLE lonely SET TABLESPACE pg_default"),
    (0, "ALTER TABLE lonely SET UNLOGGED"),
    (0, "ALTER TABLE unlogged_one SET LOGGED"),
    (15, "ALTER TABLE lonely SET ACCESS METHOD heap"),
    (0, "ALTER TABLE lonely OWNER TO pg_database_owner"),
    (0, "ALTER TABLE t ENABLE ROW LEVEL SECURITY"),
    (0, "ALTER TABLE t FORCE ROW LEVEL SECURITY"),
    (0, "ALTER TABLE t DISABLE TRIGGER t_trigger"),
    (0, "ALTER TABLE t ENABLE ALWAYS TRIGGER t_trigger"),
    (0, "ALTER TABLE pt DISABLE TRIGGER pt_trigger"),
    (0, "ALTER TABLE lonely DISABLE RULE lonely_rule"),
    (0, "ALTER TABLE t REPLICA IDENTITY FULL"),
    (0, "ALTER TABLE t REPLICA IDENTITY USING INDEX t_g"),
    (0, "ALTER TABLE t CLUSTER ON t_a"),
    (0, "ALTER TABLE t SET WITHOUT CLUSTER"),
    (0, "ALTER TABLE t SET (fillfactor = 70)"),
    (0, "ALTER TABLE t SET (autovacuum_enabled = off, toast.autovacuum_enabled = off)"),
    (0, "ALTER TABLE t SET (user_catalog_table = true)"),
    (0, "ALTER TABLE t RESET (fillfactor)"),
    (0, "ALTER TABLE t SET (parallel_workers = 2), ALTER COLUMN a SET STATISTICS 10"),
    (0, "ALTER TABLE inh_parent OWNER TO pg_database_owner, ALTER COLUMN x SET STATISTICS 10"),
    (0, "ALTER TABLE inh_new INHERIT inh_parent"),
    (0, "ALTER TABLE inh_child NO INHERIT inh_parent"),
    (0, "ALTER TABLE IF EXISTS nothing_like_it ADD COLUMN a int"),
    (0, "ALTER TABLE ONLY inh_parent ALTER COLUMN x SET DEFAULT 1"),
    // Partitions.
    (0, "ALTER TABLE pt ATTACH PARTITION pt_new FOR VALUES FROM (1000) TO (2000)"),
    (0, "ALTER TABLE pt DETACH PARTITION pt_1"),
    (0, "CREATE TABLE pt_3 PARTITION OF pt FOR VALUES FROM (400) TO (500)"),
    (0, "CREATE TABLE plain_parted_2 PARTITION OF plain_parted FOR VALUES IN (2)"),
    (0, "ALTER TABLE plain_parted DETACH PARTITION plain_parted_1"),
    (0, "DROP TABLE pt_2"),
    (0, "DROP TABLE pt"),
    (0, "TRUNCATE pt"),
    // Tables that come and go.
    (0, "CREATE TABLE n (id int primary key, a text)"),
    (0, "CREATE TABLE n (id int REFERENCES parent_key, x int, FOREIGN KEY (x) REFERENCES t (id))"),
    (0, "CREATE TABLE n (LIKE t INCLUDING ALL)"),
    (0, "CREATE TABLE n () INHERITS (inh_parent)"),
    (0, "CREATE TABLE n AS SELECT * FROM t"),
    (0, "CREATE TABLE n AS SELECT * FROM t WITH NO DATA"),
    (0, "SELECT * INTO n FROM t"),
    (0, "CREATE TEMP TABLE n (id int)"),
    (0, "CREATE SCHEMA n CREATE TABLE m (id int) CREATE VIEW w AS SELECT id FROM public.lonely"),
    (0, "DROP TABLE unlogged_one"),
    (0, "DROP TABLE child"),
    (0, "DROP TABLE t CASCADE"),
    (0, "DROP TABLE lonely CASCADE"),
    (0, "DROP TABLE inh_parent CASCADE"),
    (0, "DROP TABLE IF EXISTS nothing_like_it, child"),
    (0, "TRUNCATE lonely"),
    (0, "TRUNCATE child RESTART IDENTITY"),
    (0, "TRUNCATE t CASCADE"),
    (0, "TRUNCATE ONLY inh_parent"),
    // Indexes.
    (0, "CREATE INDEX n ON t (b)"),
    (0, "CREATE UNIQUE INDEX IF NOT EXISTS n ON public.t (lower(c), id) WHERE a > 0"),
    (0, "CREATE INDEX ON pt (v)"),
    (0, "CREATE INDEX ON ONLY pt (v)"),
    (0, "CREATE INDEX ON inh_parent (x)"),
    (0, "DROP INDEX t_a"),
    (0, "DROP INDEX pt_k"),
    (0, "ALTER INDEX t_a RENAME TO n"),
    (0, "ALTER INDEX t_a SET (fillfactor = 70)"),
    (0, "ALTER INDEX t_a SET TABLESPACE pg_default"),
    (0, "ALTER INDEX pt_only ATTACH PARTITION pt_1_id"),
    (0, "REINDEX INDEX t_a"),
    (0, "REINDEX TABLE t"),
    // Views.
    (0, "CREATE VIEW n AS SELECT * FROM t JOIN lonely USING (id)"),
    (0, "CREATE OR REPLACE VIEW v AS SELECT id, a FROM t WHERE a > 1"),
    (0, "ALTER VIEW v RENAME TO n"),
    (0, "ALTER VIEW v SET (security_barrier = true)"),
    (0, "ALTER VIEW v ALTER COLUMN a SET DEFAULT 1"),
    (0, "DROP VIEW v_lonely"),
    (0, "DROP VIEW v CASCADE"),
    (0, "CREATE MATERIALIZED VIEW n AS SELECT * FROM t"),
    (0, "CREATE MATERIALIZED VIEW n AS SELECT * FROM t WITH NO DATA"),
    (0, "REFRESH MATERIALIZED VIEW mv"),
    (0, "REFRESH MATERIALIZED VIEW CONCURRENTLY mv"),
    (0, "ALTER MATERIALIZED VIEW mv RENAME TO n"),
    (0, "ALTER MATERIALIZED VIEW mv ALTER COLUMN a SET STATISTICS 5"),
    (0, "DROP MATERIALIZED VIEW mv"),
    // Objects of a table.
    (0, "CREATE TRIGGER n BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"),
    (0, "CREATE TRIGGER n BEFORE UPDATE ON pt FOR EACH ROW EXECUTE FUNCTION f()"),
    (0, "CREATE CONSTRAINT TRIGGER n AFTER INSERT ON t FROM lonely FOR EACH ROW EXECUTE FUNCTION f()"),
    (0, "DROP TRIGGER t_trigger ON t"),
    (0, "DROP TRIGGER pt_trigger ON pt"),
    (0, "ALTER TRIGGER t_trigger ON t RENAME TO n"),
    (0, "CREATE RULE n AS ON INSERT TO lonely DO ALSO INSERT INTO unlogged_one SELECT new.id"),
    (0, "DROP RULE lonely_rule ON lonely"),
    (0, "ALTER RULE lonely_rule ON lonely RENAME TO n"),
    (0, "CREATE POLICY n ON t USING (EXISTS (SELECT 1 FROM lonely))"),
    (0, "ALTER POLICY t_policy ON t USING (false)"),
    (0, "DROP POLICY t_policy ON t"),
    (0, "CREATE STATISTICS n ON a, g FROM t"),
    (0, "DROP STATISTICS t_statistics"),
    (0, "ALTER STATISTICS t_statistics SET STATISTICS 10"),
    (0, "COMMENT ON TABLE t IS 'x'"),
    (0, "COMMENT ON COLUMN t.a IS 'x'"),
    (0, "COMMENT ON INDEX t_a IS 'x'"),
    (0, "COMMENT ON CONSTRAINT t_b_check ON t IS 'x'"),
    (0, "COMMENT ON TRIGGER t_trigger ON t IS 'x'"),
    (0, "COMMENT ON VIEW v IS 'x'"),
    (0, "COMMENT ON FUNCTION app_code() IS 'x'"),
    (0, "GRANT SELECT ON t TO pg_monitor"),
    (0, "REVOKE ALL ON t FROM PUBLIC"),
    (0, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor"),
    (0, "CREATE PUBLICATION n FOR TABLE t, inh_parent"),
    (0, "ALTER PUBLICATION pub ADD TABLE t"),
    (0, "ALTER PUBLICATION pub DROP TABLE published"),
    (0, "DROP PUBLICATION pub"),
    // Sequences, types, functions.
    (0, "CREATE SEQUENCE n OWNED BY t.a"),
    (0, "ALTER SEQUENCE s INCREMENT BY 10"),
    (0, "ALTER SEQUENCE s RENAME TO n"),
    (0, "ALTER SEQUENCE s OWNED BY t.a"),
    (0, "DROP SEQUENCE s"),
    (0, "ALTER TYPE mood ADD VALUE 'c'"),
    (0, "ALTER TYPE mood RENAME VALUE 'a' TO 'z'"),
    (0, "ALTER TYPE pair ADD ATTRIBUTE z int"),
    (0, "ALTER TYPE mood RENAME TO n"),
    (0, "DROP TYPE mood"),
    (0, "DROP DOMAIN positive"),
    (0, "CREATE TYPE n AS ENUM ('x')"),
    (0, "ALTER DOMAIN positive DROP NOT NULL"),
    (0, "CREATE FUNCTION n() RETURNS bigint LANGUAGE sql AS 'select count(*) from t'"),
    (0, "CREATE FUNCTION n() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM lonely; END"),
    (0, "DROP FUNCTION app_code()"),
    (0, "DO $$ begin update lonely set y = 1; end $$"),
    // Rows.
    (0, "SELECT * FROM t"),
    (0, "SELECT app_code(), a FROM v"),
    (0, "SELECT * FROM t FOR UPDATE"),
    (0, "SELECT 1 FROM t x, lonely y WHERE x.id = y.id FOR SHARE OF y"),
    (0, "TABLE lonely"),
    (0, "SELECT setval('s', 7), nextval('s')"),
    (0, "INSERT INTO child VALUES (1000, 1)"),
    (0, "INSERT INTO lonely SELECT id, e, a FROM t"),
    (0, "INSERT INTO parent_key VALUES (1, 1, 'x') ON CONFLICT (id) DO UPDATE SET note = 'y'"),
    (0, "INSERT INTO pt VALUES (1, 7, 'x')"),
    (0, "UPDATE lonely SET x = 'y'"),
    (0, "UPDATE lonely SET x = t.e FROM t WHERE t.id = lonely.id"),
    (0, "UPDATE t SET ref = 2 WHERE true"),
    (0, "UPDATE inh_parent SET y = 'z'"),
    (0, "DELETE FROM child"),
    (0, "DELETE FROM lonely WHERE id = 1"),
    (0, "DELETE FROM lonely USING t WHERE t.id = lonely.id"),
    (0, "WITH gone AS (DELETE FROM child RETURNING id) INSERT INTO lonely SELECT id, 'x', 1 FROM gone"),
    (0, "WITH lonely AS (SELECT * FROM t) SELECT * FROM lonely"),
    (0, "WITH t AS (SELECT * FROM t) SELECT * FROM t"),
    (15, "MERGE INTO unlogged_one USING t ON t.id = unlogged_one.id WHEN MATCHED THEN UPDATE SET id = t.a"),
    (0, "COPY lonely FROM PROGRAM 'true'"),
    (0, "EXPLAIN DELETE FROM child"),
    (0, "PREPARE n AS SELECT * FROM lonely"),
    (0, "DECLARE n CURSOR FOR SELECT * FROM lonely"),
    // Maintenance.
    (0, "ANALYZE t"),
    (0, "ANALYZE inh_parent"),
    (0, "CLUSTER t USING t_a"),
    (0, "LOCK TABLE t"),
    (0, "LOCK TABLE inh_parent IN SHARE ROW EXCLUSIVE MODE"),
    (0, "LOCK TABLE ONLY inh_parent, lonely IN EXCLUSIVE MODE"),
];

/// The forms that can't run in a transaction: the statement, a transaction that makes it wait, and a repair afterwards.
pub(super) const HELD_FORMS: &[(&str, &str, &str)] = &[
    ("CREATE INDEX CONCURRENTLY n ON t (b)", "update t set b = b where id = 1", "drop index n"),
    ("CREATE UNIQUE INDEX CONCURRENTLY n ON t (id, b)", "update t set b = b where id = 1", "drop index n"),
    ("DROP INDEX CONCURRENTLY t_i", "select 1 from t where id = 1", "create unique index t_i on t (i)"),
    ("REINDEX INDEX CONCURRENTLY t_a", "update t set b = b where id = 1", ""),
    ("REINDEX TABLE CONCURRENTLY t", "update t set b = b where id = 1", ""),
    ("REINDEX (CONCURRENTLY) TABLE lonely", "update lonely set y = y where id = 1", ""),
    ("VACUUM t", "lock table t in share update exclusive mode", ""),
    ("VACUUM (FULL, VERBOSE) t", "lock table t in access share mode", ""),
    ("VACUUM FULL t", "lock table t in access share mode", ""),
    (
        "ALTER TABLE plain_parted DETACH PARTITION plain_parted_1 CONCURRENTLY",
        "select 1 from plain_parted_1",
        "alter table plain_parted attach partition plain_parted_1 for values in (1)",
    ),
];
