"""Devices, precision, and how several devices and hosts share the work of training."""
