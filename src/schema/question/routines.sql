-- Functions, procedures and aggregates.
SELECT 40, '1255/' || p.oid, NULL, pg_catalog.rtrim(pg_catalog.pg_get_functiondef(p.oid), E'\n'), NULL,
    'DROP ' || p.word || ' ' || p.name || '(' || p.arguments || ')', NULL
FROM proc p WHERE p.prokind <> 'a'
UNION ALL
SELECT 50, '1255/' || p.oid, NULL, 'CREATE AGGREGATE ' || p.name || '(' || COALESCE(NULLIF(p.arguments, ''), '*') || ') (' || pg_catalog.concat_ws(', ',
    'SFUNC = ' || a.aggtransfn, 'STYPE = ' || pg_catalog.format_type(a.aggtranstype, NULL),
    'SSPACE = ' || NULLIF(a.aggtransspace, 0), 'FINALFUNC = ' || NULLIF(a.aggfinalfn::text, '-'),
    CASE WHEN a.aggfinalextra THEN 'FINALFUNC_EXTRA' END,
    'FINALFUNC_MODIFY = ' || CASE WHEN a.aggfinalfn <> 0 AND a.aggfinalmodify <> CASE a.aggkind WHEN 'n' THEN 'r' ELSE 'w' END
        THEN w.word END,
    'COMBINEFUNC = ' || NULLIF(a.aggcombinefn::text, '-'), 'SERIALFUNC = ' || NULLIF(a.aggserialfn::text, '-'),
    'DESERIALFUNC = ' || NULLIF(a.aggdeserialfn::text, '-'), 'INITCOND = ' || pg_catalog.quote_literal(a.agginitval),
    'MSFUNC = ' || NULLIF(a.aggmtransfn::text, '-'), 'MINVFUNC = ' || NULLIF(a.aggminvtransfn::text, '-'),
    'MSTYPE = ' || CASE WHEN a.aggmtranstype <> 0 THEN pg_catalog.format_type(a.aggmtranstype, NULL) END,
    'MSSPACE = ' || NULLIF(a.aggmtransspace, 0), 'MFINALFUNC = ' || NULLIF(a.aggmfinalfn::text, '-'),
    CASE WHEN a.aggmfinalextra THEN 'MFINALFUNC_EXTRA' END,
    'MFINALFUNC_MODIFY = ' || CASE WHEN a.aggmfinalfn <> 0
        AND a.aggmfinalmodify <> CASE a.aggkind WHEN 'n' THEN 'r' ELSE 'w' END THEN v.word END,
    'MINITCOND = ' || pg_catalog.quote_literal(a.aggminitval),
    'SORTOP = ' || (SELECT 'OPERATOR(' || pg_catalog.quote_ident(n.nspname) || '.' || o.oprname || ')'
        FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid = a.aggsortop),
    CASE WHEN a.aggkind = 'h' THEN 'HYPOTHETICAL' END,
    'PARALLEL = ' || CASE f.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' END) || ')',
    NULL, 'DROP AGGREGATE ' || p.name || '(' || COALESCE(NULLIF(p.arguments, ''), '*') || ')', NULL
FROM proc p JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid JOIN pg_catalog.pg_proc f ON f.oid = p.oid
LEFT JOIN (VALUES ('r', 'READ_ONLY'), ('s', 'SHAREABLE'), ('w', 'READ_WRITE')) w (letter, word) ON w.letter = a.aggfinalmodify::text
LEFT JOIN (VALUES ('r', 'READ_ONLY'), ('s', 'SHAREABLE'), ('w', 'READ_WRITE')) v (letter, word) ON v.letter = a.aggmfinalmodify::text
