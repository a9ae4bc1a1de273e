{#- dbt clone puts a table of another state's, or a view of it, where a published one is, and asks no hook that looks at
    flags first. -#}
{% materialization clone, default %}
    {% do exceptions.raise_compiler_error(
        "dbt clone would put another state's table in place of " ~ this ~ ", which no audit here was about, so nothing"
        ~ " was cloned. `make snapshot` makes a copy for readers; one to try things in is made by the database itself."
    ) %}
{% endmaterialization %}
