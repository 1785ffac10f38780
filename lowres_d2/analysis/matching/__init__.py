"""What a detector can match: positive locations by object size, receptive fields."""
