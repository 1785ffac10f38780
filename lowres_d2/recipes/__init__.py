"""Recipes: found, loaded, overridden, checked and compared; nothing here knows of training."""
