-- What columns have beyond their definition: defaults of inherited columns and of views, and settings.
SELECT 85, 'default/' || c.attrelid || '/' || c.attnum, '1259/' || c.attrelid,
    'ALTER TABLE ONLY ' || r.name || ' ALTER COLUMN ' || c.name || COALESCE(' SET DEFAULT ' || c.expression, ' DROP DEFAULT'),
    NULL, 'ALTER TABLE ONLY ' || r.name || ' ALTER COLUMN ' || c.name || ' DROP DEFAULT', NULL
FROM col c JOIN rel r ON r.oid = c.attrelid LEFT JOIN origin o ON o.attrelid = c.attrelid AND o.attnum = c.attnum
WHERE c.attgenerated = '' AND c.attidentity = '' AND NOT r.relispartition
    AND ((r.relkind = 'v' OR r.relkind = 'r' AND r.reloftype <> 0) AND c.expression IS NOT NULL
        OR r.relkind = 'r' AND NOT c.attislocal AND CASE WHEN c.expression IS NULL THEN o.expressions IS NOT NULL
            ELSE (c.expression = ANY (o.expressions)) IS NOT TRUE END)
UNION ALL
SELECT 85, 'not null/' || c.attrelid || '/' || c.attnum, '1259/' || c.attrelid,
    'ALTER TABLE ONLY ' || r.name || ' ALTER COLUMN ' || c.name || ' SET NOT NULL', NULL,
    'ALTER TABLE ONLY ' || r.name || ' ALTER COLUMN ' || c.name || ' DROP NOT NULL', NULL
FROM col c JOIN rel r ON r.oid = c.attrelid LEFT JOIN origin o ON o.attrelid = c.attrelid AND o.attnum = c.attnum
WHERE r.relkind = 'r' AND c.attnotnull AND NOT r.relispartition
    AND (r.reloftype <> 0 OR NOT c.attislocal AND o.attnotnull IS NOT TRUE)
UNION ALL
SELECT 86, s.setting || '/' || c.attrelid || '/' || c.attnum, '1259/' || c.attrelid,
    'ALTER TABLE ONLY ' || r.name || ' ALTER COLUMN ' || c.name || s.sql, NULL,
    'ALTER TABLE ONLY ' || r.name || ' ALTER COLUMN ' || c.name || s.undo, NULL
FROM col c JOIN rel r ON r.oid = c.attrelid, LATERAL (VALUES
    ('storage', ' SET STORAGE ' || CASE WHEN c.attstorage <> c.typstorage THEN
        CASE c.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END,
        ' SET STORAGE ' || CASE c.typstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN'
            ELSE 'EXTENDED' END),
    ('compression', ' SET COMPRESSION ' || CASE c.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
        ' SET COMPRESSION DEFAULT'),
    ('statistics', ' SET STATISTICS ' || CASE WHEN c.attstattarget >= 0 THEN c.attstattarget END, ' SET STATISTICS -1'),
    ('options', ' SET (' || pg_catalog.array_to_string(c.attoptions, ', ') || ')', (
        SELECT ' RESET (' || pg_catalog.string_agg(o.option_name, ', ') || ')'
        FROM pg_catalog.pg_options_to_table(c.attoptions) o))) s (setting, sql, undo)
WHERE r.relkind IN ('r', 'p', 'm') AND s.sql IS NOT NULL
    AND (c.attstorage <> c.typstorage OR c.attcompression <> '' OR c.attstattarget >= 0 OR c.attoptions IS NOT NULL)
