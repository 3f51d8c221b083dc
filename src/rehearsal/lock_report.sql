CREATE SCHEMA IF NOT EXISTS bastion_migrate;
CREATE FUNCTION bastion_migrate.note_scans() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $own$
BEGIN
    IF current_setting('{reports}', true) IS DISTINCT FROM 'on' OR concat(current_setting('bastion_migrate.scans', true)) <> '' THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM set_config('bastion_migrate.scans', (
            SELECT coalesce(json_object_agg(s.relid, s.seq_scan), '{}') FROM pg_stat_xact_user_tables s WHERE s.seq_scan > 0
        )::text, true);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
END $own$;
CREATE FUNCTION bastion_migrate.report_locks() RETURNS event_trigger LANGUAGE plpgsql
    SET search_path = pg_catalog SET client_min_messages = notice AS $own$
DECLARE
    earlier json;
    report text;
BEGIN
    IF current_setting('{reports}', true) IS DISTINCT FROM 'on' THEN
        RETURN;
    END IF;
    BEGIN
        earlier := coalesce(nullif(current_setting('bastion_migrate.scans', true), ''), '{}');
        SELECT json_agg(r.line) INTO report FROM (
            SELECT json_build_array('{held_lock}', l.relation::text, l.mode) AS line FROM pg_locks l
            WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.relation >= 16384
                AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
            UNION ALL
            SELECT json_build_array('{scan_count}', s.relid::text, s.seq_scan::text) FROM pg_stat_xact_user_tables s
            WHERE s.seq_scan > coalesce((earlier ->> s.relid::text)::bigint, 0)
        ) r;
        IF octet_length(report) < {most_bytes} THEN
            RAISE NOTICE USING ERRCODE = '{sqlstate}', MESSAGE = report;
        END IF;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
END $own$;
CREATE EVENT TRIGGER bastion_migrate_scans ON ddl_command_start EXECUTE FUNCTION bastion_migrate.note_scans();
CREATE EVENT TRIGGER bastion_migrate_locks ON ddl_command_end EXECUTE FUNCTION bastion_migrate.report_locks();
