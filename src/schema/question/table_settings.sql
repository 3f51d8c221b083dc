-- Settings of tables, views and the indexes of constraints.
SELECT s.rank, s.setting || '/' || r.oid, '1259/' || r.oid, s.sql, NULL, s.undo, NULL
FROM rel r LEFT JOIN LATERAL (
    SELECT pg_catalog.string_agg(o.name || '=' || pg_catalog.quote_literal(o.value), ', ' ORDER BY o.name COLLATE "C") AS sets,
        pg_catalog.string_agg(o.name, ', ' ORDER BY o.name COLLATE "C") AS resets
    FROM (
        SELECT pg_catalog.quote_ident(t.option_name) AS name, t.option_value AS value
        FROM pg_catalog.pg_options_to_table(r.reloptions) t
        UNION ALL
        SELECT 'toast.' || pg_catalog.quote_ident(t.option_name), t.option_value
        FROM pg_catalog.pg_class k, pg_catalog.pg_options_to_table(k.reloptions) t WHERE k.oid = r.reltoastrelid
    ) o
) p ON true LEFT JOIN LATERAL (
    SELECT pg_catalog.max(CASE WHEN i.indisreplident THEN pg_catalog.quote_ident(k.relname) END) AS identity_index,
        pg_catalog.max(CASE WHEN i.indisclustered THEN pg_catalog.quote_ident(k.relname) END) AS cluster_index
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid
    WHERE i.indrelid = r.oid AND (i.indisreplident OR i.indisclustered)
) x ON r.relkind IN ('r', 'p', 'm'), LATERAL (VALUES
    (CASE WHEN r.relkind IN ('i', 'I') THEN 112 ELSE 95 END, 'set', 'ALTER ' || r.word || ' ' || r.name || ' SET (' || p.sets || ')',
        'ALTER ' || r.word || ' ' || r.name || ' RESET (' || p.resets || ')'),
    (126, 'replica identity', 'ALTER TABLE ONLY ' || r.name || ' REPLICA IDENTITY ' || CASE WHEN r.relkind IN ('r', 'p') THEN
        CASE r.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' WHEN 'i' THEN 'USING INDEX ' || x.identity_index END END,
        'ALTER TABLE ONLY ' || r.name || ' REPLICA IDENTITY DEFAULT'),
    (127, 'cluster', 'ALTER TABLE ' || r.name || ' CLUSTER ON ' || x.cluster_index,
        'ALTER TABLE ' || r.name || ' SET WITHOUT CLUSTER'),
    (138, 'row security', CASE WHEN r.relrowsecurity THEN 'ALTER TABLE ' || r.name || ' ENABLE ROW LEVEL SECURITY' END,
        'ALTER TABLE ' || r.name || ' DISABLE ROW LEVEL SECURITY'),
    (138, 'force row security',
        CASE WHEN r.relforcerowsecurity THEN 'ALTER TABLE ONLY ' || r.name || ' FORCE ROW LEVEL SECURITY' END,
        'ALTER TABLE ONLY ' || r.name || ' NO FORCE ROW LEVEL SECURITY')) s (rank, setting, sql, undo)
WHERE s.sql IS NOT NULL
    AND (r.relkind IN ('r', 'p', 'v', 'm') OR r.relkind IN ('i', 'I') AND r.oid IN (
        SELECT k.conindid FROM pg_catalog.pg_constraint k WHERE k.contype IN ('p', 'u', 'x')))
    -- Few tables have any.
    AND (r.reloptions IS NOT NULL OR r.relreplident <> 'd' OR r.relrowsecurity OR r.relforcerowsecurity
        OR r.oid IN (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indisclustered)
        OR r.reltoastrelid IN (SELECT k.oid FROM pg_catalog.pg_class k WHERE k.relkind = 't' AND k.reloptions IS NOT NULL))
