"""Linear operators and what can be proved about their norms. NumPy float64 on the host, no framework."""
