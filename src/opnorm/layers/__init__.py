"""One small file a layer family: the rule, the operator it really is, and where that is written."""
