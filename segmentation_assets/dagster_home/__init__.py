"""What Dagster is configured with on one machine, and small values kept in its storage."""
