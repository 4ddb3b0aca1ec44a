"""Weights of networks: read from anywhere, loaded into ours, written for others."""
