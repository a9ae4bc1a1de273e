"""The warehouse: sessions on DuckDB or Snowflake, and what tables there are."""
