"""Stage 2: classify patients from their bags. Run `python aggregate.py --help`."""

from aggregate.commands import main

if __name__ == "__main__":
    main()
