{#- Spellings of one value: which text of the source is the same id, and which the same code. The tables and their
    reasons are those of segmentation_assets/spelling.py; tests/unit/test_spelling.py holds the two together. -#}

{#- What nobody sees at the end of a text, as a literal. NUL apart: it ends a statement on DuckDB. -#}
{% macro unseen_characters() %}
    {%- set ranges = [
        (1, 32), (127, 160), (173, 173), (1536, 1541), (1564, 1564), (1757, 1757), (1807, 1807), (2192, 2193),
        (2274, 2274), (4447, 4448), (5760, 5760), (6158, 6158), (8192, 8207), (8232, 8239), (8287, 8292), (8294, 8303),
        (10240, 10240), (12288, 12288), (12644, 12644), (65279, 65279), (65440, 65440), (65529, 65531), (69821, 69821),
        (69837, 69837), (78896, 78911), (113824, 113827), (119155, 119162), (917505, 917505), (917536, 917631),
    ] -%}
    '
    {%- for first, last in ranges -%}
        {%- for number in range(first, last + 1) -%}{{ '%c' | format(number) }}{%- endfor -%}
    {%- endfor -%}
    ' || chr(0)
{%- endmacro %}

{#- An id, or any text that is shown: without what nobody sees at either end. The cast is for Snowflake's emulator,
    which otherwise makes one and loses the characters over it. -#}
{% macro trimmed(text) %}trim(cast({{ text }} as varchar), {{ unseen_characters() }}){% endmacro %}

{#- The same for two spellings of one status or category. Never of a customer id: C1 and c1 may be two customers. -#}
{% macro code(text) -%}
    replace(replace(replace(replace(
        {{ in_one_form("lower(replace(" ~ trimmed(text) ~ ", 'İ', 'i'))") }}
    , '{{ 'i%c' | format(775) }}', 'i'), 'ı', 'i'), 'ß', 'ss'), 'ς', 'σ')
{%- endmacro %}

{#- An accent is a sign of its own after its letter, or one sign with it. -#}
{% macro in_one_form(text) %}{{ return(adapter.dispatch('in_one_form', 'segmentation')(text)) }}{% endmacro %}

{% macro default__in_one_form(text) %}nfc_normalize({{ text }}){% endmacro %}

{#- Snowflake has no normal forms: a table of the letters of Europe's languages in Latin script. -#}
{% macro snowflake__in_one_form(text) %}
    {%- set composed = {
        768: ('aeinouwy', 'àèìǹòùẁỳ'),
        769: ('aceilnorsuwyz', 'áćéíĺńóŕśúẃýź'),
        770: ('aceghijosuwyz', 'âĉêĝĥîĵôŝûŵŷẑ'),
        771: ('aeinouy', 'ãẽĩñõũỹ'),
        772: ('aeiouy', 'āēīōūȳ'),
        774: ('aegiou', 'ăĕğĭŏŭ'),
        775: ('cegiz', 'ċėġiż'),
        776: ('aeiouwy', 'äëïöüẅÿ'),
        778: ('auwy', 'åůẘẙ'),
        779: ('ou', 'őű'),
        780: ('acdeilnorstuz', 'ǎčďěǐľňǒřšťǔž'),
        806: ('st', 'șț'),
        807: ('cgklnrst', 'çģķļņŗşţ'),
        808: ('aeiou', 'ąęįǫų'),
    } -%}
    {%- set replaced = [] -%}
    {%- for mark in composed -%}
        {%- for letter in composed[mark][0] -%}
            {%- do replaced.append((letter ~ '%c' | format(mark), composed[mark][1][loop.index0])) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for _ in replaced %}replace({% endfor -%}
    {{ text }}
    {%- for spelling, letter in replaced %}, '{{ spelling }}', '{{ letter }}'){% endfor -%}
{%- endmacro %}

{#- The codes of names in the rules, as `in (...)` takes them. -#}
{% macro codes_of(names) %}
    {%- for name in names %}{{ code(string_literal(name)) }}{{ ", " if not loop.last }}{% endfor %}
{%- endmacro %}
