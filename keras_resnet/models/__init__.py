"""From a spec to a network."""
