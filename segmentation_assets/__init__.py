"""Monthly customer segmentation as a Dagster asset graph over a dbt project."""
