"""How layers feed one another: alignment, gains of pairs, attention circuits."""
