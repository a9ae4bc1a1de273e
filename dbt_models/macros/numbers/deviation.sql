{#- The one way to a standard deviation: from a number, a sum and a sum of squares, all exact. stddev_samp adds doubles
    in the order in which threads deliver them, so that two runs differ in the last digit. -#}

{#- A square that no amount overflows: DuckDB keeps the product of two decimals of 18 digits at 18. -#}
{% macro squared(amount) %}cast({{ amount }} as decimal(38, 4)) * {{ amount }}{% endmacro %}

{#- The product of two amounts of money, exact on both engines: 19 and 19 digits are the 38 that a decimal has. Cast
    once more, as the emulator adds up as doubles what is not a cast itself. -#}
{% macro multiplied(amount, other) -%}
    cast(cast({{ amount }} as decimal(19, 2)) * cast({{ other }} as decimal(19, 2)) as decimal(38, 4))
{%- endmacro %}

{#- The sample standard deviation of amounts to the cent, of which `squares` is the sum of multiplied(): exact up to the
    one division, in decimals with a scale: the emulator takes whole numbers of 38 digits for such of 64 bits. -#}
{% macro deviation_of_cents(number, total, squares) -%}
    case
        when {{ number }} > 1
            then sqrt(
                cast(
                    cast({{ squares }} as decimal(26, 4)) * cast({{ number }} as decimal(12, 0))
                    - {{ multiplied(total, total) }} as double
                ) / (cast({{ number }} as double) * cast({{ number }} - 1 as double))
            )
    end
{%- endmacro %}

{#- Sample standard deviation of `number` amounts of money, NULL below two; `squares` is their sum of squared(). Whole
    numbers up to the one division, so equal amounts deviate by exactly 0, however large they are, and both engines
    divide the same two numbers. They count ten-thousandths of money; where these would need more than 38 digits, cents,
    of which a sum of finer amounts is a rounded number: hence the greatest(). -#}
{% macro deviation_of_sums(number, total, squares) %}
    {%- set count = "cast(" ~ number ~ " as decimal(38, 0))" -%}
    {%- set fine = "cast(cast(" ~ total ~ " as decimal(38, 4)) * 10000 as decimal(38, 0))" -%}
    {%- set square_fine = "cast(cast(" ~ squares ~ " as decimal(38, 8)) * 100000000 as decimal(38, 0))" -%}
    {%- set cents = "cast(cast(" ~ total ~ " as decimal(38, 2)) * 100 as decimal(38, 0))" -%}
    {%- set square_cents = "cast(cast(" ~ squares ~ " as decimal(38, 4)) * 10000 as decimal(38, 0))" -%}
    case
        when {{ number }} > 1 and cast({{ squares }} as double) * {{ number }} < 1e21
            then sqrt(
                cast({{ square_fine }} * {{ count }} - {{ fine }} * {{ fine }} as double)
                / cast({{ count }} * ({{ count }} - 1) * 100000000 as double)
            )
        when {{ number }} > 1
            then sqrt(
                cast(greatest({{ square_cents }} * {{ count }} - {{ cents }} * {{ cents }}, 0) as double)
                / cast({{ count }} * ({{ count }} - 1) * 10000 as double)
            )
    end
{%- endmacro %}
