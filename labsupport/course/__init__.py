"""What makes notebooks a course: predictions, exercises and their checks."""
