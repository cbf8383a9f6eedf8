"""Exchanges recorded from real servers, replayed byte for byte."""
