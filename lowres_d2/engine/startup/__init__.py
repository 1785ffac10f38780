"""What a run says before its first step: whether it can be right."""
