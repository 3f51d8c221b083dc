-- Sequences. That of an identity column is a part of the column.
SELECT 60, '1259/' || r.oid, NULL, 'CREATE ' || CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END || 'SEQUENCE ' || r.name
    || CASE WHEN q.seqtypid <> 20 THEN ' AS ' || pg_catalog.format_type(q.seqtypid, NULL) ELSE '' END
    || COALESCE(' ' || NULLIF(q.options, ''), ''), NULL, 'DROP SEQUENCE ' || r.name, NULL
FROM rel r JOIN sequence_options q ON q.seqrelid = r.oid
WHERE r.oid NOT IN (SELECT i.objid FROM internal_sequence i WHERE i.deptype = 'i')
UNION ALL
SELECT 88, 'owned by/' || r.oid, '1259/' || r.oid, 'ALTER SEQUENCE ' || r.name || ' OWNED BY ' || t.name || '.' || c.name,
    NULL, 'ALTER SEQUENCE ' || r.name || ' OWNED BY NONE', NULL
FROM rel r JOIN internal_sequence i ON i.objid = r.oid AND i.deptype = 'a' JOIN rel t ON t.oid = i.refobjid
JOIN col c ON c.attrelid = i.refobjid AND c.attnum = i.refobjsubid WHERE r.relkind = 'S'
