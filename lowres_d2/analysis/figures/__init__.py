"""Sheets and plots: what networks see and find, training curves."""
