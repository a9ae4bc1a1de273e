"""Personal data: what is held of a person and where, how they are erased, and a month's evidence without any."""
