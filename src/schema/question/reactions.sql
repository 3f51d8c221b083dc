-- Statistics objects, triggers, policies, event triggers and publications.
SELECT 130, '3381/' || x.oid, '1259/' || r.oid, pg_catalog.pg_get_statisticsobjdef(x.oid), NULL,
    'DROP STATISTICS ' || s.name || '.' || pg_catalog.quote_ident(x.stxname), NULL
FROM pg_catalog.pg_statistic_ext x JOIN rel r ON r.oid = x.stxrelid JOIN space s ON s.oid = x.stxnamespace
UNION ALL
SELECT 131, 'statistics target/' || x.oid, '3381/' || x.oid,
    'ALTER STATISTICS ' || s.name || '.' || pg_catalog.quote_ident(x.stxname) || ' SET STATISTICS ' || x.stxstattarget, NULL,
    'ALTER STATISTICS ' || s.name || '.' || pg_catalog.quote_ident(x.stxname) || ' SET STATISTICS -1', NULL
FROM pg_catalog.pg_statistic_ext x JOIN rel r ON r.oid = x.stxrelid JOIN space s ON s.oid = x.stxnamespace WHERE x.stxstattarget >= 0
UNION ALL
SELECT 135, 'trigger/' || t.oid, '1259/' || r.oid, pg_catalog.pg_get_triggerdef(t.oid), NULL,
    'DROP TRIGGER ' || pg_catalog.quote_ident(t.tgname) || ' ON ' || r.name, NULL
FROM pg_catalog.pg_trigger t JOIN rel r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal AND t.tgparentid = 0
UNION ALL
SELECT 136, 'trigger enabled/' || t.oid, 'trigger/' || t.oid, 'ALTER TABLE ' || CASE r.relkind WHEN 'p' THEN 'ONLY ' ELSE '' END || r.name
    || CASE t.tgenabled WHEN 'O' THEN ' ENABLE TRIGGER ' WHEN 'D' THEN ' DISABLE TRIGGER '
        WHEN 'R' THEN ' ENABLE REPLICA TRIGGER ' ELSE ' ENABLE ALWAYS TRIGGER ' END || pg_catalog.quote_ident(t.tgname), NULL,
    'ALTER TABLE ' || r.name || ' ENABLE TRIGGER ' || pg_catalog.quote_ident(t.tgname), NULL
FROM pg_catalog.pg_trigger t JOIN rel r ON r.oid = t.tgrelid LEFT JOIN pg_catalog.pg_trigger o ON o.oid = t.tgparentid
WHERE (NOT t.tgisinternal OR t.tgparentid <> 0 AND NOT o.tgisinternal) AND t.tgenabled <> 'O' AND r.relkind IN ('r', 'p', 'v')
UNION ALL
SELECT 137, 'policy/' || p.oid, '1259/' || r.oid, 'CREATE POLICY ' || pg_catalog.quote_ident(p.polname) || ' ON ' || r.name
    || CASE WHEN p.polpermissive THEN '' ELSE ' AS RESTRICTIVE' END
    || CASE p.polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT' WHEN 'w' THEN ' FOR UPDATE' WHEN 'd' THEN ' FOR DELETE'
        ELSE '' END
    || CASE WHEN p.polroles = '{0}' THEN '' ELSE ' TO ' || (
        SELECT pg_catalog.string_agg(g.name, ', ' ORDER BY g.name COLLATE "C")
        FROM (SELECT CASE o WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o)) END AS name
            FROM pg_catalog.unnest(p.polroles) o) g) END
    || COALESCE(' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')', '')
    || COALESCE(' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')', ''), NULL,
    'DROP POLICY ' || pg_catalog.quote_ident(p.polname) || ' ON ' || r.name, NULL
