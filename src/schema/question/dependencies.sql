-- The objects that have to be created before others, and the column whose default needs one. Only the dependencies of
-- functions, types, tables and views are needed: everything else comes after all of these, in an order of kinds.
WITH type_address AS MATERIALIZED (
    SELECT t.oid, CASE WHEN c.relkind <> 'c' THEN '1259/' || c.oid ELSE '1247/' || b.oid END AS address
    FROM pg_catalog.pg_type t
    LEFT JOIN pg_catalog.pg_range g ON g.rngmultitypid = t.oid
    JOIN pg_catalog.pg_type b
        ON b.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE COALESCE(g.rngtypid, t.oid) END
    LEFT JOIN pg_catalog.pg_class c ON c.oid = b.typrelid
    WHERE t.oid >= 16384
), source AS MATERIALIZED (
    SELECT 1259 AS class, c.oid, CASE c.relkind WHEN 'c' THEN '1247/' || c.reltype ELSE '1259/' || c.oid END AS address,
        NULL AS default_of
    FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'c')
    UNION ALL
    SELECT 1247, a.oid, a.address, NULL FROM type_address a
    UNION ALL
    SELECT 1255, p.oid, '1255/' || p.oid, NULL FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
    UNION ALL
    SELECT 2604, f.oid, '1259/' || f.adrelid, CASE a.attgenerated WHEN '' THEN pg_catalog.quote_ident(a.attname) END
    FROM pg_catalog.pg_attrdef f JOIN pg_catalog.pg_class c ON c.oid = f.adrelid AND c.relkind IN ('r', 'p')
    JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
    UNION ALL
    SELECT 2618, w.oid, '1259/' || w.ev_class, NULL FROM pg_catalog.pg_rewrite w WHERE w.rulename = '_RETURN'
)
SELECT DISTINCT s.address, COALESCE(a.address, d.refclassid || '/' || d.refobjid), s.default_of
FROM pg_catalog.pg_depend d JOIN source s ON s.class = d.classid AND s.oid = d.objid
LEFT JOIN type_address a ON d.refclassid = 1247 AND a.oid = d.refobjid
WHERE d.deptype = 'n' AND d.refobjid >= 16384 AND d.refclassid IN (1255, 1259, 1247, 2606)
    AND s.address <> COALESCE(a.address, d.refclassid || '/' || d.refobjid)
