"""Programs: everything that a user can call, a file each; only this folder knows ``engine``."""
