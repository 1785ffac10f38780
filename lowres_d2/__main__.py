"""``python -m lowres_d2 PROGRAM ...``."""

from lowres_d2.programs.command import main

if __name__ == "__main__":
    main()
