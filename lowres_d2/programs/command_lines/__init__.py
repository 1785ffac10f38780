"""The command line of each program: reading it, and --help, takes no torch."""
