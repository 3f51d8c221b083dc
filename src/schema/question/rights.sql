-- Owners, rights, default rights and comments, of everything that has a name in `target`.
SELECT o.rank, o.address, o.parent, o.sql, NULL, o.undo, NULL FROM (
    WITH target AS (
        SELECT 2615 AS class, s.oid, 'SCHEMA ' || s.name AS target, 'SCHEMA ' || s.name AS granted, s.nspowner AS owner,
            s.nspacl AS acl, 'n'::"char" AS kind, '2615/' || s.oid AS address,
            s.nspname <> 'public' OR s.nspowner NOT IN (10, 6171) AS has_owner
        FROM own_space s
        UNION ALL
        SELECT 1259, r.oid, r.word || ' ' || r.name, CASE r.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || r.name, r.relowner,
            r.relacl, CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", '1259/' || r.oid,
            r.relkind <> 'S' OR r.oid NOT IN (SELECT i.objid FROM internal_sequence i)
        FROM rel r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'S')
        UNION ALL
        SELECT 1255, p.oid, p.word || ' ' || p.name || '(' || CASE p.prokind WHEN 'a' THEN COALESCE(NULLIF(p.arguments, ''), '*')
            ELSE p.arguments END || ')',
            CASE p.prokind WHEN 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END || p.name || '(' || p.arguments || ')', p.proowner, p.proacl,
            'f'::"char", '1255/' || p.oid, true
        FROM proc p
        UNION ALL
        SELECT 1247, t.oid, t.word || ' ' || t.name, 'TYPE ' || t.name, t.typowner, t.typacl, 'T'::"char", '1247/' || t.oid, true
        FROM own_type t
        UNION ALL
        SELECT 3456, c.oid, 'COLLATION ' || k.name, NULL, c.collowner, NULL, NULL, '3456/' || c.oid, true
        FROM pg_catalog.pg_collation c JOIN coll k ON k.oid = c.oid JOIN space s ON s.oid = c.collnamespace
        WHERE NOT EXISTS (
            SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_collation'::pg_catalog.regclass AND m.objid = c.oid)
        UNION ALL
        SELECT 3381, x.oid, 'STATISTICS ' || s.name || '.' || pg_catalog.quote_ident(x.stxname), NULL, x.stxowner, NULL, NULL,
            '3381/' || x.oid, true
        FROM pg_catalog.pg_statistic_ext x JOIN rel r ON r.oid = x.stxrelid JOIN space s ON s.oid = x.stxnamespace
        UNION ALL
        SELECT 3466, e.oid, 'EVENT TRIGGER ' || pg_catalog.quote_ident(e.evtname), NULL, e.evtowner, NULL, NULL, '3466/' || e.oid, true
        FROM event_trigger e
        UNION ALL
        SELECT 6104, p.oid, 'PUBLICATION ' || pg_catalog.quote_ident(p.pubname), NULL, p.pubowner, NULL, NULL, '6104/' || p.oid, true
        FROM pg_catalog.pg_publication p
    ), named AS (
        SELECT t.class, t.oid, 0 AS sub, t.target, t.address FROM target t
        UNION ALL
        SELECT 1259, r.oid, 0, 'INDEX ' || r.name, '1259/' || r.oid FROM rel r WHERE r.relkind IN ('i', 'I')
        UNION ALL
        SELECT 1259, c.attrelid, c.attnum, 'COLUMN ' || r.name || '.' || c.name, '1259/' || r.oid
        FROM col c JOIN rel r ON r.oid = c.attrelid
        UNION ALL
        SELECT 2606, k.oid, 0, 'CONSTRAINT ' || pg_catalog.quote_ident(k.conname) || ' ON ' || COALESCE(r.name, 'DOMAIN ' || t.name),
            '2606/' || k.oid
        FROM pg_catalog.pg_constraint k LEFT JOIN rel r ON r.oid = k.conrelid LEFT JOIN own_type t ON t.oid = k.contypid
        UNION ALL
        SELECT 2620, t.oid, 0, 'TRIGGER ' || pg_catalog.quote_ident(t.tgname) || ' ON ' || r.name, 'trigger/' || t.oid
        FROM pg_catalog.pg_trigger t JOIN rel r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
        UNION ALL
        SELECT 2618, w.oid, 0, 'RULE ' || pg_catalog.quote_ident(w.rulename) || ' ON ' || r.name, 'rule/' || w.oid
        FROM pg_catalog.pg_rewrite w JOIN rel r ON r.oid = w.ev_class
        UNION ALL
        SELECT 3256, p.oid, 0, 'POLICY ' || pg_catalog.quote_ident(p.polname) || ' ON ' || r.name, 'policy/' || p.oid
        FROM pg_catalog.pg_policy p JOIN rel r ON r.oid = p.polrelid
    ), actual AS (
        SELECT t.granted, t.address, t.owner, e.grantee, e.privilege_type AS privilege, e.is_grantable, NULL AS name
        FROM target t, LATERAL pg_catalog.aclexplode(t.acl) e WHERE t.granted IS NOT NULL
    ), usual AS (
        SELECT t.granted, t.address, e.grantee, e.privilege_type AS privilege, e.is_grantable
        FROM target t LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = t.oid AND i.classoid = t.class AND i.objsubid = 0
            AND i.privtype = 'i',
            LATERAL pg_catalog.aclexplode(COALESCE(i.initprivs, pg_catalog.acldefault(t.kind, t.owner))) e
        WHERE t.granted IS NOT NULL AND t.acl IS NOT NULL
    ), changed AS (
        SELECT DISTINCT 171 AS rank, a.granted, a.address, a.grantee, a.privilege, a.is_grantable, a.name FROM actual a
        WHERE NOT EXISTS (
            SELECT FROM usual u WHERE (u.granted, u.grantee, u.privilege, u.is_grantable)
                = (a.granted, a.grantee, a.privilege, a.is_grantable))
        UNION ALL
        SELECT DISTINCT 171, 'TABLE ' || r.name, '1259/' || r.oid, e.grantee, e.privilege_type, e.is_grantable, c.name
        FROM col c JOIN rel r ON r.oid = c.attrelid, LATERAL pg_catalog.aclexplode(c.attacl) e
        UNION ALL
        SELECT DISTINCT 170, u.granted, u.address, u.grantee, u.privilege, false, NULL FROM usual u
        WHERE NOT EXISTS (
            SELECT FROM actual a WHERE (a.granted, a.grantee, a.privilege) = (u.granted, u.grantee, u.privilege))
    ), rights AS (
        SELECT c.rank, c.granted, c.address, c.is_grantable,
            CASE c.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.grantee)) END AS role,
            pg_catalog.string_agg(c.privilege || COALESCE('(' || c.name || ')', ''), ', '
                ORDER BY c.privilege COLLATE "C", c.name COLLATE "C") AS privileges
        FROM changed c GROUP BY c.rank, c.granted, c.address, c.is_grantable, c.grantee
    ), default_acl AS (
        SELECT d.oid, 'ALTER DEFAULT PRIVILEGES FOR ROLE ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(d.defaclrole))
            || COALESCE(' IN SCHEMA ' || s.name, '') AS beginning,
            CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES'
                WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS word,
            d.defaclacl AS acl, CASE WHEN d.defaclnamespace = 0 THEN pg_catalog.acldefault(
                CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole) END AS usual
        FROM pg_catalog.pg_default_acl d LEFT JOIN space s ON s.oid = d.defaclnamespace
        WHERE d.defaclnamespace = 0 OR s.oid IS NOT NULL
    ), default_changed AS (
        SELECT d.oid, d.beginning, d.word, 173 AS rank, e.grantee, e.privilege_type AS privilege, e.is_grantable
        FROM default_acl d, LATERAL pg_catalog.aclexplode(d.acl) e
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.aclexplode(d.usual) u
            WHERE (u.grantee, u.privilege_type, u.is_grantable) = (e.grantee, e.privilege_type, e.is_grantable))
        UNION
        SELECT d.oid, d.beginning, d.word, 172, u.grantee, u.privilege_type, false
        FROM default_acl d, LATERAL pg_catalog.aclexplode(d.usual) u
        WHERE NOT EXISTS (
            SELECT FROM pg_catalog.aclexplode(d.acl) e WHERE (e.grantee, e.privilege_type) = (u.grantee, u.privilege_type))
    ), default_rights AS (
        SELECT c.oid, c.beginning, c.word, c.rank, c.is_grantable,
            CASE c.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.grantee)) END AS role,
            pg_catalog.string_agg(c.privilege, ', ' ORDER BY c.privilege COLLATE "C") AS privileges
        FROM default_changed c GROUP BY c.oid, c.beginning, c.word, c.rank, c.is_grantable, c.grantee
    )
    SELECT 160 AS rank, 'owner/' || t.address AS address, t.address AS parent,
        'ALTER ' || t.target || ' OWNER TO ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(t.owner)) AS sql, NULL AS undo
    FROM target t WHERE t.has_owner
    UNION ALL
    SELECT r.rank, 'right/' || r.address || '/' || r.role || '/' || r.rank || '/' || r.is_grantable, r.address, CASE r.rank
        WHEN 171 THEN 'GRANT ' || r.privileges || ' ON ' || r.granted || ' TO ' || r.role
            || CASE WHEN r.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        ELSE 'REVOKE ' || r.privileges || ' ON ' || r.granted || ' FROM ' || r.role END,
        CASE r.rank WHEN 171 THEN 'REVOKE ' || r.privileges || ' ON ' || r.granted || ' FROM ' || r.role
        ELSE 'GRANT ' || r.privileges || ' ON ' || r.granted || ' TO ' || r.role END
    FROM rights r
    UNION ALL
    SELECT r.rank, 'default right/' || r.oid || '/' || r.role || '/' || r.rank || '/' || r.is_grantable, NULL,
        r.beginning || CASE r.rank WHEN 173 THEN ' GRANT ' || r.privileges || ' ON ' || r.word || ' TO ' || r.role
            || CASE WHEN r.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        ELSE ' REVOKE ' || r.privileges || ' ON ' || r.word || ' FROM ' || r.role END,
        r.beginning || CASE r.rank WHEN 173 THEN ' REVOKE ' || r.privileges || ' ON ' || r.word || ' FROM ' || r.role
        ELSE ' GRANT ' || r.privileges || ' ON ' || r.word || ' TO ' || r.role END
    FROM default_rights r
    UNION ALL
    SELECT 180, 'comment/' || n.address || '/' || n.sub, n.address,
        'COMMENT ON ' || n.target || ' IS ' || pg_catalog.quote_literal(d.description), 'COMMENT ON ' || n.target || ' IS NULL'
    FROM named n JOIN pg_catalog.pg_description d ON d.classoid = n.class AND d.objoid = n.oid AND d.objsubid = n.sub
    WHERE n.target IS NOT NULL AND (n.class <> 2615 OR n.target <> 'SCHEMA public' OR d.description <> 'standard public schema')
) o
