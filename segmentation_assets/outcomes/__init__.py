"""What each campaign did."""
