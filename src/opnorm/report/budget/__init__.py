"""The gate: what a model must keep, read from a file, judged on a report, and told to people and programs."""
