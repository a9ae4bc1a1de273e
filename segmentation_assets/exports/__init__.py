"""Campaign files: whom they name, what they hold, where they lie."""
