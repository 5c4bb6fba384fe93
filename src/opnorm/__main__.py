"""`python -m opnorm`."""

from opnorm.cli import main

if __name__ == "__main__":
    main()
