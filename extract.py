"""Stage 1: embed the tumour-bearing slices of a cohort. Run `python extract.py --help`."""

from extract.commands import main

if __name__ == "__main__":
    main()