FROM pg_catalog.pg_policy p JOIN rel r ON r.oid = p.polrelid
UNION ALL
SELECT 140, '3466/' || e.oid, NULL, 'CREATE EVENT TRIGGER ' || pg_catalog.quote_ident(e.evtname) || ' ON '
    || pg_catalog.quote_ident(e.evtevent) || COALESCE(' WHEN TAG IN (' || (
        SELECT pg_catalog.string_agg(pg_catalog.quote_literal(g), ', ') FROM pg_catalog.unnest(e.evttags) g) || ')', '')
    || ' EXECUTE FUNCTION ' || e.evtfoid::pg_catalog.regproc || '()', NULL,
    'DROP EVENT TRIGGER ' || pg_catalog.quote_ident(e.evtname), NULL
FROM event_trigger e
UNION ALL
SELECT 141, 'event trigger enabled/' || e.oid, '3466/' || e.oid, 'ALTER EVENT TRIGGER ' || pg_catalog.quote_ident(e.evtname)
    || CASE e.evtenabled WHEN 'D' THEN ' DISABLE' WHEN 'R' THEN ' ENABLE REPLICA' ELSE ' ENABLE ALWAYS' END, NULL,
    'ALTER EVENT TRIGGER ' || pg_catalog.quote_ident(e.evtname) || ' ENABLE', NULL
FROM event_trigger e WHERE e.evtenabled <> 'O'
UNION ALL
SELECT 150, '6104/' || p.oid, NULL, 'CREATE PUBLICATION ' || pg_catalog.quote_ident(p.pubname)
    || CASE WHEN p.puballtables THEN ' FOR ALL TABLES' ELSE '' END
    || ' WITH (publish=' || pg_catalog.quote_literal(pg_catalog.concat_ws(', ',
        CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END,
        CASE WHEN p.pubtruncate THEN 'truncate' END))
    || CASE WHEN p.pubviaroot THEN ', publish_via_partition_root=true' ELSE '' END || ')', NULL,
    'DROP PUBLICATION ' || pg_catalog.quote_ident(p.pubname), NULL
FROM pg_catalog.pg_publication p
UNION ALL
-- Column lists, row filters and schemas of publications exist from PostgreSQL 15 on.
SELECT 151, 'published/' || q.oid, '6104/' || p.oid, 'ALTER PUBLICATION ' || pg_catalog.quote_ident(p.pubname) || ' ADD TABLE ONLY ' || r.name
    || COALESCE(' (' || (
        SELECT pg_catalog.string_agg(c.name, ', ' ORDER BY c.attnum) FROM col c WHERE c.attrelid = r.oid
            AND c.attnum::text = ANY (pg_catalog.string_to_array(pg_catalog.translate(pg_catalog.to_jsonb(q) ->> 'prattrs', '[],', ''), ' '))) || ')', '')
    || COALESCE(' WHERE ' || (
        SELECT pg_catalog.to_jsonb(f) ->> 'rowfilter' FROM pg_catalog.pg_publication_tables f
        JOIN pg_catalog.pg_class c ON c.oid = r.oid AND c.relname = f.tablename
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = f.schemaname
        WHERE f.pubname = p.pubname AND pg_catalog.to_jsonb(q) ->> 'prqual' IS NOT NULL), ''), NULL,
    'ALTER PUBLICATION ' || pg_catalog.quote_ident(p.pubname) || ' DROP TABLE ONLY ' || r.name, NULL
FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel q ON q.prpubid = p.oid JOIN rel r ON r.oid = q.prrelid
UNION ALL
SELECT 152, 'published schema/' || a.objid, '6104/' || p.oid,
    'ALTER PUBLICATION ' || pg_catalog.quote_ident(p.pubname) || ' ADD TABLES IN SCHEMA ' || s.name, NULL,
    'ALTER PUBLICATION ' || pg_catalog.quote_ident(p.pubname) || ' DROP TABLES IN SCHEMA ' || s.name, NULL
-- 6237 is the oid of pg_publication_namespace, which PostgreSQL 14 does not have.
FROM pg_catalog.pg_depend a JOIN pg_catalog.pg_depend b ON b.classid = a.classid AND b.objid = a.objid
JOIN pg_catalog.pg_publication p ON a.refclassid = 'pg_catalog.pg_publication'::pg_catalog.regclass AND p.oid = a.refobjid
JOIN space s ON b.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND s.oid = b.refobjid
WHERE a.classid = 6237
