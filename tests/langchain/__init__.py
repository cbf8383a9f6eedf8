"""Tests of `langchain_minicpm`."""
