"""Find, load, override, check and compare recipes; nothing here knows of training."""
