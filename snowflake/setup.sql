-- What the pipeline needs in a Snowflake account. Every statement may be run again: run the file once before the first
-- month, and once after it, when the campaign lists exist whose e-mail columns are masked at the end.
-- Masking and tags need Enterprise Edition; on Standard leave the last section out and keep marketing off the lists.
-- The user's public key is set by hand, see docs/snowflake.md: no key belongs in a file.

use role accountadmin;

-- Money. An X-Small takes one credit for an hour of work, so 20 credits are 20 hours a month; at the limit the running
-- statements finish and nothing new begins.
create resource monitor if not exists segmentation_monitor with
    credit_quota = 20
    frequency = monthly
    start_timestamp = immediately
    triggers
        on 80 percent do notify
        on 100 percent do suspend;

create warehouse if not exists segmentation_wh with
    warehouse_size = xsmall
    auto_suspend = 60
    auto_resume = true
    initially_suspended = true
    statement_timeout_in_seconds = 3600
    resource_monitor = segmentation_monitor
    comment = 'Monthly customer segmentation';

-- Places. gold is what people read, silver the working tables, test_failures the rows that failed a test.
create database if not exists segmentation;
create schema if not exists segmentation.gold;
create schema if not exists segmentation.silver;
create schema if not exists segmentation.test_failures;
create schema if not exists segmentation.governance;

-- Who. The pipeline writes; marketing reads what is published, without e-mail addresses.
create role if not exists segmentation_pipeline;
create role if not exists segmentation_marketing;
create role if not exists segmentation_email_reader;
grant role segmentation_pipeline to role sysadmin;
grant role segmentation_marketing to role sysadmin;
grant role segmentation_email_reader to role sysadmin;

create user if not exists segmentation_service
    type = service
    default_role = segmentation_pipeline
    default_warehouse = segmentation_wh
    comment = 'The pipeline; signs in with a key pair';
grant role segmentation_pipeline to user segmentation_service;

grant usage on warehouse segmentation_wh to role segmentation_pipeline;
grant usage on warehouse segmentation_wh to role segmentation_marketing;
grant usage on database segmentation to role segmentation_pipeline;
grant usage on database segmentation to role segmentation_marketing;

-- The pipeline owns the tables it makes and needs no right on anybody else's but to read the star schema. Nobody else may
-- look into silver, whose views stg_customers and customer_contacts show addresses as the source has them.
grant usage, create table, create view on schema segmentation.gold to role segmentation_pipeline;
grant usage, create table, create view on schema segmentation.silver to role segmentation_pipeline;
grant usage, create table on schema segmentation.test_failures to role segmentation_pipeline;
-- A what-if computes in schemas of its own, which nobody else may read and which it drops in the end.
grant create schema on database segmentation to role segmentation_pipeline;
grant select on all tables in schema segmentation.gold to role segmentation_pipeline;
grant select on future tables in schema segmentation.gold to role segmentation_pipeline;

grant usage on schema segmentation.gold to role segmentation_marketing;
grant select on all tables in schema segmentation.gold to role segmentation_marketing;
grant select on all views in schema segmentation.gold to role segmentation_marketing;
grant select on future tables in schema segmentation.gold to role segmentation_marketing;
grant select on future views in schema segmentation.gold to role segmentation_marketing;
grant role segmentation_marketing to role segmentation_email_reader;

-- E-mail addresses. The policy hangs on the tag: a column is masked as soon as it is tagged.
create tag if not exists segmentation.governance.personal_data allowed_values 'email';
create masking policy if not exists segmentation.governance.mask_email as (value varchar) returns varchar ->
    case
        when is_role_in_session('SEGMENTATION_PIPELINE') or is_role_in_session('SEGMENTATION_EMAIL_READER') then value
        else regexp_replace(value, '^[^@]+', '*****')
    end;
alter tag segmentation.governance.personal_data set masking policy segmentation.governance.mask_email force;

alter table if exists segmentation.gold.dim_customer
    modify column email set tag segmentation.governance.personal_data = 'email';
-- Every campaign's list that there is. Run this file again when a campaign was added and its first list is made.
execute immediate $$
declare
    lists cursor for
        select table_name
        from segmentation.information_schema.columns
        where table_schema = 'GOLD' and table_name like 'AUDIENCE!_%' escape '!' and column_name = 'EMAIL';
begin
    for list in lists do
        let tagging varchar := 'alter table segmentation.gold.' || list.table_name
            || ' modify column email set tag segmentation.governance.personal_data = ''email''';
        execute immediate :tagging;
    end for;
end;
$$;
