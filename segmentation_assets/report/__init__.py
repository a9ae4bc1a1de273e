"""The monthly report, and the pictures of segments."""
