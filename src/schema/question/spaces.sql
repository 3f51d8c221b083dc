-- Schemas and extensions.
SELECT 10, '2615/' || s.oid, NULL, 'CREATE SCHEMA ' || s.name, NULL, 'DROP SCHEMA ' || s.name, NULL
FROM own_space s WHERE s.nspname <> 'public'
UNION ALL
SELECT 20, '3079/' || e.oid, NULL, 'CREATE EXTENSION ' || pg_catalog.quote_ident(e.extname) || ' WITH SCHEMA '
    || pg_catalog.quote_ident(n.nspname), NULL, 'DROP EXTENSION ' || pg_catalog.quote_ident(e.extname), NULL
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql'
