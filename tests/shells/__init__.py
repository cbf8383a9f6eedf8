"""Tests of the two shells over real loopback HTTP."""
