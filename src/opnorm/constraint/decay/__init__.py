"""Norm bounds that decoupled weight decay gives under updates of bounded norm."""
