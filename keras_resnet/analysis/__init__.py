"""Any `keras.Model` -> numbers and pictures. Imports none of our other packages."""
