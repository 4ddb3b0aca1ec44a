"""Numbers and pictures of any `keras.Model`; imports none of our other packages."""
