{#- The campaigns that there are models for. This file is replaced when a project is made of the rules
    (segmentation_assets/dbt/campaign_models.py); here there are none. -#}
{% macro campaigns_made() %}{{ return(none) }}{% endmacro %}
