{#- Are the rules of this run those of the last publication? What the pipeline starts (a run, `segmentation dbt`)
    passes the rules of SEGMENTATION_RULES, and says so by the var rules_are_passed: there, other rules are a person's
    decision. Plain dbt knows those of dbt_project.yml alone, and would compute a month under them. -#}

{% macro refuse_other_rules() %}
    {% if execute and flags.WHICH in ('build', 'run', 'test') %}
        {% set differences = differences_from_the_last_publication() %}
        {% if differences %}
            {% do exceptions.raise_compiler_error(
                "rules_are_those_of_the_last_publication: the rules that dbt was given differ from those of the last"
                ~ " publication (" ~ differences[0] ~ "): " ~ differences[1:] | join('; ')
                ~ ". Run `segmentation dbt ...` in place of `dbt ...`: it passes the rules of SEGMENTATION_RULES."
                ~ " Where they were changed on purpose, `make month MONTH=...` publishes under them."
            ) %}
        {% endif %}
    {% endif %}
    {{ return('') }}
{% endmacro %}

{#- The month and version first, then each rule that differs; nothing where all are the same, or nothing is published.
    What a log of an earlier version does not tell is compared by the hash alone. -#}
{% macro differences_from_the_last_publication() %}
    {% set log = existing_relation_of('segment_publications') %}
    {% if not log %}{{ return([]) }}{% endif %}
    {% set newest = run_query(
        "select * from " ~ log ~ " order by published_at desc, snapshot_month desc, version desc limit 1"
    ) %}
    {% if not newest.rows %}{{ return([]) }}{% endif %}
    {% set published = {} %}
    {% for name in newest.column_names %}
        {% do published.update({name | lower: newest.rows[0][loop.index0]}) %}
    {% endfor %}
    {% set hash = published.get('decision_hash') %}
    {% if (hash or published.rules_hash) == (decision_hash() if hash else rules_hash()) %}{{ return([]) }}{% endif %}
    {% set differences = named_differences(published_decision(hash)) %}
    {% if not differences %}
        {% do differences.append(
            "segments or category_groups" if published.rules_hash != rules_hash()
            else "the bounds of the audits or what the values of the source mean"
        ) %}
    {% endif %}
    {{ return([(published.snapshot_month | string)[:10] ~ ", version " ~ published.version] + differences) }}
{% endmacro %}

{#- Entry -> value, as segment_decisions keeps them; nothing where it does not have that decision. -#}
{% macro published_decision(hash) %}
    {% set decisions = existing_relation_of('segment_decisions') if hash %}
    {% set entries = {} %}
    {% if decisions %}
        {% for row in run_query(
            "select entry, entry_value from " ~ decisions ~ " where decision_hash = " ~ string_literal(hash)
        ) %}
            {% do entries.update({row[0]: row[1]}) %}
        {% endfor %}
    {% endif %}
    {{ return(entries) }}
{% endmacro %}

{#- Each rule whose value is another than the published one, as `key: given (published: value)`. Of segments and
    category groups only those that differ are told. -#}
{% macro named_differences(published) %}
    {% set differences, given = [], {} %}
    {% for entry, value in decision_entries() %}{% do given.update({entry: value | string}) %}{% endfor %}
    {% for entry in (given.keys() | list + published.keys() | list) | unique | sort if published %}
        {% set now, then = given.get(entry), published.get(entry) %}
        {% if now != then %}
            {% set parts = [[entry, now, then]] %}
            {% if now and then and entry in ('segments', 'category_groups') %}
                {% set found = differing_parts(entry, named_parts(fromjson(now)), named_parts(fromjson(then))) %}
                {% set parts = found or parts %}
            {% endif %}
            {% for key, value, before in parts %}
                {% do differences.append(
                    key ~ ": " ~ (value or "not there") ~ " (published: " ~ (before or "not there") ~ ")"
                ) %}
            {% endfor %}
        {% endif %}
    {% endfor %}
    {{ return(differences) }}
{% endmacro %}

{#- A list of rules with names, or a map, as name -> JSON. -#}
{% macro named_parts(value) %}
    {% set parts = {} %}
    {% for item in value %}
        {% if value is mapping %}
            {% do parts.update({item: tojson(value[item], sort_keys=true)}) %}
        {% else %}
            {% do parts.update({item.get('name', loop.index | string): tojson(item, sort_keys=true)}) %}
        {% endif %}
    {% endfor %}
    {{ return(parts) }}
{% endmacro %}

{#- Nothing where only the order is another: then the whole value is told. -#}
{% macro differing_parts(entry, now, then) %}
    {% set parts = [] %}
    {% for name in (now.keys() | list + then.keys() | list) | unique if now.get(name) != then.get(name) %}
        {% do parts.append([entry ~ "." ~ name, now.get(name), then.get(name)]) %}
    {% endfor %}
    {{ return(parts) }}
{% endmacro %}

{#- Asked when a run starts: a run without tests, or of a selection that leaves the test out, is refused here. -#}
{% macro refuse_untested_rules() %}
    {% if execute and flags.WHICH in ('build', 'run') and not var('rules_are_passed', false) | as_bool %}
        {% if 'test.segmentation.rules_are_those_of_the_last_publication' not in selected_resources %}
            {% do refuse_other_rules() %}
        {% endif %}
    {% endif %}
    {{ return('') }}
{% endmacro %}
