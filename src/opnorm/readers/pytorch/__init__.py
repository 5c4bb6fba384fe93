"""PyTorch's own files, zip and legacy: pickles walked as data, nothing imported, nothing run (`files` is the door)."""
