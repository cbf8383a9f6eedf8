"""Tests of the `minicpm` command."""
