"""Publication: audits, the gate, acceptances, restatements and explanations, read from the warehouse."""
