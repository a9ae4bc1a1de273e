"""`python -m segmentation_assets.cli`."""

from segmentation_assets.cli.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
