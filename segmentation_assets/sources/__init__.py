"""Where the star schema comes from: one of the sources, chosen with SEGMENTATION_SOURCE."""

from segmentation_assets.errors import UserError


class SourceError(UserError):
    """The source cannot be used; one line per finding that names what was found and what to do."""
