-- Views and materialized views. Whether a materialized view has data is no part of the schema.
SELECT 90, '1259/' || r.oid, NULL, 'CREATE ' || r.word || ' ' || r.name
    || COALESCE(' USING ' || CASE WHEN r.relkind = 'm' AND r.relam <> 2 THEN pg_catalog.quote_ident(m.amname) END, '')
    || E' AS\n' || pg_catalog.rtrim(pg_catalog.pg_get_viewdef(r.oid), ';')
    || CASE r.relkind WHEN 'm' THEN E'\n  WITH NO DATA' ELSE '' END,
    NULL, 'DROP ' || r.word || ' ' || r.name, NULL
FROM rel r LEFT JOIN pg_catalog.pg_am m ON m.oid = r.relam WHERE r.relkind IN ('v', 'm')
UNION ALL
SELECT 134, 'rule/' || w.oid, '1259/' || r.oid, pg_catalog.rtrim(pg_catalog.pg_get_ruledef(w.oid), ';'), NULL,
    'DROP RULE ' || pg_catalog.quote_ident(w.rulename) || ' ON ' || r.name, NULL
FROM pg_catalog.pg_rewrite w JOIN rel r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT 136, 'rule enabled/' || w.oid, 'rule/' || w.oid, 'ALTER TABLE ' || r.name || CASE w.ev_enabled
    WHEN 'D' THEN ' DISABLE RULE ' WHEN 'R' THEN ' ENABLE REPLICA RULE ' ELSE ' ENABLE ALWAYS RULE ' END
    || pg_catalog.quote_ident(w.rulename), NULL,
    'ALTER TABLE ' || r.name || ' ENABLE RULE ' || pg_catalog.quote_ident(w.rulename), NULL
FROM pg_catalog.pg_rewrite w JOIN rel r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN' AND w.ev_enabled <> 'O'
