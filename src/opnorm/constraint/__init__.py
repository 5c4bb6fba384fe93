"""Control: move weights into a band of singular values, and prove it on what is saved."""
