"""What a detector can match: objects with a positive anchor, by size; receptive fields."""
