{#- Who is held back to measure a campaign by: decided by campaign and mailbox alone, so that a mailbox stays on the
    same side every month and whoever else is in the list. A mailbox goes by a customer's id (holdout_units): of a
    customer alone at it, by their own. Bucket = first 60 bits of md5('premium_rewards|CUST00000001') mod 10,000;
    holdout_pct 10 holds back buckets 0 to 999. Ten thousand buckets: holdout_pct may have two decimals. -#}
{% macro treatment_group(campaign, holdout_unit) %}
    case
        when
            mod({{ hash_number(campaign ~ " || '|' || " ~ holdout_unit) }}, 10000)
            < {{ number_of_campaign('holdout_pct', column=campaign, factor=100) }}
            then 'holdout'
        else 'target'
    end
{%- endmacro %}
