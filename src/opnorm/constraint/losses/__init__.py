"""Loss terms with correct gradients, and the differentiable norms that they are made of."""
