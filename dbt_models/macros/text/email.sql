{#- What counts as an address a message can be sent to, and as the same address. -#}

{#- Deliberately narrower than RFC 5322: plain ASCII letters, digits and _ % + & ' - in parts joined by single dots, one
    @, a domain of two parts or more whose last begins with a letter. A wrongly refused address shows in the waterfall;
    a wrongly accepted one bounces. Bracketed dots, because Snowflake's literals eat backslashes. Lengths are those of
    RFC 5321, 4.5.3.1 (a path of 256 leaves 254 for the address, and so the domain within its 255) and RFC 1035, 2.3.4
    (a label of 63); octets are characters, as all are ASCII. exports/addresses.py says the same in Python. -#}
{% macro is_deliverable(address) %}
    {%- set local = "[A-Za-z0-9_][A-Za-z0-9_%+&'-]*([.][A-Za-z0-9_%+&'-]+)*" -%}
    {%- set label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?" -%}
    {%- set domain = "(" ~ label ~ "[.])+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]" -%}
    (
        length({{ address }}) <= 254
        and length(split_part({{ address }}, '@', 1)) <= 64
        and {{ matches_whole(address, local ~ '@' ~ domain) }}
    )
{%- endmacro %}

{#- Two spellings of one mailbox compare equal. -#}
{% macro normalised_email(email) %}lower({{ trimmed(email) }}){% endmacro %}

{% macro matches_whole(text, pattern) %}
    {{ return(adapter.dispatch('matches_whole', 'segmentation')(text, pattern)) }}
{% endmacro %}

{#- DuckDB's regexp_matches finds the pattern anywhere; this one has to match the text from end to end. -#}
{% macro default__matches_whole(text, pattern) -%}
    regexp_full_match({{ text }}, {{ string_literal(pattern) }})
{%- endmacro %}

{#- Snowflake's anchors the pattern at both ends by itself. -#}
{% macro snowflake__matches_whole(text, pattern) -%}
    regexp_like({{ text }}, {{ string_literal(pattern) }})
{%- endmacro %}
