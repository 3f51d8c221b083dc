-- The objects that are described: no system schemas, nothing of an extension, nothing temporary, nothing of our own.
WITH member AS MATERIALIZED (
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'
), space AS MATERIALIZED (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl, pg_catalog.quote_ident(n.nspname) AS name
    FROM pg_catalog.pg_namespace n
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'bastion_migrate')
), own_space AS (
    SELECT s.* FROM space s WHERE NOT EXISTS (
        SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND m.objid = s.oid)
), internal_sequence AS MATERIALIZED (
    SELECT d.objid, d.refobjid, d.refobjsubid, d.deptype FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = 0
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
), rel AS MATERIALIZED (
    SELECT c.oid, c.relname, c.relkind, c.relowner, c.relacl, c.relpersistence, c.relispartition, c.reloftype, c.reltype,
        c.reloptions, c.reltoastrelid, c.relreplident, c.relrowsecurity, c.relforcerowsecurity, c.relpartbound, c.relam,
        s.name || '.' || pg_catalog.quote_ident(c.relname) AS name,
        CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
            WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END AS word
    FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'i', 'I', 'c') AND NOT EXISTS (
        SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid = c.oid)
), proc AS MATERIALIZED (
    SELECT p.oid, p.prokind, p.proowner, p.proacl, s.name || '.' || pg_catalog.quote_ident(p.proname) AS name,
        CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END AS word,
        pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments
    FROM pg_catalog.pg_proc p JOIN space s ON s.oid = p.pronamespace
    WHERE NOT EXISTS (
            SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = p.oid)
        -- The constructors of a range type come and go with it.
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                AND d.objid = p.oid AND d.deptype = 'i')
), event_trigger AS (
    SELECT e.* FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname NOT IN ('information_schema', 'bastion_migrate') AND NOT EXISTS (
        SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass AND m.objid = e.oid)
), own_type AS MATERIALIZED (
    SELECT t.*, s.name || '.' || pg_catalog.quote_ident(t.typname) AS name,
        CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END AS word
    FROM pg_catalog.pg_type t JOIN space s ON s.oid = t.typnamespace
    WHERE (t.typtype IN ('d', 'e', 'r') OR t.typtype = 'c' AND t.typrelid IN (SELECT r.oid FROM rel r WHERE r.relkind = 'c'))
        AND NOT EXISTS (
            SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = t.oid)
), coll AS MATERIALIZED (
    SELECT c.oid, n.nspname, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname) AS name
    FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
), sequence_options AS MATERIALIZED (
    SELECT q.seqrelid, q.seqtypid, pg_catalog.concat_ws(' ',
        CASE WHEN q.seqincrement <> 1 THEN 'INCREMENT BY ' || q.seqincrement END,
        CASE WHEN q.seqmin <> w.lowest THEN 'MINVALUE ' || q.seqmin END,
        CASE WHEN q.seqmax <> w.highest THEN 'MAXVALUE ' || q.seqmax END,
        CASE WHEN q.seqstart <> CASE WHEN q.seqincrement > 0 THEN q.seqmin ELSE q.seqmax END
            THEN 'START WITH ' || q.seqstart END,
        CASE WHEN q.seqcache <> 1 THEN 'CACHE ' || q.seqcache END,
        CASE WHEN q.seqcycle THEN 'CYCLE' END) AS options
    FROM pg_catalog.pg_sequence q, LATERAL (
        SELECT CASE q.seqtypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 ELSE 9223372036854775807 END AS top) t,
        LATERAL (
            SELECT CASE WHEN q.seqincrement > 0 THEN 1 ELSE -t.top - 1 END AS lowest,
                CASE WHEN q.seqincrement > 0 THEN t.top ELSE -1 END AS highest) w
), col AS MATERIALIZED (
    SELECT a.attrelid, a.attnum, a.attname, pg_catalog.quote_ident(a.attname) AS name, a.attnotnull, a.attislocal,
        a.attgenerated, a.attidentity, a.attstorage, a.attcompression, a.attacl,
        -- Options of the server's own, as pg_attver of 15.20, can't be set, and pg_dump leaves them out.
        CASE WHEN a.attoptions IS NOT NULL THEN (SELECT pg_catalog.array_agg(o.option)
            FROM pg_catalog.unnest(a.attoptions) o(option) WHERE o.option !~ '^pg_') END AS attoptions,
        COALESCE(a.attstattarget, -1) AS attstattarget, t.typstorage,
        pg_catalog.format_type(a.atttypid, a.atttypmod) || CASE
            WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0
            THEN ' COLLATE ' || (SELECT k.name FROM coll k WHERE k.oid = a.attcollation) ELSE '' END AS type,
        pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression
    FROM pg_catalog.pg_attribute a JOIN rel r ON r.oid = a.attrelid JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind IN ('r', 'p', 'v', 'm', 'c')
), origin AS MATERIALIZED (
    -- The columns of other tables that a child in an inheritance gets its columns from when it is created.
    WITH RECURSIVE ancestor AS (
        SELECT c.attrelid, c.attnum, c.attname, h.inhparent
        FROM col c JOIN rel r ON r.oid = c.attrelid JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.attrelid
        WHERE r.relkind = 'r' AND NOT c.attislocal AND NOT r.relispartition
        UNION
        SELECT a.attrelid, a.attnum, a.attname, h.inhparent
        FROM ancestor a JOIN pg_catalog.pg_inherits h ON h.inhrelid = a.inhparent
    )
    SELECT a.attrelid, a.attnum, pg_catalog.bool_or(c.attnotnull) AS attnotnull,
        pg_catalog.array_agg(c.expression) FILTER (WHERE c.expression IS NOT NULL) AS expressions
    FROM ancestor a JOIN col c ON c.attrelid = a.inhparent AND c.attname = a.attname AND c.attislocal
    GROUP BY a.attrelid, a.attnum
)
