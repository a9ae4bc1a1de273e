"""The rules: what a segment, a campaign and an audit's bound are, read from YAML and checked."""
