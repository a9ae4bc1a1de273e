{#- Asked while dbt parses: are the models of the campaigns those of the rules? dbt_models itself has none, so plain dbt
    in it, or a project that changes the campaigns of this package by a var, is told what to do. -#}
{% macro refuse_other_campaigns() %}
    {% if execute %}{{ return('') }}{% endif %}
    {% set asked = [] %}
    {% for campaign in var('campaigns') %}
        {% do asked.append({
            'name': campaign.name,
            'channel': campaign.get('channel', campaign_default('channel')),
            'shows': campaign.get('shows', []),
        }) %}
    {% endfor %}
    {% set made = campaigns_made() %}
    {% if made is none %}
        {% do exceptions.raise_compiler_error(
            "The models of the campaigns are made from the rules, and this folder has none. Run `segmentation dbt ...`"
            ~ " in place of `dbt ...`; or `segmentation dbt-project FOLDER`, which writes a project with them for plain"
            ~ " dbt and for packages.yml, and go on there."
        ) %}
    {% elif made != asked %}
        {% do exceptions.raise_compiler_error(
            "This project was made for the campaigns " ~ made | map(attribute='name') | join(', ') ~ " and dbt is"
            ~ " given " ~ asked | map(attribute='name') | join(', ') ~ " (or other channels, or other columns in"
            ~ " `shows`). Write them into the file of SEGMENTATION_RULES and make the project again: `segmentation"
            ~ " dbt-project FOLDER`."
        ) %}
    {% endif %}
    {{ return('') }}
{% endmacro %}
