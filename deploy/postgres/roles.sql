-- The roles of esimflow's database. A superuser runs this once, in the database, before the
-- first `esimctl migrate up` or at any time after; again does no harm:
--
--   psql -X -v ON_ERROR_STOP=1 -1 -d esimflow -f roles.sql
--
-- Nobody has a password yet. Give each of the three that log in one of its own, or have
-- pg_hba.conf go by certificates: \password esimflow_migrator, \password esimflow_app,
-- \password esimflow_readonly.
--
--   esimflow_owner     owns everything; nobody logs in as it
--   esimflow_migrator  esimctl migrate: becomes the owner, and is nothing by itself
--   esimflow_app       worker and publisher: rows, no schema; trails are only added to
--   esimflow_readonly  people and dashboards: the views of the schema `redacted`
--
-- grant_to_roles(), last made by migration 22, says what app and readonly may do.

SET lock_timeout = '5s'; -- rather run it again than be in the way of what moves

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['esimflow_owner', 'esimflow_migrator', 'esimflow_app', 'esimflow_readonly'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
    END LOOP;
END
$$;
ALTER ROLE esimflow_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE esimflow_migrator LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE esimflow_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE esimflow_readonly LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
GRANT esimflow_owner TO esimflow_migrator;

-- Whoever looks must not be in the way of what moves.
ALTER ROLE esimflow_readonly SET search_path = redacted;
ALTER ROLE esimflow_readonly SET default_transaction_read_only = on;
ALTER ROLE esimflow_readonly SET statement_timeout = '30s';
ALTER ROLE esimflow_readonly SET idle_in_transaction_session_timeout = '1min';

DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO esimflow_owner', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO esimflow_migrator, esimflow_app, esimflow_readonly', current_database());
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO esimflow_owner;

-- What an earlier migration has made, as somebody else.
DO $$
DECLARE
    it record;
BEGIN
    FOR it IN
        SELECT n.nspname, c.relname, c.relkind
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('public', 'redacted') AND c.relkind IN ('r', 'p', 'v') AND pg_get_userbyid(c.relowner) <> 'esimflow_owner'
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') -- an extension's
    LOOP
        EXECUTE format('ALTER %s %I.%I OWNER TO esimflow_owner', CASE it.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, it.nspname, it.relname);
    END LOOP;
    FOR it IN
        SELECT p.oid::regprocedure AS signature
        FROM pg_proc p
        JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname IN ('public', 'redacted') AND pg_get_userbyid(p.proowner) <> 'esimflow_owner'
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO esimflow_owner', it.signature);
    END LOOP;
    IF to_regnamespace('redacted') IS NOT NULL THEN
        ALTER SCHEMA redacted OWNER TO esimflow_owner;
    END IF;
    IF to_regprocedure('public.grant_to_roles()') IS NOT NULL THEN
        SET LOCAL ROLE esimflow_owner;
        PERFORM public.grant_to_roles();
        RESET ROLE;
    END IF;
END
$$;
