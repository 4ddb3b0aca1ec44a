"""Any `keras.Model` -> something that serves. Imports none of our other packages."""
