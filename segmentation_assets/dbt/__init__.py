"""The dbt project: its manifest, how it is run in this process, and its models as assets."""
