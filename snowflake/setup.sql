-- What the pipeline needs in a Snowflake account, as ACCOUNTADMIN. Run it once before the first month; every statement may
-- be run again. docs/snowflake.md has what each role may do and the steps around this file. No key belongs in a file: the
-- public key of the pipeline's user is set by hand.

-- 1. Names. Write here what yours are called; nothing below has to be changed.
set database_name = 'SEGMENTATION';
set source_database = 'SEGMENTATION';  -- where the star schema is; for a share, the database made from it
set source_schema = 'STAR_SCHEMA';     -- SEGMENTATION_SOURCE_SCHEMA; not GOLD, which others read
set pipeline_role = 'SEGMENTATION_PIPELINE';    -- SNOWFLAKE_ROLE: writes
set reader_role = 'SEGMENTATION_MARKETING';     -- SNOWFLAKE_READER_ROLE: reads what holds no name and no address
set lists_role = 'SEGMENTATION_LISTS';          -- SNOWFLAKE_LISTS_ROLE: reads the lists too, masked
set email_role = 'SEGMENTATION_EMAIL_READER';   -- and this one in clear
set service_user = 'SEGMENTATION_SERVICE';      -- SNOWFLAKE_USER
set pipeline_warehouse = 'SEGMENTATION_WH';     -- SNOWFLAKE_WAREHOUSE
set readers_warehouse = 'SEGMENTATION_READERS_WH';
set notified_users = '';                        -- who is told of credits: names of users with a verified address, by comma
set edition = 'enterprise';                     -- or standard, which has neither tags nor masks: no list is granted to anybody

use role accountadmin;

set gold = $database_name || '.GOLD';
set silver = $database_name || '.SILVER';
set test_failures = $database_name || '.TEST_FAILURES';
set governance = $database_name || '.GOVERNANCE';
set source = $source_database || '.' || $source_schema;
set own_source = $database_name || '.STAR_SCHEMA';

-- 2. Places. gold is what people read, silver the working tables, test_failures the rows that failed a test. In a schema
-- with managed access its owner alone grants: what the pipeline makes in silver it cannot hand to anybody. In gold it has
-- to, table by table. Collation: with another one, regexp_like fails and names sort otherwise.
create database if not exists identifier($database_name) default_ddl_collation = '';
create schema if not exists identifier($gold);
create schema if not exists identifier($silver) with managed access;
create schema if not exists identifier($test_failures) with managed access;
create schema if not exists identifier($governance) with managed access;
create schema if not exists identifier($own_source) with managed access;
alter schema identifier($silver) enable managed access;
alter schema identifier($test_failures) enable managed access;
-- What people decided and what was published can be restored for a month and more, on Enterprise.
execute immediate $$
begin
    if (getvariable('EDITION') = 'enterprise') then
        execute immediate 'alter schema ' || getvariable('GOLD') || ' set data_retention_time_in_days = 35';
    end if;
end;
$$;

-- 3. Money. An X-Small takes one credit for an hour of work, so 20 credits are 20 hours a month; at the limit the running
-- statements finish and nothing new begins. The quota begins anew on the 28th: the month's run on the 1st finds it
-- whole. Readers have a warehouse and a limit of their own, so that they cannot use up the pipeline's.
execute immediate $$
declare
    begins varchar default to_char(
        iff(day(current_date()) < 28, date_trunc(month, current_date()), dateadd(month, 1, date_trunc(month, current_date())))
        + 27, 'YYYY-MM-DD') || ' 00:00';
    notified varchar default iff(
        getvariable('NOTIFIED_USERS') = '', '', ' notify_users = (' || getvariable('NOTIFIED_USERS') || ')');
