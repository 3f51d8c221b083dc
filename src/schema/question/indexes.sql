-- Indexes and constraints. An INVALID index is no index yet; pg_dump leaves it out as well.
SELECT 100, '1259/' || r.oid, '1259/' || i.indrelid, pg_catalog.pg_get_indexdef(r.oid), NULL, 'DROP INDEX ' || r.name, NULL
FROM rel r JOIN pg_catalog.pg_index i ON i.indexrelid = r.oid JOIN rel t ON t.oid = i.indrelid
WHERE (i.indisvalid OR t.relkind = 'p') AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = r.oid AND k.contype IN ('p', 'u', 'x') AND k.conrelid = i.indrelid)
UNION ALL
SELECT 115, 'index partition/' || r.oid, '1259/' || r.oid,
    'ALTER INDEX ' || h.inhparent::pg_catalog.regclass::text || ' ATTACH PARTITION ' || r.name, NULL, NULL, NULL
FROM rel r JOIN pg_catalog.pg_inherits h ON h.inhrelid = r.oid WHERE r.relkind IN ('i', 'I')
UNION ALL
SELECT 116, 'index statistics/' || r.oid || '/' || a.attnum, '1259/' || r.oid,
    'ALTER INDEX ' || r.name || ' ALTER COLUMN ' || a.attnum || ' SET STATISTICS ' || a.attstattarget, NULL,
    'ALTER INDEX ' || r.name || ' ALTER COLUMN ' || a.attnum || ' SET STATISTICS -1', NULL
FROM rel r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid WHERE r.relkind IN ('i', 'I') AND a.attstattarget >= 0
UNION ALL
SELECT CASE k.contype WHEN 'c' THEN 118 WHEN 'f' THEN 120 ELSE 110 END, '2606/' || k.oid, '1259/' || r.oid,
    'ALTER TABLE ' || CASE WHEN k.contype = 'c' OR k.contype = 'f' AND r.relkind = 'p' THEN '' ELSE 'ONLY ' END || r.name
        || ' ADD CONSTRAINT ' || pg_catalog.quote_ident(k.conname) || ' ' || pg_catalog.pg_get_constraintdef(k.oid), NULL,
    'ALTER TABLE ' || r.name || ' DROP CONSTRAINT ' || pg_catalog.quote_ident(k.conname), NULL
FROM pg_catalog.pg_constraint k JOIN rel r ON r.oid = k.conrelid
WHERE k.contype IN ('p', 'u', 'x') OR k.contype = 'c' AND k.conislocal OR k.contype = 'f' AND k.conparentid = 0
