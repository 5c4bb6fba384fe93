"""Normalization as a parametrization: operators, warm iteration, the parametrization, its mounting on modules."""
