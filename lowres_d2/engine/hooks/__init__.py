"""What happens beside the training step: hooks of the trainer."""
