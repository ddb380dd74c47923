"""`python -m phasemil`: one patient in one call."""

from phasemil.commands import main

if __name__ == "__main__":
    main()
