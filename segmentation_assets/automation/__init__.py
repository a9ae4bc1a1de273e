"""What runs by itself: jobs, schedule and sensors."""
