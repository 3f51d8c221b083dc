-- Types, domains and collations.
SELECT 30, '1247/' || t.oid, NULL, 'CREATE TYPE ' || t.name || ' AS ENUM', 'labels', 'DROP TYPE ' || t.name, COALESCE((
    SELECT pg_catalog.json_agg(pg_catalog.quote_literal(e.enumlabel) ORDER BY e.enumsortorder)
    FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid), '[]')
FROM own_type t WHERE t.typtype = 'e'
UNION ALL
SELECT 30, '1247/' || t.oid, NULL, 'CREATE TYPE ' || t.name || ' AS', '', 'DROP TYPE ' || t.name, COALESCE((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_array(c.name, c.type, NULL, NULL, false) ORDER BY c.attnum)
    FROM col c WHERE c.attrelid = t.typrelid), '[]')
FROM own_type t WHERE t.typtype = 'c'
UNION ALL
SELECT 30, '1247/' || t.oid, NULL, 'CREATE DOMAIN ' || t.name || ' AS ' || pg_catalog.format_type(t.typbasetype, t.typtypmod)
    || CASE WHEN t.typcollation <> b.typcollation THEN ' COLLATE ' || (SELECT k.name FROM coll k WHERE k.oid = t.typcollation)
        ELSE '' END
    || COALESCE(' DEFAULT ' || pg_catalog.pg_get_expr(t.typdefaultbin, 0), '')
    || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END, NULL, 'DROP DOMAIN ' || t.name, NULL
FROM own_type t JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype WHERE t.typtype = 'd'
UNION ALL
SELECT 119, '2606/' || k.oid, '1247/' || t.oid, 'ALTER DOMAIN ' || t.name || ' ADD CONSTRAINT ' || pg_catalog.quote_ident(k.conname)
    || ' ' || pg_catalog.pg_get_constraintdef(k.oid), NULL,
    'ALTER DOMAIN ' || t.name || ' DROP CONSTRAINT ' || pg_catalog.quote_ident(k.conname), NULL
FROM own_type t JOIN pg_catalog.pg_constraint k ON k.contypid = t.oid AND k.contype = 'c'
UNION ALL
SELECT 30, '1247/' || t.oid, NULL, 'CREATE TYPE ' || t.name || ' AS RANGE (' || pg_catalog.concat_ws(', ',
    'SUBTYPE = ' || pg_catalog.format_type(g.rngsubtype, NULL),
    'MULTIRANGE_TYPE_NAME = ' || (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(m.typname)
        FROM pg_catalog.pg_type m JOIN pg_catalog.pg_namespace n ON n.oid = m.typnamespace WHERE m.oid = g.rngmultitypid),
    'SUBTYPE_OPCLASS = ' || (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(o.opcname)
        FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace
        WHERE o.oid = g.rngsubopc AND NOT o.opcdefault),
    'COLLATION = ' || (SELECT k.name FROM coll k JOIN pg_catalog.pg_type b ON b.oid = g.rngsubtype
        WHERE k.oid = g.rngcollation AND g.rngcollation <> b.typcollation),
    'SUBTYPE_DIFF = ' || (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(p.proname)
        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = g.rngsubdiff)) || ')',
    NULL, 'DROP TYPE ' || t.name, NULL
FROM own_type t JOIN pg_catalog.pg_range g ON g.rngtypid = t.oid WHERE t.typtype = 'r'
UNION ALL
-- The locale is in another column from version to version.
SELECT 28, '3456/' || c.oid, NULL, 'CREATE COLLATION ' || k.name || ' (' || pg_catalog.concat_ws(', ',
    'PROVIDER = ' || CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' WHEN 'c' THEN 'libc' END,
    CASE WHEN NOT c.collisdeterministic THEN 'DETERMINISTIC = false' END,
    'LC_COLLATE = ' || CASE WHEN c.collprovider = 'c' THEN pg_catalog.quote_literal(c.collcollate) END,
    'LC_CTYPE = ' || CASE WHEN c.collprovider = 'c' THEN pg_catalog.quote_literal(c.collctype) END,
    'LOCALE = ' || CASE WHEN c.collprovider <> 'c' THEN pg_catalog.quote_literal(COALESCE(
        pg_catalog.to_jsonb(c) ->> 'colllocale', pg_catalog.to_jsonb(c) ->> 'colliculocale', c.collcollate)) END,
    'RULES = ' || pg_catalog.quote_literal(pg_catalog.to_jsonb(c) ->> 'collicurules')) || ')',
    NULL, 'DROP COLLATION ' || k.name, NULL
FROM pg_catalog.pg_collation c JOIN coll k ON k.oid = c.oid JOIN space s ON s.oid = c.collnamespace
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_collation'::pg_catalog.regclass AND m.objid = c.oid)
