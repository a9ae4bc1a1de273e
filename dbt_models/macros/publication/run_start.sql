{#- Asked when a dbt run starts (on-run-start), before any table is touched: may its flags and vars change what a ref
    or a rule means? Each of these would empty or cut a published table with exit code 0. -#}
{% macro refuse_what_changes_a_ref() %}
    {% if not execute %}{{ return('') }}{% endif %}
    {#- `flags` knows half of them. This has them all, whether typed, or set by a DBT_ variable or in
        dbt_project.yml. -#}
    {% set given = [] %}
    {% for name, value in invocation_args_dict.items() %}
        {% if value and name | lower in [
            'empty', 'sample', 'defer', 'favor_state', 'event_time_start', 'event_time_end', 'full_refresh'
        ] %}
            {% do given.append('--' ~ name | lower | replace('_', '-')) %}
        {% endif %}
    {% endfor %}
    {% if given %}
        {% do exceptions.raise_compiler_error(
            given | unique | sort | join(', ')
            ~ " would change what the published months are made from, so nothing was run."
            ~ " Leave it out: the months of first_month and last_month are made anew by every run, and no others."
        ) %}
    {% endif %}
    {#- Of any other form they may be somebody's schemas, and under a prefix nobody is asked whose tables they are. -#}
    {% set prefix = var('schema_prefix', '') %}
    {% if prefix and not modules.re.fullmatch('what_if_[0-9]{14}_[0-9a-f]{6}_', prefix | string) %}
        {% do exceptions.raise_compiler_error(
            "The var schema_prefix is '" ~ prefix ~ "', which is no what-if's, so nothing was run. Leave it out;"
            ~ " schemas of other names are SEGMENTATION_GOLD_SCHEMA and SEGMENTATION_SILVER_SCHEMA, a what-if is"
            ~ " `make what-if`."
        ) %}
    {% endif %}
    {% set problems = blanked_rules() %}
    {% if problems %}
        {% do exceptions.raise_compiler_error(
            "The vars of this run leave no rules to judge by, so nothing was run: " ~ problems | join('; ')
            ~ ". Other rules go into the YAML file of SEGMENTATION_RULES, which is checked."
        ) %}
    {% endif %}
    {{ return('') }}
{% endmacro %}

{#- As a package of another project: by default dbt takes a model of that project's for ours where the two have one
    name, in our models and in our tests. Asked of a run that would compute something. -#}
{% macro refuse_namesakes() %}
    {% if not execute or project_name == 'segmentation' or flags.WHICH not in ('build', 'run', 'test') %}
        {{ return('') }}
    {% endif %}
    {% set taken = [] %}
    {% for node in graph.nodes.values() if node.package_name == 'segmentation' %}
        {% for parent in node.depends_on.nodes if parent.split('.')[0] == 'model' %}
            {% if parent.split('.')[1] != 'segmentation' %}{% do taken.append(parent.split('.')[2]) %}{% endif %}
        {% endfor %}
    {% endfor %}
    {% if taken %}
        {% do exceptions.raise_compiler_error(
            "The models " ~ taken | unique | sort | join(', ') ~ " of project " ~ project_name
            ~ " would be taken for those of package segmentation, so nothing was run. Write"
            ~ " `flags: {require_ref_searches_node_package_before_root: true}` in dbt_project.yml of " ~ project_name
            ~ ", or rename them."
        ) %}
    {% endif %}
    {{ return('') }}
{% endmacro %}

{#- What no rules can be without. Whether they make sense is checked in Python (segmentation_assets/rules), which plain
    dbt does not pass through. -#}
{% macro blanked_rules() %}
    {% set problems = [] %}
    {% for name in ['approved_statuses', 'segments'] %}
        {% set value = var(name, none) %}
        {% if value is string or value is mapping or value is not iterable or not value %}
            {% do problems.append(name ~ " is " ~ value | string ~ "; it has to be a list that is not empty") %}
        {% endif %}
    {% endfor %}
    {% for segment in (var('segments', none) or [] if not problems else []) %}
        {% set name = segment.get('name') if segment is mapping else none %}
        {% if not name %}
            {% do problems.append("segment " ~ loop.index ~ " has no name") %}
        {% elif (not segment.get('criteria')) != loop.last %}
            {% do problems.append(
                "segment " ~ name ~ (" is the last and has criteria" if loop.last else " has no criteria")
            ) %}
        {% endif %}
    {% endfor %}
    {% if var('campaigns', none) is string or var('campaigns', none) is not iterable %}
        {% do problems.append("campaigns is " ~ var('campaigns', none) | string ~ "; it has to be a list") %}
    {% endif %}
    {% for name, keys in {
        'category_groups': ['travel', 'necessities'],
        'audits': [
            'minimum_segment_share_pct', 'drift_baseline_months', 'facts_may_end_days_early', 'drift_max_psi',
            'drift_max_change_points', 'unknown_category_max_share_pct', 'future_dated_max_share_pct',
        ],
        'insights': ['recency_days', 'focus_at_least_pct'],
    }.items() %}
        {% set value = var(name, none) %}
        {% for key in keys if value is not mapping or value.get(key) is none %}
            {% do problems.append(name ~ "." ~ key ~ " is missing") %}
        {% endfor %}
    {% endfor %}
    {{ return(problems) }}
{% endmacro %}
