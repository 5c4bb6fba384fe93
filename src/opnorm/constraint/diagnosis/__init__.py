"""What a gate did to each layer, whether it pressed too hard, and what to change."""