begin
    execute immediate 'create resource monitor if not exists segmentation_monitor with credit_quota = 20'
        || ' frequency = monthly start_timestamp = ''' || begins || '''' || notified
        || ' triggers on 80 percent do notify on 100 percent do suspend';
    execute immediate 'create resource monitor if not exists segmentation_readers_monitor with credit_quota = 20'
        || ' frequency = monthly start_timestamp = ''' || begins || '''' || notified
        || ' triggers on 80 percent do notify on 100 percent do suspend';
end;
$$;
create warehouse if not exists identifier($pipeline_warehouse) with
    warehouse_size = xsmall
    auto_suspend = 60
    auto_resume = true
    initially_suspended = true
    statement_timeout_in_seconds = 3600
    comment = 'Monthly customer segmentation';
create warehouse if not exists identifier($readers_warehouse) with
    warehouse_size = xsmall
    auto_suspend = 60
    auto_resume = true
    initially_suspended = true
    statement_timeout_in_seconds = 600
    comment = 'Readers of the customer segmentation';
alter warehouse identifier($pipeline_warehouse) set resource_monitor = segmentation_monitor;
alter warehouse identifier($readers_warehouse) set resource_monitor = segmentation_readers_monitor;

-- 4. Who. SYSADMIN is given the role that sees nobody's name; the others are granted to people by name.
create role if not exists identifier($pipeline_role);
create role if not exists identifier($reader_role);
create role if not exists identifier($lists_role);
create role if not exists identifier($email_role);
grant role identifier($reader_role) to role sysadmin;
grant role identifier($reader_role) to role identifier($lists_role);
grant role identifier($lists_role) to role identifier($email_role);

create user if not exists identifier($service_user)
    type = service
    default_role = $pipeline_role
    default_warehouse = $pipeline_warehouse
    comment = 'The pipeline; signs in with a key pair';
grant role identifier($pipeline_role) to user identifier($service_user);
-- A lock is waited for ten minutes and not for twelve hours; a session whose client is gone is ended, and its locks with
-- it; no statement takes more than an hour. The rest is what a result would otherwise depend on in another account: the
-- pipeline sets the same for its own sessions, and plain dbt has them from here.
alter user identifier($service_user) set
    lock_timeout = 600
    abort_detached_query = true
    statement_timeout_in_seconds = 3600
    timezone = 'UTC'
    timestamp_type_mapping = 'TIMESTAMP_NTZ'
    date_input_format = 'AUTO'
    date_output_format = 'YYYY-MM-DD'
    timestamp_input_format = 'AUTO'
    timestamp_output_format = 'YYYY-MM-DD HH24:MI:SS.FF3'
    binary_input_format = 'HEX'
    binary_output_format = 'HEX'
    week_start = 1
    week_of_year_policy = 0
    two_digit_century_start = 1970
    quoted_identifiers_ignore_case = false;
-- Where it may sign in from, which service users with a password or a token need: write your addresses, then run by hand
--   create network policy segmentation_service_policy allowed_ip_list = ('192.0.2.0/24');
--   alter user segmentation_service set network_policy = segmentation_service_policy;

-- 5. What the pipeline may do. It owns the tables that it makes. Nobody else may look into silver, whose views show
-- addresses as the source has them.
grant usage on warehouse identifier($pipeline_warehouse) to role identifier($pipeline_role);
grant usage on database identifier($database_name) to role identifier($pipeline_role);
grant usage, create table, create view on schema identifier($gold) to role identifier($pipeline_role);
grant usage, create table, create view on schema identifier($silver) to role identifier($pipeline_role);
grant usage, create table on schema identifier($test_failures) to role identifier($pipeline_role);
-- A what-if computes in schemas of its own, which nobody else may read and which it drops in the end.
grant create schema on database identifier($database_name) to role identifier($pipeline_role);
-- The star schema, of whatever kind its tables are, those to come too: a loader replaces them. For a share, write
-- `grant imported privileges on database ... to role ...` in place of these.
grant usage on database identifier($source_database) to role identifier($pipeline_role);
grant usage on schema identifier($source) to role identifier($pipeline_role);
grant select on all tables in schema identifier($source) to role identifier($pipeline_role);
grant select on future tables in schema identifier($source) to role identifier($pipeline_role);
grant select on all views in schema identifier($source) to role identifier($pipeline_role);
grant select on future views in schema identifier($source) to role identifier($pipeline_role);
grant select on all materialized views in schema identifier($source) to role identifier($pipeline_role);
grant select on future materialized views in schema identifier($source) to role identifier($pipeline_role);
grant select on all dynamic tables in schema identifier($source) to role identifier($pipeline_role);
grant select on future dynamic tables in schema identifier($source) to role identifier($pipeline_role);
grant select on all external tables in schema identifier($source) to role identifier($pipeline_role);
grant select on future external tables in schema identifier($source) to role identifier($pipeline_role);
grant select on all iceberg tables in schema identifier($source) to role identifier($pipeline_role);
grant select on future iceberg tables in schema identifier($source) to role identifier($pipeline_role);

-- 6. What readers may do: enter. Which table they may read, the pipeline grants when it makes it (`meta.granted_to` of each model).
grant usage on warehouse identifier($readers_warehouse) to role identifier($reader_role);
grant usage on database identifier($database_name) to role identifier($reader_role);
grant usage on schema identifier($gold) to role identifier($reader_role);
-- Earlier versions of this file gave readers all of gold, with what came later, and the pipeline's warehouse. What of it
-- was meant is granted anew by `segmentation dbt run-operation apply_access`.
execute immediate $$
begin
    execute immediate 'show future grants in schema ' || getvariable('GOLD');
    let given integer := (
        select count(*) from table(result_scan(last_query_id())) where "grantee_name" = getvariable('READER_ROLE'));
    if (given > 0) then
        for kind in (select column1 as name from values ('future tables'), ('future views'), ('all tables'), ('all views')) do
            execute immediate 'revoke select on ' || kind.name || ' in schema ' || getvariable('GOLD') || ' from role '
                || getvariable('READER_ROLE');
        end for;
    end if;
end;
$$;
revoke usage on warehouse identifier($pipeline_warehouse) from role identifier($reader_role);
revoke role identifier($pipeline_role) from role sysadmin;
revoke role identifier($email_role) from role sysadmin;

-- 7. Names and addresses (Enterprise). The policy hangs on the tag, which the pipeline sets on a column in the statement
-- after the one that makes its table, before it grants the table to anybody. A kind that the policy does not know is masked
-- whole; keys, by which the rows of a person belong together, are not masked.
execute immediate $$
declare
    tag varchar default getvariable('GOVERNANCE') || '.personal_data';
    policy varchar default getvariable('GOVERNANCE') || '.mask_personal_data';
begin
    if (getvariable('EDITION') = 'enterprise') then
        execute immediate 'create tag if not exists ' || :tag;
        -- Of earlier versions, which knew one kind.
        execute immediate 'alter tag ' || :tag || ' unset allowed_values';
        execute immediate 'create masking policy if not exists ' || :policy || ' as (value varchar) returns varchar ->'
            || ' case when is_role_in_session(''' || getvariable('PIPELINE_ROLE') || ''')'
            || ' or is_role_in_session(''' || getvariable('EMAIL_ROLE') || ''') then value'
            || ' when system$get_tag_on_current_column(''' || :tag || ''') in ('
            || '''customer_id'', ''customer_key'', ''transaction_key'', ''behaviour'', ''erased'', ''staff'') then value'
            || ' when system$get_tag_on_current_column(''' || :tag || ''') = ''email'''
            || ' then regexp_replace(value, ''^[^@]+'', ''*****'')'
            || ' else ''*****'' end';
        execute immediate 'alter tag ' || :tag || ' set masking policy ' || :policy || ' force';
        execute immediate 'grant usage on schema ' || getvariable('GOVERNANCE') || ' to role '
            || getvariable('PIPELINE_ROLE');
        execute immediate 'grant apply on tag ' || :tag || ' to role ' || getvariable('PIPELINE_ROLE');
        -- The source's own columns, so that whoever is let into it later finds them masked.
        execute immediate 'alter table if exists ' || getvariable('OWN_SOURCE') || '.dim_customer modify'
            || ' column email set tag ' || :tag || ' = ''email'', column first_name set tag ' || :tag || ' = ''name'','
            || ' column last_name set tag ' || :tag || ' = ''name''';
    end if;
end;
$$;
