"""What is computed on, in which precision, and how several devices and hosts share work."""
