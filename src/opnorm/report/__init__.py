"""A report is plain data; how it is shown is someone else's concern."""
