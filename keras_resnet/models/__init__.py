"""From a spec to a network, and weights from elsewhere into it."""
