"""The data set that ships with the package; see README.md in this folder."""
