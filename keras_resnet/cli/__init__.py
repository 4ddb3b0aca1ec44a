"""The command line: its options and its commands."""
