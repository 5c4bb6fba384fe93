"""The gate in other people's training loops and trackers: thin, and nothing is imported that is not used."""
