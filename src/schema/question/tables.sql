-- Tables with their columns. Those of a partition are its own, because it may have them in another order; a child in
-- an inheritance and a table of a type get theirs from there.
SELECT 70 AS rank, '1259/' || r.oid AS address, NULL AS parent,
    'CREATE ' || CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END || 'TABLE ' || r.name AS head,
    pg_catalog.concat(
        CASE WHEN r.reloftype <> 0 THEN ' OF ' || pg_catalog.format_type(r.reloftype, NULL) END,
        ' INHERITS (' || i.parents || ')',
        ' PARTITION BY ' || CASE r.relkind WHEN 'p' THEN pg_catalog.pg_get_partkeydef(r.oid) END,
        ' USING ' || CASE WHEN r.relkind = 'r' AND r.relam <> 2 THEN pg_catalog.quote_ident(m.amname) END) AS tail,
    'DROP TABLE ' || r.name AS undo,
    CASE WHEN r.reloftype = 0 THEN COALESCE(a.columns, '[]') END AS parts
FROM rel r
LEFT JOIN pg_catalog.pg_am m ON m.oid = r.relam
LEFT JOIN (
    SELECT h.inhrelid, pg_catalog.string_agg(h.inhparent::pg_catalog.regclass::text, ', ' ORDER BY h.inhseqno) AS parents
    FROM pg_catalog.pg_inherits h GROUP BY h.inhrelid
) i ON i.inhrelid = r.oid AND NOT r.relispartition
LEFT JOIN (
    SELECT c.attrelid, pg_catalog.json_agg(pg_catalog.json_build_array(c.name, c.type,
        CASE WHEN c.attgenerated = 's' THEN 'GENERATED ALWAYS AS (' || c.expression || ') STORED'
            WHEN c.attgenerated = 'v' THEN 'GENERATED ALWAYS AS (' || c.expression || ') VIRTUAL'
            WHEN c.attidentity <> '' AND q.seqrelid IS NOT NULL
                THEN 'GENERATED ' || CASE c.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END || ' AS IDENTITY'
                    || COALESCE(' (' || NULLIF(pg_catalog.concat_ws(' ',
                        CASE WHEN s.relname <> o.relname || '_' || c.attname || '_seq' THEN 'SEQUENCE NAME ' || s.name END,
                        NULLIF(q.options, '')), '') || ')', '') END,
        CASE WHEN c.attgenerated = '' THEN c.expression END,
        c.attnotnull) ORDER BY c.attnum) AS columns
    FROM col c JOIN rel o ON o.oid = c.attrelid AND o.relkind IN ('r', 'p')
    -- From PostgreSQL 17 on, a partition gets its identity columns from the partitioned table.
    LEFT JOIN internal_sequence n ON n.refobjid = c.attrelid AND n.refobjsubid = c.attnum AND n.deptype = 'i'
        AND c.attidentity <> ''
        AND NOT (o.relispartition AND pg_catalog.current_setting('server_version_num')::int >= 170000)
    LEFT JOIN sequence_options q ON q.seqrelid = n.objid
    LEFT JOIN rel s ON s.oid = n.objid
    WHERE c.attislocal OR o.relispartition
    GROUP BY c.attrelid
) a ON a.attrelid = r.oid
WHERE r.relkind IN ('r', 'p')
UNION ALL
SELECT 80, 'partition/' || r.oid, '1259/' || r.oid,
    'ALTER TABLE ONLY ' || h.inhparent::pg_catalog.regclass::text || ' ATTACH PARTITION ' || r.name || ' '
        || pg_catalog.pg_get_expr(r.relpartbound, r.oid),
    NULL, 'ALTER TABLE ' || h.inhparent::pg_catalog.regclass::text || ' DETACH PARTITION ' || r.name, NULL
FROM rel r JOIN pg_catalog.pg_inherits h ON h.inhrelid = r.oid WHERE r.relispartition AND r.relkind IN ('r', 'p')
