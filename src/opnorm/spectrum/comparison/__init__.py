"""Two checkpoints side by side: what changed, by how much, and in which directions."""
