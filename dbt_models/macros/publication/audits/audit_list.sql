{#- The audits: name, severity, what each is about (the month, or every segment) and what it may measure, both ends
    included; `bound` is the key of the var `audits` that says so, `own` that of a segment which has one of its own, and
    `from` the key from which on anything counts. The band of a segment's share is always its own. -#}
{% macro audit_list() %}
    {% set limits = var('audits') %}
    {{ return([
        {'audit': 'every_customer_is_assigned_once', 'severity': 'error', 'at_most': 0},
        {'audit': 'members_meet_their_criteria', 'severity': 'error', 'about': 'segments', 'at_most': 0},
        {'audit': 'every_segment_holds_the_minimum_share', 'severity': 'error', 'about': 'segments',
         'at_least': limits.minimum_segment_share_pct, 'bound': 'minimum_segment_share_pct',
         'own': 'minimum_share_pct'},
        {'audit': 'rollup_equals_the_facts', 'severity': 'error', 'at_most': 0},
        {'audit': 'every_fact_belongs_to_a_customer', 'severity': 'error', 'at_most': 0},
        {'audit': 'facts_reach_the_end_of_the_month', 'severity': 'error',
         'at_most': limits.facts_may_end_days_early, 'bound': 'facts_may_end_days_early'},
        {'audit': 'no_usual_day_is_without_facts', 'severity': 'error',
         'at_most': limits.get('absent_days_max', 0), 'bound': 'absent_days_max', 'from': 'usual_day_min_facts'},
        {'audit': 'no_blocking_bound_was_loosened', 'severity': 'error', 'at_most': 0},
        {'audit': 'unknown_statuses_are_few', 'severity': 'error',
         'at_most': audit_bound('unknown_status_max_share_pct'), 'bound': 'unknown_status_max_share_pct'},
        {'audit': 'days_are_as_full_as_before', 'severity': 'warn', 'at_most': limits.get('thin_days_max', 2)},
        {'audit': 'unknown_categories_are_few', 'severity': 'warn',
         'at_most': limits.unknown_category_max_share_pct},
        {'audit': 'category_groups_name_known_categories', 'severity': 'warn', 'at_most': 0},
        {'audit': 'unknown_members_are_few', 'severity': 'warn', 'at_most': audit_bound('unknown_members_max')},
        {'audit': 'spend_of_unknown_members_is_small', 'severity': 'warn',
         'at_most': audit_bound('unknown_member_max_share_pct')},
        {'audit': 'future_dated_facts_are_few', 'severity': 'warn', 'at_most': limits.future_dated_max_share_pct},
        {'audit': 'segment_mix_is_stable', 'severity': 'warn', 'at_most': limits.drift_max_psi},
        {'audit': 'no_segment_moved_far', 'severity': 'warn', 'at_most': limits.drift_max_change_points},
    ]) }}
{% endmacro %}

{#- Which rows a month has to have in segment_audits before anything is said of it: an audit that did not run is none
    that passed. -#}
{% macro expected_audits() %}
    {%- set segments = var('segments') %}
    {%- set wanted = [] %}
    {%- for audit in audit_list() %}
        {%- for name in (segments | map(attribute='name') if audit.about == 'segments' else ['']) %}
            {%- do wanted.append([audit.audit, name]) %}
        {%- endfor %}
    {%- endfor %}
    {%- for segment in segments if segment.expected_share_pct %}
        {%- do wanted.append(['share_is_within_the_expected_band', segment.name]) %}
    {%- endfor %}
    {%- for audit, name in wanted %}
    select
        {{ string_literal(audit) }} as audit,
        {{ string_literal(name) }} as about_segment
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
{% endmacro %}

{#- The segments that have a bound of their own in place of that of all, [name, bound]. -#}
{% macro own_bounds(key) %}
    {% set bounds = [] %}
    {% for segment in var('segments') if segment.get(key) is not none %}
        {% do bounds.append([segment.name, segment[key]]) %}
    {% endfor %}
    {{ return(bounds) }}
{% endmacro %}

{#- Every segment with the share that it has to hold, [name, percent]. -#}
{% macro segment_floors() %}
    {% set floors = [] %}
    {% for segment in var('segments') %}
        {% set own = segment.get('minimum_share_pct') %}
        {% do floors.append([segment.name, var('audits').minimum_segment_share_pct if own is none else own]) %}
    {% endfor %}
    {{ return(floors) }}
{% endmacro %}

{#- What segment_decisions calls it. -#}
{% macro own_bound_entry(name) %}{{ return('segments.' ~ name ~ '.minimum_share_pct') }}{% endmacro %}

{#- How many bounds of blocking audits are looser than at the last publication; NULL where nobody knows, as before
    the first one. A bound that only warns may be moved: it stops nothing. Bounds of one side only are compared, and
    from what on anything counts, which takes the rest out of the audit. Where a segment had no bound of its own, it
    was held to that of all. -#}
{% macro loosened_bounds() %}
    {%- set log = existing_relation_of('segment_publications') %}
    {%- set decisions = existing_relation_of('segment_decisions') %}
    {%- set blocking = audit_list() | selectattr('severity', 'equalto', 'error') | list %}
    {%- set bounds = blocking | selectattr('bound', 'defined') | list %}
    {%- if log and decisions and 'decision_hash' in adapter.get_columns_in_relation(log) | map(attribute='name')
        | map('lower') %}
    select
        sum(
            case
                {%- for bound in bounds %}
                {%- set is_floor = 'at_least' in bound %}
                when
                    decisions.entry = 'audits.{{ bound.bound }}'
                    and try_cast(decisions.entry_value as double) {{ '>' if is_floor else '<' }}
                    {{ bound.at_least if is_floor else bound.at_most }}
                    then 1
                {%- endfor %}
                {%- for audit in blocking if audit.from is defined %}
                when
                    decisions.entry = 'audits.{{ audit.from }}'
                    and try_cast(decisions.entry_value as double) < {{ audit_bound(audit.from) }}
                    then 1
                {%- endfor %}
                {%- for name, floor in segment_floors() %}
                when
                    decisions.entry = {{ string_literal(own_bound_entry(name)) }}
                    and try_cast(decisions.entry_value as double) > {{ floor }}
                    then 1
                {%- endfor %}
                else 0
            end
        )
        {%- for name, floor in own_bounds('minimum_share_pct') %}
        + max(
            case
                when
                    decisions.entry = 'audits.minimum_segment_share_pct'
                    and try_cast(decisions.entry_value as double) > {{ floor }}
                    then 1
                else 0
            end
        )
        * min(case when decisions.entry = {{ string_literal(own_bound_entry(name)) }} then 0 else 1 end)
        {%- endfor %} as bounds
    from {{ decisions }} as decisions
    where decisions.decision_hash = (
        select log.decision_hash
        from {{ log }} as log
        qualify
            row_number() over (order by log.published_at desc, log.snapshot_month desc, log.version desc) = 1
    )
    {%- else %}
    select cast(null as integer) as bounds
    {%- endif %}
{% endmacro %}
