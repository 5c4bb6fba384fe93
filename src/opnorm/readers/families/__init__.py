"""One small file a family of models: which names, shapes and settings mean which layers.

Each rule takes from a `Book` the tensors it is sure of and hands back layers; what no rule takes is a plain row.
"""
