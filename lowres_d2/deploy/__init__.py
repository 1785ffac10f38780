"""Trained models in the form in which they are used."""
