({trusted_roles} SELECT {tag}, 'invalid-index', i.indexrelid, NULL::oid, pg_catalog.format('%I.%I', n.nspname, c.relname),
    CASE WHEN c.relname ~ '_cc(new|old)[0-9]*$' THEN 'REINDEX CONCURRENTLY has left it behind'
         ELSE 'no query uses it, and every write maintains it' END,
    CASE WHEN c.relname ~ '_cc(new|old)[0-9]*$' OR pg_catalog.current_setting('server_version_num')::int < 120000
         THEN pg_catalog.format('DROP INDEX CONCURRENTLY %I.%I', n.nspname, c.relname)
         ELSE pg_catalog.format('REINDEX INDEX CONCURRENTLY %I.%I', n.nspname, c.relname) END
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i' AND {user_schema} AND {owner} AND NOT {build_running}
ORDER BY n.nspname, c.relname LIMIT {limit});

({trusted_roles} SELECT {tag}, 'unvalidated-constraint', k.oid, NULL::oid, pg_catalog.format('%I on %I.%I', k.conname, n.nspname, c.relname),
    'the rows from before it were not checked',
    pg_catalog.format('ALTER TABLE %I.%I VALIDATE CONSTRAINT %I', n.nspname, c.relname, k.conname)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE {is_unvalidated} AND {user_schema} AND {owner}
ORDER BY n.nspname, c.relname, k.conname LIMIT {limit});

-- A sequence may count further than the column that it fills (PostgreSQL manual, 8.1.1).
({trusted_roles} SELECT {tag}, 'sequence-near-end', s.seqrelid, NULL::oid, pg_catalog.format('%I.%I', n.nspname, c.relname),
    pg_catalog.format('%s %% of its numbers are used, up to %s of %s',
        pg_catalog.floor(100 * (v.last - s.seqmin) / (v.top - s.seqmin)), v.last, v.top),
    CASE WHEN a.atttypid IN (21, 23)
         THEN pg_catalog.format('ALTER TABLE %I.%I ALTER COLUMN %I TYPE bigint; ', o.nspname, o.relname, a.attname)
         ELSE '' END
    || pg_catalog.format('ALTER SEQUENCE %I.%I AS bigint MAXVALUE 9223372036854775807', n.nspname, c.relname)
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT d.refobjid, d.refobjsubid, tn.nspname, t.relname
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = s.seqrelid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    LIMIT 1
) o ON true
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
CROSS JOIN LATERAL (
    SELECT CASE WHEN pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT, USAGE')
                THEN pg_catalog.pg_sequence_last_value(s.seqrelid)::numeric END AS last,
        LEAST(s.seqmax, CASE a.atttypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 ELSE 9223372036854775807 END)::numeric AS top
) v
WHERE s.seqincrement > 0 AND NOT s.seqcycle AND c.relpersistence <> 't' AND {user_schema} AND {owner}
    AND v.top > s.seqmin AND v.last - s.seqmin > 0.8 * (v.top - s.seqmin)
ORDER BY n.nspname, c.relname LIMIT {limit});

-- The index to drop is the new one, unless a constraint needs it.
({trusted_roles} SELECT {tag}, 'duplicate-index', i.indexrelid, o.indexrelid, pg_catalog.format('%I.%I', n.nspname, c.relname),
    pg_catalog.format('it has the table, columns, operator classes and condition of %I.%I', n.nspname, oc.relname),
    CASE WHEN k.conname IS NULL THEN pg_catalog.format('DROP INDEX CONCURRENTLY %I.%I', n.nspname, c.relname)
         WHEN ok.conname IS NULL THEN pg_catalog.format('DROP INDEX CONCURRENTLY %I.%I', n.nspname, oc.relname)
         ELSE pg_catalog.format('ALTER TABLE %I.%I DROP CONSTRAINT %I', n.nspname, t.relname, k.conname) END
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_index o ON o.indrelid = i.indrelid AND o.indexrelid <> i.indexrelid
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class oc ON oc.oid = o.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
LEFT JOIN pg_catalog.pg_constraint ok ON ok.conindid = o.indexrelid AND ok.contype IN ('p', 'u', 'x')
WHERE i.indisvalid AND o.indisvalid AND c.relkind = 'i' AND oc.relkind = 'i'
    AND NOT c.relispartition AND NOT oc.relispartition AND {user_schema} AND {owner}
    AND c.relam = oc.relam AND i.indisunique = o.indisunique AND i.indisexclusion = o.indisexclusion
    AND i.indkey::text = o.indkey::text AND i.indclass::text = o.indclass::text
    AND i.indcollation::text = o.indcollation::text AND i.indoption::text = o.indoption::text
    AND pg_catalog.to_jsonb(i) ->> 'indnkeyatts' IS NOT DISTINCT FROM pg_catalog.to_jsonb(o) ->> 'indnkeyatts'
    AND pg_catalog.pg_get_expr(i.indexprs, i.indrelid) IS NOT DISTINCT FROM pg_catalog.pg_get_expr(o.indexprs, o.indrelid)
    AND pg_catalog.pg_get_expr(i.indpred, i.indrelid) IS NOT DISTINCT FROM pg_catalog.pg_get_expr(o.indpred, o.indrelid)
ORDER BY n.nspname, c.relname, oc.relname)
