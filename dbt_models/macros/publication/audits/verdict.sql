{#- A bound of the rules. Those with a value here may be missing from a company's own `audits`, which it wrote before
    they were; segmentation_assets/rules/schema.py has the same, dbt_project.yml the reasons. -#}
{% macro audit_bound(name) %}
    {% set added = {
        'usual_day_min_facts': 20,
        'unknown_status_max_share_pct': 1,
        'unknown_members_max': 3,
        'unknown_member_max_share_pct': 1,
        'suppressions_max_loss_pct': 10,
        'suppressions_max_unmatched_pct': 5,
    } %}
    {{ return(var('audits').get(name, added.get(name))) }}
{% endmacro %}

{#- The bounds as rows, from the list in segment_audits.sql. Without `at_least` or `at_most` that side is open. Where a
    segment may have a bound of its own, there is one for each segment. -#}
{% macro bounds_as_rows(bounds) %}
    {%- set rows = [] %}
    {%- for bound in bounds if 'own' not in bound %}
        {%- do rows.append([bound, 'null', bound.get('at_least', 'null')]) %}
    {%- endfor %}
    {%- for bound in bounds if 'own' in bound %}
        {%- for name, floor in segment_floors() %}{% do rows.append([bound, string_literal(name), floor]) %}{% endfor %}
    {%- endfor %}
    {%- for bound, segment, floor in rows %}
    select
        '{{ bound.audit }}' as audit,
        '{{ bound.severity }}' as severity,
        cast({{ segment }} as varchar) as customer_segment,
        cast({{ floor }} as double) as lower_bound,
        cast({{ bound.get('at_most', 'null') }} as double) as upper_bound
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
{% endmacro %}

{#- Judged findings with what they are about: the candidate, by its hashes, and where there is any, the money and the
    facts. Only a failed one has money to show. -#}
{% macro bound_to_candidates(verdicts) %}
    select
        verdicts.snapshot_month,
        verdicts.audit,
        verdicts.customer_segment,
        verdicts.measured,
        verdicts.lower_bound,
        verdicts.upper_bound,
        verdicts.failed_rows,
        verdicts.severity,
        candidates.content_hash,
        candidates.decision_hash,
        case when verdicts.failed_rows > 0 then cast(concerned.spend as decimal(38, 2)) end as affected_spend,
        case when verdicts.failed_rows > 0 then cast(concerned.facts_hash as varchar) end as facts_hash
    from {{ verdicts }} as verdicts
    left join candidates on verdicts.snapshot_month = candidates.snapshot_month
    left join concerned on verdicts.snapshot_month = concerned.snapshot_month and verdicts.audit = concerned.audit
{% endmacro %}

{#- Each finding beside its bound: what breaks it counts its affected rows; what keeps it, or measures nothing, 0. -#}
{% macro judged(findings) %}
    select
        findings.snapshot_month,
        findings.audit,
        findings.customer_segment,
        cast(findings.measured as double) as measured,
        bounds.lower_bound,
        bounds.upper_bound,
        case
            when findings.measured < bounds.lower_bound or findings.measured > bounds.upper_bound
                then findings.affected_rows
            else 0
        end as failed_rows,
        bounds.severity
    from {{ findings }} as findings
    left join bounds
        on
            findings.audit = bounds.audit
            and (bounds.customer_segment is null or findings.customer_segment = bounds.customer_segment)
{% endmacro %}
